package poster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"wdpost/internal/attr"
	"wdpost/internal/deadline"
	"wdpost/internal/ledger"
	"wdpost/internal/task"
	"wdpost/proofs/post"
)

// Of the rounds in which sectors that could not be read are asked for again.
const (
	// leastRounds are asked where another machine may read them, copies or not.
	leastRounds = 3
	// maxRounds bounds the rounds, however many copies there are.
	maxRounds = 8
)

// prove makes one attempt at a batch: check its sectors, ask the prover,
// verify, keep. Partitions without a readable sector go their own way, so that
// they do not hold up the others.
func (r *run) prove(ctx context.Context, a deadline.Prove) deadline.Event {
	if !r.m.pauseLong(ctx, a.Try) {
		return nil
	}
	b := r.batch(a.Batch)
	made, err := r.makeProof(ctx, b, levelOfTry(a.Try))
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		r.log.Log(ctx, levelOfTry(a.Try), "proving failed, retrying", attr.Partitions(b.indices()), attr.Failures(a.Try+1), attr.Err(err))
		r.tell(Outcome{What: ProofFailed, Partitions: b.indices(), Reason: err.Error()})
		return deadline.ProveFailed{Ref: r.ref, Batch: a.Batch, Why: failure(err)}
	}
	r.tell(Outcome{What: ProofMade, Partitions: b.indices(), Proven: len(made.proof.Sectors), Skipped: len(made.proof.Skipped), Took: made.took})
	r.saySkipped(b, made)
	return r.accept(b, made.proof)
}

// made is a verified proof and why sectors are not in it.
type made struct {
	proof  *ledger.Proof
	why    map[uint64]error // of the skipped sectors
	copies map[uint64][]Files
	took   time.Duration
}

// makeProof returns a verified proof over the sectors of b that could be read by
// anyone in time. What the check says of the others is logged at the given level.
func (r *run) makeProof(ctx context.Context, b *batch, level slog.Level) (*made, error) {
	head, err := r.head(ctx)
	if err != nil {
		return nil, err
	}
	var seed [32]byte
	var sectors []Sector
	err = together(ctx,
		func(ctx context.Context) (err error) { seed, err = r.seedAt(ctx, head.Key()); return err },
		func(ctx context.Context) (err error) {
			sectors, err = r.chainSectors(ctx, head.Key(), b.sectors())
			return err
		})
	if err != nil {
		return nil, err
	}
	log := r.log.With(attr.Partitions(b.indices()))
	check, err := r.checkSectors(ctx, log, level, sectors, false)
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
	began := time.Now()
	best, err := r.collect(ctx, q, rules, check)
	if err != nil {
		return nil, err
	}
	p := &ledger.Proof{
		RunKey: r.key, Partitions: b.indices(), ProofType: int64(rules.proofType), Randomness: seed,
		Proof: best.proof, CreatedAt: time.Now(),
	}
	for _, rep := range best.q.Replicas {
		p.Sectors = append(p.Sectors, rep.SectorID)
	}
	p.Skipped = without(b.sectors(), p.Sectors)
	out := &made{proof: p, why: maps.Clone(check.Bad), copies: check.Good, took: time.Since(began)}
	if out.why == nil {
		out.why = map[uint64]error{}
	}
	for n, err := range best.why {
		out.why[n] = err
	}
	log.Info("proof made and verified", attr.SectorCount(len(p.Sectors)), attr.Skipped(len(p.Skipped)), attr.Took(out.took))
	return out, nil
}

// answered is a verified proof with the question that it answers.
type answered struct {
	q     task.Question
	proof []byte           // nil: nothing could be read
	why   map[uint64]error // of the sectors asked for and not in it
}

