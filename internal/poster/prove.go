package poster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/filecoin-project/go-bitfield"
	commcid "github.com/filecoin-project/go-fil-commcid"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/crypto"

	"wdpost/internal/deadline"
	"wdpost/internal/ledger"
	"wdpost/internal/lotus"
	"wdpost/internal/task"
	"wdpost/proofs/post"
)

// proofBytes is the size of one Groth16 proof; a batch has one for each proof
// partition.
const proofBytes = 192

// maxReasons bounds how many sectors' reasons go into one text.
const maxReasons = 3

// prove makes one attempt at a batch: check its sectors, ask the prover,
// verify, keep. Partitions without a readable sector go their own way, so that
// they do not hold up the others.
func (r *run) prove(ctx context.Context, a deadline.Prove) deadline.Event {
	if !r.m.pauseLong(ctx, a.Try) {
		return nil
	}
	if err := r.gate.Acquire(ctx, 1); err != nil {
		return nil // the window closed while it waited for its turn
	}
	defer r.gate.Release(1)
	b := r.batch(a.Batch)
	proof, err := r.makeProof(ctx, b, levelOfTry(a.Try))
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		r.log.Log(ctx, levelOfTry(a.Try), "proving failed; it is tried again", "partitions", string(a.Batch), "try", a.Try, "error", err)
		return deadline.ProveFailed{Ref: r.ref, Batch: a.Batch, Reason: err.Error()}
	}
	return r.accept(ctx, b, proof)
}

// makeProof returns a verified proof over the sectors of b that could be read.
// Those that could not are logged at the given level.
func (r *run) makeProof(ctx context.Context, b *batch, level slog.Level) (*ledger.Proof, error) {
	seed, err := r.seed(ctx)
	if err != nil {
		return nil, err
	}
	sectors, err := r.m.chainSectors(ctx, b.sectors())
	if err != nil {
		return nil, err
	}
	check, err := r.m.checkSectors(ctx, r.log.With("partitions", b.indices().String()), level, r.info.Close, sectors)
	if err != nil {
		return nil, err
	}
	rules := r.chainRules()
	q, err := r.question(b, rules, seed, sectors, check.Good)
	if err != nil {
		return nil, err
	}
	if len(q.Replicas) == 0 {
		return nil, fmt.Errorf("none of %d sectors can be read: %w", len(sectors), someReasons(check.Bad))
	}
	started := time.Now()
	proof, q, err := r.ask(ctx, q, rules)
	if err != nil {
		return nil, err
	}
	ok, err := r.m.cfg.Verifier.VerifyWindowPoSt(ctx, q, proof)
	switch {
	case err != nil:
		return nil, fmt.Errorf("verify the proof: %w", err)
	case !ok:
		return nil, fmt.Errorf("the prover's proof over %d sectors is wrong", len(q.Replicas))
	}
	p := &ledger.Proof{
		RunKey: r.key, Partitions: b.indices(), ProofType: int64(rules.proofType), Randomness: seed,
		Proof: proof, CreatedAt: time.Now(),
	}
	for _, rep := range q.Replicas {
		p.Sectors = append(p.Sectors, rep.SectorID)
	}
	p.Skipped = without(b.sectors(), p.Sectors)
	r.log.Info("proof made and verified", "partitions", p.Partitions.String(), "sectors", len(p.Sectors), "skipped", len(p.Skipped), "took", time.Since(started))
	return p, nil
}

// seed reads the challenge randomness of the deadline, as provers want it.
func (r *run) seed(ctx context.Context) ([32]byte, error) {
	call, cancel := r.call(ctx)
	defer cancel()
	head, err := r.m.cfg.Chain.ChainHead(call)
	if err != nil {
		return [32]byte{}, fmt.Errorf("read the head: %w", err)
	}
	return r.seedAt(call, head.Key())
}

func (r *run) seedAt(ctx context.Context, tsk lotus.TipSetKey) ([32]byte, error) {
	e, err := entropy(r.m.addr)
	if err != nil {
		return [32]byte{}, err
	}
	rand, err := r.m.cfg.Chain.StateGetRandomnessFromBeacon(ctx, crypto.DomainSeparationTag_WindowedPoStChallengeSeed, r.info.Challenge, e, tsk)
	if err != nil {
		return [32]byte{}, fmt.Errorf("read the challenge randomness of epoch %d: %w", r.info.Challenge, err)
	}
	return maskSeed(rand)
}

