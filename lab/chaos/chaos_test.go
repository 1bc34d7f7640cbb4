package chaos

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/filecoin-project/go-state-types/abi"

	"wdpost/internal/lotus"
)

var (
	full = flag.Bool("full", false, "play at least 1,000 deadlines")
	seed = flag.Uint64("seed", 1, "the first world's seed; the others follow")
	only = flag.Int("worlds", 0, "how many worlds, 0 for those of the form")
	logs = flag.Bool("logs", false, "show the manager's log of a world that failed")
)

// Windows of a world: those with faults, and at the end a period without.
const (
	trouble = 18
	clean   = deadlines
)

// TestChaos plays the catalogue: each fault alone, then random pairs, at random
// epochs of a deadline's life.
func TestChaos(t *testing.T) {
	lotus.UseNetwork("chaos")
	worlds := 4
	if *full {
		worlds = 44
	}
	if *only > 0 {
		worlds = *only
	}
	total := &tally{}
	for i := range uint64(worlds) {
		t.Run(fmt.Sprint(*seed+i), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { play(t, *seed+i, total) })
		})
	}
	fmt.Fprintf(os.Stdout, "%s\n", total)
	for _, f := range total.found {
		fmt.Fprintln(os.Stdout, " ", f)
	}
}

// play is one world from beginning to end.
func play(t *testing.T, seed uint64, total *tally) {
	w := newWorld(t, seed, 1+int(seed%2), total)
	defer func() {
		w.stop()
		if t.Failed() && *logs {
			t.Log(w.log.b.String())
		}
	}()
	w.start()
	for n := range trouble {
		w.plan(n, seed)
	}
	end := open(trouble + clean)
	for w.chain.Epoch() < end+confidence+35 {
		w.step()
		w.check()
	}
	w.checkMessages()
	w.checkRecovered()
}

// event begins or ends a fault.
type event struct {
	at abi.ChainEpoch
	do func()
}

// plan draws the faults of the n-th window: every second world plays them alone,
// the others in pairs.
func (w *world) plan(n int, seed uint64) {
	all := catalogue()
	at := windowAt(n)
	p := &planted{skipped: map[uint64]bool{}, missed: map[uint64]bool{}}
	w.planted[at] = p
	count := 1 + int(seed/2%2)
	for i := range count {
		f := all[(int(seed)*trouble+n+i*7*int(seed))%len(all)]
		if i > 0 {
			f = all[w.rand.IntN(len(all))]
		}
		// From the challenge to the close; 37 and 80 have no common divisor, so that
		// 80 windows play every epoch.
		begin := open(n) - 20 + abi.ChainEpoch((int(seed)*trouble+n)*37%80)
		if i > 0 {
			begin = open(n) - 20 + abi.ChainEpoch(w.rand.IntN(80))
		}
		last := min(f.lasts(w), open(n)+60-begin)
		p.names = append(p.names, fmt.Sprintf("%s at %d for %d", f.name, begin, last))
		var end func()
		w.events = append(w.events,
			event{begin, func() { w.target = at; end = f.begin(w, p) }},
			event{begin + max(last, 1), func() { end() }})
	}
}

// step lets an epoch pass and does what is due at it.
func (w *world) step() {
	null := w.nulls > 0
	if null {
		w.nulls--
	}
	w.advance(null)
	now := w.chain.Epoch()
	for i := range w.events {
		if e := &w.events[i]; e.do != nil && e.at <= now {
			do := e.do
			e.do = nil
			do()
		}
	}
	if (now-firstOpen)%60 == 0 { // a window opens
		w.noteFaulty(now)
	}
	synctest.Wait()
}

// restart begins a process if none runs.
func (w *world) restart() {
	if w.process == nil {
		w.start()
	}
}

// noteFaulty keeps what is faulty in a deadline when its window opens: its
// messages name it as skipped.
func (w *world) noteFaulty(now abi.ChainEpoch) {
	n := int((now - firstOpen) / 60)
	at := windowAt(n)
	m, _ := w.chain.LatestState().Miner(minerID)
	for _, p := range m.Deadlines[at.index].Partitions {
		w.faultyBefore[at] = append(w.faultyBefore[at], p.Faults.Minus(p.Recovering)...)
	}
}

// TestCatalogueHasNames keeps the names apart: they stand in reports.
func TestCatalogueHasNames(t *testing.T) {
	seen := map[string]bool{}
	for _, f := range catalogue() {
		if f.name == "" || seen[f.name] || strings.Contains(f.name, ",") {
			t.Errorf("name %q", f.name)
		}
		seen[f.name] = true
	}
}
