package rpc

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	pb "wdpost/internal/rpc/wdpostv1"
	"wdpost/internal/task"
)

// OfferPart hands the master one part of the task under the lease: a question
// with vanilla proofs.
func (c *Client) OfferPart(ctx context.Context, l task.Lease, number int, q task.Question) error {
	bare, data, err := q.SplitVanilla()
	if err != nil {
		return err
	}
	body, err := json.Marshal(bare)
	if err != nil {
		return fmt.Errorf("part %d of task %s: %w", number, l, err)
	}
	ctx, cancel := c.outgoing(ctx, partTimeout)
	defer cancel()
	stream, err := c.parts.OfferPart(ctx)
	if err != nil {
		return failure("offer part", err)
	}
	req := &pb.OfferPartRequest{Slave: c.introduction(), Lease: toLease(l), Number: uint32(number), Question: body, DataLen: uint64(len(data))}
	for first := true; first || len(data) > 0; first = false {
		n := min(len(data), partPiece)
		if first {
			n = 0 // the question may be large
		}
		req.Data, data = data[:n], data[n:]
		if err := stream.Send(req); err != nil {
			break // io.EOF: the master's word comes with the reply
		}
		req = &pb.OfferPartRequest{}
	}
	if _, err := stream.CloseAndRecv(); err != nil {
		return failure("offer part", err)
	}
	return nil
}

// AwaitParts waits until something changed in the parts of a lease, for at most
// the given time.
func (c *Client) AwaitParts(ctx context.Context, l task.Lease, want task.PartsWanted, wait time.Duration) (task.PartsNews, error) {
	ctx, cancel := c.outgoing(ctx, wait+c.cfg.CallTimeout)
	defer cancel()
	req := &pb.AwaitPartsRequest{Slave: c.slave, Lease: toLease(l), Over: want.Over, Seen: want.Seen, WaitMs: uint64(max(wait.Milliseconds(), 0))}
	for _, n := range want.TakeBack {
		req.TakeBack = append(req.TakeBack, uint32(n))
	}
	for _, n := range want.Wrong {
		req.Wrong = append(req.Wrong, uint32(n))
	}
	r, err := c.parts.AwaitParts(ctx, req)
	if err != nil {
		return task.PartsNews{}, failure("await parts", err)
	}
	news := task.PartsNews{Idle: int(r.GetIdle()), Version: r.GetVersion()}
	for _, p := range r.GetParts() {
		n := task.PartNews{Number: int(p.GetNumber()), Slave: p.GetSlave(), Reason: p.GetReason()}
		for state, wire := range stateToWire {
			if wire == p.GetState() {
				n.State = state
			}
		}
		if n.State == task.PartDone {
			if err := json.Unmarshal(p.GetAnswer(), &n.Answer); err != nil {
				return task.PartsNews{}, fmt.Errorf("answer of part %d of task %s: %w", n.Number, l, err)
			}
		}
		news.Parts = append(news.Parts, n)
	}
	return news, nil
}

// FetchPart brings the question of a part with its vanilla proofs. task.ErrLost:
// nobody wants it from this slave any more.
func (c *Client) FetchPart(ctx context.Context, p task.Part) (task.Question, error) {
	if p.DataLen > maxPartData {
		return task.Question{}, fmt.Errorf("fetch part: %w: %d bytes of vanilla proofs", task.ErrBadQuestion, p.DataLen)
	}
	ctx, cancel := c.outgoing(ctx, partTimeout)
	defer cancel()
	stream, err := c.parts.FetchPart(ctx, &pb.FetchPartRequest{Slave: c.slave, PartId: p.ID})
	if err != nil {
		return task.Question{}, failure("fetch part", err)
	}
	var refused error
	data := &pieces{next: func() ([]byte, error) {
		r, err := stream.Recv()
		if err != nil && err != io.EOF {
			refused = failure("fetch part", err)
		}
		return r.GetData(), err
	}}
	q, err := p.Question.JoinVanilla(data, p.DataLen)
	if refused != nil {
		return task.Question{}, refused
	}
	return q, err
}

// FinishPart ends the work on a part: with its answer, or with why there is none.
func (c *Client) FinishPart(ctx context.Context, id string, a task.Answer, failed error) error {
	ctx, cancel := c.outgoing(ctx, c.cfg.CallTimeout)
	defer cancel()
	req := &pb.FinishPartRequest{Slave: c.introduction(), PartId: id}
	if failed != nil {
		req.Reason = clip(failed.Error(), 1000)
	} else {
		body, err := json.Marshal(a)
		if err != nil {
			return fmt.Errorf("answer of part %s: %w", id, err)
		}
		req.Answer = body
	}
	if _, err := c.parts.FinishPart(ctx, req); err != nil {
		return failure("finish part", err)
	}
	return nil
}

// partOf reads the part in a reply to a claim.
func partOf(r *pb.ClaimReply) (task.Assignment, error) {
	p := task.Part{ID: r.GetPart().GetId(), DataLen: int64(min(r.GetPart().GetDataLen(), maxPartData+1)), Window: millis(r.GetRemainingMs())}
	a := task.Assignment{Lease: task.Lease{ID: p.ID}, Remaining: p.Window, HeartbeatTimeout: millis(r.GetHeartbeatTimeoutMs())}
	if err := json.Unmarshal(r.GetPart().GetQuestion(), &p.Question); err != nil {
		return a, fmt.Errorf("question of part %s: %w: %w", p.ID, task.ErrBadQuestion, err)
	}
	a.Question, a.Part = p.Question, &p
	return a, nil
}
