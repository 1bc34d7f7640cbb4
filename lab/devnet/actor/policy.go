package actor

import (
	"fmt"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/dline"
)

// Policy holds the lengths and limits of the PoSt protocol, in epochs unless
// said otherwise.
type Policy struct {
	PeriodDeadlines   uint64         // deadlines in a proving period
	ChallengeWindow   abi.ChainEpoch // from a deadline's Open to its Close
	ChallengeLookback abi.ChainEpoch // from Challenge to Open
	FaultCutoff       abi.ChainEpoch // from the last moment to declare a recovery to Open
	DisputeWindow     abi.ChainEpoch // after Close, in which an optimistic proof may be disputed

	PostedPartitionsMax      uint64 // partitions of one SubmitWindowedPoSt
	AddressedPartitionsMax   uint64 // partitions of one declaration
	AddressedSectorsMax      uint64 // sectors of one message
	MaxPartitionsPerDeadline uint64
}

// Mainnet is the policy of the main network and of every public one.
func Mainnet() Policy {
	return Policy{
		PeriodDeadlines:   48,
		ChallengeWindow:   60,
		ChallengeLookback: 20,
		FaultCutoff:       70,
		DisputeWindow:     1800,

		PostedPartitionsMax:      3,
		AddressedPartitionsMax:   3000,
		AddressedSectorsMax:      25_000,
		MaxPartitionsPerDeadline: 3000,
	}
}

// Scaled is a policy for demonstrations: windows of the given length, fewer of
// them in a period if wanted, and the other lengths in the proportions of the
// main network.
func Scaled(deadlines uint64, window abi.ChainEpoch) Policy {
	p := Mainnet()
	p.PeriodDeadlines = deadlines
	p.ChallengeWindow = window
	p.ChallengeLookback = max(1, window/3)
	p.FaultCutoff = p.ChallengeLookback + max(1, window*5/6)
	p.DisputeWindow = 30 * window
	return p
}

// ProvingPeriod is the length of a proving period.
func (p Policy) ProvingPeriod() abi.ChainEpoch {
	return abi.ChainEpoch(p.PeriodDeadlines) * p.ChallengeWindow
}

// Validate refuses lengths with which no deadline could be proven.
func (p Policy) Validate() error {
	switch {
	case p.PeriodDeadlines == 0:
		return fmt.Errorf("policy: PeriodDeadlines is 0, need at least 1")
	case p.ChallengeWindow < 2:
		return fmt.Errorf("policy: ChallengeWindow is %d epochs, need at least 2", p.ChallengeWindow)
	case p.ChallengeLookback < 0:
		return fmt.Errorf("policy: ChallengeLookback is %d, need 0 or more", p.ChallengeLookback)
	case p.FaultCutoff < 0:
		return fmt.Errorf("policy: FaultCutoff is %d, need 0 or more", p.FaultCutoff)
	case p.PostedPartitionsMax == 0:
		return fmt.Errorf("policy: PostedPartitionsMax is 0, need at least 1")
	}
	return nil
}

// info describes deadline idx of the period that starts at start.
func (p Policy) info(start abi.ChainEpoch, idx uint64, now abi.ChainEpoch) *dline.Info {
	return dline.NewInfo(start, idx, now, p.PeriodDeadlines, p.ProvingPeriod(),
		p.ChallengeWindow, p.ChallengeLookback, p.FaultCutoff)
}

// current describes the deadline whose window now lies in, for a miner whose
// periods start at offset plus multiples of the period.
func (p Policy) current(offset, now abi.ChainEpoch) *dline.Info {
	progress := (now - offset) % p.ProvingPeriod()
	if progress < 0 {
		progress += p.ProvingPeriod()
	}
	start := now - progress
	return p.info(start, uint64(progress/p.ChallengeWindow), now)
}

// submissionLimit is how many partitions of the given size one message may prove.
func (p Policy) submissionLimit(partitionSectors uint64) uint64 {
	return min(p.AddressedSectorsMax/partitionSectors, p.AddressedPartitionsMax, p.PostedPartitionsMax)
}
