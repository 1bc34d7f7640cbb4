package sector

import (
	"fmt"
	"math/rand/v2"
	"path"
	"time"

	"wdpost/internal/attr"
	"wdpost/internal/condition"
)

// aside is why and since when a store is left alone.
type aside struct {
	why    error
	hang   bool // it does not answer; otherwise it answers with errors
	since  time.Time
	wait   time.Duration // before the next try
	next   time.Time
	tries  int
	mount  string // what the store lay on at the last try
	hanged *int   // tries on that mount that have not ended
}

// mostHungTries bounds the tries of one mount that hang. What is mounted anew is
// tried anew: reads of a mount that was detached may hang for good.
const mostHungTries = 4

func (a *aside) refusal(s *storeState) error {
	return &StoreError{s.root, fmt.Errorf("%w: %s since %s: %w", ErrSetAside, s.root, a.since.Format(time.TimeOnly), a.why)}
}

// setAside refuses all who wait for a store, and plans the first try. mu is held.
func (g *Guard) setAside(s *storeState, why error, hang bool) {
	a := &aside{why: why, hang: hang, since: time.Now(), wait: g.cfg.Cooldown}
	s.aside = a
	s.stats.setAside++
	g.serve(s)
	g.plan(s, a)
	name, detail := s.name, fmt.Sprintf("%s: %v", s.root, why)
	g.later = append(g.later, func() {
		g.cfg.Log.Warn("store set aside; its sectors are skipped until it answers again", attr.Store(name), attr.Err(why))
		kind := condition.StoreSetAside
		if hang {
			kind = condition.StoreHangs
		}
		g.cfg.Board.Set(condition.Condition{Kind: kind, Subject: name, Detail: detail})
	})
}

// trust takes a store back. Its files that hang are tried again. mu is held.
func (g *Guard) trust(s *storeState) {
	since := time.Since(s.aside.since)
	s.aside, s.failures = nil, 0
	clear(s.hanging)
	g.serve(s)
	name := s.name
	g.later = append(g.later, func() {
		g.cfg.Log.Info("store answers again", attr.Store(name), attr.Took(since))
		g.cfg.Board.Clear(condition.StoreHangs, name)
		g.cfg.Board.Clear(condition.StoreSetAside, name)
	})
}

// plan has a store tried after its wait. Users never try it themselves: a store
// known dead costs them nothing. mu is held.
func (g *Guard) plan(s *storeState, a *aside) {
	a.next = time.Now().Add(a.wait)
	time.AfterFunc(a.wait, func() { g.probe(s, a) })
	a.wait = min(2*a.wait, longestCooldown*g.cfg.Cooldown)
}

// probe tries a store that is set aside with one read: of the file that hung or
// failed, or of one that could be read before, in turns. Any answer that is not
// the store's trouble makes it trusted.
func (g *Guard) probe(s *storeState, a *aside) {
	mount := g.mountOf(s.root)
	g.mu.Lock()
	if s.aside != a {
		g.unlock()
		return
	}
	file := s.badPath
	if a.tries%2 == 1 && s.goodPath != "" {
		file = s.goodPath
	}
	a.tries++
	g.plan(s, a)
	if a.hanged == nil || a.mount != mount {
		a.mount, a.hanged = mount, new(int)
	}
	hanged := a.hanged
	if *hanged >= mostHungTries {
		g.unlock()
		return
	}
	*hanged++
	v := &visit{
		guard: g, left: true, done: make(chan struct{}), running: map[*operation]bool{},
		answered: map[*storeState]bool{}, trouble: map[*storeState]error{},
	}
	g.threads++
	o := g.start(&operation{visit: v, store: s, path: file, probe: true})
	g.unlock()

	err := guardedCall(file, func() error { return g.tryRead(file) })
	g.end(o, err)
	g.mu.Lock()
	defer g.unlock()
	*hanged--
}

// tryRead reads some of a file, or lists the folder above a folder.
func (g *Guard) tryRead(file string) error {
	f, err := g.cfg.Backend.Open(file)
	if err != nil {
		if infos := g.cfg.Backend.Stat([]string{file}, false); infos[0].Dir {
			_, err = g.cfg.Backend.List(path.Dir(file))
		}
		return err
	}
	defer f.Close()
	const block = 4096
	if f.Size() < block {
		return nil
	}
	// Another place each time: what was read before may be in memory.
	_, err = f.ReadAt(make([]byte, block), rand.Int64N(f.Size()/block)*block)
	return err
}
