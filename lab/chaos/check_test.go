package chaos

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/builtin"
	mineractor "github.com/filecoin-project/go-state-types/builtin/v18/miner"

	"wdpost/internal/condition"
	"wdpost/internal/deadline"
	"wdpost/internal/ledger"
	"wdpost/lab/devnet/actor"
)

// tally adds up what was found in all worlds.
type tally struct {
	mu                                              sync.Mutex
	deadlines, partitions, skipped, missed, excused int
	double, unexplained, dear, misled, unrecovered  int
	found                                           []string
}

func (t *tally) String() string {
	return fmt.Sprintf("deadlines %d, missed %d, double %d, unexplained %d (partitions %d, skipped sectors %d, partitions that nothing could save %d, over the limit %d, told wrong %d, not recovered %d)",
		t.deadlines, t.missed, t.double, t.unexplained, t.partitions, t.skipped, t.excused, t.dear, t.misled, t.unrecovered)
}

// find notes something that must not be.
func (w *world) find(count *int, format string, args ...any) {
	w.tally.mu.Lock()
	defer w.tally.mu.Unlock()
	*count++
	w.tally.found = append(w.tally.found, fmt.Sprintf(format, args...))
	w.t.Errorf(format, args...)
}

// check holds every window that closed long enough ago against the whole state.
func (w *world) check() {
	w.t.Helper()
	for _, o := range w.chain.LatestState().Outcomes() {
		at := window{o.PeriodStart, o.Deadline}
		if o.Open < firstOpen || w.checked[at] || w.chain.Epoch() < o.Close+confidence+30 {
			continue
		}
		w.checked[at] = true
		w.checkWindow(at, o)
	}
}

func (w *world) checkWindow(at window, o *actor.Outcome) {
	w.t.Helper()
	p := w.planted[at]
	if p == nil {
		p = &planted{}
	}
	w.tally.mu.Lock()
	w.tally.deadlines++
	w.tally.partitions += len(o.Partitions)
	w.tally.mu.Unlock()
	where := fmt.Sprintf("world %s, window %d/%d [%d, %d), faults %v", w.t.Name(), at.start, at.index, o.Open, o.Close, p.names)
	missed := false
	for _, part := range o.Partitions {
		for _, n := range part.Skipped {
			if len(part.NewFaults) == 0 && slices.Contains(w.faultyBefore[at], n) {
				continue // it was faulty before
			}
			w.tally.mu.Lock()
			w.tally.skipped++
			w.tally.mu.Unlock()
			if !p.skipped[n] {
				w.find(&w.tally.missed, "%s: sector %d of partition %d was skipped without need", where, n, part.Index)
			}
			if !w.explained(o, condition.SectorsSkipped) {
				w.find(&w.tally.unexplained, "%s: no condition told that sector %d is skipped", where, n)
			}
		}
		if part.Verdict != actor.Missed && part.Verdict != actor.Invalid {
			continue
		}
		missed = true
		if p.missed[part.Index] {
			w.tally.mu.Lock()
			w.tally.excused++
			w.tally.mu.Unlock()
		} else {
			w.find(&w.tally.missed, "%s: partition %d was missed; told: %s", where, part.Index, w.told(o))
		}
		if !w.explained(o) {
			w.find(&w.tally.unexplained, "%s: no condition told that partition %d would be missed", where, part.Index)
		}
	}
	w.checkLedger(at, p, where, missed)
}

// explained reports whether a condition of one of the kinds (none: of any that
// costs a window or sectors) stood before the window closed.
func (w *world) explained(o *actor.Outcome, kinds ...condition.Kind) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.ContainsFunc(w.stood, func(s standing) bool {
		if s.from >= o.Close || s.to != 0 && s.to < o.Open-20 {
			return false
		}
		if len(kinds) > 0 {
			return slices.Contains(kinds, s.Kind)
		}
		return s.Cost == condition.Window || s.Cost == condition.Sectors
	})
}

// told lists the conditions that stood in a window.
func (w *world) told(o *actor.Outcome) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var list []string
	for _, s := range w.stood {
		if s.from < o.Close && (s.to == 0 || s.to >= o.Open) {
			list = append(list, fmt.Sprintf("%s [%d, %d) %s: %s", s.Kind, s.from, s.to, s.Subject, s.Detail))
		}
	}
	return strings.Join(list, " | ")
}

// checkLedger holds the ledger's verdict against the chain's, where the ledger
// was there all the time.
func (w *world) checkLedger(at window, p *planted, where string, missed bool) {
	w.t.Helper()
	if p.killed {
		return
	}
	id := uint64(minerID)
	runs, err := w.book.Ledger.Runs(w.t.Context(), ledger.RunQuery{Miner: &id})
	if err != nil {
		w.t.Fatal(err)
	}
	for _, r := range runs {
		if r.PeriodStart != int64(at.start) || r.Deadline != at.index {
			continue
		}
		switch {
		case r.Ended == nil:
			w.find(&w.tally.misled, "%s: the ledger has no verdict", where)
		case (r.Ended.Verdict == deadline.Missed.String()) != missed:
			w.find(&w.tally.misled, "%s: the ledger says %q (%s), missed on chain %v", where, r.Ended.Verdict, r.Ended.Reason, missed)
		}
		return
	}
	w.find(&w.tally.misled, "%s: the ledger knows nothing of the window", where)
}

// checkMessages holds all messages of a world: none on chain for what is proven
// already, none dearer than the limit.
func (w *world) checkMessages() {
	w.t.Helper()
	type part struct {
		open  abi.ChainEpoch
		index uint64
	}
	proven := map[part]int{}
	for _, r := range w.chain.Records() {
		m := r.Signed.Message
		if most := big.Mul(m.GasFeeCap, big.NewInt(m.GasLimit)); most.GreaterThan(maxFee) {
			w.find(&w.tally.dear, "world %s: message %s may cost %s attoFIL, the limit is %s", w.t.Name(), r.Cid, most, maxFee)
		}
		if r.Height == 0 || m.Method != builtin.MethodsMiner.SubmitWindowedPoSt {
			continue
		}
		if strings.Contains(r.Failure, "already proven") {
			w.find(&w.tally.double, "world %s: a message executed at %d is for what is proven: %s", w.t.Name(), r.Height, r.Failure)
		}
		var params mineractor.SubmitWindowedPoStParams
		if err := params.UnmarshalCBOR(bytes.NewReader(m.Params)); err != nil || r.ExitCode != 0 {
			continue
		}
		for _, p := range params.Partitions {
			k := part{r.Height - (r.Height-firstOpen+6000)%60, p.Index}
			if proven[k]++; proven[k] > 1 {
				w.find(&w.tally.double, "world %s: partition %d of the window at %d is proven twice", w.t.Name(), p.Index, k.open)
			}
		}
	}
}

// checkRecovered holds that after a period without faults nothing is faulty.
func (w *world) checkRecovered() {
	w.t.Helper()
	m, _ := w.chain.LatestState().Miner(minerID)
	if faults := m.Collect(func(p actor.Partition) actor.Set { return p.Faults }); len(faults) > 0 {
		w.find(&w.tally.unrecovered, "world %s: sectors %v are still faulty after a period without faults", w.t.Name(), faults)
	}
}
