package chain

import (
	"bytes"
	"context"
	"fmt"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/crypto"

	"wdpost/internal/lotus"
)

// ChainHead returns the head of the healthiest node.
func (n *Node) ChainHead(ctx context.Context) (*lotus.TipSet, error) {
	return read(ctx, n, "ChainHead", func(ctx context.Context, r *rpc) (*lotus.TipSet, error) {
		ts, err := r.ChainHead(ctx)
		return ts, checkHead(ts, err)
	})
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
			err = fmt.Errorf("the answer has %d bytes instead of %d", len(rand), abi.RandomnessLength)
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
