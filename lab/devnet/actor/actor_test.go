package actor

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/filecoin-project/go-bitfield"
	"github.com/filecoin-project/go-state-types/abi"
	minertypes "github.com/filecoin-project/go-state-types/builtin/v18/miner"
	"github.com/filecoin-project/go-state-types/crypto"
	"github.com/filecoin-project/go-state-types/exitcode"
	"github.com/filecoin-project/go-state-types/proof"
	"pgregory.net/rapid"
)

const (
	worker = 101
	open   = abi.ChainEpoch(1000) // of deadline 0
)

// chance is randomness that tells its arguments.
type chance struct{}

func (chance) draw(tag crypto.DomainSeparationTag, round abi.ChainEpoch) (out [32]byte) {
	binary.BigEndian.PutUint64(out[:], uint64(tag))
	binary.BigEndian.PutUint64(out[8:], uint64(round))
	return out
}

func (c chance) Tickets(tag crypto.DomainSeparationTag, round abi.ChainEpoch, _ []byte) ([32]byte, error) {
	return c.draw(tag, round), nil
}

func (c chance) Beacon(tag crypto.DomainSeparationTag, round abi.ChainEpoch, _ []byte) ([32]byte, error) {
	return c.draw(tag, round), nil
}

// asked remembers what the verifier was asked.
type asked []WindowPoSt

func (a *asked) runtime(epoch abi.ChainEpoch) *Runtime {
	return &Runtime{
		Epoch: epoch, Caller: worker, Randomness: chance{},
		Verify: func(q WindowPoSt) error {
			*a = append(*a, q)
			if len(q.Proof) == 0 || q.Proof[0] != 7 {
				return errors.New("bad proof")
			}
			return nil
		},
	}
}

// newMiner has 10 sectors in deadline 0: five partitions of two.
func newMiner(t testing.TB, change func(*Info, []Placement)) *Miner {
	t.Helper()
	policy := Mainnet()
	info := Info{
		ID: 1000, Owner: 100, Worker: worker, Control: []abi.ActorID{102}, SectorSize: 2048,
		WindowProof: 10, PartitionSectors: 2, PeriodOffset: open,
	}
	var zero uint64
	var ps []Placement
	for i := range 10 {
		ps = append(ps, Placement{Sector: Sector{Number: abi.SectorNumber(i)}, Deadline: &zero})
	}
	if change != nil {
		change(&info, ps)
	}
	m, err := NewMiner(info, &policy, ps)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func params(epoch abi.ChainEpoch, partitions ...uint64) *minertypes.SubmitWindowedPoStParams {
	rand := chance{}.draw(crypto.DomainSeparationTag_PoStChainCommit, epoch)
	p := &minertypes.SubmitWindowedPoStParams{
		ChainCommitEpoch: epoch, ChainCommitRand: rand[:],
		Proofs: []proof.PoStProof{{PoStProof: 10, ProofBytes: bytes.Repeat([]byte{7}, 192*len(partitions))}},
	}
	for _, i := range partitions {
		p.Partitions = append(p.Partitions, minertypes.PoStPartition{Index: i, Skipped: bitfield.New()})
	}
	return p
}

// refusal is the text and code of an actor error.
func refusal(t *testing.T, err error) (string, exitcode.ExitCode) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("not a refusal: %v", err)
	}
	return e.Msg, e.Code
}

// TestSubmitEpochs submits at the edges of the window.
func TestSubmitEpochs(t *testing.T) {
	m := newMiner(t, nil)
	for _, c := range []struct {
		name   string
		at     abi.ChainEpoch
		commit abi.ChainEpoch
		want   string // "" for accepted
	}{
		{"challenge", open - 20, open - 21, "invalid deadline 0 at epoch 980, expected 47"},
		{"last before open", open - 1, open - 20, "invalid deadline 0 at epoch 999, expected 47"},
		{"open", open, open - 1, ""},
		{"last of the window", open + 59, open + 58, ""},
		{"close", open + 60, open, "invalid deadline 0 at epoch 1060, expected 1"},
		{"commit at challenge", open, open - 20, ""},
		{"commit before challenge", open, open - 21, "expected chain commit epoch 979 to be after 980"},
		{"commit now", open + 1, open + 1, "chain commit epoch 1001 must be less than the current epoch 1001"},
		{"commit one before", open + 1, open, ""},
	} {
		var a asked
		after, err := m.SubmitWindowedPoSt(a.runtime(c.at), params(c.commit, 0))
		if c.want == "" {
			if err != nil {
				t.Errorf("%s: %v", c.name, err)
			} else if !after.Deadlines[0].Posted.Has(0) || m.Deadlines[0].Posted.Has(0) || len(a) != 1 {
				t.Errorf("%s: posted %v, before %v, verified %d times", c.name, after.Deadlines[0].Posted, m.Deadlines[0].Posted, len(a))
			}
			continue
		}
		if err == nil {
			t.Errorf("%s: accepted", c.name)
			continue
		}
		msg, code := refusal(t, err)
		if msg != c.want || code != exitcode.ErrIllegalArgument || after != m {
			t.Errorf("%s: %q (%d), want %q", c.name, msg, code, c.want)
		}
	}
}

