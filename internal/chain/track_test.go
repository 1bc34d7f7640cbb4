package chain

import (
	"context"
	"errors"
	"testing"

	"github.com/filecoin-project/go-state-types/abi"
	"pgregory.net/rapid"

	"wdpost/internal/lotus"
)

func TestTrack(t *testing.T) {
	s := newStore()
	main := s.add("", grow(nil, "main", 1, 2, 3, 5, 6, 7)) // 4 is a null round
	fork := s.add("'", grow(main[2], "fork", 4, 5, 6, 8))  // on 3
	far := s.add("", grow(main[5], "main", span(8, 400)...))
	side := s.add("+", grow(main[0], "side", 2, 4))
	alien := s.add("*", grow(nil, "alien", span(1, 9)...))
	cur := func(ts *lotus.TipSet) []*lotus.HeadChange { return changes(lotus.HCCurrent, ts) }
	both := func(a, b []*lotus.HeadChange) []*lotus.HeadChange { return append(a, b...) }

	cases := []struct {
		name  string
		steps [][]*lotus.HeadChange
		want  []string // one event a step; "" for none
	}{
		{"start", [][]*lotus.HeadChange{cur(main[0])}, []string{"reset 1"}},
		{"applies, a null round between", [][]*lotus.HeadChange{cur(main[1]), changes(lotus.HCApply, main[2:5]...)}, []string{"reset 2", "+3 +5 +6"}},
		{"the same head again", [][]*lotus.HeadChange{cur(main[1]), cur(main[1]), changes(lotus.HCApply, main[1])}, []string{"reset 2", "", ""}},
		{"a reorg told in full", [][]*lotus.HeadChange{
			cur(main[2]), changes(lotus.HCApply, main[3], main[4]),
			both(changes(lotus.HCRevert, main[4], main[3]), changes(lotus.HCApply, fork[:3]...)),
		}, []string{"reset 3", "+5 +6", "-6 -5 +4' +5' +6'"}},
		{"a revert alone", [][]*lotus.HeadChange{cur(main[2]), changes(lotus.HCApply, main[3]), changes(lotus.HCRevert, main[3])}, []string{"reset 3", "+5", "-5"}},
		{"there and back", [][]*lotus.HeadChange{
			cur(main[2]), changes(lotus.HCApply, main[3]), both(changes(lotus.HCRevert, main[3]), changes(lotus.HCApply, main[3])),
		}, []string{"reset 3", "+5", ""}},
		{"a gap after a lost connection", [][]*lotus.HeadChange{cur(main[1]), cur(main[5])}, []string{"reset 2", "+3 +5 +6 +7"}},
		{"a gap with a reorg", [][]*lotus.HeadChange{cur(main[2]), changes(lotus.HCApply, main[3:]...), cur(fork[3])}, []string{"reset 3", "+5 +6 +7", "-7 -6 -5 +4' +5' +6' +8'"}},
		{"a missed apply", [][]*lotus.HeadChange{cur(main[1]), changes(lotus.HCApply, main[4])}, []string{"reset 2", "+3 +5 +6"}},
		{"a revert of what is not the head", [][]*lotus.HeadChange{cur(main[2]), changes(lotus.HCRevert, main[4])}, []string{"reset 3", ""}},
		{"reverts below the first head", [][]*lotus.HeadChange{cur(main[2]), both(changes(lotus.HCRevert, main[2], main[1]), changes(lotus.HCApply, side...))}, []string{"reset 3", "-3 -2 +2+ +4+"}},
		{"a reorg below the first head, in a gap", [][]*lotus.HeadChange{cur(main[3]), cur(side[1])}, []string{"reset 5", "-5 -3 -2 +2+ +4+"}},
		{"a revert with nothing below", [][]*lotus.HeadChange{cur(main[0]), both(changes(lotus.HCRevert, main[0]), changes(lotus.HCApply, alien[1]))}, []string{"reset 1", "reset 2*"}},
		{"a gap too long", [][]*lotus.HeadChange{cur(main[5]), cur(far[len(far)-1])}, []string{"reset 7", "reset 400"}},
		{"another chain", [][]*lotus.HeadChange{cur(main[5]), cur(alien[8])}, []string{"reset 7", "reset 9*"}},
		{"back to an ancestor", [][]*lotus.HeadChange{cur(main[2]), changes(lotus.HCApply, main[3:]...), cur(main[3])}, []string{"reset 3", "+5 +6 +7", "-7 -6"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			tr := track{tipset: s.tipset}
			for i, step := range c.steps {
				e, err := tr.absorb(t.Context(), step)
				if err != nil {
					t.Fatal(err)
				}
				if got := show(e, s.name); got != c.want[i] {
					t.Errorf("step %d: event %q, want %q", i, got, c.want[i])
				}
				if !e.Head.Key().Equals(tr.head().Key()) {
					t.Errorf("step %d: event's head %s is not the track's %s", i, s.name(e.Head), s.name(tr.head()))
				}
			}
		})
	}
}

