package rpc

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"wdpost/internal/parts"
	"wdpost/internal/queue"
	pb "wdpost/internal/rpc/wdpostv1"
	"wdpost/internal/task"
)

// Limits of parts.
const (
	maxParts    = 64        // in one task
	maxPartData = 512 << 20 // bytes of vanilla proofs; a full 64 GiB partition has 62 MB
	partPiece   = 512 << 10 // bytes of data in one message
)

// partsServer answers the calls about parts.
type partsServer struct {
	pb.UnimplementedPartsServer
	*Server
}

// OfferPart implements the contract.
func (s partsServer) OfferPart(stream grpc.ClientStreamingServer[pb.OfferPartRequest, pb.OfferPartReply]) error {
	r, err := stream.Recv()
	if err != nil {
		return err
	}
	slave, err := slaveOf(stream.Context(), r.GetSlave())
	if err != nil {
		return err
	}
	lease, err := leaseOf(r.GetLease())
	if err != nil {
		return err
	}
	if r.GetNumber() >= maxParts || r.GetDataLen() == 0 || r.GetDataLen() > maxPartData {
		return malformed("part %d of %d bytes: a task has at most %d parts of %d bytes", r.GetNumber(), r.GetDataLen(), maxParts, maxPartData)
	}
	var q task.Question
	if err := json.Unmarshal(r.GetQuestion(), &q); err != nil {
		return malformed("the question of part %d of task %s is not JSON of the contract: %v", r.GetNumber(), lease, err)
	}
	data := &pieces{first: r.GetData(), next: func() ([]byte, error) {
		r, err := stream.Recv()
		return r.GetData(), err
	}}
	err = s.cfg.Parts.Offer(stream.Context(), slave.Name, lease, int(r.GetNumber()), q, int64(r.GetDataLen()), data)
	if errors.Is(err, parts.ErrNoRoom) {
		return status.Error(codes.ResourceExhausted, err.Error())
	}
	if err != nil {
		return s.status("offer part", slave.Name, err)
	}
	return stream.SendAndClose(&pb.OfferPartReply{})
}

// pieces reads the data of a stream.
type pieces struct {
	first []byte
	next  func() ([]byte, error)
}

// Read implements io.Reader.
func (p *pieces) Read(b []byte) (int, error) {
	for len(p.first) == 0 {
		var err error
		if p.first, err = p.next(); err != nil {
			return 0, err
		}
	}
	n := copy(b, p.first)
	p.first = p.first[n:]
	return n, nil
}

// AwaitParts implements the contract.
func (s partsServer) AwaitParts(ctx context.Context, r *pb.AwaitPartsRequest) (*pb.AwaitPartsReply, error) {
	slave, err := slaveOf(ctx, r.GetSlave())
	if err != nil {
		return nil, err
	}
	lease, err := leaseOf(r.GetLease())
	if err != nil {
		return nil, err
	}
	if len(r.GetTakeBack()) > maxParts || len(r.GetWrong()) > maxParts {
		return nil, malformed("more than %d parts", maxParts)
	}
	want := task.PartsWanted{Over: r.GetOver(), Seen: r.GetSeen(), TakeBack: ints(r.GetTakeBack()), Wrong: ints(r.GetWrong())}
	wait, cancel := context.WithTimeout(ctx, min(millis(r.GetWaitMs()), s.cfg.MaxWait))
	defer cancel()
	defer context.AfterFunc(s.stopping, cancel)()
	news := s.cfg.Parts.Await(wait, slave.Name, lease, want)
	reply := &pb.AwaitPartsReply{Idle: uint32(news.Idle), Version: news.Version}
	for _, n := range news.Parts {
		p := &pb.PartState{Number: uint32(n.Number), State: stateToWire[n.State], Slave: n.Slave, Reason: clip(n.Reason, 1000)}
		if n.State == task.PartDone {
			if p.Answer, err = json.Marshal(n.Answer); err != nil {
				return nil, s.status("await parts", slave.Name, err)
			}
		}
		reply.Parts = append(reply.Parts, p)
	}
	return reply, nil
}

var stateToWire = map[task.PartState]pb.PartState_State{
	task.PartWaiting: pb.PartState_STATE_WAITING,
	task.PartTaken:   pb.PartState_STATE_TAKEN,
	task.PartDone:    pb.PartState_STATE_DONE,
	task.PartBack:    pb.PartState_STATE_BACK,
}