// chainSectors reads what the chain knows of the given sectors, ascending.
func (m *miner) chainSectors(ctx context.Context, want []uint64) ([]Sector, error) {
	call, cancel := context.WithTimeout(ctx, m.cfg.CallTimeout)
	defer cancel()
	head, err := m.cfg.Chain.ChainHead(call)
	if err != nil {
		return nil, fmt.Errorf("read the head: %w", err)
	}
	miner, err := m.cfg.Chain.StateMinerInfo(call, m.addr, head.Key())
	if err != nil {
		return nil, fmt.Errorf("read the miner's info: %w", err)
	}
	set := bitfield.NewFromSet(want)
	infos, err := m.cfg.Chain.StateMinerSectors(call, m.addr, &set, head.Key())
	if err != nil {
		return nil, fmt.Errorf("read %d sectors from the chain: %w", len(want), err)
	}
	var out []Sector
	for _, info := range infos {
		if !isIn(want, uint64(info.SectorNumber)) {
			continue
		}
		commR, err := commcid.CIDToReplicaCommitmentV1(info.SealedCID)
		if err != nil {
			return nil, fmt.Errorf("sector %d: its commitment %s: %w", info.SectorNumber, info.SealedCID, err)
		}
		s := Sector{Number: uint64(info.SectorNumber), Size: uint64(miner.SectorSize), SealProof: info.SealProof, Updated: info.SectorKeyCID != nil}
		copy(s.CommR[:], commR)
		out = append(out, s)
	}
	if len(out) != len(want) {
		return nil, fmt.Errorf("the node knows %d of %d sectors", len(out), len(want))
	}
	slices.SortFunc(out, func(a, b Sector) int { return cmp.Compare(a.Number, b.Number) })
	return out, nil
}

// checkSectors asks which sectors could be read, and says so in the log, at the
// given level if some could not. The check may take a quarter of the time that
// is left until the given epoch.
func (m *miner) checkSectors(ctx context.Context, log *slog.Logger, level slog.Level, until abi.ChainEpoch, sectors []Sector) (CheckResult, error) {
	started := time.Now()
	call, cancel := context.WithTimeout(ctx, max(m.cfg.CallTimeout, time.Until(m.timeOf(until))/4))
	defer cancel()
	check, err := m.cfg.Sectors.CheckSectors(call, m.conf.Miner, sectors)
	if err != nil {
		return check, fmt.Errorf("check the sectors: %w", err)
	}
	log = log.With("sectors", len(sectors), "good", len(check.Good), "bad", len(check.Bad), "took", time.Since(started))
	if len(check.Bad) > 0 {
		log.Log(ctx, level, "Checked sectors", "reasons", someReasons(check.Bad))
	} else {
		log.Info("Checked sectors")
	}
	return check, nil
}

// someReasons shows the first few of many reasons.
func someReasons(bad map[uint64]error) error {
	numbers := make([]uint64, 0, len(bad))
	for n := range bad {
		numbers = append(numbers, n)
	}
	slices.Sort(numbers)
	var errs []error
	for _, n := range numbers[:min(len(numbers), maxReasons)] {
		errs = append(errs, fmt.Errorf("sector %d: %w", n, bad[n]))
	}
	if more := len(numbers) - maxReasons; more > 0 {
		errs = append(errs, fmt.Errorf("and %d more", more))
	}
	return errors.Join(errs...)
}

// question asks for a proof over the good sectors of b.
func (r *run) question(b *batch, rules rules, seed [32]byte, sectors []Sector, good map[uint64]Files) (task.Question, error) {
	proofType := post.ProofType(rules.proofType)
	if !proofType.Valid() || proofType.Kind() != post.Window {
		return task.Question{}, fmt.Errorf("the miner's WindowPoSt proof type %d is not known", rules.proofType)
	}
	index := r.info.Index
	q := task.Question{
		MinerID: uint64(r.m.conf.Miner), ProofType: proofType.String(), Seed: seed,
		AllowSkip: true, NotAfter: r.m.timeOf(r.info.Close).Unix(), Deadline: &index, Partitions: b.indices(),
	}
	for _, s := range sectors {
		if files, ok := good[s.Number]; ok {
			q.Replicas = append(q.Replicas, task.Replica{SectorID: s.Number, CommR: s.CommR, CacheDir: files.CacheDir, SealedFile: files.SealedFile})
		}
	}
	return q, nil
}

