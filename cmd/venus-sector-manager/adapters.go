package main

import (
	"context"
	"fmt"
	"time"

	"github.com/filecoin-project/go-state-types/abi"

	"wdpost/internal/message"
	payers "wdpost/internal/message/sender"
	"wdpost/internal/poster"
	"wdpost/internal/sector"
)

// sectorChecker is the sector room in the poster's words.
type sectorChecker struct {
	checker *sector.Checker
	limit   time.Duration // of one check
	strict  map[abi.ActorID]bool
}

// CheckSectors implements poster.SectorChecker.
func (c *sectorChecker) CheckSectors(ctx context.Context, miner abi.ActorID, sectors []poster.Sector) (poster.CheckResult, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, c.limit, fmt.Errorf("not looked at within PartitionCheckTimeout %s", c.limit))
	defer cancel()
	wanted := make([]sector.Wanted, len(sectors))
	for i, s := range sectors {
		wanted[i] = sector.Wanted{Number: s.Number, SectorSize: s.Size, CommR: s.CommR, Updated: s.Updated}
	}
	result := poster.CheckResult{Good: map[uint64]poster.Files{}, Bad: map[uint64]error{}}
	for _, found := range c.checker.Check(ctx, uint64(miner), wanted, c.strict[miner]) {
		number := found.Wanted.Number
		if found.Err != nil {
			result.Bad[number] = found.Err
			continue
		}
		result.Good[number] = poster.Files{CacheDir: found.CacheDir, SealedFile: found.SealedFile}
	}
	return result, nil
}

// copies is the sector index in the words of winning.
type copies struct{ locator *sector.Locator }

// Locate implements winning.Locator: the first known copy.
func (c copies) Locate(_ context.Context, miner, number uint64, updated bool) (cacheDir, sealedFile string, err error) {
	id := sector.ID{Miner: miner, Number: number}
	found := c.locator.Find(id, updated)
	if len(found) == 0 {
		return "", "", fmt.Errorf("sector %s: %w", id, sector.ErrNotFound)
	}
	return found[0].CacheDir, found[0].SealedFile, nil
}

// sender is the way of messages: the service that sends, and who pays.
type sender struct {
	message.Sender
	*payers.Chooser
}