// TestSubmitRefusals breaks one thing at a time.
func TestSubmitRefusals(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*minertypes.SubmitWindowedPoStParams, *Runtime)
		code   exitcode.ExitCode
		want   string
	}{
		{"no proof", func(p *minertypes.SubmitWindowedPoStParams, _ *Runtime) { p.Proofs = nil }, 16, "expected exactly one proof, got 0"},
		{"two proofs", func(p *minertypes.SubmitWindowedPoStParams, _ *Runtime) { p.Proofs = append(p.Proofs, p.Proofs[0]) }, 16, "expected exactly one proof, got 2"},
		{"type", func(p *minertypes.SubmitWindowedPoStParams, _ *Runtime) { p.Proofs[0].PoStProof = 5 }, 16, "expected proof of type StackedDRGWindow2KiBV1P1, got StackedDRGWindow2KiBV1"},
		{"too long", func(p *minertypes.SubmitWindowedPoStParams, _ *Runtime) {
			p.Proofs[0].ProofBytes = make([]byte, 193)
		}, 16, "expected proof to be smaller than 192 bytes"},
		{"deadline 48", func(p *minertypes.SubmitWindowedPoStParams, _ *Runtime) { p.Deadline = 48 }, 16, "invalid deadline 48 of 48"},
		{"four partitions", func(p *minertypes.SubmitWindowedPoStParams, _ *Runtime) { *p = *params(open, 0, 1, 2, 3) }, 16, "too many partitions 4, limit 3"},
		{"long randomness", func(p *minertypes.SubmitWindowedPoStParams, _ *Runtime) { p.ChainCommitRand = make([]byte, 33) }, 16, "expected at most 32 bytes of randomness, got 33"},
		{"other fork", func(p *minertypes.SubmitWindowedPoStParams, _ *Runtime) { p.ChainCommitRand[0]++ }, 16, "post commit randomness mismatched"},
		{"caller", func(_ *minertypes.SubmitWindowedPoStParams, rt *Runtime) { rt.Caller = 103 }, 18, "caller t0103 is not one of supported"},
		{"twice in one", func(p *minertypes.SubmitWindowedPoStParams, _ *Runtime) { *p = *params(open, 1, 1) }, 16, "failed to process post submission for deadline 0: duplicate partitions proven"},
		{"no such partition", func(p *minertypes.SubmitWindowedPoStParams, _ *Runtime) { *p = *params(open, 5) }, 17, "failed to process post submission for deadline 0: no such partition 5"},
		{"no partition", func(p *minertypes.SubmitWindowedPoStParams, _ *Runtime) { *p = *params(open) }, 16, "cannot prove partitions with no active sectors"},
		{"skipped of another partition", func(p *minertypes.SubmitWindowedPoStParams, _ *Runtime) {
			p.Partitions[0].Skipped = bitfield.NewFromSet([]uint64{2})
		}, 16, "failed to process post submission for deadline 0: failed to add skipped faults to partition 0: skipped faults contains sectors outside partition"},
		{"all skipped", func(p *minertypes.SubmitWindowedPoStParams, _ *Runtime) {
			p.Partitions[0].Skipped = bitfield.NewFromSet([]uint64{0, 1})
		}, 16, "cannot prove partitions with no active sectors"},
		{"bad proof", func(p *minertypes.SubmitWindowedPoStParams, _ *Runtime) { p.Proofs[0].ProofBytes[0] = 8 }, 16, "invalid post was submitted"},
		{"empty proof", func(p *minertypes.SubmitWindowedPoStParams, _ *Runtime) { p.Proofs[0].ProofBytes = nil }, 16, "invalid post was submitted"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := newMiner(t, nil)
			var a asked
			rt, p := a.runtime(open+1), params(open, 0)
			c.change(p, rt)
			after, err := m.SubmitWindowedPoSt(rt, p)
			if err == nil {
				t.Fatal("accepted")
			}
			if msg, code := refusal(t, err); msg != c.want || code != c.code || after != m {
				t.Errorf("%q (%d), want %q (%d)", msg, code, c.want, c.code)
			}
		})
	}
}

