package message

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/big"

	"wdpost/internal/lotus"
)

// ledger is a chain with a miner 1008: owner 100, worker 101, controls 102 and
// 103; 104 is a stranger, 103 a multisig.
type ledger struct {
	balance map[address.Address]int64
	keys    []address.Address
	down    error
	asked   int
}

func newLedger() *ledger {
	return &ledger{
		balance: map[address.Address]int64{idAddr(100): 50, idAddr(101): 10, idAddr(102): 30, idAddr(103): 900, idAddr(104): 1000},
		keys:    []address.Address{keyOf(idAddr(101)), keyOf(idAddr(102))},
	}
}

func (l *ledger) StateMinerInfo(context.Context, address.Address, lotus.TipSetKey) (*lotus.MinerInfo, error) {
	l.asked++
	return &lotus.MinerInfo{Owner: idAddr(100), Worker: idAddr(101), ControlAddresses: []address.Address{idAddr(102), idAddr(103)}}, l.down
}

func (l *ledger) StateLookupID(_ context.Context, a address.Address, _ lotus.TipSetKey) (address.Address, error) {
	for id := range l.balance {
		if a == id || a == keyOf(id) {
			return id, nil
		}
	}
	return address.Undef, errors.New("actor not found")
}

func (l *ledger) StateAccountKey(_ context.Context, a address.Address, _ lotus.TipSetKey) (address.Address, error) {
	if a == idAddr(103) {
		return address.Undef, errors.New("actor code is not account: multisig")
	}
	return keyOf(a), nil
}

func (l *ledger) StateGetActor(_ context.Context, a address.Address, _ lotus.TipSetKey) (*lotus.Actor, error) {
	return &lotus.Actor{Balance: big.NewInt(l.balance[a])}, nil
}

func (l *ledger) HasKey(_ context.Context, a address.Address) (bool, error) {
	return slices.Contains(l.keys, a), nil
}

func TestSelect(t *testing.T) {
	strange, err := address.NewSecp256k1Address([]byte("never seen"))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		configured []address.Address
		want       uint64   // 0 for ErrNoSender
		words      []string // of the error or the log
		keyless    bool
	}{
		"nothing configured: richest with a key":   {nil, 102, nil, false},
		"configured, its key with the messager":    {[]address.Address{idAddr(100)}, 100, nil, false},
		"configured as key address":                {[]address.Address{keyOf(idAddr(101))}, 101, nil, false},
		"richest of several":                       {[]address.Address{keyOf(idAddr(101)), idAddr(102), idAddr(100)}, 100, nil, false},
		"a stranger is passed over":                {[]address.Address{idAddr(104), idAddr(101)}, 101, nil, false},
		"only a stranger":                          {[]address.Address{idAddr(104)}, 102, []string{"t0104", "not the owner", "Miners.PoSt.Sender"}, false},
		"only a stranger, and no key at hand":      {[]address.Address{idAddr(104)}, 0, []string{"t0104", "not the owner", "Miners.PoSt.Sender", "not in the wallet"}, true},
		"only a multisig":                          {[]address.Address{idAddr(103)}, 102, []string{"multisig"}, false},
		"only an address the chain does not know":  {[]address.Address{strange}, 102, []string{"actor not found"}, false},
		"an unknown address does not spoil others": {[]address.Address{strange, idAddr(101)}, 101, nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			l, log := newLedger(), strings.Builder{}
			if c.keyless {
				l.keys = nil
			}
			got, err := NewSelector(l, l, time.Minute, slog.New(slog.NewTextHandler(&log, nil))).Select(t.Context(), idAddr(1008), c.configured)
			if c.want == 0 {
				if !errors.Is(err, ErrNoSender) {
					t.Fatalf("sender %s, %v; want ErrNoSender", got, err)
				}
				log.WriteString(err.Error())
			}
			for _, w := range c.words {
				if !strings.Contains(log.String(), w) {
					t.Errorf("%s does not say %q", log.String(), w)
				}
			}
			if len(c.words) == 0 && log.Len() > 0 {
				t.Errorf("logged: %s", log.String())
			}
			if c.want == 0 {
				return
			}
			if err != nil || got != keyOf(idAddr(c.want)) {
				t.Errorf("sender %s, %v; want the key of t0%d", got, err, c.want)
			}
		})
	}
}

func TestSelectKeepsItsChoice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLedger()
		s := NewSelector(l, l, 15*time.Second, slog.New(slog.DiscardHandler))
		choose := func(configured ...address.Address) address.Address {
			t.Helper()
			a, err := s.Select(t.Context(), idAddr(1008), configured)
			if err != nil {
				t.Fatal(err)
			}
			return a
		}
		first := choose()
		l.balance[idAddr(101)] = 10_000
		if choose() != first || l.asked != 1 {
			t.Errorf("the choice was not kept: asked %d times", l.asked)
		}
		if choose(idAddr(101)) == first {
			t.Error("another configuration got the old choice")
		}
		time.Sleep(15 * time.Second)
		if choose() != keyOf(idAddr(101)) {
			t.Error("the choice was kept for too long")
		}
		time.Sleep(15 * time.Second)
		l.down = errors.New("the node is away")
		if _, err := s.Select(t.Context(), idAddr(1008), nil); !errors.Is(err, l.down) {
			t.Errorf("error %v", err)
		}
	})
}
