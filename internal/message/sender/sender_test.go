package sender_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/big"

	"wdpost/internal/condition"
	"wdpost/internal/endpoint"
	"wdpost/internal/lotus"
	"wdpost/internal/message"
	"wdpost/internal/message/messagetest"
	"wdpost/internal/message/sender"
)

var (
	id  = messagetest.ID
	key = messagetest.Key
)

// chain has a miner 1008: owner 100, worker 101, controls 102 and 103; 104 is a
// stranger, 103 a multisig.
type chain struct {
	mu      sync.Mutex
	balance map[address.Address]int64
	keys    map[address.Address]error // missing means ErrNoKey
	down    error
	asked   int
	f2      address.Address // another name of 103
	f4      address.Address // where set, the key of owner 100
}

func newChain() *chain {
	f2, err := address.NewActorAddress([]byte("a multisig"))
	if err != nil {
		panic(err)
	}
	return &chain{
		balance: map[address.Address]int64{id(100): 50, id(101): 10, id(102): 30, id(103): 900, id(104): 1000},
		keys:    map[address.Address]error{key(id(101)): nil, key(id(102)): nil},
		f2:      f2,
	}
}

func (l *chain) StateMinerInfo(context.Context, address.Address, lotus.TipSetKey) (*lotus.MinerInfo, error) {
	l.asked++
	return &lotus.MinerInfo{Owner: id(100), Worker: id(101), ControlAddresses: []address.Address{id(102), id(103)}}, l.down
}

func (l *chain) StateLookupID(_ context.Context, a address.Address, _ lotus.TipSetKey) (address.Address, error) {
	for i := range l.balance {
		if a == i || a == key(i) {
			return i, nil
		}
	}
	switch a {
	case l.f2:
		return id(103), nil
	case l.f4:
		return id(100), nil
	}
	return address.Undef, errors.New("actor not found")
}

func (l *chain) StateAccountKey(_ context.Context, a address.Address, _ lotus.TipSetKey) (address.Address, error) {
	if a == id(103) {
		return address.Undef, errors.New("actor code is not account: multisig")
	}
	if a == id(100) && l.f4 != address.Undef {
		return l.f4, nil
	}
	return key(a), nil
}

func (l *chain) StateGetActor(_ context.Context, a address.Address, _ lotus.TipSetKey) (*lotus.Actor, error) {
	return &lotus.Actor{Balance: big.NewInt(l.balance[a])}, nil
}

func (l *chain) CanSign(_ context.Context, a address.Address) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	err, ok := l.keys[a]
	if !ok {
		return fmt.Errorf("%w: not in the wallet", message.ErrNoKey)
	}
	return err
}

type bench struct {
	*chain
	*sender.Chooser
	board *condition.Board
	log   *strings.Builder
}

func newBench(c *chain) *bench {
	b := &bench{chain: c, board: condition.NewBoard(), log: &strings.Builder{}}
	b.Chooser = sender.New(sender.Config{State: c, Service: c, Keep: 15 * time.Second, Board: b.board, Log: slog.New(slog.NewTextHandler(b.log, nil))})
	return b
}

func (b *bench) kinds() []string {
	var out []string
	for _, c := range b.board.List() {
		out = append(out, string(c.Kind)+" "+string(c.Cost))
	}
	slices.Sort(out)
	return out
}

func wish(configured ...address.Address) message.Wish {
	return message.Wish{Miner: id(1008), Configured: configured, WorkerFallback: true}
}

