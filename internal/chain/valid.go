package chain

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/filecoin-project/go-bitfield"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/dline"

	"wdpost/internal/endpoint"
	"wdpost/internal/lotus"
)

// The functions of this file hold answers against what can be true, where they
// are decoded. An answer that cannot be true is an ErrNonsense: the endpoint has
// failed at the method, and another is asked. Lists whose entries stand alone are
// used without the bad ones.

// Bounds that no chain exceeds, with room for networks to come.
const (
	maxPartitions       = 100_000   // of a deadline; the actor's limit is 3,000
	maxPartitionSectors = 1_000_000 // the largest partition has 2,349
	maxMinerSectors     = 1 << 30
	maxDeadlines        = 10_000 // of a period; there are 48
	maxEpochs           = 1 << 40
)

func nonsense(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{endpoint.ErrNonsense}, args...)...)
}

// present refuses null where the node must answer with something.
func present[T any](v *T, err error) (*T, error) {
	if err == nil && v == nil {
		err = nonsense("the answer is empty")
	}
	return v, err
}

// checkTipSet refuses a tipset without blocks, with missing ones, or with blocks
// that do not fit together.
func checkTipSet(ts *lotus.TipSet, err error) error {
	switch {
	case err != nil:
		return err
	case ts == nil || len(ts.Cids) == 0 || len(ts.Blocks) == 0:
		return nonsense("the answer is an empty tipset")
	case len(ts.Cids) != len(ts.Blocks):
		return nonsense("a tipset with %d names for %d blocks", len(ts.Cids), len(ts.Blocks))
	case ts.Height < 0 || ts.Height > maxEpochs:
		return nonsense("a tipset of height %d", ts.Height)
	}
	for i, b := range ts.Blocks {
		switch {
		case b == nil:
			return nonsense("block %d of the tipset at %d is missing", i, ts.Height)
		case b.Height != ts.Height:
			return nonsense("a block of height %d in the tipset at %d", b.Height, ts.Height)
		case !ts.Cids[i].Defined():
			return nonsense("block %d of the tipset at %d has no name", i, ts.Height)
		}
	}
	return nil
}

// checkNamed also refuses another tipset than the one asked for.
func checkNamed(key lotus.TipSetKey, ts *lotus.TipSet, err error) (*lotus.TipSet, error) {
	err = checkTipSet(ts, err)
	if err == nil && !key.IsEmpty() && !ts.Key().Equals(key) {
		err = nonsense("tipset %s was asked for and %s came", key, ts.Key())
	}
	return ts, err
}

// checkDeadline refuses deadlines that do not lie on one grid of windows, or on a
// grid further than a period from now, where now is known.
func checkDeadline(d *dline.Info, now abi.ChainEpoch, clocked bool) error {
	switch {
	case d.WPoStChallengeWindow <= 0 || d.WPoStChallengeWindow > maxEpochs/maxDeadlines,
		d.WPoStPeriodDeadlines == 0 || d.WPoStPeriodDeadlines > maxDeadlines,
		d.WPoStProvingPeriod != d.WPoStChallengeWindow*abi.ChainEpoch(d.WPoStPeriodDeadlines):
		return nonsense("a proving period of %d epochs with %d deadlines of %d", d.WPoStProvingPeriod, d.WPoStPeriodDeadlines, d.WPoStChallengeWindow)
	case d.WPoStChallengeLookback < 0 || d.FaultDeclarationCutoff < 0 || d.WPoStChallengeLookback > maxEpochs || d.FaultDeclarationCutoff > maxEpochs:
		return nonsense("a challenge lookback of %d and a fault cut-off of %d epochs", d.WPoStChallengeLookback, d.FaultDeclarationCutoff)
	case d.Index >= d.WPoStPeriodDeadlines:
		return nonsense("deadline %d of %d", d.Index, d.WPoStPeriodDeadlines)
	case max(d.PeriodStart, -d.PeriodStart) > maxEpochs:
		return nonsense("a proving period that begins at epoch %d", d.PeriodStart)
	}
	want := dline.NewInfo(d.PeriodStart, d.Index, d.CurrentEpoch, d.WPoStPeriodDeadlines, d.WPoStProvingPeriod,
		d.WPoStChallengeWindow, d.WPoStChallengeLookback, d.FaultDeclarationCutoff)
	if *want != *d {
		return nonsense("deadline %d of the period at %d with open %d, close %d, challenge %d, cut-off %d; its grid gives %d, %d, %d, %d",
			d.Index, d.PeriodStart, d.Open, d.Close, d.Challenge, d.FaultCutoff, want.Open, want.Close, want.Challenge, want.FaultCutoff)
	}
	if !clocked {
		now = d.CurrentEpoch
	}
	if d.PeriodStart > now+d.WPoStProvingPeriod || d.PeriodStart+2*d.WPoStProvingPeriod < now {
		return nonsense("a proving period from %d to %d while the chain is at epoch %d", d.PeriodStart, d.PeriodStart+d.WPoStProvingPeriod, now)
	}
	return nil
}

