package queue

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"wdpost/internal/condition"
	"wdpost/internal/patience"
	"wdpost/internal/task"
)

// watchInterval is the time between two looks at what keeps tasks from being
// proven.
const watchInterval = 6 * time.Second

// noSlaveFor is for how long there may be no slave before that is told: slaves
// come back after a restart of their master.
const noSlaveFor = 12 * time.Second

// failsOften is the number of failures in a row that are told.
const failsOften = 3

// Figures are what a master counts for its host.
type Figures struct {
	Slaves []SlaveCount
	Tasks  map[task.State]int
}

// SlaveCount is how many slaves are in one state and prove one sector size.
type SlaveCount struct {
	State      string
	SectorSize uint64 // 0: any
	Count      int
}

// watcher is the state of the watch.
type watcher struct {
	slaveless time.Time                   // since when there is no slave; zero: there is
	told      map[condition.Kind][]string // subjects on the board
}

// runWatch looks again and again at what keeps tasks from being proven, until
// ctx ends.
func (q *Queue) runWatch(ctx context.Context) {
	w := &watcher{slaveless: time.Now(), told: make(map[condition.Kind][]string)}
	for patience.Sleep(ctx, min(watchInterval, q.cfg.HeartbeatTimeout)) == nil {
		// A database that is away is told by who works with it.
		if slaves, err := q.store.Slaves(ctx, q.clock.now()-seconds(liveFor)); err == nil {
			q.watch(ctx, w, slaves)
		}
	}
}

// watch looks once.
func (q *Queue) watch(ctx context.Context, w *watcher, slaves []Slave) {
	var able []Slave // that take tasks
	found := make(map[condition.Kind][]condition.Condition)
	stand := func(c condition.Condition) { found[c.Kind] = append(found[c.Kind], c) }
	for _, s := range slaves {
		switch {
		case s.Report != nil && s.Report.State == task.SlaveWaiting:
			stand(condition.Condition{Kind: condition.SlaveWaits, Subject: s.Name, Detail: s.Report.Why})
		case s.Failures >= failsOften:
			c := condition.Condition{Kind: condition.SlaveFails, Subject: s.Name, Detail: fmt.Sprintf("%d attempts failed there in a row", s.Failures)}
			if s.Report != nil && s.Report.LastError != "" {
				c.Detail += "; the last: " + s.Report.LastError
			}
			stand(c)
		}
		if !s.Draining && (s.Report == nil || s.Report.State == "" || s.Report.State == task.SlaveReady) {
			able = append(able, s)
		}
	}
	q.watchSlaves(w, slaves, able, stand)
	if len(able) > 0 {
		if tasks, err := q.store.List(ctx, Filter{States: []task.State{task.Ready}, Limit: 200}); err == nil {
			watchTasks(q.clock.now(), able, tasks, stand)
		}
	}
	for _, kind := range []condition.Kind{condition.NoSlave, condition.SlaveWaits, condition.SlaveFails, condition.NoSlaveForSize, condition.StoreUnseen} {
		var subjects []string
		for _, c := range found[kind] {
			q.cfg.Board.Set(c)
			subjects = append(subjects, c.Subject)
		}
		for _, was := range w.told[kind] {
			if !slices.Contains(subjects, was) {
				q.cfg.Board.Clear(kind, was)
			}
		}
		w.told[kind] = subjects
	}
	q.clearTwins()
}

// watchSlaves tells when no slave takes tasks.
func (q *Queue) watchSlaves(w *watcher, slaves, able []Slave, stand func(condition.Condition)) {
	if len(able) > 0 {
		w.slaveless = time.Time{}
		return
	}
	if w.slaveless.IsZero() {
		w.slaveless = time.Now()
	}
	if time.Since(w.slaveless) < noSlaveFor && len(slaves) == 0 {
		return
	}
	detail := "no slave is connected"
	if n := len(slaves); n > 0 {
		detail = fmt.Sprintf("of %d slaves none takes tasks: they wait, drain or leave", n)
	}
	stand(condition.Condition{Kind: condition.NoSlave, Detail: detail})
}

// clearTwins ends what was told of slaves with one name once only one is left.
func (q *Queue) clearTwins() {
	for _, c := range q.cfg.Board.List() {
		if c.Kind == condition.SlaveNameTwice && c.Source == "" && !q.slaves.twin(c.Subject) {
			q.cfg.Board.Clear(c.Kind, c.Subject)
		}
	}
}

