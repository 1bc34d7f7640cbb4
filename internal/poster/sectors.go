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
	"github.com/filecoin-project/go-state-types/crypto"

	"wdpost/internal/attr"
	"wdpost/internal/lotus"
)

// maxReasons bounds how many sectors' reasons go into one text.
const maxReasons = 3

// seedAt reads the challenge randomness of the deadline, as provers want it.
func (r *run) seedAt(ctx context.Context, tsk lotus.TipSetKey) ([32]byte, error) {
	e, err := entropy(r.m.addr)
	if err != nil {
		return [32]byte{}, err
	}
	return ask(ctx, r.limit(), fmt.Sprintf("read the challenge randomness of epoch %d", r.info.Challenge), func(ctx context.Context) ([32]byte, error) {
		rand, err := r.m.cfg.Chain.StateGetRandomnessFromBeacon(ctx, crypto.DomainSeparationTag_WindowedPoStChallengeSeed, r.info.Challenge, e, tsk)
		if err != nil {
			return [32]byte{}, err
		}
		return maskSeed(rand)
	})
}

// chainSectors reads what the chain knows of the given sectors, ascending. What
// makes no sense in the node's answer costs the sector it is about.
func (r *run) chainSectors(ctx context.Context, tsk lotus.TipSetKey, want []uint64) ([]Sector, error) {
	size := r.chainRules().sectorSize
	if size == 0 { // of a recovery
		info, err := r.minerInfo(ctx, tsk)
		if err != nil {
			return nil, err
		}
		size = info.SectorSize
	}
	set := bitfield.NewFromSet(want)
	infos, err := ask(ctx, r.limit(), fmt.Sprintf("read %d sectors from the chain", len(want)), func(ctx context.Context) ([]*lotus.SectorOnChainInfo, error) {
		return r.m.cfg.Chain.StateMinerSectors(ctx, r.m.addr, &set, tsk)
	})
	if err != nil {
		return nil, err
	}
	var out []Sector
	var odd error
	for _, info := range infos {
		if info == nil || !isIn(want, uint64(info.SectorNumber)) {
			continue
		}
		commR, err := commcid.CIDToReplicaCommitmentV1(info.SealedCID)
		if err != nil {
			odd = errors.Join(odd, fmt.Errorf("sector %d: its commitment %s: %w", info.SectorNumber, info.SealedCID, err))
			continue
		}
		s := Sector{Number: uint64(info.SectorNumber), Size: uint64(size), SealProof: info.SealProof, Updated: info.SectorKeyCID != nil}
		copy(s.CommR[:], commR)
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b Sector) int { return cmp.Compare(a.Number, b.Number) })
	out = slices.CompactFunc(out, func(a, b Sector) bool { return a.Number == b.Number })
	switch {
	case len(out) == 0:
		return nil, errors.Join(fmt.Errorf("the node knows none of %d sectors", len(want)), odd)
	case len(out) != len(want) && r.shortAnswer():
		return nil, errors.Join(fmt.Errorf("the node knows %d of %d sectors", len(out), len(want)), odd)
	case len(out) != len(want):
		r.log.Error("the node does not tell of all sectors; it goes on without the others", attr.SectorCount(len(want)), attr.Good(len(out)), attr.Err(odd))
	}
	return out, nil
}

// shortAnswer counts answers that leave sectors out, and reports whether it is
// worth asking again.
func (r *run) shortAnswer() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.short++
	return r.short <= leastRounds
}

// checkSectors asks which sectors could be read, and says so in the log, at the
// given level if some could not. The check may take a quarter of the time that
// is left.
func (r *run) checkSectors(ctx context.Context, log *slog.Logger, level slog.Level, sectors []Sector, thorough bool) (CheckResult, error) {
	started := time.Now()
	limit := max(r.m.cfg.CallTimeout, time.Until(r.m.timeOf(r.closes()))/4)
	check, err := ask(ctx, limit, "check the sectors", func(ctx context.Context) (CheckResult, error) {
		return r.m.cfg.Sectors.CheckSectors(ctx, r.m.conf.Miner, sectors, thorough)
	})
	if err != nil {
		return check, err
	}
	for n, copies := range check.Good {
		if len(copies) == 0 {
			delete(check.Good, n)
			if check.Bad == nil {
				check.Bad = map[uint64]error{}
			}
			check.Bad[n] = errors.New("no copy of it is known")
		}
	}
	log = log.With(attr.SectorCount(len(sectors)), attr.Good(len(check.Good)), attr.Bad(len(check.Bad)), attr.Took(time.Since(started)))
	if len(check.Bad) > 0 {
		log.Log(ctx, level, "Checked sectors", attr.Err(someReasons(check.Bad)))
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
