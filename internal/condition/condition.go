// Package condition holds what stands between a window and its proof: standing
// conditions, each with what is wrong, since when, what it costs, and what to do.
//
// A room that sees such a thing sets it on the Board, again whenever its detail
// changes, and clears it when it is over. The catalogue names every kind there
// is, with its cost and its remedy; kinds are the labels of a metric and the
// anchors of the documentation, so they never change their names. The manager
// shows the board's list in its health page, status, metrics, log, commands and
// notifications: one list, told everywhere.
//
//	chain, message, sector, poster, queue, slave ──Set/Clear──▶ Board ──List/Watch──▶ manager
package condition

import (
	"cmp"
	"slices"
	"sync"
	"time"
)

// Cost is what a standing condition costs while it lasts.
type Cost string

// Costs, the worst first.
const (
	Window  Cost = "window"  // whole windows are missed, or will be
	Sectors Cost = "sectors" // some sectors are skipped and become faulty
	Money   Cost = "money"   // fees are spent without need
	None    Cost = "none"    // nothing yet; a reserve is gone
)

// rank orders costs, the worst first.
func (c Cost) rank() int {
	return slices.Index([]Cost{Window, Sectors, Money, None}, c)
}

// Kind names a sort of condition, in snake_case. It is the label of the metric
// and stays the same over releases.
type Kind string

// Entry is what is known of a kind beforehand.
type Entry struct {
	Kind   Kind
	Cost   Cost
	What   string // one sentence: what is wrong
	Remedy string // one sentence: what to do
}

// Catalogue lists every kind, in the order of the documentation.
func Catalogue() []Entry {
	return slices.Concat(chainKinds, messageKinds, sectorKinds, queueKinds, managerKinds, posterKinds)
}

// RemedyOf is the catalogue's remedy of a kind.
func RemedyOf(k Kind) string { return lookUp(k).Remedy }

// lookUp returns the kind's entry. A kind outside the catalogue is a fault of
// the programme; it is shown with the worst cost rather than lost.
func lookUp(k Kind) Entry {
	for _, list := range [][]Entry{chainKinds, messageKinds, sectorKinds, queueKinds, managerKinds, posterKinds} {
		for _, e := range list {
			if e.Kind == k {
				return e
			}
		}
	}
	return Entry{Kind: k, Cost: Window, What: string(k)}
}

// Condition is one thing that stands.
type Condition struct {
	Kind    Kind      `json:"kind"`
	Subject string    `json:"subject,omitempty"` // which miner, deadline, partition, store, slave or address; unique within the kind
	Detail  string    `json:"detail"`            // one sentence with the numbers and the last error
	Cost    Cost      `json:"cost"`              // empty in Set: the catalogue's
	Remedy  string    `json:"remedy"`            // empty in Set: the catalogue's
	Source  string    `json:"source,omitempty"`  // which process told it, where it is not this one
	Since   time.Time `json:"since"`             // set by the board
}

// Change is a condition that began or ended.
type Change struct {
	Condition Condition
	Began     bool // false: it ended
}

type key struct {
	kind    Kind
	subject string
	source  string
}

// Board holds the conditions that stand now. A nil *Board discards everything,
// so a room works without one. Its methods are safe for concurrent use.
type Board struct {
	mu       sync.Mutex
	standing map[key]Condition
	watchers []func(Change)
}

// NewBoard returns an empty board.
func NewBoard() *Board { return &Board{standing: map[key]Condition{}} }

// Set makes c stand, or renews the detail of one that stands; Since stays that
// of its beginning.
func (b *Board) Set(c Condition) {
	if b == nil {
		return
	}
	entry := lookUp(c.Kind)
	if c.Cost == "" {
		c.Cost = entry.Cost
	}
	if c.Remedy == "" {
		c.Remedy = entry.Remedy
	}
	if c.Detail == "" {
		c.Detail = entry.What
	}
	k := key{c.Kind, c.Subject, c.Source}
	b.mu.Lock()
	old, stood := b.standing[k]
	if stood {
		c.Since = old.Since
	} else if c.Since.IsZero() {
		c.Since = time.Now()
	}
	b.standing[k] = c
	watchers := b.watchers
	b.mu.Unlock()
	if !stood {
		tell(watchers, Change{Condition: c, Began: true})
	}
}

// Clear ends the condition of kind k about subject, if it stands.
func (b *Board) Clear(k Kind, subject string) { b.clear(key{kind: k, subject: subject}) }

func (b *Board) clear(k key) {
	if b == nil {
		return
	}
	b.mu.Lock()
	c, stood := b.standing[k]
	delete(b.standing, k)
	watchers := b.watchers
	b.mu.Unlock()
	if stood {
		tell(watchers, Change{Condition: c})
	}
}

// When sets c while bad holds and clears it otherwise: for facts that are looked
// at again and again.
func (b *Board) When(bad bool, c Condition) {
	if bad {
		b.Set(c)
	} else {
		b.Clear(c.Kind, c.Subject)
	}
}

// Replace makes list the whole of what the process source tells: what it told
// before and does not tell now has ended.
func (b *Board) Replace(source string, list []Condition) {
	if b == nil {
		return
	}
	told := map[key]bool{}
	for _, c := range list {
		c.Source = source
		told[key{c.Kind, c.Subject, source}] = true
		b.Set(c)
	}
	b.mu.Lock()
	var over []key
	for k := range b.standing {
		if k.source == source && !told[k] {
			over = append(over, k)
		}
	}
	b.mu.Unlock()
	for _, k := range over {
		b.clear(k)
	}
}

// List returns what stands, the worst first, then the oldest first.
func (b *Board) List() []Condition {
	if b == nil {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	list := make([]Condition, 0, len(b.standing))
	for _, c := range b.standing {
		list = append(list, c)
	}
	slices.SortFunc(list, func(x, y Condition) int {
		return cmp.Or(cmp.Compare(x.Cost.rank(), y.Cost.rank()), x.Since.Compare(y.Since),
			cmp.Compare(x.Kind, y.Kind), cmp.Compare(x.Subject, y.Subject), cmp.Compare(x.Source, y.Source))
	})
	return list
}

// Watch calls f at every beginning and end from now on, from the goroutine that
// causes it; f must be quick and must not call the board.
func (b *Board) Watch(f func(Change)) {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.watchers = append(slices.Clip(b.watchers), f)
}

func tell(watchers []func(Change), c Change) {
	for _, f := range watchers {
		f(c)
	}
}