func TestSenders(t *testing.T) {
	strange, err := address.NewSecp256k1Address([]byte("never seen"))
	if err != nil {
		t.Fatal(err)
	}
	c := newChain()
	for name, tt := range map[string]struct {
		configured []address.Address
		want       []uint64 // nil for ErrNoSender
		words      []string // of the error or the log
		change     func(*message.Wish, *chain)
		kinds      []string
	}{
		"nothing configured: controls and worker, the richest first": {want: []uint64{102, 101}},
		"nothing configured, the owner allowed": {want: []uint64{102, 101, 100}, change: func(w *message.Wish, c *chain) {
			w.OwnerFallback, c.keys[key(id(100))] = true, nil
		}},
		"the configured one goes first":            {configured: []address.Address{key(id(101))}, want: []uint64{101, 102}},
		"richest of several":                       {configured: []address.Address{key(id(101)), id(102)}, want: []uint64{102, 101}},
		"no fallback":                              {configured: []address.Address{id(101)}, want: []uint64{101}, change: func(w *message.Wish, _ *chain) { w.WorkerFallback = false }},
		"a stranger is passed over":                {configured: []address.Address{id(104), id(101)}, want: []uint64{101, 102}, kinds: []string{"sender_unfit none"}},
		"only a stranger":                          {configured: []address.Address{id(104)}, want: []uint64{102, 101}, words: []string{"0104", "not the owner", "Miners.PoSt.Sender"}, kinds: []string{"sender_unfit none"}},
		"only a stranger, and no key at hand":      {configured: []address.Address{id(104)}, words: []string{"0104", "not the owner", "Miners.PoSt.Sender", "not in the wallet"}, change: func(_ *message.Wish, c *chain) { c.keys = nil }, kinds: []string{"no_sender window", "sender_no_key window", "sender_no_key window", "sender_unfit window", "sender_unfit window"}},
		"only a multisig in f2 form":               {configured: []address.Address{c.f2}, want: []uint64{102, 101}, words: []string{"multisig"}, kinds: []string{"sender_unfit none"}},
		"only an address the chain does not know":  {configured: []address.Address{strange}, want: []uint64{102, 101}, words: []string{"does not know it"}, kinds: []string{"sender_unfit none"}},
		"an unknown address does not spoil others": {configured: []address.Address{strange, id(101)}, want: []uint64{101, 102}, kinds: []string{"sender_unfit none"}},
		"the configured one has no key":            {configured: []address.Address{id(100)}, want: []uint64{102, 101}, words: []string{"no key of the sender"}, kinds: []string{"sender_no_key none"}},
		"the configured one cannot pay": {configured: []address.Address{id(101)}, want: []uint64{102, 101}, kinds: []string{"sender_no_funds none"}, change: func(w *message.Wish, _ *chain) {
			w.Need = big.NewInt(20)
		}},
		"nobody can pay: still better than nobody": {configured: []address.Address{id(101)}, want: []uint64{101, 102}, kinds: []string{"sender_no_funds window", "sender_no_funds window", "sender_unfit window"}, change: func(w *message.Wish, _ *chain) {
			w.Need = big.NewInt(2000)
		}},
		"one that failed comes last": {configured: []address.Address{id(101)}, want: []uint64{102, 101}, change: func(w *message.Wish, _ *chain) {
			w.Avoid = []address.Address{key(id(101))}
		}},
		"a token without the right": {words: []string{"no right"}, kinds: []string{"no_sender window", "sender_no_key window", "sender_no_right window", "sender_unfit window"}, change: func(w *message.Wish, c *chain) {
			c.keys = map[address.Address]error{key(id(101)): message.ErrNoRight}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			b, w := newBench(newChain()), wish(tt.configured...)
			if tt.change != nil {
				tt.change(&w, b.chain)
			}
			got, err := b.Senders(t.Context(), w)
			if err != nil {
				b.log.WriteString(err.Error())
			}
			if (tt.want == nil) != errors.Is(err, message.ErrNoSender) {
				t.Fatalf("senders %v, %v", got, err)
			}
			var keys, want []address.Address
			for _, s := range got {
				keys = append(keys, s.Address)
			}
			for _, n := range tt.want {
				want = append(want, key(id(n)))
			}
			if !slices.Equal(keys, want) {
				t.Errorf("senders %v, want %v", keys, want)
			}
			for _, w := range tt.words {
				if !strings.Contains(b.log.String(), w) {
					t.Errorf("%s does not say %q", b.log, w)
				}
			}
			if kinds := b.kinds(); !slices.Equal(kinds, tt.kinds) {
				t.Errorf("conditions %v, want %v", kinds, tt.kinds)
			}
		})
	}
}

// A condition ends when it is mended, and a question that was not answered is
// never told as a wrong setting (F22, x30b).
func TestConditionsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(newChain())
		if _, err := b.Senders(t.Context(), wish(id(100))); err != nil || len(b.kinds()) != 1 {
			t.Fatalf("%v, %v", b.kinds(), err)
		}
		b.keys[key(id(100))] = nil
		time.Sleep(15 * time.Second)
		if _, err := b.Senders(t.Context(), wish(id(100))); err != nil || len(b.kinds()) != 0 {
			t.Errorf("%v, %v", b.kinds(), err)
		}
	})
}