// collect asks the prover until its proof is over every sector that anyone can
// read. A partial answer is not the truth: what one slave could not read is
// asked again, of another slave, another copy, another path. The best proof so
// far is kept, and returned when nothing better comes in time.
func (r *run) collect(ctx context.Context, q task.Question, rules rules, check CheckResult) (*answered, error) {
	var best *answered
	turn := map[uint64]int{} // which copy of a sector is asked for
	for round := 0; ; round++ {
		q.Round = round
		call, cancel := ctx, context.CancelFunc(func() {})
		if best != nil { // from here on it may only become better
			call, cancel = context.WithDeadline(ctx, r.sendBy())
		}
		got, err := r.askPatiently(call, q, rules)
		cancel()
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case err != nil && best != nil:
			r.log.Warn("sectors could not be asked for again; the proof without them is used", attr.Partitions(q.Partitions), attr.Skipped(len(best.why)), attr.Err(err))
			return best, nil
		case err != nil:
			return nil, err
		}
		if got.proof != nil && (best == nil || len(got.q.Replicas) > len(best.q.Replicas)) {
			best = got
		}
		r.doubt(q, got.why)
		again := r.askable(got, check, turn, round)
		if len(got.why) == 0 || len(again) == 0 || round+1 >= maxRounds {
			if best == nil {
				return nil, fmt.Errorf("the prover could read none of %d sectors: %w", len(q.Replicas), someReasons(got.why))
			}
			return best, nil
		}
		if left := time.Until(r.sendBy()); best != nil && left < r.m.cfg.pace.usual(time.Minute) {
			r.log.Warn("no time is left to ask for the missing sectors again; the proof without them is used", attr.Partitions(q.Partitions), attr.Skipped(len(best.why)))
			return best, nil
		}
		r.log.Warn("sectors could not be read; they are asked for again, of another copy or another slave", attr.Partitions(q.Partitions),
			attr.SkippedList(again), attr.Err(someReasons(got.why)), attr.Attempt(round+2))
		q.Replicas = slices.Clone(q.Replicas)
		for i, rep := range q.Replicas {
			if _, missing := got.why[rep.SectorID]; missing {
				turn[rep.SectorID]++
				copies := check.Good[rep.SectorID]
				files := copies[turn[rep.SectorID]%len(copies)]
				q.Replicas[i].CacheDir, q.Replicas[i].SealedFile = files.CacheDir, files.SealedFile
			}
		}
		if !r.m.pauseLong(ctx, round+1) {
			return nil, ctx.Err()
		}
	}
}

// slowness is how many times as long as usual a proof may take before it is
// asked for a second time, beside the first.
const slowness = 3

// askPatiently is ask, and asks a second time where the answer takes far longer
// than usual: whoever has the question may hang over it. The first answer counts.
// It is another round, which goes to somebody else. While it is not known how long
// a proof takes nobody is asked twice: two proofs of half an hour on one machine
// take an hour.
func (r *run) askPatiently(ctx context.Context, q task.Question, rules rules) (*answered, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type result struct {
		got *answered
		err error
	}
	results := make(chan result, 2)
	put := func(q task.Question) {
		r.m.guard(func() {
			out := result{err: errors.New("a defect was caught while asking")}
			defer func() { results <- out }()
			out.got, out.err = r.ask(ctx, q, rules)
		})
	}
	put(q)
	limit := slowness * r.m.cfg.pace.usual(0)
	if limit == 0 {
		limit = time.Until(r.m.timeOf(r.info.Close))
	}
	timer := time.NewTimer(limit)
	defer timer.Stop()
	for asked := 1; ; {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-timer.C:
			r.log.Warn("a proof takes far longer than usual; it is asked for a second time", attr.Partitions(q.Partitions), attr.Limit(limit))
			again := q
			again.Round++
			put(again)
			asked++
		case out := <-results:
			if asked--; out.err == nil || asked == 0 {
				return out.got, out.err
			}
		}
	}
}

// sendBy is when a partial proof is sent, if nothing better came: with a third
// of the window left.
func (r *run) sendBy() time.Time {
	return r.m.timeOf(r.info.Close - r.info.WPoStChallengeWindow/3)
}

// doubt tells the checker which copies could not be read.
func (r *run) doubt(q task.Question, why map[uint64]error) {
	for _, rep := range q.Replicas {
		if err := why[rep.SectorID]; err != nil {
			r.m.cfg.Sectors.Doubt(r.m.conf.Miner, rep.SectorID, rep.SealedFile, err)
		}
	}
}

// askable lists the missing sectors that are worth another round: those with a
// copy that was not asked for, and those that another machine may read.
func (r *run) askable(got *answered, check CheckResult, turn map[uint64]int, round int) []uint64 {
	var again []uint64
	for n, err := range got.why {
		kind, _ := task.FaultOf(err)
		if turn[n]+1 < len(check.Good[n]) || kind.Elsewhere() && round+1 < leastRounds {
			again = append(again, n)
		}
	}
	slices.Sort(again)
	return again
}

