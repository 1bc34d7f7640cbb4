package queue_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"wdpost/internal/queue"
	"wdpost/internal/task"
)

// late starts a master whose database is opened by prepare.
func (w *world) late(log *slog.Logger, prepare func(context.Context) error) (*queue.Queue, chan error) {
	w.t.Helper()
	q, err := queue.New(w.ctx, w.store, queue.Config{MaxRetry: 2, Verifier: verifier{}, Log: log, PollInterval: time.Second, Prepare: prepare})
	if err != nil {
		w.t.Fatal(err)
	}
	ended := make(chan error, 1)
	w.wg.Go(func() { ended <- q.Run(w.ctx) })
	return q, ended
}

// A database that comes late costs nothing but the wait: questions are kept,
// other calls fail, and one line says so.
func TestDatabaseComesLate(t *testing.T) {
	simulate(t, func(w *world) {
		var log bytes.Buffer
		begin := time.Now()
		q, _ := w.late(slog.New(slog.NewTextHandler(&log, nil)), func(context.Context) error {
			if time.Since(begin) < 5*time.Minute {
				return fmt.Errorf("%w: connection refused", queue.ErrUnavailable)
			}
			return nil
		})
		w.slave(w.ctx, q, "a", w.after(time.Second, right, nil))
		me, l := queue.Slave{Name: "b"}, task.Lease{ID: question(1).ID(), Attempt: 1}
		time.Sleep(time.Minute)
		_, claim := q.Claim(w.ctx, me, task.Want{})
		_, beat := q.Heartbeat(w.ctx, me, []queue.Beat{{Lease: l}})
		for call, err := range map[string]error{
			"claim": claim, "heartbeat": beat,
			"finish":    q.Finish(w.ctx, "b", l, right),
			"fail":      q.Fail(w.ctx, "b", l, &task.Verdict{Kind: task.KindRetry, Err: errors.New("x")}),
			"hand back": q.HandBack(w.ctx, "b", l, errors.New("x")),
			"health":    q.Health(w.ctx),
		} {
			if !errors.Is(err, queue.ErrUnavailable) || !queue.IsNotOpen(err) || !strings.Contains(err.Error(), "connection refused") {
				t.Errorf("%s: %v", call, err)
			}
		}
		soon := question(2)
		soon.NotAfter = time.Now().Add(time.Minute).Unix()
		if _, err := q.Ask(w.ctx, soon); err == nil || !strings.Contains(err.Error(), "window closed") || time.Since(begin) != 2*time.Minute {
			t.Errorf("a window that closes meanwhile: %v after %v", err, time.Since(begin))
		}
		w.wantRight(q.Ask(w.ctx, question(1)))
		if took := time.Since(begin); took < 5*time.Minute || took > 5*time.Minute+5*time.Second {
			t.Errorf("answered after %v", took)
		}
		if err := q.Health(w.ctx); err != nil {
			t.Error(err)
		}
		synctest.Wait() // nobody logs any more
		if n := strings.Count(log.String(), "level=WARN"); n != 1 {
			t.Errorf("%d warnings: %s", n, log.String())
		}
	})
}

// A mistake that only an operator can mend ends the queue, at the start and when
// it shows later.
func TestUnusableDatabaseEndsTheQueue(t *testing.T) {
	for _, away := range []time.Duration{0, time.Minute} {
		simulate(t, func(w *world) {
			begin, wrong := time.Now(), errors.New("access denied; check user and password")
			_, ended := w.late(slog.New(slog.DiscardHandler), func(context.Context) error {
				if time.Since(begin) < away {
					return queue.ErrUnavailable
				}
				return wrong
			})
			if err := <-ended; !errors.Is(err, wrong) || time.Since(begin) != away {
				t.Errorf("%v after %v", err, time.Since(begin))
			}
		})
	}
}

// Stopping does not wait for a database that never comes.
func TestStopWhileTheDatabaseIsAway(t *testing.T) {
	simulate(t, func(w *world) {
		ctx, cancel := context.WithCancel(w.ctx)
		q, err := queue.New(ctx, w.store, queue.Config{Verifier: verifier{}, Log: slog.New(slog.DiscardHandler), Prepare: func(ctx context.Context) error {
			<-ctx.Done()
			return fmt.Errorf("%w: %w", queue.ErrUnavailable, ctx.Err())
		}})
		if err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(time.Minute, cancel)
		if err := q.Run(ctx); err != nil {
			t.Error(err)
		}
	})
}