// TestSubmitControl accepts the owner, the worker and the control addresses.
func TestSubmitControl(t *testing.T) {
	for _, caller := range []abi.ActorID{100, 101, 102} {
		var a asked
		rt := a.runtime(open + 1)
		rt.Caller = caller
		if _, err := newMiner(t, nil).SubmitWindowedPoSt(rt, params(open, 0)); err != nil {
			t.Errorf("caller %d: %v", caller, err)
		}
	}
}

// TestUnion checks which sectors the proof must cover: old faults and skipped
// sectors are left out, recovering ones are in.
func TestUnion(t *testing.T) {
	m := newMiner(t, func(_ *Info, ps []Placement) { ps[3].Faulty, ps[4].Faulty, ps[5].Unproven = true, true, true })
	recovering := &minertypes.DeclareFaultsRecoveredParams{Recoveries: []minertypes.RecoveryDeclaration{
		{Deadline: 0, Partition: 2, Sectors: bitfield.NewFromSet([]uint64{4, 5})},
	}}
	var a asked
	m, err := m.DeclareFaultsRecovered(a.runtime(open-71), recovering)
	if err != nil {
		t.Fatal(err)
	}
	p := params(open, 2, 0, 1)
	p.Partitions[1].Skipped = bitfield.NewFromSet([]uint64{1})
	m, err = m.SubmitWindowedPoSt(a.runtime(open+1), p)
	if err != nil {
		t.Fatal(err)
	}
	var got []uint64
	for _, s := range a[0].Sectors {
		got = append(got, uint64(s.Number))
	}
	if !slices.Equal(got, []uint64{0, 2, 4, 5}) {
		t.Errorf("verified over %v", got)
	}
	if want := (chance{}).draw(crypto.DomainSeparationTag_WindowedPoStChallengeSeed, open-20); a[0].Randomness != want {
		t.Errorf("randomness %x, want that of the challenge epoch", a[0].Randomness)
	}
	if f := m.Collect(func(p Partition) Set { return p.Faults }); !slices.Equal(f, Set{1, 3}) {
		t.Errorf("faults %v", f)
	}
	if r := m.Collect(func(p Partition) Set { return p.Recovering }); len(r) != 0 {
		t.Errorf("recovering %v", r)
	}
	if act := m.ActiveSectors(); !slices.Equal(act, Set{0, 2, 4, 5, 6, 7, 8, 9}) {
		t.Errorf("active %v", act)
	}
	if m.Deadlines[0].Posts[0].Disputable {
		t.Error("a proof with recoveries was taken on trust")
	}
}

// TestRecoveryCutoff declares at the edges of the cut-off.
func TestRecoveryCutoff(t *testing.T) {
	m := newMiner(t, func(_ *Info, ps []Placement) { ps[0].Faulty = true })
	decl := &minertypes.DeclareFaultsRecoveredParams{Recoveries: []minertypes.RecoveryDeclaration{{Sectors: bitfield.NewFromSet([]uint64{0})}}}
	for _, c := range []struct {
		at abi.ChainEpoch
		ok bool
	}{
		{open - 71, true}, {open - 70, false}, {open, false}, {open + 59, false}, {open + 60, true},
	} {
		var a asked
		after, err := m.DeclareFaultsRecovered(a.runtime(c.at), decl)
		if ok := err == nil; ok != c.ok {
			t.Errorf("at %d: %v", c.at, err)
		} else if c.ok != after.Deadlines[0].Partitions[0].Recovering.Has(0) {
			t.Errorf("at %d: recovering %v", c.at, after.Deadlines[0].Partitions[0].Recovering)
		}
		if err != nil && !strings.Contains(err.Error(), "late fault or recovery declaration (16)") {
			t.Errorf("at %d: %v", c.at, err)
		}
	}
}

