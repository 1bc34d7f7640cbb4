package queuetest

import (
	"context"
	"fmt"
	"time"

	"wdpost/internal/queue"
	"wdpost/internal/task"
)

// Fault decides the fate of a call of a store's method. An error that is not
// nil is what the caller sees, wrapped in queue.ErrUnavailable; apply says
// whether the call took effect all the same.
type Fault func(method string) (apply bool, err error)

// Methods are the names given to a Fault.
func Methods() []string {
	return []string{"Put", "Claim", "Unheard", "Heartbeat", "Finish", "Fail", "Rescue", "DropClosed", "Archive", "Poll", "Show",
		"Retry", "Cancel", "Ready", "Offer", "Settle", "SeeSlave", "ForgetSlaves", "Now"}
}

// Faulty is a store whose calls fail as told, in both ways: without effect, or
// with the effect but without the news of it.
type Faulty struct {
	queue.Store
	Fault Fault
}

// call runs one method under the fault.
func call[T any](f Faulty, method string, do func() (T, error)) (T, error) {
	apply, err := f.Fault(method)
	if err == nil {
		return do()
	}
	var none T
	if apply {
		_, _ = do() // nobody learns what came of it
	}
	return none, fmt.Errorf("%w: %w", queue.ErrUnavailable, err)
}

// step is call for methods without a result.
func step(f Faulty, method string, do func() error) error {
	_, err := call(f, method, func() (struct{}, error) { return struct{}{}, do() })
	return err
}

// Put implements queue.Store.
func (f Faulty) Put(ctx context.Context, now int64, n queue.NewTask) (queue.Task, error) {
	return call(f, "Put", func() (queue.Task, error) { return f.Store.Put(ctx, now, n) })
}

// Claim implements queue.Store.
func (f Faulty) Claim(ctx context.Context, now int64, c []queue.Claimer) ([]queue.Task, error) {
	return call(f, "Claim", func() ([]queue.Task, error) { return f.Store.Claim(ctx, now, c) })
}

// Heartbeat implements queue.Store.
func (f Faulty) Heartbeat(ctx context.Context, now int64, b []queue.Beat) (queue.Heard, error) {
	return call(f, "Heartbeat", func() (queue.Heard, error) { return f.Store.Heartbeat(ctx, now, b) })
}

// Unheard implements queue.Store.
func (f Faulty) Unheard(ctx context.Context, now int64) ([]queue.Task, error) {
	return call(f, "Unheard", func() ([]queue.Task, error) { return f.Store.Unheard(ctx, now) })
}

// Finish implements queue.Store.
func (f Faulty) Finish(ctx context.Context, now int64, l task.Lease, out []byte) error {
	return step(f, "Finish", func() error { return f.Store.Finish(ctx, now, l, out) })
}

// Offer implements queue.Store.
func (f Faulty) Offer(ctx context.Context, now int64, l task.Lease, o queue.Offer) error {
	return step(f, "Offer", func() error { return f.Store.Offer(ctx, now, l, o) })
}

// Settle implements queue.Store.
func (f Faulty) Settle(ctx context.Context, now int64) ([]queue.Task, error) {
	return call(f, "Settle", func() ([]queue.Task, error) { return f.Store.Settle(ctx, now) })
}

// Fail implements queue.Store.
func (f Faulty) Fail(ctx context.Context, now int64, l task.Lease, why queue.Failure) (task.State, error) {
	return call(f, "Fail", func() (task.State, error) { return f.Store.Fail(ctx, now, l, why) })
}

// Rescue implements queue.Store.
func (f Faulty) Rescue(ctx context.Context, now int64, p queue.RescuePolicy) ([]queue.Task, error) {
	return call(f, "Rescue", func() ([]queue.Task, error) { return f.Store.Rescue(ctx, now, p) })
}

// DropClosed implements queue.Store.
func (f Faulty) DropClosed(ctx context.Context, now int64) ([]queue.Task, error) {
	return call(f, "DropClosed", func() ([]queue.Task, error) { return f.Store.DropClosed(ctx, now) })
}

// Archive implements queue.Store.
func (f Faulty) Archive(ctx context.Context, before int64, limit int) (int, error) {
	return call(f, "Archive", func() (int, error) { return f.Store.Archive(ctx, before, limit) })
}

// Poll implements queue.Store.
func (f Faulty) Poll(ctx context.Context, ids []string) ([]queue.Task, error) {
	return call(f, "Poll", func() ([]queue.Task, error) { return f.Store.Poll(ctx, ids) })
}

// Show implements queue.Store.
func (f Faulty) Show(ctx context.Context, id string) (queue.Task, error) {
	return call(f, "Show", func() (queue.Task, error) { return f.Store.Show(ctx, id) })
}

// Retry implements queue.Store.
func (f Faulty) Retry(ctx context.Context, now int64, id string) error {
	return step(f, "Retry", func() error { return f.Store.Retry(ctx, now, id) })
}

// Cancel implements queue.Store.
func (f Faulty) Cancel(ctx context.Context, now int64, id string, kind task.VerdictKind, reason string) error {
	return step(f, "Cancel", func() error { return f.Store.Cancel(ctx, now, id, kind, reason) })
}

// Ready implements queue.Store.
func (f Faulty) Ready(ctx context.Context, now int64, limit int) (int, error) {
	return call(f, "Ready", func() (int, error) { return f.Store.Ready(ctx, now, limit) })
}

// SeeSlaves implements queue.Store.
func (f Faulty) SeeSlaves(ctx context.Context, now int64, slaves []queue.Slave) ([]string, error) {
	return call(f, "SeeSlaves", func() ([]string, error) { return f.Store.SeeSlaves(ctx, now, slaves) })
}

// Slaves implements queue.Store.
func (f Faulty) Slaves(ctx context.Context, since int64) ([]queue.Slave, error) {
	return call(f, "Slaves", func() ([]queue.Slave, error) { return f.Store.Slaves(ctx, since) })
}

// Due implements queue.Store.
func (f Faulty) Due(ctx context.Context, now int64, p queue.RescuePolicy) (queue.Due, error) {
	return call(f, "Due", func() (queue.Due, error) { return f.Store.Due(ctx, now, p) })
}

// ShiftClock implements queue.Store.
func (f Faulty) ShiftClock(ctx context.Context, from, to time.Duration) error {
	return step(f, "ShiftClock", func() error { return f.Store.ShiftClock(ctx, from, to) })
}

// ForgetSlaves implements queue.Store.
func (f Faulty) ForgetSlaves(ctx context.Context, before int64) error {
	return step(f, "ForgetSlaves", func() error { return f.Store.ForgetSlaves(ctx, before) })
}

// Now implements queue.Store.
func (f Faulty) Now(ctx context.Context) (queue.Reading, error) {
	return call(f, "Now", func() (queue.Reading, error) { return f.Store.Now(ctx) })
}
