package message

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-jsonrpc"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/exitcode"
	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"
	"go.uber.org/goleak"

	"wdpost/internal/endpoint"
	"wdpost/internal/lotus"
)

// go-jsonrpc brings a background worker of opencensus.
func TestMain(m *testing.M) {
	lotus.UseNetwork("rig")
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("go.opencensus.io/stats/view.(*worker).start"))
}

var (
	errLine   = &endpoint.CallError{Service: "fake", Method: "any", Kind: endpoint.ErrUnreachable, Err: errors.New("connection reset")}
	errAnswer = &endpoint.CallError{Service: "fake", Method: "any", Kind: endpoint.ErrAnswered, Err: errors.New("message execution failed (exit=[16])")}
)

// entry is one message the chain's side knows.
type entry struct {
	id       string // of the messager, or the UUID
	msg      lotus.Message
	cid      cid.Cid
	landed   bool
	height   abi.ChainEpoch
	exit     exitcode.ExitCode
	failed   string
	replaced bool
}

// world is the service behind a Sender and the chain behind that. fault decides
// over each call of the service: whether it takes effect, and what is answered.
type world struct {
	mu      sync.Mutex
	entries []*entry
	head    abi.ChainEpoch
	fault   func(method string) (apply bool, err error)
	calls   map[string]int
	keys    []address.Address
}

func newWorld() *world {
	return &world{head: 100, calls: map[string]int{}}
}

// enter counts a call and asks the fault for its fate.
func (w *world) enter(method string) (apply bool, err error) {
	w.mu.Lock()
	w.calls[method]++
	fault := w.fault
	w.mu.Unlock()
	if fault == nil {
		return true, nil
	}
	return fault(method)
}

func (w *world) set(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

// sent is how many messages were sent in all.
func (w *world) sent() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.entries)
}

func (w *world) byID(id string) *entry {
	for _, e := range w.entries {
		if e.id == id {
			return e
		}
	}
	return nil
}

func (w *world) byCID(c cid.Cid) *entry {
	for _, e := range w.entries {
		if e.cid.Equals(c) {
			return e
		}
	}
	return nil
}

// land executes the oldest pending message at the next height.
func (w *world) land(exit exitcode.ExitCode) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.head++
	for _, e := range w.entries {
		if !e.landed && e.failed == "" {
			e.landed, e.height, e.exit = true, w.head, exit
			return
		}
	}
	panic("nothing pending")
}

func (w *world) advance(n abi.ChainEpoch) { w.set(func() { w.head += n }) }

func cidOf(s string) cid.Cid {
	mh, err := multihash.Sum([]byte(s), multihash.SHA2_256, -1)
	if err != nil {
		panic(err)
	}
	return cid.NewCidV1(cid.DagCBOR, mh)
}

func (w *world) tipset() *lotus.TipSet {
	return &lotus.TipSet{Height: w.head, Cids: []cid.Cid{cidOf(fmt.Sprint("block", w.head))}, Blocks: []*lotus.BlockHeader{{Height: w.head}}}
}

// fakeMessager answers for the messager's methods.
func fakeMessager(w *world) messagerAPI {
	look := func(id string) (*messagerMessage, error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		e := w.byID(id)
		if e == nil {
			return nil, &jsonrpc.JSONRPCError{Code: 1, Message: "record not found"}
		}
		m := &messagerMessage{ID: id, SignedCid: &e.cid, State: stateFilled, GasFeeCap: e.msg.GasFeeCap, GasPremium: e.msg.GasPremium}
		switch {
		case e.failed != "":
			m.State, m.Receipt = stateFailed, &lotus.MessageReceipt{Return: []byte(e.failed)}
		case e.landed:
			m.State, m.Receipt = stateOnChain, &lotus.MessageReceipt{ExitCode: e.exit}
			m.Height, m.Confidence = e.height, int64(w.head-e.height)
			if e.replaced {
				m.State = stateReplaced
			}
		}
		return m, nil
	}
	return messagerAPI{
		PushMessageWithId: func(_ context.Context, id string, msg *lotus.Message, _ *sendSpec) (string, error) {
			apply, err := w.enter("push")
			if apply {
				w.mu.Lock()
				defer w.mu.Unlock()
				if w.byID(id) != nil {
					return "", &jsonrpc.JSONRPCError{Code: 1, Message: "UNIQUE constraint failed: messages.id"}
				}
				w.entries = append(w.entries, &entry{id: id, msg: *msg, cid: cidOf(id)})
			}
			return id, err
		},
		HasMessageByUid: func(_ context.Context, id string) (bool, error) {
			_, err := w.enter("look")
			w.mu.Lock()
			defer w.mu.Unlock()
			return w.byID(id) != nil, err
		},
		GetMessageByUid: func(_ context.Context, id string) (*messagerMessage, error) {
			if _, err := w.enter("look"); err != nil {
				return nil, err
			}
			return look(id)
		},
		WaitMessage: func(ctx context.Context, id string, confidence uint64) (*messagerMessage, error) {
			for {
				if _, err := w.enter("wait"); err != nil {
					return nil, err
				}
				if m, err := look(id); err != nil || m.Confidence >= int64(confidence) && m.State >= stateOnChain {
					return m, err
				}
				if !sleep(ctx, time.Second) {
					return nil, ctx.Err()
				}
			}
		},
		ReplaceMessage: func(_ context.Context, p *replaceParams) (cid.Cid, error) {
			if _, err := w.enter("replace"); err != nil {
				return cid.Undef, err
			}
			w.mu.Lock()
			defer w.mu.Unlock()
			e := w.byID(p.ID)
			if e == nil || e.landed {
				return cid.Undef, &jsonrpc.JSONRPCError{Code: 1, Message: "need to be filled"}
			}
			e.cid = cidOf(p.ID + "again")
			return e.cid, nil
		},
		WalletHas: func(_ context.Context, a address.Address) (bool, error) {
			_, err := w.enter("wallet")
			return slices.Contains(w.keys, a), err
		},
	}
}

