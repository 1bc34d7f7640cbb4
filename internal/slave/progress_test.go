package slave_test

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"wdpost/internal/slave"
)

// gauge is a prover's meter that a test turns.
type gauge struct {
	mu   sync.Mutex
	text map[string]string
}

func (g *gauge) set(id, text string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.text[id] = text
}

func (g *gauge) Progress(id string) (string, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	text, ok := g.text[id]
	return text, ok
}

// The master hears how far a proof is while the prover is at it; a prover
// without a meter says how long it has been at it.
func TestProgress(t *testing.T) {
	simulate(t, func(w *world) {
		g := &gauge{text: map[string]string{}}
		p := w.start("a", within(30*time.Second), func(c *slave.Config) { c.Meter = g })
		id := question(1).ID()
		stored := func(want string) {
			t.Helper()
			time.Sleep(5 * time.Second)
			got, err := w.store.Show(w.t.Context(), id)
			if err != nil || !strings.HasPrefix(got.Progress, want) || !strings.HasSuffix(got.Progress, "s") {
				t.Errorf("progress %q, %v, want %q", got.Progress, err, want)
			}
			if s := p.Status(); len(s) != 1 || s[0].Stage != want {
				t.Errorf("status %+v, want %q", s, want)
			}
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			w.wantRight(question(1), time.Minute)
		}()
		time.Sleep(time.Second)
		stored("proving")
		g.set(id, "reading sectors 7%")
		stored("reading sectors 7%")
		g.set(id, "proving 41%")
		g.set(question(2).ID(), "another's 99%")
		stored("proving 41%")
		p.master.set(func(call string) (bool, error) { return false, map[string]error{"Finish": errors.New("away")}[call] })
		time.Sleep(20 * time.Second)
		stored("delivering") // whatever the meter still says
		p.master.set(nil)
		<-done
		p.stop()
	})
}
