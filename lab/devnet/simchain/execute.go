package simchain

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/builtin"
	minertypes "github.com/filecoin-project/go-state-types/builtin/v18/miner"
	"github.com/filecoin-project/go-state-types/exitcode"
	cbg "github.com/whyrusleeping/cbor-gen"

	"wdpost/internal/lotus"
	"wdpost/lab/devnet/actor"
)

// Gas units that messages cost here. The sizes are those of a real network, the
// exactness is not.
const (
	gasBase         = 8_000_000
	gasPerPartition = 12_000_000
	gasPerParamByte = 1_300
)

// execute runs one message on a state. The error is nil whenever there is a
// receipt; a message that fails changes only its sender's nonce and balance.
func (c *Chain) execute(ctx context.Context, st *State, rand view, epoch abi.ChainEpoch, msg *lotus.Message) (*State, result, error) {
	sender := c.accountOf(msg.From)
	if sender == 0 {
		return st, failed(exitcode.SysErrSenderInvalid, "sender "+msg.From.String()+" is not an account"), nil
	}
	if want := st.Nonce(sender); msg.Nonce != want {
		return st, failed(exitcode.SysErrSenderStateInvalid, fmt.Sprintf("actor %s nonce is %d, message has %d", msg.From, want, msg.Nonce)), nil
	}
	used := gasOf(msg)
	fee := big.Mul(big.NewInt(used), big.Add(c.BaseFee(), msg.GasPremium))
	paid := st.withNonce(sender, msg.Nonce+1).withBalance(sender, big.Sub(st.Balance(sender), fee))
	if msg.GasLimit < used {
		return paid, failed(exitcode.SysErrOutOfGas, fmt.Sprintf("gas limit %d, needs %d", msg.GasLimit, used)), nil
	}
	after, err := c.apply(ctx, paid, rand, epoch, sender, msg)
	if err == nil {
		return after, result{receipt: lotus.MessageReceipt{ExitCode: exitcode.Ok, GasUsed: used}}, nil
	}
	var refusal *actor.Error
	if !errors.As(err, &refusal) {
		return nil, result{}, err
	}
	r := failed(refusal.Code, refusal.Msg)
	r.receipt.GasUsed = used
	return paid, r, nil
}

func failed(code exitcode.ExitCode, why string) result {
	return result{receipt: lotus.MessageReceipt{ExitCode: code}, failure: why}
}

// apply calls the receiving actor. A refusal is an *actor.Error.
func (c *Chain) apply(ctx context.Context, st *State, rand view, epoch abi.ChainEpoch, sender abi.ActorID, msg *lotus.Message) (*State, error) {
	to, err := address.IDFromAddress(msg.To)
	if err != nil {
		to = uint64(c.accountOf(msg.To))
	}
	if msg.Method == builtin.MethodSend {
		return transfer(st, sender, abi.ActorID(to), msg.Value)
	}
	m, ok := st.Miner(abi.ActorID(to))
	if !ok {
		return nil, &actor.Error{Code: exitcode.SysErrInvalidReceiver, Msg: "actor " + msg.To.String() + " does not exist"}
	}
	var fatal error
	rt := &actor.Runtime{
		Epoch: epoch, Caller: sender, Randomness: rand, Optimistic: c.cfg.Optimistic,
		Verify: func(q actor.WindowPoSt) error {
			err := c.verified.window(ctx, q)
			if ctx.Err() != nil {
				fatal = ctx.Err()
			}
			return err
		},
	}
	if msg.CID != nil {
		rt.Message = *msg.CID
	}
	m, disputed, err := callMiner(m, rt, msg)
	if fatal != nil {
		return nil, fmt.Errorf("verifying the proof: %w", fatal)
	}
	if err != nil {
		return nil, err
	}
	if disputed != nil {
		st = st.withDispute(disputed)
	}
	return st.withMiner(m), nil
}

// transfer moves money between two actors.
func transfer(st *State, from, to abi.ActorID, value big.Int) (*State, error) {
	if st.Balance(from).LessThan(value) {
		return nil, &actor.Error{Code: exitcode.SysErrInsufficientFunds, Msg: fmt.Sprintf("sender has %s, sends %s", st.Balance(from), value)}
	}
	st = st.withBalance(from, big.Sub(st.Balance(from), value))
	return st.withBalance(to, big.Add(st.Balance(to), value)), nil
}

// callMiner decodes the parameters and runs the method.
func callMiner(m *actor.Miner, rt *actor.Runtime, msg *lotus.Message) (next *actor.Miner, disputed *actor.Disputed, err error) {
	switch msg.Method {
	case builtin.MethodsMiner.SubmitWindowedPoSt:
		var p minertypes.SubmitWindowedPoStParams
		if err = decode(msg.Params, &p); err == nil {
			next, err = m.SubmitWindowedPoSt(rt, &p)
		}
	case builtin.MethodsMiner.DeclareFaultsRecovered:
		var p minertypes.DeclareFaultsRecoveredParams
		if err = decode(msg.Params, &p); err == nil {
			next, err = m.DeclareFaultsRecovered(rt, &p)
		}
	case builtin.MethodsMiner.DisputeWindowedPoSt:
		var p minertypes.DisputeWindowedPoStParams
		if err = decode(msg.Params, &p); err == nil {
			next, disputed, err = m.DisputeWindowedPoSt(rt, &p)
		}
	default:
		err = &actor.Error{Code: exitcode.ErrUnhandledMessage, Msg: "Unknown method"}
	}
	return next, disputed, err
}

func decode(params []byte, into cbg.CBORUnmarshaler) error {
	r := bytes.NewReader(params)
	if err := into.UnmarshalCBOR(r); err != nil {
		return &actor.Error{Code: exitcode.ErrSerialization, Msg: "failed to deserialize params: " + err.Error()}
	}
	if r.Len() != 0 {
		return &actor.Error{Code: exitcode.ErrSerialization, Msg: fmt.Sprintf("failed to deserialize params: %d trailing bytes", r.Len())}
	}
	return nil
}

// gasOf is what a message costs, whether it succeeds or not.
func gasOf(msg *lotus.Message) int64 {
	gas := int64(gasBase + gasPerParamByte*len(msg.Params))
	if msg.Method == builtin.MethodsMiner.SubmitWindowedPoSt {
		var p minertypes.SubmitWindowedPoStParams
		if decode(msg.Params, &p) == nil {
			gas += int64(len(p.Partitions)) * gasPerPartition
		}
	}
	return gas
}