// TestRecoveryRefusals breaks one thing at a time.
func TestRecoveryRefusals(t *testing.T) {
	m := newMiner(t, func(_ *Info, ps []Placement) { ps[0].Faulty = true })
	for _, c := range []struct {
		name string
		decl minertypes.RecoveryDeclaration
		code exitcode.ExitCode
		want string
	}{
		{"deadline", minertypes.RecoveryDeclaration{Deadline: 48, Sectors: bitfield.New()}, 16, "invalid deadline 48"},
		{"partition", minertypes.RecoveryDeclaration{Partition: 9, Sectors: bitfield.New()}, 17, "no such partition 9"},
		{"sector", minertypes.RecoveryDeclaration{Sectors: bitfield.NewFromSet([]uint64{2})}, 16, "not all sectors are assigned to the partition"},
	} {
		var a asked
		_, err := m.DeclareFaultsRecovered(a.runtime(open-100), &minertypes.DeclareFaultsRecoveredParams{Recoveries: []minertypes.RecoveryDeclaration{c.decl}})
		if err == nil {
			t.Errorf("%s: accepted", c.name)
			continue
		}
		if msg, code := refusal(t, err); code != c.code || !strings.Contains(msg, c.want) {
			t.Errorf("%s: %q (%d)", c.name, msg, code)
		}
	}
}

// TestEndEpoch judges each kind of partition when the window closes.
func TestEndEpoch(t *testing.T) {
	m := newMiner(t, func(_ *Info, ps []Placement) {
		ps[2].Faulty, ps[3].Faulty = true, true // partition 1: nothing to prove
		ps[4].Faulty = true                     // partition 2: half
		ps[6].Faulty, ps[7].Faulty = true, true // partition 3: declared, not proven
	})
	var a asked
	m, err := m.DeclareFaultsRecovered(a.runtime(open-100), &minertypes.DeclareFaultsRecoveredParams{Recoveries: []minertypes.RecoveryDeclaration{
		{Partition: 3, Sectors: bitfield.NewFromSet([]uint64{6, 7})},
	}})
	if err != nil {
		t.Fatal(err)
	}
	p := params(open, 0)
	p.Partitions[0].Skipped = bitfield.NewFromSet([]uint64{1})
	if m, err = m.SubmitWindowedPoSt(a.runtime(open+1), p); err != nil {
		t.Fatal(err)
	}
	for _, e := range []abi.ChainEpoch{open - 1, open, open + 58, open + 60} {
		if after, out := m.EndEpoch(e); out != nil || after != m {
			t.Errorf("epoch %d closed a window", e)
		}
	}
	m, out := m.EndEpoch(open + 59)
	if out == nil {
		t.Fatal("the window did not close")
	}
	var verdicts []Verdict
	for _, p := range out.Partitions {
		verdicts = append(verdicts, p.Verdict)
	}
	if want := []Verdict{Proven, Faulty, Missed, Missed, Missed}; !slices.Equal(verdicts, want) {
		t.Errorf("verdicts %v, want %v", verdicts, want)
	}
	if p := out.Partitions[0]; !slices.Equal(p.ProvenSectors, Set{0}) || !slices.Equal(p.Skipped, Set{1}) || p.Post == nil || !p.Post.Verified {
		t.Errorf("proven partition %+v", p)
	}
	if p := out.Partitions[2]; !slices.Equal(p.NewFaults, Set{5}) {
		t.Errorf("missed partition %+v", p)
	}
	if p := out.Partitions[3]; !slices.Equal(p.LostRecoveries, Set{6, 7}) || len(p.NewFaults) != 0 {
		t.Errorf("lost recoveries %+v", p)
	}
	if act := m.ActiveSectors(); !slices.Equal(act, Set{0}) {
		t.Errorf("active %v", act)
	}
	if d := m.Deadlines[0]; len(d.Posted) != 0 || len(d.Posts) != 0 || len(d.Disputable) != 1 {
		t.Errorf("the next window does not begin clean: %+v", d)
	}
	if !slices.Equal(out.Missed(), []uint64{2, 3, 4}) {
		t.Errorf("missed %v", out.Missed())
	}
}

// TestExempt leaves the windows before the first one alone.
func TestExempt(t *testing.T) {
	m := newMiner(t, func(i *Info, _ []Placement) { i.ProvingStart = open + 1 })
	after, out := m.EndEpoch(open + 59)
	if out.Partitions[0].Verdict != Exempt || len(after.ActiveSectors()) != 10 {
		t.Errorf("%+v", out.Partitions[0])
	}
}

