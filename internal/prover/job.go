package prover

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"wdpost/internal/attr"
	"wdpost/internal/task"
	"wdpost/proofs"
	"wdpost/proofs/params"
	"wdpost/proofs/post"
)

// VanillaReader reads one sector's share of a proof.
type VanillaReader interface {
	// ReadVanilla opens the challenged leaves of one replica of the given
	// sector size in bytes and returns its vanilla proof. It is called from
	// many goroutines at once. It gives up by time-outs of its own and when
	// ctx ends; any other error means that the sector cannot be proven now. The
	// caller checks what is returned.
	ReadVanilla(ctx context.Context, sectorSize uint64, replica task.Replica, challenges []uint64) (*post.Vanilla, error)
}

// job is one question on its way to the answer.
type job struct {
	survey   *Survey
	log      *slog.Logger
	miner    uint64
	typ      post.ProofType
	setup    post.Setup
	seed     task.Hash32
	replicas []task.Replica // ascending
	skip     bool           // Question.AllowSkip
	meter    *meter

	// After read:
	sectors []task.Replica // those that can be proven, ascending
	vanilla []*post.Vanilla
	faults  []uint64 // the others, ascending
	why     map[uint64]error
}

// statementOf is what a proof over these replicas claims.
func statementOf(j *job, replicas []task.Replica) *post.Statement {
	s := &post.Statement{Type: j.typ, Setup: j.setup, Randomness: j.seed, Sectors: make([]post.Sector, len(replicas))}
	for i, r := range replicas {
		s.Sectors[i] = post.Sector{Number: r.SectorID, CommR: r.CommR}
	}
	return s
}

func (j *job) statement() *post.Statement { return statementOf(j, j.sectors) }

func (j *job) task() *proofs.Task {
	return &proofs.Task{Statement: j.statement(), Vanilla: j.vanilla}
}

// constraints is the size of the proof over all partitions.
func (j *job) constraints() uint64 {
	return params.Constraints(j.setup) * uint64(j.statement().Partitions())
}

// read reads every sector once. Sectors that fail become faults; without
// AllowSkip reading goes on nevertheless, so that all faults are known at once.
//
// With Window V1 the challenges of a sector depend on its place among the
// sectors that are proven, so those behind a fault are read again.
func (j *job) read(ctx context.Context) error {
	remaining := j.replicas
	known := make(map[uint64]*post.Vanilla, len(remaining))
	at := make(map[uint64]int, len(remaining)) // position that known was read for
	for {
		statement := statementOf(j, remaining)
		var wanted []int
		for i, r := range remaining {
			positional := j.typ.APIVersion() != post.V1_2_0 && !j.typ.IsWinning()
			if known[r.SectorID] == nil || positional && at[r.SectorID] != i {
				wanted = append(wanted, i)
			}
		}
		j.meter.enter(StageReading, len(wanted))
		outcomes, err := j.readSectors(ctx, statement, remaining, wanted)
		if err != nil {
			return err
		}
		failed := map[uint64]bool{}
		for k, i := range wanted {
			number := remaining[i].SectorID
			if err := outcomes[k].err; err != nil {
				j.log.Debug("sector cannot be read", attr.Sector(number), attr.Err(err))
				j.faults = append(j.faults, number)
				j.why[number] = err
				failed[number] = true
				continue
			}
			known[number], at[number] = outcomes[k].vanilla, i
		}
		if len(failed) == 0 {
			break
		}
		remaining = slices.DeleteFunc(slices.Clone(remaining), func(r task.Replica) bool { return failed[r.SectorID] })
		if len(remaining) == 0 || !j.skip {
			break
		}
	}
	slices.Sort(j.faults)
	j.sayFaults()
	j.sectors = remaining
	for _, r := range remaining {
		j.vanilla = append(j.vanilla, known[r.SectorID])
	}
	return nil
}

// sayFaults says in one line for each reason, not for each sector, what cannot be
// proven.
func (j *job) sayFaults() {
	const lines = 16
	reasons := task.Reasons(j.why)
	for _, r := range reasons[:min(len(reasons), lines)] {
		j.log.Warn("sectors cannot be read", attr.SectorCount(len(r.Sectors)), attr.Store(r.Store), attr.Blame(string(r.Kind)), attr.SectorList(r.Sectors), attr.Err(errors.New(r.Err)))
	}
	if more := len(reasons) - lines; more > 0 {
		j.log.Warn("sectors cannot be read for further reasons", attr.Count(more))
	}
}

// outcome is what came of reading one sector.
type outcome struct {
	k       int // index into wanted
	vanilla *post.Vanilla
	err     error
}

// readSectors reads the wanted sectors concurrently. It returns as soon as ctx
// ends, even if the reader does not; what the reader still brings is dropped.
func (j *job) readSectors(ctx context.Context, s *post.Statement, replicas []task.Replica, wanted []int) ([]outcome, error) {
	results := make(chan outcome, len(wanted))
	go func() {
		for k, i := range wanted {
			select {
			case j.survey.reads <- struct{}{}:
			case <-ctx.Done():
				return
			}
			go func() {
				defer func() { <-j.survey.reads }()
				vanilla, err := j.readSector(ctx, s, i, replicas[i])
				results <- outcome{k, vanilla, err}
			}()
		}
	}()
	outcomes := make([]outcome, len(wanted))
	for range wanted {
		select {
		case o := <-results:
			if o.err != nil && ctx.Err() != nil {
				return nil, context.Cause(ctx) // not the sector's fault
			}
			outcomes[o.k] = o
			j.meter.step()
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	return outcomes, nil
}

// readSector reads and checks one sector. A panic of the reader costs only that
// sector.
func (j *job) readSector(ctx context.Context, s *post.Statement, i int, r task.Replica) (v *post.Vanilla, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("reading sector %d: panic: %v", r.SectorID, p)
		}
	}()
	v, err = j.survey.cfg.Reader.ReadVanilla(ctx, j.typ.SectorSize(), r, s.Challenges(i))
	if err != nil {
		return nil, err
	}
	if v == nil {
		return nil, errors.New("the reader returned nothing")
	}
	if err := s.Check(j.survey.system.Hasher(), i, v); err != nil {
		return nil, &task.FaultError{Kind: task.FaultData, Err: err}
	}
	return v, nil
}
