package chain

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/crypto"

	"wdpost/internal/lotus"
)

// justSeen is how long a head that the follower has delivered is the head.
const justSeen = time.Second

// ChainHead returns the head of the best node. While the follower's head is that
// of the clock, or just came, it is the answer, and no node is asked; and never is the answer an
// older head than the follower's.
func (n *Node) ChainHead(ctx context.Context) (*lotus.TipSet, error) {
	followed, age := n.heads.get()
	if n.only != nil {
		followed = nil
	}
	if followed != nil {
		if now, known := n.epochNow(); known && now == followed.Height || age < justSeen {
			return followed, nil
		}
	}
	return n.askHead(ctx)
}

// askHead asks the best endpoint for its head. One that answers with an older
// head than the follower's is asked after the others from then on.
func (n *Node) askHead(ctx context.Context) (*lotus.TipSet, error) {
	ts, m, err := attempt(ctx, n, call{method: "ChainHead", timeout: n.cfg.CallTimeout}, func(ctx context.Context, r *rpc) (*lotus.TipSet, error) {
		ts, err := r.ChainHead(ctx)
		return ts, checkTipSet(ts, err)
	})
	if err != nil {
		return nil, err
	}
	n.pool.sawHead(m, ts, 0)
	if followed, _ := n.heads.get(); followed != nil && compareHeads(ts, followed) < 0 {
		n.pool.shun(m, "ChainHead", nil)
		return followed, nil
	}
	return ts, nil
}

// StateGetRandomnessFromBeacon draws randomness from the beacon entry of epoch
// as the chain ending in tsk has it. An empty tsk is replaced by the head's.
func (n *Node) StateGetRandomnessFromBeacon(ctx context.Context, tag crypto.DomainSeparationTag, epoch abi.ChainEpoch, entropy []byte, tsk lotus.TipSetKey) (abi.Randomness, error) {
	return n.randomness(ctx, "StateGetRandomnessFromBeacon", tsk, func(ctx context.Context, r *rpc, tsk lotus.TipSetKey) (abi.Randomness, error) {
		return r.StateGetRandomnessFromBeacon(ctx, tag, epoch, entropy, tsk)
	})
}

// StateGetRandomnessFromTickets draws randomness from the ticket of epoch as
// the chain ending in tsk has it. An empty tsk is replaced by the head's: the
// node refuses it here.
func (n *Node) StateGetRandomnessFromTickets(ctx context.Context, tag crypto.DomainSeparationTag, epoch abi.ChainEpoch, entropy []byte, tsk lotus.TipSetKey) (abi.Randomness, error) {
	return n.randomness(ctx, "StateGetRandomnessFromTickets", tsk, func(ctx context.Context, r *rpc, tsk lotus.TipSetKey) (abi.Randomness, error) {
		return r.StateGetRandomnessFromTickets(ctx, tag, epoch, entropy, tsk)
	})
}

func (n *Node) randomness(ctx context.Context, method string, tsk lotus.TipSetKey, draw func(context.Context, *rpc, lotus.TipSetKey) (abi.Randomness, error)) (abi.Randomness, error) {
	if tsk.IsEmpty() {
		head, err := n.ChainHead(ctx)
		if err != nil {
			return nil, err
		}
		tsk = head.Key()
	}
	return read(ctx, n, method, func(ctx context.Context, r *rpc) (abi.Randomness, error) {
		rand, err := draw(ctx, r, tsk)
		if err == nil && len(rand) != abi.RandomnessLength {
			err = nonsense("the answer has %d bytes instead of %d", len(rand), abi.RandomnessLength)
		}
		return rand, err
	})
}

// WindowPoStChallenge is the randomness that the challenges of a deadline of
// miner follow from: beacon of the deadline's Challenge epoch, with the miner's
// ID address in CBOR as entropy. 32 bytes; the prover clears the top two bits.
func (n *Node) WindowPoStChallenge(ctx context.Context, miner address.Address, challenge abi.ChainEpoch, tsk lotus.TipSetKey) (abi.PoStRandomness, error) {
	var entropy bytes.Buffer
	if err := miner.MarshalCBOR(&entropy); err != nil {
		return nil, fmt.Errorf("challenge of %s: %w", miner, err)
	}
	rand, err := n.StateGetRandomnessFromBeacon(ctx, crypto.DomainSeparationTag_WindowedPoStChallengeSeed, challenge, entropy.Bytes(), tsk)
	return abi.PoStRandomness(rand), err
}

// PoStCommitRandomness is the ticket randomness of epoch that a
// SubmitWindowedPoSt message names to show on which chain it was made.
func (n *Node) PoStCommitRandomness(ctx context.Context, epoch abi.ChainEpoch, tsk lotus.TipSetKey) (abi.Randomness, error) {
	return n.StateGetRandomnessFromTickets(ctx, crypto.DomainSeparationTag_PoStChainCommit, epoch, nil, tsk)
}
