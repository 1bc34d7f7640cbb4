package messagetest

import (
	"context"
	"slices"
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/ipfs/go-cid"

	"wdpost/internal/lotus"
	"wdpost/internal/message/messager"
	"wdpost/internal/message/node"
)

// Messager answers for a messager's methods, in the words of sophon-messager.
func (w *World) Messager() messager.API {
	return messager.API{
		PushMessageWithId: func(_ context.Context, id string, msg *lotus.Message, spec *messager.SendSpec) (string, error) {
			apply, err := w.enter("push")
			if !apply {
				return "", err
			}
			w.mu.Lock()
			defer w.mu.Unlock()
			switch {
			case w.byID(id) != nil:
				return "", answered("UNIQUE constraint failed: messages.id")
			case !slices.Contains(w.keys, Key(msg.From)):
				return "", answered("signer address " + msg.From.String() + " not exists")
			}
			w.maxFee = spec.MaxFee
			e := w.accept(id, *msg)
			e.unsigned, e.reason = w.holdOff != "", w.holdOff
			return id, err
		},
		HasMessageByUid: func(_ context.Context, id string) (bool, error) {
			_, err := w.enter("look")
			w.mu.Lock()
			defer w.mu.Unlock()
			return w.byID(id) != nil, err
		},
		GetMessageByUid: func(_ context.Context, id string) (*messager.Message, error) {
			if _, err := w.enter("look"); err != nil {
				return nil, err
			}
			w.mu.Lock()
			defer w.mu.Unlock()
			if e := w.byID(id); e != nil {
				return w.stored(e), nil
			}
			return nil, answered("get message by id error: record not found")
		},
		ListMessageByFromState: func(_ context.Context, from address.Address, state messager.State, _ bool, _, _ int, _ time.Duration) ([]*messager.Message, error) {
			if _, err := w.enter("look"); err != nil {
				return nil, err
			}
			w.mu.Lock()
			defer w.mu.Unlock()
			var out []*messager.Message
			for _, e := range w.entries {
				if m := w.stored(e); m.From == from && m.State == state {
					out = append(out, m)
				}
			}
			return out, nil
		},
		ReplaceMessage: func(_ context.Context, p *messager.ReplaceParams) (cid.Cid, error) {
			if _, err := w.enter("replace"); err != nil {
				return cid.Undef, err
			}
			w.mu.Lock()
			defer w.mu.Unlock()
			e := w.byID(p.ID)
			switch {
			case e == nil:
				return cid.Undef, answered("found message get message by id error: record not found")
			case e.executed:
				return cid.Undef, answered("message already on chain")
			}
			m := e.msg
			m.GasFeeCap, m.GasPremium, m.GasLimit = p.GasFeecap, p.GasPremium, max(p.GasLimit, m.GasLimit)
			return e.cid, e.reprice(m)
		},
		MarkBadMessage: func(_ context.Context, id string) error {
			apply, err := w.enter("giveup")
			w.mu.Lock()
			defer w.mu.Unlock()
			if e := w.byID(id); apply && e != nil {
				e.failed = "marked bad"
			}
			return err
		},
		WalletHas: func(_ context.Context, a address.Address) (bool, error) {
			_, err := w.enter("wallet")
			return slices.Contains(w.keys, a), err
		},
	}
}

// stored is an entry as a messager shows it; the caller holds mu.
func (w *World) stored(e *entry) *messager.Message {
	m := &messager.Message{ID: e.id, From: e.msg.From, State: messager.Unfilled, ErrorMsg: e.reason, CreatedAt: time.Unix(1700000000, 0), Receipt: &lotus.MessageReceipt{ExitCode: -1}}
	if !e.unsigned {
		m.State, m.SignedCid, m.Nonce = messager.Filled, &e.cid, e.msg.Nonce
		m.GasFeeCap, m.GasPremium, m.GasLimit = e.msg.GasFeeCap, e.msg.GasPremium, e.msg.GasLimit
	}
	switch {
	case e.failed != "":
		m.State, m.Receipt = messager.Failed, &lotus.MessageReceipt{Return: []byte(e.failed)}
	case e.executed:
		m.State, m.Receipt = messager.OnChain, &lotus.MessageReceipt{ExitCode: e.exit, GasUsed: 900}
		m.Height, m.Confidence = e.height, int64(w.head-e.height)
		if e.conflict {
			m.State = messager.NonceConflict
		}
	}
	return m
}