func TestTimeoutIsNotAWrongSetting(t *testing.T) {
	b := newBench(newChain())
	b.down = &endpoint.CallError{Service: "node", Method: "StateMinerInfo", Kind: endpoint.ErrUnreachable, Err: context.DeadlineExceeded}
	if _, err := b.Senders(t.Context(), wish(id(101))); err == nil || errors.Is(err, message.ErrNoSender) || !errors.Is(err, b.down) {
		t.Errorf("error %v", err)
	}
}

// A service that cannot say whether it has the key leaves the sender in, and
// stands as a condition until it answers.
func TestServiceThatDoesNotSay(t *testing.T) {
	b := newBench(newChain())
	b.keys[key(id(101))] = messagetest.ErrLine
	if got, err := b.Senders(t.Context(), wish(id(101))); err != nil || got[0].Address != key(id(101)) {
		t.Errorf("%v, %v", got, err)
	}
	if k := b.kinds(); !slices.Equal(k, []string{"message_service_away window"}) {
		t.Errorf("conditions %v", k)
	}
	b.keys[key(id(101))] = nil
	if _, err := b.Senders(t.Context(), wish(id(101))); err != nil || len(b.kinds()) != 0 {
		t.Errorf("%v, %v", b.kinds(), err)
	}
}

// An Ethereum account signs no miner call.
func TestEthereumAccount(t *testing.T) {
	b := newBench(newChain())
	f4, err := address.NewDelegatedAddress(10, []byte("twenty bytes of eth."))
	if err != nil {
		t.Fatal(err)
	}
	b.f4, b.keys[f4] = f4, nil
	got, err := b.Senders(t.Context(), wish(f4))
	if err != nil || got[0].Address == f4 || !slices.Equal(b.kinds(), []string{"sender_unfit none"}) {
		t.Errorf("%v, %v, %v", got, b.kinds(), err)
	}
	if known := b.Known(); len(known) != 4 || known[0].Name != f4 || known[0].Problem == "" || known[1].Balance.Int64() != 30 {
		t.Errorf("known %+v", known)
	}
	if b.Forget(id(1008)); len(b.kinds()) != 0 || len(b.Known()) != 0 {
		t.Errorf("forgotten: %v, %v", b.kinds(), b.Known())
	}
}

func TestChoiceIsKeptForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(newChain())
		first := func(configured ...address.Address) address.Address {
			t.Helper()
			got, err := b.Senders(t.Context(), wish(configured...))
			if err != nil {
				t.Fatal(err)
			}
			return got[0].Address
		}
		a := first()
		b.balance[id(101)] = 10_000
		if first() != a || b.asked != 1 {
			t.Errorf("the answers were not kept: asked %d times", b.asked)
		}
		if first(id(101)) == a {
			t.Error("another configuration got the old choice")
		}
		time.Sleep(15 * time.Second)
		if first() != key(id(101)) {
			t.Error("the answers were kept for too long")
		}
		b.keys[key(id(101))] = message.ErrNoKey
		if first() != key(id(101)) {
			t.Error("the key was asked for again")
		}
		if b.Doubt(key(id(101))); first() != key(id(102)) {
			t.Error("the key was not asked for again")
		}
	})
}

// Senders are looked at before any window: an empty one is a condition, and so
// is none at all, until it is mended.
func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(newChain())
		clear(b.keys)
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			b.Watch(ctx, time.Minute, func() []message.Wish { return []message.Wish{wish(id(101))} })
		}()
		time.Sleep(90 * time.Second)
		synctest.Wait()
		if k := b.kinds(); !slices.Contains(k, "no_sender window") || strings.Count(b.log.String(), "no sender for the miner's messages") != 1 {
			t.Errorf("conditions %v, log %s", k, b.log)
		}
		b.mu.Lock()
		b.keys[key(id(101))] = nil
		b.mu.Unlock()
		time.Sleep(time.Minute)
		synctest.Wait()
		if k := b.kinds(); len(k) != 0 || !strings.Contains(b.log.String(), "has a sender again") {
			t.Errorf("conditions %v, log %s", k, b.log)
		}
		stop()
		<-done
	})
}