// ask puts the question and returns the proof with the question that it
// answers: the one asked, without what could not be read. A prover that names
// faults and makes no proof is asked again without them.
func (r *run) ask(ctx context.Context, q task.Question, rules rules) ([]byte, task.Question, error) {
	for {
		answer, err := r.m.cfg.Prover.ProveWindowPoSt(ctx, q)
		if err != nil {
			return nil, q, fmt.Errorf("prove %d sectors: %w", len(q.Replicas), err)
		}
		before := len(q.Replicas)
		q.Replicas = slices.DeleteFunc(slices.Clone(q.Replicas), func(rep task.Replica) bool {
			return slices.Contains(answer.Faults, rep.SectorID)
		})
		switch n := len(q.Replicas); {
		case before-n != len(answer.Faults):
			return nil, q, fmt.Errorf("the prover names %d faults, of which %d are in question", len(answer.Faults), before-n)
		case n == 0:
			return nil, q, fmt.Errorf("the prover could read none of %d sectors", before)
		case len(answer.Proofs) == 0 && n < before:
			r.log.Info("asking again without the sectors that could not be read", "sectors", n, "faults", before-n)
			continue
		case len(answer.Proofs) != 1:
			return nil, q, fmt.Errorf("the prover answered with %d proofs instead of one", len(answer.Proofs))
		}
		if want := proofLength(len(q.Replicas), rules.partitionSectors); len(answer.Proofs[0]) != want {
			return nil, q, fmt.Errorf("the proof has %d bytes instead of %d", len(answer.Proofs[0]), want)
		}
		return answer.Proofs[0], q, nil
	}
}

// proofLength is the size of a proof over n sectors.
func proofLength(n int, partitionSectors uint64) int {
	per := max(int(partitionSectors), 1)
	return (n + per - 1) / per * proofBytes
}

// accept keeps a proof. Partitions of the batch with no proven sector are
// split off into batches of their own: they are tried again and again, and
// the rest is sent.
func (r *run) accept(ctx context.Context, b *batch, proof *ledger.Proof) deadline.Event {
	var proven, bare []partition
	for _, p := range b.partitions {
		if len(without(p.toProve, proof.Sectors)) < len(p.toProve) {
			proven = append(proven, p)
		} else {
			bare = append(bare, p)
		}
	}
	kept := b
	if len(bare) > 0 {
		kept = &batch{partitions: proven}
		proof.Partitions = kept.indices()
		proof.Skipped = without(kept.sectors(), proof.Sectors)
	}
	kept.proof = proof
	r.add(kept)
	r.keep(ctx, "a proof", func(ctx context.Context) error { return r.m.cfg.Ledger.PutProof(ctx, *proof) })
	if len(bare) == 0 {
		return deadline.Proved{Ref: r.ref, Batch: b.id()}
	}
	ev := deadline.Replaced{
		Ref: r.ref, Batch: b.id(), Reason: "none of its sectors could be read",
		By: []deadline.PlannedBatch{{ID: kept.id(), Stage: deadline.Ready}},
	}
	for _, p := range bare {
		alone := &batch{partitions: []partition{p}}
		r.add(alone)
		ev.By = append(ev.By, deadline.PlannedBatch{ID: alone.id(), Stage: deadline.Proving})
		r.log.Warn("a partition without a readable sector is tried on its own", "partition", p.index, "sectors", len(p.toProve))
	}
	return ev
}

// without returns the ascending numbers of a that are not in the ascending b.
func without(a, b []uint64) []uint64 {
	var out []uint64
	for _, n := range a {
		if !isIn(b, n) {
			out = append(out, n)
		}
	}
	return out
}

// isIn reports whether n is in the ascending list.
func isIn(list []uint64, n uint64) bool {
	_, found := slices.BinarySearch(list, n)
	return found
}