// checkMiner refuses a miner of which no proof could be made: proof type or
// sector size that nobody knows, or that do not fit together.
func checkMiner(info *lotus.MinerInfo) error {
	size, err := info.WindowPoStProofType.SectorSize()
	switch {
	case err != nil:
		return nonsense("window proof type %d of the miner is not known to this program; a newer one may know it", info.WindowPoStProofType)
	case size != info.SectorSize:
		return nonsense("a miner with sectors of %d bytes and the proof type for %d", info.SectorSize, size)
	case info.WindowPoStPartitionSectors == 0 || info.WindowPoStPartitionSectors > maxPartitionSectors:
		return nonsense("a miner with %d sectors in a partition", info.WindowPoStPartitionSectors)
	}
	return nil
}

// checkBits refuses a bitfield with more bits than there can be, or with a bit
// that is no sector number.
func checkBits(what string, b bitfield.BitField, most uint64) error {
	n, err := b.Count()
	if err != nil {
		return nonsense("%s cannot be read: %v", what, err)
	}
	if n > most {
		return nonsense("%s has %d entries, there can be %d", what, n, most)
	}
	if n == 0 {
		return nil
	}
	if last, err := b.Last(); err != nil || last > abi.MaxSectorNumber {
		return nonsense("%s has the number %d", what, last)
	}
	return nil
}

// checkPartitions refuses partitions whose sets cannot be true.
func checkPartitions(list []lotus.Partition) error {
	if len(list) > maxPartitions {
		return nonsense("a deadline with %d partitions", len(list))
	}
	for i, p := range list {
		for what, set := range map[string]bitfield.BitField{
			"AllSectors": p.AllSectors, "LiveSectors": p.LiveSectors, "ActiveSectors": p.ActiveSectors,
			"FaultySectors": p.FaultySectors, "RecoveringSectors": p.RecoveringSectors,
		} {
			if err := checkBits(fmt.Sprintf("%s of partition %d", what, i), set, maxPartitionSectors); err != nil {
				return err
			}
		}
		for _, within := range []struct {
			inner, outer string
			a, b         bitfield.BitField
		}{
			{"LiveSectors", "AllSectors", p.LiveSectors, p.AllSectors},
			{"ActiveSectors", "LiveSectors", p.ActiveSectors, p.LiveSectors},
			{"FaultySectors", "LiveSectors", p.FaultySectors, p.LiveSectors},
			{"RecoveringSectors", "FaultySectors", p.RecoveringSectors, p.FaultySectors},
		} {
			rest, err := bitfield.SubtractBitField(within.a, within.b)
			if err != nil {
				return nonsense("the sets of partition %d cannot be read: %v", i, err)
			}
			if none, err := rest.IsEmpty(); err != nil || !none {
				return nonsense("%s of partition %d has sectors that %s lacks", within.inner, i, within.outer)
			}
		}
	}
	return nil
}

// checkDeadlines refuses a list that is no miner's.
func checkDeadlines(list []lotus.Deadline) error {
	if len(list) == 0 || len(list) > maxDeadlines {
		return nonsense("a miner with %d deadlines", len(list))
	}
	for i, d := range list {
		if err := checkBits(fmt.Sprintf("PostSubmissions of deadline %d", i), d.PostSubmissions, maxPartitions); err != nil {
			return err
		}
	}
	return nil
}

// usableSectors leaves out entries that are missing, repeated, unnamed or not
// asked for, and returns the rest in ascending order with the number left out.
func usableSectors(list []*lotus.SectorOnChainInfo, asked *bitfield.BitField) (out []*lotus.SectorOnChainInfo, left int, err error) {
	seen := map[abi.SectorNumber]bool{}
	for _, s := range list {
		if s == nil || seen[s.SectorNumber] || !s.SealedCID.Defined() || s.SectorNumber > abi.MaxSectorNumber {
			continue
		}
		if asked != nil {
			wanted, err := asked.IsSet(uint64(s.SectorNumber))
			if err != nil {
				return nil, 0, fmt.Errorf("the sectors asked for: %w", err)
			}
			if !wanted {
				continue
			}
		}
		seen[s.SectorNumber] = true
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b *lotus.SectorOnChainInfo) int { return cmp.Compare(a.SectorNumber, b.SectorNumber) })
	return out, len(list) - len(out), nil
}

// checkLookup refuses the place of a message that is no place.
func checkLookup(l *lotus.MsgLookup) error {
	if l != nil && (l.Height <= 0 || l.Height > maxEpochs || !l.Message.Defined()) {
		return nonsense("a message executed at epoch %d as %s", l.Height, l.Message)
	}
	return nil
}
