package lotus

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/crypto"
	"github.com/filecoin-project/go-state-types/proof"
	"github.com/ipfs/go-cid"
)

// TipSetKey names a tipset by the CIDs of its blocks, in the tipset's order.
// On the wire it is an array of {"/": "bafy…"}; the empty key is "the head".
type TipSetKey struct{ cids []cid.Cid }

// NewTipSetKey returns the key over a copy of cids.
func NewTipSetKey(cids ...cid.Cid) TipSetKey {
	return TipSetKey{cids: append([]cid.Cid(nil), cids...)}
}

// Cids returns a copy of the block CIDs.
func (k TipSetKey) Cids() []cid.Cid { return append([]cid.Cid(nil), k.cids...) }

// IsEmpty reports whether the key is the empty one.
func (k TipSetKey) IsEmpty() bool { return len(k.cids) == 0 }

// Equals reports whether both keys name the same blocks in the same order.
func (k TipSetKey) Equals(o TipSetKey) bool {
	if len(k.cids) != len(o.cids) {
		return false
	}
	for i := range k.cids {
		if !k.cids[i].Equals(o.cids[i]) {
			return false
		}
	}
	return true
}

// String is the lotus log form, {cid,cid}.
func (k TipSetKey) String() string {
	parts := make([]string, len(k.cids))
	for i, c := range k.cids {
		parts[i] = c.String()
	}
	return "{" + strings.Join(parts, ",") + "}"
}

// MarshalJSON encodes the key as an array, the empty key as [].
func (k TipSetKey) MarshalJSON() ([]byte, error) {
	if k.cids == nil {
		return []byte("[]"), nil
	}
	return json.Marshal(k.cids)
}

// UnmarshalJSON decodes an array of CIDs or null.
func (k *TipSetKey) UnmarshalJSON(b []byte) error {
	var cids []cid.Cid
	if err := json.Unmarshal(b, &cids); err != nil {
		return fmt.Errorf("tipset key: %w", err)
	}
	k.cids = cids
	return nil
}

// Ticket is a block's VRF ticket.
type Ticket struct {
	VRFProof []byte
}

// ElectionProof is a block's right to be mined.
type ElectionProof struct {
	WinCount int64
	VRFProof []byte
}

// BeaconEntry is one round of the randomness beacon.
type BeaconEntry struct {
	Round uint64
	Data  []byte
}

// BlockHeader is one block.
type BlockHeader struct {
	Miner                 address.Address
	Ticket                *Ticket
	ElectionProof         *ElectionProof
	BeaconEntries         []BeaconEntry
	WinPoStProof          []proof.PoStProof
	Parents               []cid.Cid
	ParentWeight          big.Int
	Height                abi.ChainEpoch
	ParentStateRoot       cid.Cid
	ParentMessageReceipts cid.Cid
	Messages              cid.Cid
	BLSAggregate          *crypto.Signature
	Timestamp             uint64 // Unix seconds
	BlockSig              *crypto.Signature
	ForkSignaling         uint64
	ParentBaseFee         abi.TokenAmount
}

// TipSet is the set of blocks of one height with the same parents.
// Null rounds have no tipset, so heights of successive tipsets may jump.
type TipSet struct {
	Cids   []cid.Cid
	Blocks []*BlockHeader
	Height abi.ChainEpoch
}

// Key returns the tipset's name.
func (t *TipSet) Key() TipSetKey { return NewTipSetKey(t.Cids...) }

// Parents returns the name of the parent tipset; empty for a tipset without blocks.
func (t *TipSet) Parents() TipSetKey {
	if len(t.Blocks) == 0 || t.Blocks[0] == nil {
		return TipSetKey{}
	}
	return NewTipSetKey(t.Blocks[0].Parents...)
}

// Kinds of HeadChange.Type, in the order a stream may bring them: exactly one
// HCCurrent first, then any mixture of reverts and applies.
const (
	HCCurrent = "current"
	HCApply   = "apply"
	HCRevert  = "revert"
)

// HeadChange is one step of the ChainNotify stream.
type HeadChange struct {
	Type string
	Val  *TipSet
}

// NetworkParams is the answer of StateGetNetworkParams. ForkUpgradeParams holds
// the heights of the network upgrades by name; it is carried, not used.
type NetworkParams struct {
	NetworkName             string
	BlockDelaySecs          uint64
	ConsensusMinerMinPower  abi.StoragePower
	PreCommitChallengeDelay abi.ChainEpoch
	ForkUpgradeParams       map[string]abi.ChainEpoch
	Eip155ChainID           int
	GenesisTimestamp        uint64
}

// Version is the answer of Filecoin.Version.
type Version struct {
	Version    string
	APIVersion uint32
	BlockDelay uint64
	Agent      string
}

// SyncState is the answer of SyncState: the sync workers of the node.
type SyncState struct {
	ActiveSyncs []ActiveSync
	VMApplied   uint64
}

// ActiveSync is one sync worker. Stage is 5 when it is done.
type ActiveSync struct {
	WorkerID uint64
	Base     *TipSet
	Target   *TipSet
	Stage    int
	Height   abi.ChainEpoch
	Start    time.Time
	End      time.Time
	Message  string
}
