package manager

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-bitfield"
	commcid "github.com/filecoin-project/go-fil-commcid"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/crypto"
	"github.com/filecoin-project/go-state-types/dline"

	"wdpost/internal/deadline"
	"wdpost/internal/lotus"
	"wdpost/internal/poster"
	"wdpost/internal/task"
)

// rehearsedNode has sectors 7 and 8 in partition 0 of deadline 3, and 9, which
// is faulty, in partition 1. Its head is at 5000.
type rehearsedNode struct{ fakeNode }

func (rehearsedNode) ChainHead(context.Context) (*lotus.TipSet, error) {
	return &lotus.TipSet{Height: 5000}, nil
}

func (rehearsedNode) StateMinerProvingDeadline(context.Context, address.Address, lotus.TipSetKey) (*dline.Info, error) {
	return dline.NewInfo(2880, 35, 5000, 48, 2880, 60, 20, 70), nil
}

func (rehearsedNode) StateMinerPartitions(_ context.Context, _ address.Address, index uint64, _ lotus.TipSetKey) ([]lotus.Partition, error) {
	if index != 3 {
		return nil, nil
	}
	none, two, nine := bitfield.New(), bitfield.NewFromSet([]uint64{7, 8}), bitfield.NewFromSet([]uint64{9})
	return []lotus.Partition{
		{AllSectors: two, LiveSectors: two, FaultySectors: none, RecoveringSectors: none, ActiveSectors: two},
		{AllSectors: nine, LiveSectors: nine, FaultySectors: nine, RecoveringSectors: none, ActiveSectors: none},
	}, nil
}

func (rehearsedNode) StateMinerSectors(_ context.Context, _ address.Address, wanted *bitfield.BitField, _ lotus.TipSetKey) ([]*lotus.SectorOnChainInfo, error) {
	all, err := wanted.All(10)
	var out []*lotus.SectorOnChainInfo
	for _, n := range all {
		c, _ := commcid.ReplicaCommitmentV1ToCID(append(make([]byte, 31), byte(n)))
		out = append(out, &lotus.SectorOnChainInfo{SectorNumber: abi.SectorNumber(n), SealedCID: c})
	}
	return out, err
}

func (rehearsedNode) StateGetRandomnessFromBeacon(_ context.Context, _ crypto.DomainSeparationTag, epoch abi.ChainEpoch, _ []byte, _ lotus.TipSetKey) (abi.Randomness, error) {
	if epoch != 2880+3*60-20 && epoch != 2880+4*60-20 {
		return nil, errors.New("another epoch was asked")
	}
	return append(make([]byte, 31), 0xff), nil
}

// rehearsalProver answers once, and refuses what it is told to.
type rehearsalProver struct {
	asked   []task.Question
	hangs   bool
	invalid bool
}

func (p *rehearsalProver) ProveWindowPoSt(ctx context.Context, q task.Question) (task.Answer, error) {
	p.asked = append(p.asked, q)
	if p.hangs {
		<-ctx.Done()
		return task.Answer{}, ctx.Err()
	}
	return task.Answer{Proofs: [][]byte{make([]byte, 192)}}, nil
}

func (p *rehearsalProver) VerifyWindowPoSt(_ context.Context, q task.Question, _ task.Answer) error {
	if p.invalid || len(q.Replicas) != 1 {
		return task.ErrBadAnswer
	}
	return nil
}

func (p *rehearsalProver) VerifyWinningPoSt(context.Context, task.Question, task.Answer) error {
	return nil
}

// busyPoster is proving once it is told so.
type busyPoster struct {
	Poster
	busy func() bool
}

func (p busyPoster) Status() []poster.MinerStatus {
	stage := deadline.Ready
	if p.busy() {
		stage = deadline.Proving
	}
	return []poster.MinerStatus{{Active: []deadline.State{{Batches: []deadline.BatchState{{Stage: stage}}}}}}
}

