package slave

import (
	"context"
	"errors"
	"fmt"
	"time"

	"wdpost/internal/attr"
	"wdpost/internal/task"
)

// workPart proves a part of another slave's task: its vanilla proofs come with
// it, so no store is needed here.
func (w *Worker) workPart(ctx context.Context, h *held) {
	p := *h.assignment.Part
	log := w.logOf(task.Lease{ID: p.ID}, p.Question.MinerID)
	log.Info("got part of a task:", attr.SectorCount(len(p.Question.Replicas)), attr.ProofType(p.Question.ProofType), attr.Bytes(p.DataLen), attr.Remaining(p.Window))
	begin := time.Now()
	a, err := w.provePart(ctx, h, p)
	if cause := context.Cause(ctx); cause != nil && err != nil {
		err = cause
	}
	if errors.Is(err, task.ErrUnable) {
		w.cannot(p.Question, err)
	}
	w.count(a, err)
	took := time.Since(begin).Round(time.Millisecond)
	switch {
	case errors.Is(err, task.ErrLost):
		log.Info("part is wanted no more", attr.Took(took))
		return
	case err != nil:
		log.Warn("part not proven", attr.Took(took), attr.Err(err))
	default:
		log.Info("part proven", attr.Took(took))
	}
	w.setStage(h, stageDelivering)
	// A stopping slave still says that it is not proven: another takes it at once.
	deliver, cancel := context.WithTimeout(context.WithoutCancel(ctx), 4*w.cfg.HeartbeatInterval)
	defer cancel()
	retry := w.backoff()
	for {
		lost := w.cfg.Parts.FinishPart(deliver, p.ID, a, err)
		if lost == nil || errors.Is(lost, task.ErrLost) {
			return
		}
		if retry.Wait(deliver) != nil {
			log.Warn("part not delivered; its reader proves it", attr.Err(lost))
			return
		}
	}
}

// provePart brings the vanilla proofs of a part and proves it.
func (w *Worker) provePart(ctx context.Context, h *held, p task.Part) (task.Answer, error) {
	q, err := w.cfg.Parts.FetchPart(ctx, p)
	if err != nil {
		return task.Answer{}, fmt.Errorf("vanilla proofs of the part: %w", err)
	}
	return w.prove(ctx, h, q)
}
