package devnet

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/exitcode"
	"github.com/filecoin-project/go-state-types/proof"
	"golang.org/x/crypto/blake2b"

	"wdpost/internal/attr"
	"wdpost/internal/lotus"
	"wdpost/lab/devnet/actor"
	"wdpost/lab/devnet/gateway"
)

// drive begins each epoch at its time until ctx ends. When it is late it makes
// up for it at once.
func (n *Network) drive(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		timer.Reset(time.Until(n.chain.TimeOf(n.chain.Epoch() + 1)))
		select {
		case <-timer.C:
		case <-ctx.Done():
			return
		}
		if err := n.tick(ctx, n.nullRound(n.chain.Epoch()+1)); err != nil && ctx.Err() == nil {
			n.cfg.Log.LogAttrs(ctx, slog.LevelError, "epoch failed", attr.Epoch(n.chain.Epoch()), attr.Err(err))
		}
	}
}

// Step begins the given number of epochs now, whatever the time; for manual
// networks.
func (n *Network) Step(ctx context.Context, epochs int) error {
	for range epochs {
		if err := n.tick(ctx, n.nullRound(n.chain.Epoch()+1)); err != nil {
			return err
		}
	}
	return nil
}

// StepTo steps until the given epoch has begun.
func (n *Network) StepTo(ctx context.Context, epoch abi.ChainEpoch) error {
	return n.Step(ctx, int(max(0, epoch-n.chain.Epoch())))
}

// NullRound begins an epoch without a tipset.
func (n *Network) NullRound(ctx context.Context) error { return n.tick(ctx, true) }

// Reorg replaces the newest depth tipsets. With drop the messages in them are
// lost; otherwise they are mined again.
func (n *Network) Reorg(ctx context.Context, depth int, drop bool) error {
	n.ticking.Lock()
	defer n.ticking.Unlock()
	return n.reorg(ctx, depth, drop)
}

func (n *Network) reorg(ctx context.Context, depth int, drop bool) error {
	if err := n.chain.Reorg(ctx, depth, drop); err != nil {
		return err
	}
	n.emit(Event{Kind: Reorged, Text: fmt.Sprintf("the newest %d tipsets were replaced", depth)})
	n.messager.OnHead(ctx)
	return nil
}

// tick is one epoch.
func (n *Network) tick(ctx context.Context, null bool) error {
	n.ticking.Lock()
	defer n.ticking.Unlock()
	if err := n.makeTrouble(ctx, n.chain.Epoch()+1); err != nil {
		return err
	}
	ts, err := n.chain.Advance(ctx, null)
	if err != nil {
		return err
	}
	if null {
		n.emit(Event{Kind: NullRound, Text: "null round"})
		return nil
	}
	epoch := n.chain.Epoch()
	n.emit(Event{Kind: NewTipSet, Text: ts.Key().String()})
	if every := n.cfg.ReorgEvery; every > 0 && epoch%every == 0 && int(epoch) > n.cfg.ReorgDepth+1 {
		if err := n.reorg(ctx, n.cfg.ReorgDepth, false); err != nil {
			return err
		}
	}
	n.messager.OnHead(ctx)
	n.announce(epoch)
	if every := n.cfg.WinningEvery; every > 0 && epoch%every == 0 {
		n.askAll(ctx)
	}
	return nil
}

// nullRound decides by the seed whether an epoch is null.
func (n *Network) nullRound(e abi.ChainEpoch) bool {
	if n.cfg.NullEvery <= 0 {
		return false
	}
	d := blake2b.Sum256(binary.BigEndian.AppendUint64([]byte("null "+n.cfg.Seed), uint64(e)))
	return binary.BigEndian.Uint32(d[:])%uint32(n.cfg.NullEvery) == 0
}

// announceBack is for how many epochs a window that closed may still be told of:
// null rounds and reorganisations come between.
const announceBack = 100

// announce tells of messages that were executed in this epoch and of windows
// that closed.
func (n *Network) announce(epoch abi.ChainEpoch) {
	for _, m := range n.chain.Landed() {
		r, known := n.chain.Record(*m.Message.CID)
		if !known || r.Height != epoch {
			continue
		}
		kind, text := Landed, describe(&r.Signed.Message)
		if r.ExitCode != exitcode.Ok {
			kind, text = Failed, fmt.Sprintf("%s: %s (%d)", text, r.Failure, r.ExitCode)
		}
		n.emit(Event{Kind: kind, Miner: minerOf(&r.Signed.Message), Message: r.Cid.String(), Text: text})
	}
	for _, o := range n.chain.LatestState().OutcomesSince(epoch - announceBack) {
		w := window{o.Miner, o.Open}
		n.mu.Lock()
		told := n.told[w]
		n.told[w] = true
		n.mu.Unlock()
		if !told {
			n.emit(Event{Kind: Closed, Miner: o.Miner, Deadline: o.Deadline, Text: summary(o)})
		}
	}
}

