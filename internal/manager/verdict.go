package manager

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"wdpost/internal/attr"
	"wdpost/internal/condition"
	"wdpost/internal/extprover"
	"wdpost/internal/patience"
)

// watch folds what must be looked at into the board every second, until ctx
// ends.
func (m *Manager) watch(ctx context.Context) error {
	for {
		m.fold(time.Now())
		m.teller.remind(m.board.List())
		m.folded.Store(time.Now().UnixNano())
		if patience.Sleep(ctx, time.Second) != nil {
			return nil
		}
	}
}

// fold looks at what does not tell by itself.
func (m *Manager) fold(now time.Time) {
	m.foldProcessors(now)
	m.foldMiners()
	m.foldHome()
}

// Patience with processors.
const (
	processorStart  = 10 * time.Second                        // a start that takes no longer is no condition
	processorSilent = 2*extprover.ReportEvery + 3*time.Second // a report older than this is too old
)

// foldProcessors takes over what the processors report, and says which are down.
func (m *Manager) foldProcessors(now time.Time) {
	if m.host == nil {
		return
	}
	children, _ := m.host.Status()
	for _, c := range children {
		m.board.Replace(c.Name, reported(c.Report))
		m.board.When(c.Report != nil && c.Pid != 0 && now.Sub(c.Reported) > processorSilent, condition.Condition{
			Kind: condition.ProcessorSilent, Subject: c.Name, Detail: fmt.Sprintf("its last report came at %s", c.Reported.Format(time.DateTime)),
		})
		if c.Ready {
			delete(m.down, c.Name)
			m.board.Clear(condition.ProcessorDown, c.Name)
			continue
		}
		since, known := m.down[c.Name]
		if !known {
			since = now
			m.down[c.Name] = now
		}
		if c.LastError != "" || now.Sub(since) > processorStart {
			m.board.Set(condition.Condition{
				Kind: condition.ProcessorDown, Subject: c.Name,
				Detail: cmp.Or(c.LastError, fmt.Sprintf("process %d has not said that it is ready for %s", c.Pid, now.Sub(since).Round(time.Second))),
			})
		}
	}
}

// reported are a child's conditions in the board's words.
func reported(r *extprover.Report) []condition.Condition {
	if r == nil {
		return nil
	}
	out := make([]condition.Condition, len(r.Conditions))
	for i, c := range r.Conditions {
		out[i] = condition.Condition{Kind: condition.Kind(c.Kind), Subject: c.Subject, Detail: c.Detail, Remedy: c.Remedy, Since: c.Since}
	}
	return out
}

func (m *Manager) foldMiners() {
	m.miners.each(func(actor uint64, r *minerRun) {
		err := m.stores.allowed(actor)
		m.board.When(err != nil, condition.Condition{Kind: condition.MinerNoStore, Subject: subject(actor), Detail: oneLine(err)})
	})
}

// homeLeast is how much room the home needs, in bytes.
const homeLeast = 256 << 20

func (m *Manager) foldHome() {
	var fs unix.Statfs_t
	if err := unix.Statfs(m.cfg.Home, &fs); err != nil {
		return // the ledger says so
	}
	free := fs.Bavail * uint64(fs.Bsize)
	m.board.When(free < homeLeast, condition.Condition{
		Kind: condition.HomeFull, Subject: m.cfg.Home, Detail: fmt.Sprintf("%d MiB are free of %d MiB", free>>20, fs.Blocks*uint64(fs.Bsize)>>20),
	})
}

// oneLine is the text of an error that may be several.
func oneLine(err error) string {
	if err == nil {
		return ""
	}
	return strings.ReplaceAll(err.Error(), "\n", "; ")
}

// teller writes the beginning of each condition to the log, the condition again
// every ten minutes while it stands, and its end.
type teller struct {
	log *slog.Logger

	mu   sync.Mutex
	told map[string]time.Time // by kind, subject and source
}

// reminder is how often a standing condition is told again.
const reminder = 10 * time.Minute

func newTeller(log *slog.Logger) *teller { return &teller{log: log, told: map[string]time.Time{}} }

func nameOf(c condition.Condition) string {
	return string(c.Kind) + "\x00" + c.Subject + "\x00" + c.Source
}

// changed is told by the board.
func (t *teller) changed(c condition.Change) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if c.Began {
		t.told[nameOf(c.Condition)] = time.Now()
		t.say("condition began", c.Condition)
		return
	}
	delete(t.told, nameOf(c.Condition))
	t.log.Info("condition over", attr.Condition(string(c.Condition.Kind)), attr.Subject(c.Condition.Subject),
		attr.Took(time.Since(c.Condition.Since).Round(time.Second)))
}

// remind tells again what has stood for long.
func (t *teller) remind(standing []condition.Condition) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, c := range standing {
		if told, known := t.told[nameOf(c)]; known && time.Since(told) >= reminder {
			t.told[nameOf(c)] = time.Now()
			t.say("condition stands", c)
		}
	}
}

func (t *teller) say(msg string, c condition.Condition) {
	level := slog.LevelWarn
	if grave(c) {
		level = slog.LevelError
	}
	attrs := []slog.Attr{attr.Condition(string(c.Kind)), attr.Subject(c.Subject), attr.Cost(string(c.Cost)), attr.Detail(c.Detail), attr.Remedy(c.Remedy), attr.Since(c.Since)}
	if c.Source != "" {
		attrs = append(attrs, attr.Process(c.Source))
	}
	t.log.LogAttrs(context.Background(), level, msg, attrs...)
}

// grave reports whether a condition costs power.
func grave(c condition.Condition) bool {
	return c.Cost == condition.Window || c.Cost == condition.Sectors
}
