package slave_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"wdpost/internal/slave"
	"wdpost/internal/task"
)

// unreadable answers for questions whose first sector is below 100 that nothing
// can be read, for the reason given, and proves the others.
func unreadable(kind task.FaultKind) prover {
	return func(ctx context.Context, q task.Question) (task.Answer, error) {
		if q.Replicas[0].SectorID >= 100 {
			return within(time.Second)(ctx, q)
		}
		faults := make(map[uint64]error)
		var a task.Answer
		for _, r := range q.Replicas {
			a.Faults = append(a.Faults, r.SectorID)
			faults[r.SectorID] = &task.FaultError{Kind: kind, Store: "/mnt/a", Err: errors.New("no good")}
		}
		a.Reasons = task.Reasons(faults)
		return a, nil
	}
}

// Sectors that nobody can read never slow a slave down for the others: the
// brake is for failures of its own.
func TestUnreadableSectorsAreNotTheSlavesFailure(t *testing.T) {
	for _, kind := range []task.FaultKind{task.FaultData, task.FaultUnseen, task.FaultStore, ""} {
		t.Run(string(kind), func(t *testing.T) {
			simulate(t, func(w *world) {
				p := w.start("a", unreadable(kind), nil)
				for n := range 5 {
					if a, err := w.ask(question(10*n), 20*time.Second); err == nil && len(a.Proofs) > 0 {
						t.Fatalf("proven: %+v", a)
					}
				}
				begin := time.Now()
				w.wantRight(question(100), time.Hour)
				if took := time.Since(begin); took > 10*time.Second {
					t.Errorf("a healthy task took %v after unreadable ones", took)
				}
				p.stop()
			})
		})
	}
}

// Failures of the slave's own do slow it down.
func TestOwnFailuresSlowASlaveDown(t *testing.T) {
	simulate(t, func(w *world) {
		var mu sync.Mutex
		var calls []time.Time
		p := w.start("a", func(context.Context, task.Question) (task.Answer, error) {
			mu.Lock()
			defer mu.Unlock()
			calls = append(calls, time.Now())
			return task.Answer{}, errors.New("out of memory")
		}, nil)
		_, _ = w.ask(question(1), 2*time.Minute)
		p.killed()
		mu.Lock()
		defer mu.Unlock()
		if len(calls) < 4 || calls[3].Sub(calls[2]) < 10*time.Second {
			t.Errorf("%d attempts, %v", len(calls), calls)
		}
	})
}

// A claim names the stores in which nothing could be read, by the asker's paths,
// until a sector there is read; one ERROR says so.
func TestClaimsNameUnseenStores(t *testing.T) {
	simulate(t, func(w *world) {
		var log bytes.Buffer
		seen := make(chan []string, 1000)
		p := w.start("a", unreadable(task.FaultUnseen), func(c *slave.Config) {
			c.Log = slog.New(slog.NewTextHandler(&log, nil))
			c.Master = listening{c.Master.(*master), seen}
		})
		q := question(1)
		for i := range q.Replicas {
			q.Replicas[i].SealedFile = "/mnt/a/sealed/s"
		}
		_, _ = w.ask(q, 30*time.Second)
		q = question(100)
		q.Replicas[0].SealedFile = "/mnt/b/sealed/s"
		w.wantRight(q, time.Hour)
		q.Replicas[0].SealedFile, q.Replicas[0].SectorID = "/mnt/a/sealed/s", 200
		w.wantRight(q, time.Hour)
		synctest.Wait() // for the claim after it
		p.stop()
		close(seen)
		var all [][]string
		for s := range seen {
			if len(all) == 0 || !slices.Equal(s, all[len(all)-1]) {
				all = append(all, s)
			}
		}
		if len(all) != 3 || all[0] != nil || !slices.Equal(all[1], []string{"/mnt/a"}) || all[2] != nil {
			t.Errorf("claims named %v", all)
		}
		if n := strings.Count(log.String(), "no sector in this store can be read"); n != 1 {
			t.Errorf("said %d times:\n%s", n, log.String())
		}
	})
}

// listening notes what claims name.
type listening struct {
	*master
	unseen chan []string
}

func (l listening) Claim(ctx context.Context, want task.Want, wait time.Duration) (task.Assignment, error) {
	l.unseen <- want.Unseen
	return l.master.Claim(ctx, want, wait)
}

// A size that cannot be proven here, for want of a key or of memory, is not
// asked for again for a while; others are, without a brake, and the master is
// told.
func TestSizeThatCannotBeProvenIsNotTaken(t *testing.T) {
	simulate(t, func(w *world) {
		claims := 0
		p := w.start("a", func(ctx context.Context, q task.Question) (task.Answer, error) {
			if strings.Contains(q.ProofType, "2KiB") {
				claims++
				return task.Answer{}, fmt.Errorf("%w: no key", task.ErrUnable)
			}
			return within(time.Second)(ctx, q)
		}, func(c *slave.Config) { c.AllSizes = []uint64{2 << 10, 8 << 20} })
		_, _ = w.ask(question(1), time.Minute)
		if claims != 1 {
			t.Errorf("%d attempts of what cannot be proven", claims)
		}
		r := p.Report()
		if r.State != task.SlaveReady || !slices.Equal(r.SectorSizes, []uint64{8 << 20}) || !strings.Contains(r.LastError, "no key") {
			t.Errorf("%+v", r)
		}
		begin := time.Now()
		q := question(100)
		q.ProofType = "StackedDrgWindow8MiBV1_2"
		w.wantRight(q, time.Hour)
		if took := time.Since(begin); took > 10*time.Second {
			t.Errorf("another size took %v", took)
		}
		_, _ = w.ask(question(1), 10*time.Minute)
		if claims < 2 {
			t.Error("never tried again")
		}
		p.stop()
		if r = p.Report(); r.State != task.SlaveLeaving {
			t.Errorf("%+v", r)
		}
	})
	simulate(t, func(w *world) {
		p := w.start("b", func(context.Context, task.Question) (task.Answer, error) {
			return task.Answer{}, fmt.Errorf("%w: no key", task.ErrUnable)
		}, func(c *slave.Config) { c.SectorSizes = []uint64{2 << 10} })
		_, _ = w.ask(question(1), time.Minute)
		if r := p.Report(); r.State != task.SlaveWaiting || !strings.Contains(r.Why, "no key") {
			t.Errorf("the only size cannot be proven: %+v", r)
		}
	})
}