// Node answers for a node's methods. uuids says whether it knows the MsgUuid of
// a push, as Lotus does and other nodes do not.
func (w *World) Node(uuids bool) node.API { return fakeNode{w, uuids} }

type fakeNode struct {
	*World
	uuids bool
}

func (n fakeNode) ChainHead(context.Context) (*lotus.TipSet, error) {
	_, err := n.enter("look")
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.tipset(), err
}

// StateSearchMsg refuses a CID that it does not have, as Lotus does.
func (n fakeNode) StateSearchMsg(_ context.Context, _ lotus.TipSetKey, c cid.Cid, _ abi.ChainEpoch, _ bool) (*lotus.MsgLookup, error) {
	if _, err := n.enter("look"); err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	e := n.byCID(c)
	switch {
	case e == nil:
		return nil, answered("searching for message: failed to load message: ipld: could not find " + c.String())
	case !e.executed:
		return nil, nil
	case e.conflict, e.msg.Method == 0 && !e.cid.Equals(c):
		return nil, answered("found message with equal nonce as the one we are looking for that is NOT a valid replacement message")
	}
	return &lotus.MsgLookup{Message: e.cid, Receipt: lotus.MessageReceipt{ExitCode: e.exit, GasUsed: 900}, Height: e.height}, nil
}

func (n fakeNode) StateAccountKey(_ context.Context, a address.Address, _ lotus.TipSetKey) (address.Address, error) {
	return Key(a), nil
}

func (n fakeNode) MpoolPending(context.Context, lotus.TipSetKey) ([]*lotus.SignedMessage, error) {
	if _, err := n.enter("look"); err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	var out []*lotus.SignedMessage
	for _, e := range n.entries {
		if e.pending() {
			c := e.cid
			out = append(out, &lotus.SignedMessage{Message: e.msg, CID: &c})
		}
	}
	return out, nil
}

func (n fakeNode) MpoolPushMessage(_ context.Context, m *lotus.Message, spec *lotus.MessageSendSpec) (*lotus.SignedMessage, error) {
	apply, err := n.enter("push")
	if !apply {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if !slices.Contains(n.keys, Key(m.From)) {
		return nil, answered("mpool push: failed to sign message: key not found")
	}
	n.maxFee = spec.MaxFee
	e := n.byID(*spec.MsgUuid)
	if e == nil || !n.uuids {
		e = n.accept(*spec.MsgUuid, *m)
	}
	c := e.cid
	return &lotus.SignedMessage{Message: e.msg, CID: &c}, err
}

func (n fakeNode) MpoolPush(_ context.Context, s *lotus.SignedMessage) (cid.Cid, error) {
	if _, err := n.enter("replace"); err != nil {
		return cid.Undef, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if s.CID != nil { // as it was signed: back into the pool
		if e := n.byCID(*s.CID); e != nil {
			e.failed = ""
			return e.cid, nil
		}
		return cid.Undef, answered("mpool push: nonce too low")
	}
	for _, e := range n.entries {
		if e.pending() && e.msg.From == s.Message.From && e.msg.Nonce == s.Message.Nonce {
			err := e.reprice(s.Message)
			return e.cid, err
		}
	}
	return cid.Undef, ErrAnswer
}

func (n fakeNode) GasEstimateGasLimit(context.Context, *lotus.Message, lotus.TipSetKey) (int64, error) {
	_, err := n.enter("estimate")
	return 1000, err
}

func (n fakeNode) GasEstimateGasPremium(context.Context, uint64, address.Address, int64, lotus.TipSetKey) (big.Int, error) {
	_, err := n.enter("estimate")
	return big.NewInt(200), err
}

func (n fakeNode) WalletHas(_ context.Context, a address.Address) (bool, error) {
	_, err := n.enter("wallet")
	return slices.Contains(n.keys, a), err
}

func (n fakeNode) WalletSignMessage(_ context.Context, _ address.Address, m *lotus.Message) (*lotus.SignedMessage, error) {
	_, err := n.enter("sign")
	return &lotus.SignedMessage{Message: *m}, err
}
