package simchain

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/crypto"
	"github.com/filecoin-project/go-state-types/proof"
	"github.com/ipfs/go-cid"
	"golang.org/x/crypto/blake2b"

	"wdpost/internal/lotus"
)

// entry is a tipset with the states around it. Its fields do not change after
// it was made, but for parent, which is cut when history is forgotten.
type entry struct {
	ts       *lotus.TipSet
	parent   atomic.Pointer[entry]
	pre      *State // before its messages: what queries at this tipset see
	mid      *State // after its messages, before cron
	post     *State // after cron
	messages []*lotus.SignedMessage
	results  []result
	fee      big.Int // what its messages paid
	natural  big.Int // what it would have been had nobody pinned it
	lost     bool    // reverted together with its messages; the chain's lock guards it
}

// result is the outcome of one executed message.
type result struct {
	receipt lotus.MessageReceipt
	failure string  // the actor's words when the exit code is not 0
	fee     big.Int // attoFIL that the sender paid for gas
}

// atHeight returns the tipset at height h on the chain that ends here. When h
// was null it returns the tipset before it (prev) or after it.
func (e *entry) atHeight(h abi.ChainEpoch, prev bool) (*entry, error) {
	if h > e.ts.Height {
		return nil, fmt.Errorf("looking for tipset with height greater than start point")
	}
	for cur := e; ; {
		if cur.ts.Height == h {
			return cur, nil
		}
		up := cur.parent.Load()
		if up == nil {
			return nil, fmt.Errorf("tipset at height %d is older than this node's history", h)
		}
		if up.ts.Height < h {
			if prev {
				return up, nil
			}
			return cur, nil
		}
		cur = up
	}
}

// genesisParent is the parent that every genesis block names.
var genesisParent = cid.MustParse("bafyreiaqpwbbyjo4a42saasj36kkrpv4tsherf2e7bvezkert2a7dhonoi")

// makeGenesis returns the first tipset.
func (c *Chain) makeGenesis(st *State) (*entry, error) {
	b := &lotus.BlockHeader{
		Miner:                 mustID(0),
		Ticket:                &lotus.Ticket{VRFProof: pseudo(32, "genesis ticket", []byte(c.cfg.Seed))},
		ElectionProof:         &lotus.ElectionProof{},
		BeaconEntries:         []lotus.BeaconEntry{{Round: 0, Data: make([]byte, 32)}},
		Parents:               []cid.Cid{genesisParent},
		ParentWeight:          big.Zero(),
		ParentStateRoot:       st.Root,
		ParentMessageReceipts: cborCid([]byte("no receipts")),
		Messages:              cborCid([]byte("no messages")),
		Timestamp:             uint64(c.cfg.GenesisTime.Unix()),
		ParentBaseFee:         big.NewInt(100_000_000),
	}
	ts, err := makeTipSet(0, []*lotus.BlockHeader{b})
	if err != nil {
		return nil, err
	}
	return &entry{ts: ts, pre: st, mid: st, post: st.endEpoch(0), fee: c.cfg.BaseFee, natural: c.cfg.BaseFee}, nil
}

// place names a height of one fork; another salt gives other tickets.
func (c *Chain) place(height abi.ChainEpoch, salt uint64) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64([]byte(c.cfg.Seed), uint64(height)), salt)
}

// minersAt returns who makes the blocks of a height.
func (c *Chain) minersAt(height abi.ChainEpoch, salt uint64) []address.Address {
	coin := pseudo(2, "blocks", c.place(height, salt))
	miners := []address.Address{c.producers[int(coin[0])%len(c.producers)]}
	if !c.cfg.SingleBlocks && coin[1]%3 == 0 && len(c.producers) > 1 {
		miners = append(miners, c.producers[(int(coin[0])+1)%len(c.producers)])
	}
	return miners
}

// makeBlocks returns the tipset of a height on top of parent with e's messages.
func (c *Chain) makeBlocks(parent, e *entry, height abi.ChainEpoch, salt uint64, miners []address.Address) (*lotus.TipSet, error) {
	where := c.place(height, salt)
	var digest []byte
	for _, m := range e.messages {
		digest = append(digest, m.CID.Bytes()...)
	}
	var receipts []byte
	for _, r := range parent.results {
		receipts = fmt.Appendf(receipts, "%d/%d;", r.receipt.ExitCode, r.receipt.GasUsed)
	}
	var beacons []lotus.BeaconEntry
	for h := parent.ts.Height + 1; h <= height; h++ {
		beacons = append(beacons, beacon(c.cfg.Seed, h))
	}
	var blocks []*lotus.BlockHeader
	for _, m := range miners {
		own := m.Bytes()
		blocks = append(blocks, &lotus.BlockHeader{
			Miner:         m,
			Ticket:        &lotus.Ticket{VRFProof: pseudo(96, "ticket", where, own)},
			ElectionProof: &lotus.ElectionProof{WinCount: 1, VRFProof: pseudo(96, "election", where, own)},
			BeaconEntries: beacons,
			WinPoStProof: []proof.PoStProof{{
				PoStProof: c.winningType(m), ProofBytes: []byte("valid proof"),
			}},
			Parents:               parent.ts.Cids,
			ParentWeight:          big.Add(parent.ts.Blocks[0].ParentWeight, big.NewInt(5000*int64(len(parent.ts.Blocks)))),
			Height:                height,
			ParentStateRoot:       parent.post.Root,
			ParentMessageReceipts: cborCid(append([]byte("receipts"), receipts...)),
			Messages:              cborCid(append([]byte("messages"), digest...)),
			BLSAggregate:          &crypto.Signature{Type: crypto.SigTypeBLS, Data: pseudo(96, "aggregate", digest)},
			Timestamp:             uint64(c.TimeOf(height).Unix()),
			BlockSig:              &crypto.Signature{Type: crypto.SigTypeBLS, Data: pseudo(96, "block signature", where, own)},
			ParentBaseFee:         e.fee,
		})
	}
	return makeTipSet(height, blocks)
}

// makeTipSet sorts the blocks by ticket and names them.
func makeTipSet(height abi.ChainEpoch, blocks []*lotus.BlockHeader) (*lotus.TipSet, error) {
	slices.SortFunc(blocks, func(a, b *lotus.BlockHeader) int {
		da, db := blake2b.Sum256(a.Ticket.VRFProof), blake2b.Sum256(b.Ticket.VRFProof)
		return bytes.Compare(da[:], db[:])
	})
	return nameBlocks(height, blocks)
}

// mustID is the ID address of a small number.
func mustID(id uint64) address.Address {
	a, err := address.NewIDAddress(id)
	if err != nil {
		panic(fmt.Sprintf("ID address of %d: %v", id, err)) // only above 2^63
	}
	return a
}