// ask puts the question, when its turn has come, and returns the verified proof
// with the question that it answers: the one asked, without what could not be
// read. A prover that names faults and makes no proof is asked again without
// them.
func (r *run) ask(ctx context.Context, q task.Question, rules rules) (*answered, error) {
	leave, err := r.gate.enter(ctx)
	if err != nil {
		return nil, &vagueError{errors.New("waiting for its turn to prove")}
	}
	defer leave()
	why := map[uint64]error{}
	for {
		began := time.Now()
		answer, err := r.m.cfg.Prover.ProveWindowPoSt(ctx, q)
		if err != nil {
			return nil, fmt.Errorf("prove %d sectors: %w", len(q.Replicas), err)
		}
		before := len(q.Replicas)
		answer = answer.Normal()
		rest := q.Without(answer.Faults)
		switch n := len(rest.Replicas); {
		case before-n != len(answer.Faults):
			return nil, fmt.Errorf("the prover names %d faults, of which %d are in question", len(answer.Faults), before-n)
		}
		maps.Copy(why, reasonsOf(answer))
		switch n := len(rest.Replicas); {
		case n == 0: // there may be other copies
			return &answered{q: rest, why: why}, nil
		case len(answer.Proofs) == 0 && n < before:
			r.log.Info("asking again without the sectors that could not be read", attr.SectorCount(n), attr.Skipped(before-n))
			q = rest
			continue
		case len(answer.Proofs) != 1:
			return nil, fmt.Errorf("the prover answered with %d proofs instead of one", len(answer.Proofs))
		}
		if want := proofLength(len(rest.Replicas), rules.partitionSectors); len(answer.Proofs[0]) != want {
			return nil, fmt.Errorf("the proof has %d bytes instead of %d", len(answer.Proofs[0]), want)
		}
		r.m.cfg.pace.took(time.Since(began))
		leave() // the check holds nobody up
		return &answered{q: rest, proof: answer.Proofs[0], why: why}, r.verify(ctx, rest, answer.Proofs[0])
	}
}

// verifyTries is how often a proof is held against the key before it is made
// again: that the check failed says nothing about the proof.
const verifyTries = 6

func (r *run) verify(ctx context.Context, q task.Question, proof []byte) (err error) {
	for try := 0; try < verifyTries && r.m.pause(ctx, try); try++ {
		var ok bool
		if ok, err = r.m.cfg.Verifier.VerifyWindowPoSt(ctx, q, proof); err == nil {
			if !ok {
				return fmt.Errorf("the prover's proof over %d sectors is wrong", len(q.Replicas))
			}
			return nil
		}
		r.log.Log(ctx, levelOfTry(try), "the proof could not be verified, retrying", attr.Partitions(q.Partitions), attr.Failures(try+1), attr.Err(err))
	}
	if err == nil {
		err = ctx.Err()
	}
	return fmt.Errorf("verify the proof: %w", err)
}

// reasonsOf tells of each fault of an answer why.
func reasonsOf(a task.Answer) map[uint64]error {
	why := map[uint64]error{}
	for _, n := range a.Faults {
		why[n] = errors.New("the prover could not read it")
	}
	for _, reason := range a.Reasons {
		for _, n := range reason.Sectors {
			why[n] = &task.FaultError{Kind: reason.Kind, Store: reason.Store, Err: errors.New(reason.Err)}
		}
	}
	return why
}

// question asks for a proof over the good sectors of b, of their best copies.
func (r *run) question(b *batch, rules rules, seed [32]byte, sectors []Sector, good map[uint64][]Files) (task.Question, error) {
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
		if files := good[s.Number]; len(files) > 0 {
			q.Replicas = append(q.Replicas, task.Replica{SectorID: s.Number, CommR: s.CommR, CacheDir: files[0].CacheDir, SealedFile: files[0].SealedFile})
		}
	}
	return q, nil
}

// proofLength is the size of a proof over n sectors.
func proofLength(n int, partitionSectors uint64) int {
	per := max(int(partitionSectors), 1)
	return (n + per - 1) / per * post.ProofSize
}

// accept keeps a proof. Partitions of the batch with no proven sector are
// split off into batches of their own: they are tried again and again, and
// the rest is sent.
func (r *run) accept(b *batch, proof *ledger.Proof) deadline.Event {
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
	r.m.cfg.book.PutProof(*proof)
	if len(bare) == 0 {
		return deadline.Proved{Ref: r.ref, Batch: b.id()}
	}
	ev := deadline.Regrouped{
		Ref: r.ref, Batch: b.id(), Why: deadline.Failure{Text: "none of its sectors could be read"},
		By: []deadline.PlannedBatch{{ID: kept.id(), Stage: deadline.Ready}},
	}
	for _, p := range bare {
		alone := &batch{partitions: []partition{p}}
		r.add(alone)
		ev.By = append(ev.By, deadline.PlannedBatch{ID: alone.id(), Stage: deadline.Proving})
		r.log.Warn("a partition without a readable sector is tried on its own", attr.Partition(p.index), attr.SectorCount(len(p.toProve)))
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
