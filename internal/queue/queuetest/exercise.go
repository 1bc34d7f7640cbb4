// Package queuetest checks that a database keeps the promises of queue.Store,
// and helps tests to a private MariaDB server.
package queuetest

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"wdpost/internal/queue"
	"wdpost/internal/task"
)

// Exercise runs every rule of queue.Store against stores that open returns.
// Each call of open must give an empty, migrated store; connect, called with
// such a store open, another connection to the same data, as a second master
// has it. The times in the tests are their own and do not touch the clock.
func Exercise(t *testing.T, open func(t *testing.T) (store queue.Store, connect func() queue.Store)) {
	for name, rule := range map[string]func(*testing.T, *bundle){
		"PutIsIdempotent":       putIsIdempotent,
		"PutOfAFailedTask":      putOfAFailedTask,
		"ClaimOrder":            claimOrder,
		"ClaimFilters":          claimFilters,
		"ClaimAvoids":           claimAvoids,
		"ClaimIsExclusive":      claimIsExclusive,
		"ClaimAgain":            claimAgain,
		"ClaimAgainIsGuarded":   claimAgainIsGuarded,
		"ClaimAgainAtOnce":      claimAgainAtOnce,
		"HeartbeatFences":       heartbeatFences,
		"FinishIsIdempotent":    finishIsIdempotent,
		"FinishFences":          finishFences,
		"LateAnswerIsTaken":     lateAnswerIsTaken,
		"FailVerdicts":          failVerdicts,
		"Offer":                 offer,
		"RescueSilent":          rescueSilent,
		"RescueOverdue":         rescueOverdue,
		"DropClosed":            dropClosed,
		"Archive":               archive,
		"PollAndShow":           pollAndShow,
		"List":                  list,
		"RetryAndCancel":        retryAndCancel,
		"Slaves":                slaves,
		"WholeRows":             wholeRows,
		"Reserve":               reserve,
		"TroublesWait":          troublesWait,
		"StalledAttempts":       stalledAttempts,
		"UnseenStores":          unseenStores,
		"OtherProcess":          otherProcess,
		"Clock":                 clock,
		"Sweep":                 sweep,
		"Resolve":               resolve,
		"LargeAndOddBodies":     largeBodies,
		"EndedContext":          endedContext,
		"SeveralMastersAtOnce":  severalMasters,
		"ClaimUsesItsIndexOnly": manyTasks,
	} {
		t.Run(name, func(t *testing.T) {
			store, connect := open(t)
			rule(t, &bundle{Store: store, t: t, ctx: t.Context(), connect: connect})
		})
	}
}

// bundle is a store with short-hands that fail the test.
type bundle struct {
	queue.Store
	t       *testing.T
	ctx     context.Context
	connect func() queue.Store
}

// id makes a task id out of a small number.
func id(n int) string { return fmt.Sprintf("%032x", n) }

func (b *bundle) put(now int64, n int, notAfter int64) queue.Task {
	b.t.Helper()
	t, err := b.Put(b.ctx, now, queue.NewTask{ID: id(n), In: fmt.Appendf(nil, "question %d", n), NotAfter: notAfter, SectorSize: 2048})
	if err != nil {
		b.t.Fatalf("put %d: %v", n, err)
	}
	return t
}

// claim returns the task given to one claimer, without ID if there was none.
func (b *bundle) claim(now int64, slave string) queue.Task {
	b.t.Helper()
	ts, err := b.Claim(b.ctx, now, []queue.Claimer{{Slave: slave}})
	if err != nil || len(ts) != 1 {
		b.t.Fatalf("claim: %v, %d results", err, len(ts))
	}
	return ts[0]
}

// must claims and fails the test if it is not the wanted task.
func (b *bundle) must(now int64, slave string, n int) queue.Task {
	b.t.Helper()
	t := b.claim(now, slave)
	if t.ID != id(n) {
		b.t.Fatalf("claimed %q, want task %d", t.ID, n)
	}
	return t
}

func (b *bundle) show(n int) queue.Task {
	b.t.Helper()
	t, err := b.Show(b.ctx, id(n))
	if err != nil {
		b.t.Fatalf("show %d: %v", n, err)
	}
	return t
}

func (b *bundle) state(n int, want task.State) queue.Task {
	b.t.Helper()
	t := b.show(n)
	if t.State != want {
		b.t.Fatalf("task %d is %s, want %s: %+v", n, t.State, want, t)
	}
	return t
}

func (b *bundle) ok(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *bundle) is(err, want error) {
	b.t.Helper()
	if !errors.Is(err, want) {
		b.t.Fatalf("error %v, want %v", err, want)
	}
}
