package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/ipfs/go-cid"

	"wdpost/internal/lotus"
	"wdpost/internal/message"
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

// sender is the message room in the poster's words.
type sender struct {
	messages message.Sender
	selector *message.Selector
}

// SelectSender implements poster.Sender.
func (s *sender) SelectSender(ctx context.Context, miner address.Address, configured []address.Address) (address.Address, error) {
	addr, err := s.selector.Select(ctx, miner, configured)
	if errors.Is(err, message.ErrNoSender) {
		return addr, fmt.Errorf("%w: %w", poster.ErrNoSender, err)
	}
	return addr, err
}

// Push implements poster.Sender.
func (s *sender) Push(ctx context.Context, id string, msg *lotus.Message, spec poster.SendSpec) (poster.Handle, error) {
	f := spec.Fees
	h, err := s.messages.Push(ctx, id, msg, message.Spec{
		Fees: message.Fees{
			GasOverEstimation: f.GasOverEstimation, GasOverPremium: f.GasOverPremium,
			GasFeeCap: f.GasFeeCap, MaxFeeCap: f.MaxFeeCap,
		},
		ExpireEpoch: spec.Expire,
	})
	return posterHandle(h), err
}

// Find implements poster.Sender.
func (s *sender) Find(ctx context.Context, h poster.Handle) (poster.MessageOutcome, error) {
	handle, err := messageHandle(h)
	if err != nil {
		return poster.MessageOutcome{}, err
	}
	o, err := s.messages.Find(ctx, handle)
	return posterOutcome(o), err
}

// Wait implements poster.Sender.
func (s *sender) Wait(ctx context.Context, h poster.Handle, confidence uint64) (poster.MessageOutcome, error) {
	handle, err := messageHandle(h)
	if err != nil {
		return poster.MessageOutcome{}, err
	}
	o, err := s.messages.Wait(ctx, handle, confidence)
	return posterOutcome(o), err
}

func posterHandle(h message.Handle) poster.Handle {
	out := poster.Handle{ID: h.ID}
	if h.CID != nil {
		out.CID = h.CID.String()
	}
	return out
}

func messageHandle(h poster.Handle) (message.Handle, error) {
	out := message.Handle{ID: h.ID}
	if h.CID != "" {
		c, err := cid.Decode(h.CID)
		if err != nil {
			return out, fmt.Errorf("message %s: its CID %q: %w", h.ID, h.CID, err)
		}
		out.CID = &c
	}
	return out, nil
}

func posterOutcome(o message.Outcome) poster.MessageOutcome {
	out := poster.MessageOutcome{Handle: posterHandle(o.Handle), Reason: o.Reason, ExitCode: o.Receipt.ExitCode, Height: o.Height}
	switch o.State {
	case message.Pending:
		out.State = poster.MessagePending
	case message.Landed:
		out.State = poster.MessageExecuted
	case message.Failed:
		out.State = poster.MessageDropped
	case message.Replaced:
		out.State = poster.MessageDropped
		if out.Reason == "" {
			out.Reason = "another message took its nonce"
		}
	}
	return out
}
