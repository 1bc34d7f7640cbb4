package fullnode

import (
	"context"
	"fmt"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/ipfs/go-cid"

	"wdpost/internal/lotus"
	"wdpost/lab/devnet/serve"
)

// Code CIDs of the actors. The miner's is the one of builtin-actors v18; that of
// accounts only has the form.
var (
	minerCode   = cid.MustParse("bafk2bzacedhvcxgdz2w75izwa5s5dwvsrxsnzkjcbpbresziyrrjrsvjzwvxe")
	accountCode = cid.MustParse("bafkqadtgnfwc6mjyf5qwgy3povxhi")
)

// StateGetActor returns an actor's code, nonce and balance.
func (n *Node) StateGetActor(ctx context.Context, a address.Address, key lotus.TipSetKey) (*lotus.Actor, error) {
	return serve.Call(n.gate, ctx, "StateGetActor", func() (*lotus.Actor, error) {
		st, _, err := n.chain.StateAt(key)
		if err != nil {
			return nil, err
		}
		id, ok := n.chain.Account(a)
		if !ok {
			return nil, fmt.Errorf("resolution lookup failed (%s): resolve address %s: actor not found", a, a)
		}
		out := &lotus.Actor{Code: accountCode, Head: st.Root, Nonce: st.Nonce(id), Balance: st.Balance(id)}
		if _, ok := st.Miner(id); ok {
			out.Code = minerCode
		}
		return out, nil
	})
}

// StateLookupID returns the ID address of any address.
func (n *Node) StateLookupID(ctx context.Context, a address.Address, key lotus.TipSetKey) (address.Address, error) {
	return serve.Call(n.gate, ctx, "StateLookupID", func() (address.Address, error) {
		id, ok := n.chain.Account(a)
		if !ok {
			return address.Undef, fmt.Errorf("resolution lookup failed (%s): resolve address %s: actor not found", a, a)
		}
		return idAddress(id), nil
	})
}

// StateAccountKey returns the key address of an account.
func (n *Node) StateAccountKey(ctx context.Context, a address.Address, key lotus.TipSetKey) (address.Address, error) {
	return serve.Call(n.gate, ctx, "StateAccountKey", func() (address.Address, error) { return n.chain.AccountKey(a) })
}

// WalletBalance returns the balance of an address; zero for an unknown one.
func (n *Node) WalletBalance(ctx context.Context, a address.Address) (big.Int, error) {
	return serve.Call(n.gate, ctx, "WalletBalance", func() (big.Int, error) {
		st, _, err := n.chain.StateAt(lotus.TipSetKey{})
		if err != nil {
			return big.Int{}, err
		}
		id, _ := n.chain.Account(a)
		return st.Balance(id), nil
	})
}

// WalletHas reports whether the node holds the key of an address.
func (n *Node) WalletHas(ctx context.Context, a address.Address) (bool, error) {
	return serve.Call(n.gate, ctx, "WalletHas", func() (bool, error) {
		return n.chain.HasKey(a), nil
	})
}

// WalletList returns the addresses whose keys the node holds.
func (n *Node) WalletList(ctx context.Context) ([]address.Address, error) {
	return serve.Call(n.gate, ctx, "WalletList", func() ([]address.Address, error) {
		var out []address.Address
		for _, acc := range n.chain.Chain().Config().Accounts {
			if n.chain.HasKey(acc.Key) {
				out = append(out, acc.Key)
			}
		}
		return out, nil
	})
}

// WalletSignMessage signs a message of an address.
func (n *Node) WalletSignMessage(ctx context.Context, a address.Address, msg *lotus.Message) (*lotus.SignedMessage, error) {
	return serve.Call(n.gate, ctx, "WalletSignMessage", func() (*lotus.SignedMessage, error) {
		if msg == nil {
			return nil, fmt.Errorf("no message to sign")
		}
		m := *msg
		m.From = a
		return n.chain.Sign(m)
	})
}

// base58 is the alphabet of peer IDs.
const base58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"

// peerID makes up a peer ID of the usual form for a miner.
func peerID(id abi.ActorID) string {
	out := []byte("12D3KooW")
	for x := uint64(id)*0x9e3779b97f4a7c15 | 1; len(out) < 52; x = x*6364136223846793005 + 1442695040888963407 {
		out = append(out, base58[(x>>33)%58])
	}
	return string(out)
}
