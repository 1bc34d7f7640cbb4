package manager

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-bitfield"
	commcid "github.com/filecoin-project/go-fil-commcid"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/crypto"
	"github.com/filecoin-project/go-state-types/dline"

	"wdpost/internal/config"
	"wdpost/internal/deadline"
	"wdpost/internal/lotus"
	"wdpost/internal/patience"
	"wdpost/internal/poster"
	"wdpost/internal/task"
	"wdpost/proofs/post"
)

// Rehearsal is a deadline that was proven and verified, and not sent.
type Rehearsal struct {
	Miner     uint64           `json:"miner"`
	Deadline  uint64           `json:"deadline"`
	Challenge abi.ChainEpoch   `json:"challenge"` // whose randomness was used
	Open      abi.ChainEpoch   `json:"open"`
	Close     abi.ChainEpoch   `json:"close"`
	Chain     time.Duration    `json:"chain"` // asking the node, nanoseconds
	Batches   []RehearsalBatch `json:"batches"`
	Took      time.Duration    `json:"took"`   // all of it
	Margin    time.Duration    `json:"margin"` // what a real window would have left when the last proof is there; negative: too late
	Left      time.Duration    `json:"left"`   // of it, what is left to land where the window opens only later
}

// RehearsalBatch is one message's share.
type RehearsalBatch struct {
	Partitions []uint64          `json:"partitions"`
	Sectors    int               `json:"sectors"` // proven
	Skipped    map[uint64]string `json:"skipped"` // why each is not in the proof
	Check      time.Duration     `json:"check"`   // of the sectors
	Prove      time.Duration     `json:"prove"`   // by whoever proves, the queue included
	Verify     time.Duration     `json:"verify"`
}

// partitionsInMessage is the most that the chain takes in one message.
const partitionsInMessage = 3

// errWindowFirst ends a rehearsal when a real window wants the provers.
var errWindowFirst = errors.New("a real deadline is being proven, which comes first: ask again when it has ended (`util history 1`)")

// Rehearse proves a deadline with the randomness of its last challenge, through
// the prover of the running miner, verifies the proofs and sends nothing. A
// real deadline has the provers first: while one is being proven it is refused,
// and when one begins it is given up.
func (m *Manager) Rehearse(ctx context.Context, actor, index uint64) (Rehearsal, error) {
	if !m.rehearsing.TryLock() {
		return Rehearsal{}, errors.New("another rehearsal is under way")
	}
	defer m.rehearsing.Unlock()
	var run *minerRun
	m.miners.each(func(a uint64, r *minerRun) {
		if a == actor {
			run = r
		}
	})
	if run == nil {
		return Rehearsal{}, fmt.Errorf("the daemon does not work for miner %s", subject(actor))
	}
	j := run.joined.Load()
	if j == nil || j.prover == nil || j.prover.window == nil {
		return Rehearsal{}, fmt.Errorf("no WindowPoSt is made for miner %s now; `util doctor` says why", subject(actor))
	}
	if m.proving() {
		return Rehearsal{}, errWindowFirst
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		for patience.Sleep(ctx, time.Second) == nil {
			if m.proving() {
				cancel(errWindowFirst)
			}
		}
	}()
	r := &rehearsal{m: m, conf: run.conf, j: j}
	var out Rehearsal
	err := m.guarded(ctx, "rehearsal", func(ctx context.Context) (err error) { out, err = r.run(ctx, index); return err })
	if cause := context.Cause(ctx); err != nil && cause != nil {
		err = cause
	}
	return out, err
}

// proving reports whether a real proof is being made for any miner.
func (m *Manager) proving() bool {
	busy := false
	m.miners.each(func(_ uint64, r *minerRun) {
		j := r.joined.Load()
		if j == nil || j.poster == nil {
			return
		}
		for _, s := range j.poster.Status() {
			for _, d := range s.Active {
				busy = busy || d.Kind == deadline.PoSt && slices.ContainsFunc(d.Batches, func(b deadline.BatchState) bool { return b.Stage == deadline.Proving })
			}
		}
	})
	return busy
}

// rehearsal is one under way.
type rehearsal struct {
	m    *Manager
	conf config.Miner
	j    *joinedMiner
	addr address.Address
	at   dline.Info
	seed [32]byte
}

// share is a batch before it is proven.
type share struct {
	partitions []uint64
	sectors    []poster.Sector
}

func (r *rehearsal) run(ctx context.Context, index uint64) (Rehearsal, error) {
	began := time.Now()
	shares, err := r.ask(ctx, index)
	if err != nil {
		return Rehearsal{}, err
	}
	out := Rehearsal{Miner: r.conf.Actor, Deadline: index, Challenge: r.at.Challenge, Open: r.at.Open, Close: r.at.Close, Chain: time.Since(began)}
	for _, s := range shares {
		b, err := r.prove(ctx, s)
		if err != nil {
			return out, fmt.Errorf("partitions %v: %w", s.partitions, err)
		}
		out.Batches = append(out.Batches, b)
	}
	out.Took = time.Since(began)
	delay := r.m.network.Load().clock.BlockDelay
	out.Margin, out.Left = margins(minerConfig(r.conf), r.at, delay, out.Took)
	return out, nil
}