// summary says in a line how a window ended.
func summary(o *actor.Outcome) string {
	count := map[actor.Verdict]int{}
	for _, p := range o.Partitions {
		count[p.Verdict]++
	}
	text := fmt.Sprintf("deadline %d closed: %d of %d partitions proven", o.Deadline, count[actor.Proven], len(o.Partitions))
	for _, v := range []actor.Verdict{actor.Missed, actor.Faulty, actor.Exempt} {
		if count[v] > 0 {
			text += fmt.Sprintf(", %d %s", count[v], v)
		}
	}
	return text
}

// Winning is one request for a winning proof and what came of it.
type Winning struct {
	Miner  abi.ActorID
	Epoch  abi.ChainEpoch // of the block it was for
	Sector abi.SectorNumber
	Took   time.Duration
	Err    error // nil: the proof came and is valid
}

// askAll asks every connected miner, without waiting for the answers.
func (n *Network) askAll(ctx context.Context) {
	for _, a := range n.gateway.Connected() {
		id, err := address.IDFromAddress(a)
		if err != nil {
			n.cfg.Log.LogAttrs(ctx, slog.LevelWarn, "a listener registered for an address that is no miner", attr.Address(a.String()))
			continue
		}
		n.work.Go(func() {
			if w, err := n.AskWinning(ctx, abi.ActorID(id)); err != nil {
				n.cfg.Log.LogAttrs(ctx, slog.LevelWarn, "no winning proof", attr.Miner(a), attr.Epoch(w.Epoch), attr.Err(err))
			}
		})
	}
}

// AskWinning asks a miner through the gateway for the proof of the next epoch's
// block and verifies it. The error is also in the answer, and in the report.
func (n *Network) AskWinning(ctx context.Context, miner abi.ActorID) (Winning, error) {
	began := time.Now()
	w := Winning{Miner: miner, Epoch: n.chain.Epoch() + 1}
	ctx, cancel := context.WithTimeout(ctx, n.cfg.WinningTimeout)
	defer cancel()
	w.Err = n.askWinning(ctx, &w)
	w.Took = time.Since(began)
	n.mu.Lock()
	n.winning = append(n.winning, w)
	n.mu.Unlock()
	text := fmt.Sprintf("winning proof of sector %d in %s", w.Sector, w.Took.Round(time.Millisecond))
	if w.Err != nil {
		text = "no winning proof: " + w.Err.Error()
	}
	n.emit(Event{Kind: WinningAsked, Miner: miner, Text: text})
	return w, w.Err
}

func (n *Network) askWinning(ctx context.Context, w *Winning) error {
	task, err := n.chain.Winning(w.Miner, w.Epoch, lotus.TipSetKey{})
	if err != nil {
		return err
	}
	if task == nil {
		return errors.New("the miner has no provable sector")
	}
	w.Sector = task.Sector.Number
	info := task.Miner.Info
	proofs, err := n.gateway.Compute(ctx, info.Address(), gateway.ComputeProofRequest{
		SectorInfos: []proof.ExtendedSectorInfo{{
			SealProof: task.Sector.SealProof, SectorNumber: task.Sector.Number, SealedCID: task.Sector.SealedCID,
		}},
		Rand: task.Randomness[:], Height: w.Epoch, NWVersion: n.cfg.NetworkVersion,
	})
	if err != nil {
		return err
	}
	if len(proofs) != 1 || proofs[0].PoStProof != info.WinningProof {
		return fmt.Errorf("answered %d proofs, wanted one of type %d", len(proofs), info.WinningProof)
	}
	err = n.chain.VerifyWinning(ctx, actor.WinningPoSt{
		Miner: w.Miner, ProofType: info.WinningProof, SectorSize: info.SectorSize,
		Randomness: task.Randomness, Sectors: []actor.Sector{task.Sector}, Proof: proofs[0].ProofBytes,
	})
	if err != nil {
		return fmt.Errorf("the winning proof is invalid: %w", err)
	}
	return nil
}

// LoseWallet takes the wallet with an account's key away from the messager, or
// brings it back.
func (n *Network) LoseWallet(account abi.ActorID, lost bool) { n.messager.LoseWallet(account, lost) }
