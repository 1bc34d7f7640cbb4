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

// Gas units that messages cost here. They are near what the real actor was seen
// to use: three partitions in one message 29.5 million, the same again 33.5 and
// 38.3 million once six and nine partitions of the deadline are proven.
const (
	gasBase         = 8_000_000
	gasPerPartition = 7_000_000
	gasPerParamByte = 1_300
	gasPerSector    = 30_000    // of a declaration
	gasGrowth       = 1_450_000 // for each partition beyond growthAfter that the deadline holds proven
	growthAfter     = 3
)

// env is where a message is executed.
type env struct {
	rand  view
	epoch abi.ChainEpoch
	fee   big.Int // base fee
}

// execute runs one message on a state. The error is nil whenever there is a
// receipt; a message that fails changes only its sender's nonce and balance.
func (c *Chain) execute(ctx context.Context, st *State, at env, msg *lotus.Message) (*State, result, error) {
	sender := c.accountOf(msg.From)
	if sender == 0 {
		return st, failed(exitcode.SysErrSenderInvalid, "sender "+msg.From.String()+" is not an account", 0), nil
	}
	if want := st.Nonce(sender); msg.Nonce != want {
		return st, failed(exitcode.SysErrSenderStateInvalid, fmt.Sprintf("actor %s nonce is %d, message has %d", msg.From, want, msg.Nonce), 0), nil
	}
	used := gasOf(st, msg)
	starved := msg.GasLimit < used
	used = min(used, msg.GasLimit)
	fee := gasCost(msg, used, at.fee).total()
	paid := st.withNonce(sender, msg.Nonce+1).withBalance(sender, big.Sub(st.Balance(sender), fee))
	if starved {
		r := failed(exitcode.SysErrOutOfGas, fmt.Sprintf("gas limit %d, needs %d", msg.GasLimit, gasOf(st, msg)), used)
		r.fee = fee
		return paid, r, nil
	}
	after, err := c.apply(ctx, paid, at, sender, msg)
	if err == nil {
		return after, result{receipt: lotus.MessageReceipt{ExitCode: exitcode.Ok, GasUsed: used}, fee: fee}, nil
	}
	var refusal *actor.Error
	if !errors.As(err, &refusal) {
		return nil, result{}, err
	}
	r := failed(refusal.Code, refusal.Msg, used)
	r.fee = fee
	return paid, r, nil
}

func failed(code exitcode.ExitCode, why string, used int64) result {
	return result{receipt: lotus.MessageReceipt{ExitCode: code, GasUsed: used}, failure: why, fee: big.Zero()}
}

// apply calls the receiving actor. A refusal is an *actor.Error.
func (c *Chain) apply(ctx context.Context, st *State, at env, sender abi.ActorID, msg *lotus.Message) (*State, error) {
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
		Epoch: at.epoch, Caller: sender, Randomness: at.rand, Optimistic: c.cfg.Optimistic,
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

// gasOf is what a message needs on a state, whether it succeeds or not. A proof
// costs more the more partitions of its deadline are proven already.
func gasOf(st *State, msg *lotus.Message) int64 {
	gas := int64(gasBase + gasPerParamByte*len(msg.Params))
	switch msg.Method {
	case builtin.MethodsMiner.SubmitWindowedPoSt:
		var p minertypes.SubmitWindowedPoStParams
		if decode(msg.Params, &p) == nil {
			gas += int64(len(p.Partitions))*gasPerPartition + gasGrowth*int64(max(0, posted(st, msg, p.Deadline)-growthAfter))
		}
	case builtin.MethodsMiner.DeclareFaultsRecovered:
		var p minertypes.DeclareFaultsRecoveredParams
		if decode(msg.Params, &p) == nil {
			for _, r := range p.Recoveries {
				if n, err := r.Sectors.Count(); err == nil {
					gas += gasPerSector * int64(n)
				}
			}
		}
	}
	return gas
}

// posted counts the partitions of the receiver's deadline that are proven in its
// present window.
func posted(st *State, msg *lotus.Message, deadline uint64) int {
	to, err := address.IDFromAddress(msg.To)
	if err != nil {
		return 0
	}
	m, ok := st.Miner(abi.ActorID(to))
	if !ok || deadline >= uint64(len(m.Deadlines)) {
		return 0
	}
	return len(m.Deadlines[deadline].Posted)
}