// watchTasks tells of waiting tasks that no slave can prove.
func watchTasks(now int64, able []Slave, tasks []Task, stand func(condition.Condition)) {
	sizes := make(map[uint64]int)
	stores := make(map[string]int) // tasks that wait for each
	for _, t := range tasks {
		if t.NotAfter <= now {
			continue
		}
		if t.SectorSize != 0 && !slices.ContainsFunc(able, func(s Slave) bool { return proves(s, t.SectorSize) }) {
			sizes[t.SectorSize]++
		}
		for _, store := range t.About.Stores {
			if !slices.ContainsFunc(able, func(s Slave) bool { return proves(s, t.SectorSize) && sees(s, store) }) {
				stores[store]++
			}
		}
	}
	for _, size := range slices.Sorted(maps.Keys(sizes)) {
		stand(condition.Condition{Kind: condition.NoSlaveForSize, Subject: SizeName(size), Detail: fmt.Sprintf(
			"%d tasks of %s wait; the slaves that are connected prove %s", sizes[size], SizeName(size), provable(able))})
	}
	for _, store := range slices.Sorted(maps.Keys(stores)) {
		stand(condition.Condition{Kind: condition.StoreUnseen, Subject: store, Detail: fmt.Sprintf(
			"no slave sees store %s, in which sectors of %d waiting tasks lie", store, stores[store])})
	}
}

// proves reports whether a slave takes tasks of a sector size.
func proves(s Slave, size uint64) bool {
	return s.Report == nil || len(s.Report.SectorSizes) == 0 || slices.Contains(s.Report.SectorSizes, size)
}

// sees reports whether a slave has not said that it cannot read a store.
func sees(s Slave, store string) bool {
	return s.Report == nil || !slices.Contains(s.Report.Unseen, store)
}

// provable are the sector sizes of some slaves, for people.
func provable(slaves []Slave) string {
	sizes := make(map[uint64]bool)
	for _, s := range slaves {
		if s.Report == nil || len(s.Report.SectorSizes) == 0 {
			return "all sizes"
		}
		for _, v := range s.Report.SectorSizes {
			sizes[v] = true
		}
	}
	var out []string
	for _, v := range slices.Sorted(maps.Keys(sizes)) {
		out = append(out, SizeName(v))
	}
	return "only " + strings.Join(out, ", ")
}

// SizeName writes a sector size as the field does: 2KiB, 32GiB.
func SizeName(size uint64) string {
	for _, u := range []struct {
		shift uint
		name  string
	}{{30, "GiB"}, {20, "MiB"}, {10, "KiB"}} {
		if n := size >> u.shift; n > 0 && n<<u.shift == size {
			return fmt.Sprintf("%d%s", n, u.name)
		}
	}
	return fmt.Sprintf("%d bytes", size)
}

// Figures counts slaves by state and size, and tasks by state.
func (q *Queue) Figures(ctx context.Context) (Figures, error) {
	if err := q.door.check(); err != nil {
		return Figures{}, err
	}
	slaves, err := q.store.Slaves(ctx, q.clock.now()-seconds(liveFor))
	if err != nil {
		return Figures{}, err
	}
	counts := make(map[SlaveCount]int)
	for _, s := range slaves {
		sizes := []uint64{0}
		if s.Report != nil && len(s.Report.SectorSizes) > 0 {
			sizes = s.Report.SectorSizes
		}
		for _, size := range sizes {
			counts[SlaveCount{State: StateOf(s, q.clock.now()), SectorSize: size}]++
		}
	}
	out := Figures{Slaves: []SlaveCount{}}
	for c, n := range counts {
		c.Count = n
		out.Slaves = append(out.Slaves, c)
	}
	slices.SortFunc(out.Slaves, func(a, b SlaveCount) int {
		return strings.Compare(fmt.Sprint(a.State, a.SectorSize), fmt.Sprint(b.State, b.SectorSize))
	})
	out.Tasks, err = q.store.Counts(ctx)
	return out, err
}

// StateOf says in one word what a slave is doing at the given second.
func StateOf(s Slave, now int64) string {
	switch {
	case now-s.LastSeen > seconds(liveFor):
		return "gone"
	case s.Report != nil && s.Report.State == task.SlaveLeaving:
		return "leaving"
	case s.Report != nil && s.Report.State == task.SlaveWaiting:
		return "waiting"
	case s.Draining:
		return "draining"
	case s.Running > 0:
		return "proving"
	}
	return "idle"
}