// TestOptimistic takes a bad proof on trust and loses it to a dispute.
func TestOptimistic(t *testing.T) {
	m := newMiner(t, nil)
	var a asked
	rt := a.runtime(open + 1)
	rt.Optimistic = true
	good, bad := params(open, 0), params(open, 1)
	bad.Proofs[0].ProofBytes[0] = 8
	for _, p := range []*minertypes.SubmitWindowedPoStParams{good, bad} {
		var err error
		if m, err = m.SubmitWindowedPoSt(rt, p); err != nil {
			t.Fatal(err)
		}
	}
	if len(a) != 0 {
		t.Fatal("verified in spite of trust")
	}
	var closed *Outcome
	dispute := func(e abi.ChainEpoch, idx uint64) error {
		after, d, err := m.DisputeWindowedPoSt(a.runtime(e), &minertypes.DisputeWindowedPoStParams{PoStIndex: idx})
		m = after
		if err == nil {
			closed = d.Amend(closed)
		}
		return err
	}
	if msg, code := refusal(t, dispute(open+59, 1)); code != exitcode.ErrForbidden || !strings.Contains(msg, "1800 epochs") {
		t.Errorf("in the window: %q", msg)
	}
	m, closed = m.EndEpoch(open + 59)
	if msg, _ := refusal(t, dispute(open+60, 0)); msg != "failed to dispute valid post" {
		t.Errorf("valid proof: %q", msg)
	}
	if err := dispute(open+61, 1); err != nil {
		t.Fatal(err)
	}
	if closed.Partitions[0].Verdict != Proven || closed.Partitions[1].Verdict != Invalid {
		t.Errorf("outcome after the dispute: %+v", closed.Partitions)
	}
	if f := m.Collect(func(p Partition) Set { return p.Faults }); !slices.Equal(f, Set{2, 3, 4, 5, 6, 7, 8, 9}) { // 4 to 9 were not proven at all
		t.Errorf("faults after the dispute: %v", f)
	}
	if msg, _ := refusal(t, dispute(open+62, 1)); !strings.Contains(msg, "not found") {
		t.Errorf("second dispute: %q", msg)
	}
	if msg, _ := refusal(t, dispute(open+60+1800, 0)); !strings.Contains(msg, "dispute window") {
		t.Errorf("late dispute: %q", msg)
	}
}

// TestAssign follows the order in which the actor fills deadlines.
func TestAssign(t *testing.T) {
	got := assign(make([]uint64, 3), 2, 9)
	if want := []uint64{0, 0, 1, 1, 2, 2, 0, 0, 1}; !slices.Equal(got, want) {
		t.Errorf("assigned to %v, want %v", got, want)
	}
	// A deadline with a half-empty partition is filled before a new one is opened.
	if got := assign([]uint64{2, 1, 0}, 2, 2); !slices.Equal(got, []uint64{1, 2}) {
		t.Errorf("assigned to %v", got)
	}
}

// TestSpread puts sectors where the actor does: one partition a deadline first.
func TestSpread(t *testing.T) {
	policy := Mainnet()
	var ps []Placement
	for i := range 5 {
		ps = append(ps, Placement{Sector: Sector{Number: abi.SectorNumber(4 - i)}})
	}
	m, err := NewMiner(Info{ID: 1, PartitionSectors: 2}, &policy, ps)
	if err != nil {
		t.Fatal(err)
	}
	for n, want := range []uint64{0, 0, 1, 1, 2} {
		if d, p, ok := m.Find(abi.SectorNumber(n)); !ok || d != want || p != 0 {
			t.Errorf("sector %d in deadline %d partition %d", n, d, p)
		}
	}
}

// TestSets holds the set operations against maps.
func TestSets(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		nums := rapid.SliceOf(rapid.Uint64Range(0, 20))
		a, b := NewSet(nums.Draw(t, "a")...), NewSet(nums.Draw(t, "b")...)
		for n := range uint64(21) {
			if a.Union(b).Has(n) != (a.Has(n) || b.Has(n)) || a.And(b).Has(n) != (a.Has(n) && b.Has(n)) || a.Minus(b).Has(n) != (a.Has(n) && !b.Has(n)) {
				t.Fatalf("wrong at %d", n)
			}
		}
		back, err := setOf(a.Bits(), 100)
		if err != nil || !slices.Equal(back, a) {
			t.Fatalf("bitfield round trip: %v, %v", back, err)
		}
	})
	if got := NewSet(0, 1, 5).String(); got != "BitField { ranges: [0..2, 5..6], set: {}, unset: {} }" {
		t.Error(got)
	}
}