// fakeNode answers for the node's methods. uuids says whether it knows the
// MsgUuid of a push, as Lotus does and other nodes do not.
type fakeNode struct {
	*world
	uuids bool
}

func (n fakeNode) ChainHead(context.Context) (*lotus.TipSet, error) {
	_, err := n.enter("look")
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.tipset(), err
}

func (n fakeNode) StateSearchMsg(_ context.Context, _ lotus.TipSetKey, c cid.Cid, _ abi.ChainEpoch, _ bool) (*lotus.MsgLookup, error) {
	if _, err := n.enter("look"); err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	e := n.byCID(c)
	switch {
	case e == nil || !e.landed:
		return nil, nil
	case e.replaced:
		return nil, &endpoint.CallError{Kind: endpoint.ErrAnswered, Err: errors.New("found message with equal nonce as the one we are looking for that is NOT a valid replacement message")}
	}
	return &lotus.MsgLookup{Message: c, Receipt: lotus.MessageReceipt{ExitCode: e.exit}, Height: e.height}, nil
}

func (n fakeNode) StateAccountKey(_ context.Context, a address.Address, _ lotus.TipSetKey) (address.Address, error) {
	return keyOf(a), nil
}

func (n fakeNode) MpoolPending(context.Context, lotus.TipSetKey) ([]*lotus.SignedMessage, error) {
	if _, err := n.enter("look"); err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	var out []*lotus.SignedMessage
	for _, e := range n.entries {
		if !e.landed && e.failed == "" {
			out = append(out, &lotus.SignedMessage{Message: e.msg, CID: &e.cid})
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
	e := n.byID(*spec.MsgUuid)
	if e == nil || !n.uuids {
		sent := *m
		sent.From = keyOf(m.From)
		if sent.GasLimit == 0 {
			sent.GasLimit = 1000
		}
		e = &entry{id: *spec.MsgUuid, msg: sent, cid: cidOf(fmt.Sprint(*spec.MsgUuid, len(n.entries)))}
		n.entries = append(n.entries, e)
	}
	return &lotus.SignedMessage{Message: e.msg, CID: &e.cid}, err
}

func (n fakeNode) MpoolPush(_ context.Context, s *lotus.SignedMessage) (cid.Cid, error) {
	if _, err := n.enter("replace"); err != nil {
		return cid.Undef, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if s.CID != nil { // as it was signed: back into the pool
		e := n.byCID(*s.CID)
		e.failed = ""
		return e.cid, nil
	}
	for _, e := range n.entries {
		if !e.landed && e.msg.From == s.Message.From && e.msg.Nonce == s.Message.Nonce {
			if !s.Message.GasPremium.GreaterThan(big.Div(big.Mul(e.msg.GasPremium, big.NewInt(125)), big.NewInt(100))) {
				return cid.Undef, &endpoint.CallError{Kind: endpoint.ErrAnswered, Err: errors.New("replace by fee has too low GasPremium")}
			}
			e.msg, e.cid = s.Message, cidOf(e.id+"again")
			return e.cid, nil
		}
	}
	return cid.Undef, errAnswer
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
	return &lotus.SignedMessage{Message: *m}, nil
}

// keyOf gives every ID address a key address.
func keyOf(a address.Address) address.Address {
	if a.Protocol() != address.ID {
		return a
	}
	k, err := address.NewSecp256k1Address(a.Payload())
	if err != nil {
		panic(err)
	}
	return k
}

func idAddr(n uint64) address.Address {
	a, err := address.NewIDAddress(n)
	if err != nil {
		panic(err)
	}
	return a
}

func post(n byte) *lotus.Message {
	return &lotus.Message{To: idAddr(1008), From: idAddr(100), Method: 5, Params: []byte{n}}
}