// margins says what the real window would have left: from the proof to the
// close, and from the moment at which it may be sent to the close.
func margins(c poster.MinerConfig, at dline.Info, delay, took time.Duration) (margin, left time.Duration) {
	wait := func(e abi.ChainEpoch) time.Duration { return time.Duration(e) * delay }
	margin = wait(at.Close-at.Challenge-cmp.Or(c.ChallengeConfidence, 10)) - took
	return margin, min(margin, wait(at.Close-at.Open-cmp.Or(c.SubmitConfidence, 4)))
}

// ask reads the deadline, its sectors and its seed from the chain.
func (r *rehearsal) ask(ctx context.Context, index uint64) ([]share, error) {
	var err error
	if r.addr, err = address.NewIDAddress(r.conf.Actor); err != nil {
		return nil, err
	}
	head, err := r.m.node.ChainHead(ctx)
	if err != nil {
		return nil, fmt.Errorf("ask the head: %w", err)
	}
	now, err := r.m.node.StateMinerProvingDeadline(ctx, r.addr, head.Key())
	if err != nil {
		return nil, fmt.Errorf("ask the deadline: %w", err)
	}
	if index >= now.WPoStPeriodDeadlines {
		return nil, fmt.Errorf("deadline %d does not exist: there are %d, from 0", index, now.WPoStPeriodDeadlines)
	}
	if r.at = lastChallenged(*now, index, head.Height); r.at.Challenge < 0 {
		return nil, fmt.Errorf("deadline %d has had no challenge yet on this chain", index)
	}
	var entropy bytes.Buffer
	if err := r.addr.MarshalCBOR(&entropy); err != nil {
		return nil, err
	}
	rand, err := r.m.node.StateGetRandomnessFromBeacon(ctx, crypto.DomainSeparationTag_WindowedPoStChallengeSeed, r.at.Challenge, entropy.Bytes(), head.Key())
	if err != nil {
		return nil, fmt.Errorf("ask the randomness of epoch %d: %w", r.at.Challenge, err)
	}
	if len(rand) != len(r.seed) {
		return nil, fmt.Errorf("the randomness of epoch %d has %d bytes, want %d", r.at.Challenge, len(rand), len(r.seed))
	}
	r.seed = post.MaskRandomness([32]byte(rand))
	return r.shares(ctx, index, head.Key())
}

// lastChallenged is the latest occurrence of a deadline whose challenge is not
// after the head.
func lastChallenged(now dline.Info, index uint64, head abi.ChainEpoch) dline.Info {
	period := now.PeriodStart + now.WPoStProvingPeriod
	for {
		d := *dline.NewInfo(period, index, head, now.WPoStPeriodDeadlines, now.WPoStProvingPeriod, now.WPoStChallengeWindow, now.WPoStChallengeLookback, now.FaultDeclarationCutoff)
		if d.Challenge <= head {
			return d
		}
		period -= now.WPoStProvingPeriod
	}
}

// shares groups what the deadline has to prove into messages.
func (r *rehearsal) shares(ctx context.Context, index uint64, tsk lotus.TipSetKey) ([]share, error) {
	parts, err := r.m.node.StateMinerPartitions(ctx, r.addr, index, tsk)
	if err != nil {
		return nil, fmt.Errorf("ask the partitions of deadline %d: %w", index, err)
	}
	most := partitionsInMessage
	if want := r.conf.PoSt.MaxPartitionsPerPoStMessage; want > 0 {
		most = min(most, int(want))
	}
	var out []share
	for i, p := range parts {
		sectors, err := r.sectors(ctx, p, tsk)
		if err != nil {
			return nil, fmt.Errorf("partition %d: %w", i, err)
		}
		if len(sectors) == 0 {
			continue
		}
		if len(out) == 0 || len(out[len(out)-1].partitions) >= most {
			out = append(out, share{})
		}
		last := &out[len(out)-1]
		last.partitions, last.sectors = append(last.partitions, uint64(i)), append(last.sectors, sectors...)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("deadline %d has nothing to prove", index)
	}
	for i := range out {
		slices.SortFunc(out[i].sectors, func(a, b poster.Sector) int { return cmp.Compare(a.Number, b.Number) })
	}
	return out, nil
}

