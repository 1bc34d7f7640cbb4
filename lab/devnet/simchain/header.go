package simchain

import (
	"bytes"
	"fmt"
	"io"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/ipfs/go-cid"
	cbg "github.com/whyrusleeping/cbor-gen"

	"wdpost/internal/lotus"
)

// HeaderCid is the CID of a block: dag-cbor, blake2b-256, over the tuple of its
// sixteen fields. Clients of a node compute it themselves and refuse a block
// that carries another name.
func HeaderCid(h *lotus.BlockHeader) (cid.Cid, error) {
	var b bytes.Buffer
	if err := encodeHeader(&b, h); err != nil {
		return cid.Undef, fmt.Errorf("encoding the block of %s at height %d: %w", h.Miner, h.Height, err)
	}
	return cborCid(b.Bytes()), nil
}

// marshaler is what writes itself as CBOR.
type marshaler interface{ MarshalCBOR(io.Writer) error }

// tuple writes CBOR items one after the other; the first error stays.
type tuple struct {
	w   *cbg.CborWriter
	err error
}

func (t *tuple) array(n int) { t.head(cbg.MajArray, uint64(n)) }

func (t *tuple) head(kind byte, n uint64) {
	if t.err == nil {
		t.err = t.w.WriteMajorTypeHeader(kind, n)
	}
}

func (t *tuple) uint(n uint64) { t.head(cbg.MajUnsignedInt, n) }

func (t *tuple) int(n int64) {
	if n < 0 {
		t.head(cbg.MajNegativeInt, uint64(-n-1))
		return
	}
	t.uint(uint64(n))
}

func (t *tuple) bytes(b []byte) {
	if t.err == nil {
		t.err = cbg.WriteByteArray(t.w, b)
	}
}

func (t *tuple) null() {
	if t.err == nil {
		_, t.err = t.w.Write(cbg.CborNull)
	}
}

func (t *tuple) cid(c cid.Cid) {
	if t.err == nil {
		t.err = cbg.WriteCid(t.w, c)
	}
}

func (t *tuple) item(m marshaler) {
	if t.err == nil {
		t.err = m.MarshalCBOR(t.w)
	}
}

func encodeHeader(out io.Writer, h *lotus.BlockHeader) error {
	t := &tuple{w: cbg.NewCborWriter(out)}
	t.array(16)
	t.item(&h.Miner)
	if h.Ticket == nil {
		t.null()
	} else {
		t.array(1)
		t.bytes(h.Ticket.VRFProof)
	}
	if h.ElectionProof == nil {
		t.null()
	} else {
		t.array(2)
		t.int(h.ElectionProof.WinCount)
		t.bytes(h.ElectionProof.VRFProof)
	}
	t.array(len(h.BeaconEntries))
	for _, e := range h.BeaconEntries {
		t.array(2)
		t.uint(e.Round)
		t.bytes(e.Data)
	}
	t.array(len(h.WinPoStProof))
	for i := range h.WinPoStProof {
		t.item(&h.WinPoStProof[i])
	}
	t.array(len(h.Parents))
	for _, p := range h.Parents {
		t.cid(p)
	}
	t.item(&h.ParentWeight)
	t.int(int64(h.Height))
	t.cid(h.ParentStateRoot)
	t.cid(h.ParentMessageReceipts)
	t.cid(h.Messages)
	if h.BLSAggregate == nil {
		t.null()
	} else {
		t.item(h.BLSAggregate)
	}
	t.uint(h.Timestamp)
	if h.BlockSig == nil {
		t.null()
	} else {
		t.item(h.BlockSig)
	}
	t.uint(h.ForkSignaling)
	t.item(&h.ParentBaseFee)
	return t.err
}

// nameBlocks returns the tipset of blocks that are in their order.
func nameBlocks(height abi.ChainEpoch, blocks []*lotus.BlockHeader) (*lotus.TipSet, error) {
	ts := &lotus.TipSet{Blocks: blocks, Height: height}
	for _, b := range blocks {
		c, err := HeaderCid(b)
		if err != nil {
			return nil, err
		}
		ts.Cids = append(ts.Cids, c)
	}
	return ts, nil
}