func rehearsed(t *testing.T, p *rehearsalProver, busy func() bool) *world {
	w := build(t, "", "")
	w.Manager.node = rehearsedNode{}
	r := &minerRun{conf: w.settings.Load().manager.Miners[0]}
	r.joined.Store(&joinedMiner{
		info:   &lotus.MinerInfo{SectorSize: 2048, WindowPoStProofType: abi.RegisteredPoStProof_StackedDrgWindow2KiBV1_1},
		prover: &minerProver{p: w.provers, window: p, verifier: p}, poster: busyPoster{busy: busy},
	})
	w.miners.running = map[uint64]*minerRun{1008: r}
	return w
}

func never() bool { return false }

// TestRehearsalProvesARealDeadline: the last challenge, the sectors that a real
// proof would be over, a question of its own, verified over what was proven.
func TestRehearsalProvesARealDeadline(t *testing.T) {
	p := &rehearsalProver{}
	w := rehearsed(t, p, never)
	got, err := w.Rehearse(t.Context(), 1008, 3)
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Batches) != 1 || got.Batches[0].Sectors != 1 || got.Batches[0].Skipped[8] == "" || got.Challenge != 3040 || got.Open != 3060 || got.Close != 3120 {
		t.Errorf("%+v", got)
	}
	if got.Margin > 35*time.Minute || got.Margin < 34*time.Minute || got.Left != 28*time.Minute {
		t.Errorf("margin %s, left %s: want 35m less what it took, and the 56 epochs after Open + 4", got.Margin, got.Left)
	}
	q := p.asked[0]
	if q.Seed[31] != 0x3f || len(q.Replicas) != 1 || q.Replicas[0].SectorID != 7 || q.Replicas[0].CommR[31] != 7 || q.Round == 0 || time.Until(time.Unix(q.NotAfter, 0)) < 75*time.Minute || !q.AllowSkip || *q.Deadline != 3 {
		t.Errorf("asked %+v", q)
	}
	p.invalid = true
	if _, err := w.Rehearse(t.Context(), 1008, 3); !errors.Is(err, task.ErrBadAnswer) || !strings.Contains(err.Error(), "verify") {
		t.Errorf("a wrong proof: %v", err)
	}
	for index, want := range map[uint64]string{4: "nothing to prove", 48: "does not exist"} {
		if _, err := w.Rehearse(t.Context(), 1008, index); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("deadline %d: %v", index, err)
		}
	}
	if _, err := w.Rehearse(t.Context(), 5, 3); err == nil || !strings.Contains(err.Error(), "does not work for miner") {
		t.Errorf("another miner: %v", err)
	}
}

// TestRealDeadlineComesFirst: a rehearsal is refused while a real proof is made,
// given up when one begins, and there is one at a time.
func TestRealDeadlineComesFirst(t *testing.T) {
	p := &rehearsalProver{hangs: true}
	if _, err := rehearsed(t, p, func() bool { return true }).Rehearse(t.Context(), 1008, 3); !errors.Is(err, errWindowFirst) || len(p.asked) != 0 {
		t.Errorf("%v, asked %d", err, len(p.asked))
	}
	looks := 0
	w := rehearsed(t, p, func() bool { looks++; return looks > 1 })
	if _, err := w.Rehearse(t.Context(), 1008, 3); !errors.Is(err, errWindowFirst) || len(p.asked) != 1 {
		t.Errorf("%v, asked %d", err, len(p.asked))
	}
	w.rehearsing.Lock()
	if _, err := w.Rehearse(t.Context(), 1008, 3); err == nil || !strings.Contains(err.Error(), "another rehearsal") {
		t.Errorf("%v", err)
	}
}

// TestLastChallenged: the challenge may lie in the period before, and in the
// one to come, whose first challenge is before its start.
func TestLastChallenged(t *testing.T) {
	now := *dline.NewInfo(2880, 35, 5000, 48, 2880, 60, 20, 70)
	for index, want := range map[uint64]abi.ChainEpoch{3: 3040, 35: 4960, 36: 2880 + 36*60 - 20 - 2880} {
		if got := lastChallenged(now, index, 5000); got.Challenge != want {
			t.Errorf("deadline %d: challenge %d, want %d", index, got.Challenge, want)
		}
	}
	if got := lastChallenged(now, 0, 5745); got.Challenge != 5740 {
		t.Errorf("deadline 0 of the next period: challenge %d", got.Challenge)
	}
}