// sectors are those of a partition that a real proof would be over.
func (r *rehearsal) sectors(ctx context.Context, p lotus.Partition, tsk lotus.TipSetKey) ([]poster.Sector, error) {
	healthy, err := bitfield.SubtractBitField(p.LiveSectors, p.FaultySectors)
	if err != nil {
		return nil, err
	}
	wanted, err := bitfield.MergeBitFields(healthy, p.RecoveringSectors)
	if err != nil {
		return nil, err
	}
	if empty, err := wanted.IsEmpty(); err != nil || empty {
		return nil, err
	}
	infos, err := r.m.node.StateMinerSectors(ctx, r.addr, &wanted, tsk)
	if err != nil {
		return nil, err
	}
	var out []poster.Sector
	for _, info := range infos {
		s := poster.Sector{Number: uint64(info.SectorNumber), Size: uint64(r.j.info.SectorSize), SealProof: info.SealProof, Updated: info.SectorKeyCID != nil}
		commR, err := commcid.CIDToReplicaCommitmentV1(info.SealedCID)
		if err != nil {
			return nil, fmt.Errorf("sector %d: its commitment %s: %w", s.Number, info.SealedCID, err)
		}
		copy(s.CommR[:], commR)
		out = append(out, s)
	}
	return out, nil
}

// prove checks, proves and verifies one message's share.
func (r *rehearsal) prove(ctx context.Context, s share) (RehearsalBatch, error) {
	b := RehearsalBatch{Partitions: s.partitions, Skipped: map[uint64]string{}}
	began := time.Now()
	check, err := r.m.stores.CheckSectors(ctx, abi.ActorID(r.conf.Actor), s.sectors, false)
	if err != nil {
		return b, fmt.Errorf("check the sectors: %w", err)
	}
	b.Check = time.Since(began)
	q := r.question(s, check.Good)
	for n, why := range check.Bad {
		b.Skipped[n] = why.Error()
	}
	if len(q.Replicas) == 0 {
		return b, fmt.Errorf("none of %d sectors can be read: %s", len(s.sectors), firstReason(b.Skipped))
	}
	began = time.Now()
	a, err := r.j.prover.window.ProveWindowPoSt(ctx, q)
	if err != nil {
		return b, fmt.Errorf("prove: %w", err)
	}
	b.Prove = time.Since(began)
	for _, n := range a.Faults {
		b.Skipped[n] = "the prover could not read it"
	}
	for _, reason := range a.Reasons {
		for _, n := range reason.Sectors {
			b.Skipped[n] = reason.Err
		}
	}
	q.Replicas = slices.DeleteFunc(q.Replicas, func(x task.Replica) bool { return slices.Contains(a.Faults, x.SectorID) })
	if b.Sectors = len(q.Replicas); b.Sectors == 0 {
		return b, fmt.Errorf("the prover could read no sector: %s", firstReason(b.Skipped))
	}
	began = time.Now()
	if err := r.j.prover.verifier.VerifyWindowPoSt(ctx, q, task.Answer{Proofs: a.Proofs}); err != nil {
		return b, fmt.Errorf("verify: %w", err)
	}
	b.Verify = time.Since(began)
	return b, nil
}

// question asks for a proof that no answer from before can stand for: its round
// is one of its own. The queue serves first what ends first, so its end lies
// behind that of every real deadline that may begin meanwhile.
func (r *rehearsal) question(s share, good map[uint64][]poster.Files) task.Question {
	delay := r.m.network.Load().clock.BlockDelay
	index := r.at.Index
	now := time.Now()
	q := task.Question{
		MinerID: r.conf.Actor, ProofType: post.ProofType(r.j.info.WindowPoStProofType).String(), Seed: r.seed, AllowSkip: true,
		NotAfter: now.Add(2 * time.Duration(r.at.Close-r.at.Challenge) * delay).Unix(), Deadline: &index, Partitions: s.partitions, Round: int(now.Unix()),
	}
	for _, sector := range s.sectors {
		if files := good[sector.Number]; len(files) > 0 {
			q.Replicas = append(q.Replicas, task.Replica{SectorID: sector.Number, CommR: sector.CommR, CacheDir: files[0].CacheDir, SealedFile: files[0].SealedFile})
		}
	}
	return q
}

func firstReason(why map[uint64]string) string {
	for _, n := range slices.Sorted(maps.Keys(why)) {
		return fmt.Sprintf("sector %d: %s", n, why[n])
	}
	return "no reason is told"
}

// serveRehearsal answers POST /rehearse with miner and deadline.
func (m *Manager) serveRehearsal(w http.ResponseWriter, r *http.Request) {
	actor, err := strconv.ParseUint(r.FormValue("miner"), 10, 63)
	index, err2 := strconv.ParseUint(r.FormValue("deadline"), 10, 63)
	if err := errors.Join(err, err2); err != nil {
		m.answer(w, nil, err)
		return
	}
	out, err := m.Rehearse(r.Context(), actor, index)
	m.answer(w, out, err)
}
