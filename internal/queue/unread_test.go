package queue_test

import (
	"testing"
	"time"

	"wdpost/internal/task"
)

// Where nothing of a question can be read because the data is wrong, its asker
// is told at once, with the reasons, since it may know other copies; asked again
// the task starts over instead of giving the same news.
func TestUnreadableQuestionsReachTheAsker(t *testing.T) {
	simulate(t, func(w *world) {
		q := w.master(w.ctx)
		calls := 0
		w.slave(w.ctx, q, "a", func(a task.Assignment) (task.Answer, error) {
			if calls++; calls > 1 {
				return right, nil
			}
			var faults []uint64
			for _, r := range a.Question.Replicas {
				faults = append(faults, r.SectorID)
			}
			return task.Answer{Faults: faults, Reasons: []task.Reason{{Kind: task.FaultData, Sectors: faults, Err: "damaged"}}}, nil
		})
		time.Sleep(time.Second)
		begin := time.Now()
		a, err := q.Ask(w.ctx, question(1))
		if err != nil || len(a.Proofs) != 0 || len(a.Faults) != len(question(1).Replicas) || len(a.Reasons) != 1 {
			t.Fatalf("%+v, %v", a, err)
		}
		if took := time.Since(begin); took > time.Second {
			t.Errorf("told after %v", took)
		}
		a, err = q.Ask(w.ctx, question(1))
		w.wantRight(a, err)
	})
}
