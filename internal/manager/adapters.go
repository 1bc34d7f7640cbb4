package manager

import (
	"context"
	"errors"

	"github.com/filecoin-project/go-state-types/abi"

	"wdpost/internal/lotus"
	"wdpost/internal/message"
	"wdpost/internal/poster"
	"wdpost/internal/sector"
)

// checkSectors is the sector room in the poster's words.
func checkSectors(ctx context.Context, checker Checker, miner abi.ActorID, sectors []poster.Sector, strict bool) poster.CheckResult {
	wanted := make([]sector.Wanted, len(sectors))
	for i, s := range sectors {
		wanted[i] = sector.Wanted{Number: s.Number, SectorSize: s.Size, CommR: s.CommR, Updated: s.Updated}
	}
	result := poster.CheckResult{Good: map[uint64][]poster.Files{}, Bad: map[uint64]error{}}
	for _, found := range checker.Check(ctx, uint64(miner), wanted, strict) {
		number := found.Wanted.Number
		if found.Err != nil {
			result.Bad[number] = found.Err
			continue
		}
		for _, at := range append([]sector.Location{found.Location}, found.Others...) {
			result.Good[number] = append(result.Good[number], poster.Files{CacheDir: at.CacheDir, SealedFile: at.SealedFile})
		}
	}
	return result
}

// sender is the way of messages: the service that sends, and who pays.
type sender struct {
	message.Sender
	Payers
}

// Push implements poster.Sender. A sender whose key turns out to be missing is
// asked for again before it is chosen once more.
func (s *sender) Push(ctx context.Context, id string, msg *lotus.Message, spec message.Spec) (message.Handle, error) {
	h, err := s.Sender.Push(ctx, id, msg, spec)
	if errors.Is(err, message.ErrNoKey) {
		s.Doubt(msg.From)
	}
	return h, err
}
