package master

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"time"

	"github.com/prometheus/common/expfmt"

	"wdpost/internal/attr"
	"wdpost/internal/condition"
	"wdpost/internal/extprover"
	"wdpost/internal/patience"
	"wdpost/internal/queue"
	"wdpost/internal/rpc"
)

// settle is how long a report waits after a change for what changes with it.
const settle = 50 * time.Millisecond

// report tells the parent how the master is: at once, at every change, and
// every few seconds. The returned function ends it with a last report, so that
// the reason of an end arrives.
func (m *Master) report(ctx context.Context) (end func()) {
	if m.cfg.Reporter == nil {
		return func() {}
	}
	changed := make(chan struct{}, 1)
	m.board.Watch(func(condition.Change) {
		select {
		case changed <- struct{}{}:
		default:
		}
	})
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(extprover.ReportEvery)
		defer tick.Stop()
		for m.reportOnce(ctx) {
			select {
			case <-changed:
				_ = patience.Sleep(ctx, settle) // its end is seen below
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
	}()
	return func() {
		cancel()
		<-done
		m.reportOnce(context.WithoutCancel(ctx))
	}
}

// reportOnce tells the parent once, and returns false when it does not listen
// any more.
func (m *Master) reportOnce(ctx context.Context) bool {
	if err := m.cfg.Reporter.Report(m.picture(ctx)); err != nil {
		m.cfg.Log.Debug("the manager does not listen to reports", attr.Err(err))
		return false
	}
	return true
}

// picture is the master at this moment.
func (m *Master) picture(ctx context.Context) extprover.Report {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	out := extprover.Report{Build: rpc.BuildVersion(), Database: m.queue.Database(), Slaves: []extprover.SlaveCount{}, Metrics: m.metrics()}
	for _, c := range m.board.List() {
		out.Conditions = append(out.Conditions, extprover.ReportedCondition{
			Kind: string(c.Kind), Subject: c.Subject, Detail: c.Detail, Remedy: c.Remedy, Since: c.Since,
		})
	}
	figures, err := m.queue.Figures(ctx)
	if err != nil {
		return out // what the database does stands among the conditions
	}
	for _, s := range figures.Slaves {
		out.Slaves = append(out.Slaves, extprover.SlaveCount{State: s.State, SectorSize: s.SectorSize, Count: s.Count})
	}
	out.Tasks = make(map[string]int)
	for state, n := range figures.Tasks {
		out.Tasks[string(state)] = n
	}
	return out
}

// metrics are our own figures as text; those of runtime and process are the
// host's to show for itself.
func (m *Master) metrics() string {
	families, err := m.registry.Gather()
	if err != nil {
		m.cfg.Log.Debug("figures not gathered", attr.Err(err))
	}
	var out bytes.Buffer
	for _, f := range families {
		if strings.HasPrefix(f.GetName(), "wdpost_") {
			_, _ = expfmt.MetricFamilyToText(&out, f) // a buffer takes all
		}
	}
	return out.String()
}

// remedyOf is what to do about an error of the database, where it is known.
func remedyOf(err error) string {
	var r queue.Remedy
	if errors.As(err, &r) {
		return r.Remedy()
	}
	return ""
}