// FetchPart implements the contract.
func (s partsServer) FetchPart(r *pb.FetchPartRequest, stream grpc.ServerStreamingServer[pb.FetchPartReply]) error {
	slave, err := slaveOf(stream.Context(), r.GetSlave())
	if err != nil {
		return err
	}
	if err := s.cfg.Parts.Fetch(slave.Name, r.GetPartId(), sending{stream}); err != nil {
		return s.status("fetch part", slave.Name, err)
	}
	return nil
}

// sending writes the data of a part to a stream.
type sending struct {
	stream grpc.ServerStreamingServer[pb.FetchPartReply]
}

// Write implements io.Writer.
func (w sending) Write(b []byte) (int, error) {
	for at := 0; at < len(b); at += partPiece {
		// The message is written before Send returns: b may be used again.
		if err := w.stream.Send(&pb.FetchPartReply{Data: b[at:min(at+partPiece, len(b))]}); err != nil {
			return at, err
		}
	}
	return len(b), nil
}

// FinishPart implements the contract.
func (s partsServer) FinishPart(ctx context.Context, r *pb.FinishPartRequest) (*pb.FinishPartReply, error) {
	slave, err := slaveOf(ctx, r.GetSlave())
	if err != nil {
		return nil, err
	}
	var a task.Answer
	var failure error
	if len(r.GetAnswer()) == 0 {
		failure = errors.New(clip(r.GetReason(), 1000))
	} else if err := json.Unmarshal(r.GetAnswer(), &a); err != nil {
		return nil, malformed("the answer of a part is not JSON of the contract: %v", err)
	}
	if err := s.cfg.Parts.Finish(slave.Name, r.GetPartId(), a.Normal(), failure); err != nil {
		return nil, s.status("finish part", slave.Name, err)
	}
	return &pb.FinishPartReply{}, nil
}

// claim waits for a task or a part, until ctx ends. A task that came at the same
// moment as a part is given; the part waits for another.
func (s *Server) claim(ctx context.Context, slave queue.Slave, want task.Want) (task.Assignment, error) {
	if s.cfg.Parts == nil || s.cfg.Queue.Draining(slave.Name) {
		return s.cfg.Queue.Claim(ctx, slave, want)
	}
	seat := s.cfg.Parts.Sit(slave.Name, want)
	defer seat.Leave()
	for {
		if p, ok := seat.Take(); ok {
			return task.Assignment{
				Lease: task.Lease{ID: p.ID}, Question: p.Question, Remaining: p.Window, HeartbeatTimeout: s.cfg.Queue.HeartbeatTimeout(), Part: &p,
			}, nil
		}
		asking, stop := context.WithCancel(ctx)
		watched := make(chan struct{})
		go func() {
			defer close(watched)
			if seat.Await(asking) == nil {
				stop()
			}
		}()
		a, err := s.cfg.Queue.Claim(asking, slave, want)
		stop()
		<-watched
		if err == nil || ctx.Err() != nil || !errors.Is(err, task.ErrNoTask) && !errors.Is(err, context.Canceled) {
			return a, err
		}
	}
}

func ints(list []uint32) []int {
	var out []int
	for _, n := range list {
		out = append(out, int(n))
	}
	return out
}

// Parts is the desk of parts that the server puts before the network.
type Parts interface {
	// Offer takes a part of the task that the slave has. parts.ErrNoRoom: not now.
	Offer(ctx context.Context, slave string, l task.Lease, number int, q task.Question, n int64, data io.Reader) error
	// Await waits for a change in the parts of a lease until ctx ends.
	Await(ctx context.Context, slave string, l task.Lease, want task.PartsWanted) task.PartsNews
	// Sit makes a slave that proves count as idle; the seat gives it parts.
	Sit(slave string, want task.Want) *parts.Seat
	// Fetch writes the vanilla proofs of a part that the slave has.
	Fetch(slave, id string, to io.Writer) error
	// Finish ends the slave's work on a part.
	Finish(slave, id string, a task.Answer, failure error) error
	// Beat notes that the slave works on parts and returns those it has lost.
	Beat(slave string, ids []string) (lost []string)
}

// partTimeout bounds the transfer of a part's data.
const partTimeout = 5 * time.Minute