func TestTrackWithoutTheWay(t *testing.T) {
	s := newStore()
	main := s.add("", grow(nil, "main", 1, 2, 3))
	s.fail = errors.New("the node is away")
	tr := track{tipset: s.tipset}
	for _, want := range []struct {
		to    *lotus.TipSet
		event string
	}{{main[0], "reset 1"}, {main[2], "reset 3"}} {
		e, err := tr.absorb(t.Context(), changes(lotus.HCCurrent, want.to))
		if err != nil || show(e, s.name) != want.event {
			t.Errorf("event %q, %v; want %q", show(e, s.name), err, want.event)
		}
	}
}

func TestTrackRefusesGarbage(t *testing.T) {
	s := newStore()
	good := s.add("", grow(nil, "main", 1))[0]
	for _, bad := range []*lotus.HeadChange{nil, {Type: lotus.HCApply}, {Type: "sideways", Val: good}, {Type: lotus.HCCurrent, Val: &lotus.TipSet{Height: 3}}} {
		tr := track{tipset: s.tipset}
		e, err := tr.absorb(t.Context(), []*lotus.HeadChange{{Type: lotus.HCCurrent, Val: good}, bad})
		if err == nil || !e.Reset {
			t.Errorf("%+v: event %+v, %v; want what came before and an error", bad, e, err)
		}
	}
}

func TestTrackForgets(t *testing.T) {
	s := newStore()
	main := s.add("", grow(nil, "main", span(1, 3*historyLimit)...))
	tr := track{tipset: s.tipset}
	for _, ts := range main {
		if _, err := tr.absorb(t.Context(), changes(lotus.HCApply, ts)); err != nil {
			t.Fatal(err)
		}
	}
	if len(tr.path) > 2*historyLimit || tr.head() != main[len(main)-1] {
		t.Errorf("%d tipsets are remembered, head %d", len(tr.path), tr.head().Height)
	}
	if s.reads != 0 {
		t.Errorf("%d reads for a stream without gaps", s.reads)
	}
}

// Whatever way events are combined, whoever applies them to its own picture of
// the chain ends with the same picture, and nothing is reverted twice.
func TestEventsCompose(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tree := []*lotus.TipSet{grow(nil, "r", 1)[0]}
		for i := range 12 {
			base := tree[rapid.IntRange(0, len(tree)-1).Draw(t, "base")]
			tree = append(tree, grow(base, "f"+string(rune('a'+i)), base.Height+abi.ChainEpoch(rapid.IntRange(1, 2).Draw(t, "step")))...)
		}
		s := newStore()
		s.add("", tree)
		tr := track{tipset: s.tipset}
		box := newMailbox()
		var view []*lotus.TipSet
		for range 8 {
			to := tree[rapid.IntRange(0, len(tree)-1).Draw(t, "to")]
			box.put(tr.moveTo(context.Background(), to))
			if rapid.Bool().Draw(t, "read") {
				view = fold(t, view, box)
			}
		}
		view = fold(t, view, box)
		if last := view[len(view)-1]; last != tr.head() {
			t.Fatalf("the reader stands on %d, the chain on %d", last.Height, tr.head().Height)
		}
		for i := 1; i < len(view); i++ {
			if !view[i].Parents().Equals(view[i-1].Key()) {
				t.Fatalf("the reader's chain is broken at %d", view[i].Height)
			}
		}
	})
}

func fold(t *rapid.T, view []*lotus.TipSet, box *mailbox) []*lotus.TipSet {
	e, ok := box.take()
	if !ok {
		return view
	}
	if e.Reset {
		view = nil
	}
	for _, ts := range e.Revert {
		if len(view) == 0 {
			continue // below what the reader ever saw
		}
		if view[len(view)-1] != ts {
			t.Fatalf("revert of %d, the reader stands on %d", ts.Height, view[len(view)-1].Height)
		}
		view = view[:len(view)-1]
	}
	view = append(view, e.Apply...)
	if len(view) == 0 {
		view = append(view, e.Head) // all that was seen is gone
	}
	return view
}
