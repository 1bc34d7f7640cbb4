package poster

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-bitfield"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/builtin"
	mineractor "github.com/filecoin-project/go-state-types/builtin/v18/miner"
	"github.com/filecoin-project/go-state-types/network"
	"github.com/filecoin-project/go-state-types/proof"

	"wdpost/internal/ledger"
	"wdpost/internal/lotus"
	"wdpost/proofs/post"
)

// maxPartitions is how many partitions the network accepts in one PoSt
// message: since network version 21 three, before that as many as do not
// address too many sectors (builtin-actors, submit_windowed_post).
func maxPartitions(nv network.Version, partitionSectors uint64) uint64 {
	limit := uint64(mineractor.AddressedPartitionsMax)
	if partitionSectors > 0 {
		limit = min(limit, mineractor.AddressedSectorsMax/partitionSectors)
	}
	if nv >= network.Version21 {
		limit = min(limit, mineractor.PoStedPartitionsMax)
	}
	return max(limit, 1)
}

// entropy is the CBOR form of the miner's ID address, which is mixed into the
// challenge randomness.
func entropy(maddr address.Address) ([]byte, error) {
	var b bytes.Buffer
	if err := maddr.MarshalCBOR(&b); err != nil {
		return nil, fmt.Errorf("entropy of %s: %w", maddr, err)
	}
	return b.Bytes(), nil
}

// maskSeed makes a field element of 32 bytes of randomness by clearing the top
// two bits (little-endian).
func maskSeed(rand abi.Randomness) (seed [32]byte, err error) {
	if copy(seed[:], rand) != len(seed) || len(rand) != len(seed) {
		return seed, fmt.Errorf("the challenge randomness has %d bytes instead of 32", len(rand))
	}
	return post.MaskRandomness(seed), nil
}

// submission is what a SubmitWindowedPoSt message says.
type submission struct {
	Deadline    uint64
	Partitions  []submittedPartition
	ProofType   abi.RegisteredPoStProof
	Proof       []byte // 192 bytes for each proof partition
	CommitEpoch abi.ChainEpoch
	CommitRand  abi.Randomness
}

type submittedPartition struct {
	Index   uint64
	Skipped []uint64
}

// encode returns the message parameters. Their CBOR form is the same in every
// version of the miner actor; the test compares them.
func (s submission) encode() ([]byte, error) {
	p := mineractor.SubmitWindowedPoStParams{
		Deadline:         s.Deadline,
		Proofs:           []proof.PoStProof{{PoStProof: s.ProofType, ProofBytes: s.Proof}},
		ChainCommitEpoch: s.CommitEpoch,
		ChainCommitRand:  s.CommitRand,
	}
	for _, part := range s.Partitions {
		p.Partitions = append(p.Partitions, mineractor.PoStPartition{Index: part.Index, Skipped: bitfield.NewFromSet(part.Skipped)})
	}
	var b bytes.Buffer
	if err := p.MarshalCBOR(&b); err != nil {
		return nil, fmt.Errorf("encode the parameters of SubmitWindowedPoSt: %w", err)
	}
	return b.Bytes(), nil
}

// recovery is one partition's sectors to be declared recovered.
type recovery struct {
	Partition uint64
	Sectors   []uint64
}

// encodeRecoveries returns the parameters of DeclareFaultsRecovered.
func encodeRecoveries(deadline uint64, recoveries []recovery) ([]byte, error) {
	var p mineractor.DeclareFaultsRecoveredParams
	for _, r := range recoveries {
		p.Recoveries = append(p.Recoveries, mineractor.RecoveryDeclaration{
			Deadline: deadline, Partition: r.Partition, Sectors: bitfield.NewFromSet(r.Sectors),
		})
	}
	var b bytes.Buffer
	if err := p.MarshalCBOR(&b); err != nil {
		return nil, fmt.Errorf("encode the parameters of DeclareFaultsRecovered: %w", err)
	}
	return b.Bytes(), nil
}

// newMessage is an unpriced message to the miner actor.
func newMessage(maddr, from address.Address, method abi.MethodNum, params []byte) *lotus.Message {
	return &lotus.Message{
		To: maddr, From: from, Method: method, Params: params,
		Value: big.Zero(), GasFeeCap: big.Zero(), GasPremium: big.Zero(),
	}
}

var (
	methodSubmit  = builtin.MethodsMiner.SubmitWindowedPoSt
	methodRecover = builtin.MethodsMiner.DeclareFaultsRecovered
)

// postID names the attempt-th message of a batch. It follows from what the
// message proves alone, the challenge included, so that a restarted manager
// finds it again, and another chain's message is never taken for it.
func postID(key ledger.RunKey, seed [32]byte, partitions ledger.Partitions, attempt int) string {
	sum := sha256.Sum256(seed[:])
	return fmt.Sprintf("wdpost-%s-%s-%s-%d", key, hex.EncodeToString(sum[:4]), partitions, attempt)
}

// recoveryID names the attempt-th declaration of the same sectors.
func recoveryID(key ledger.RunKey, recoveries []recovery, attempt int) string {
	h := sha256.New()
	for _, r := range recoveries {
		fmt.Fprintf(h, "%d:%s;", r.Partition, ledger.EncodeNumbers(r.Sectors))
	}
	return fmt.Sprintf("recover-%s-%s-%d", key, hex.EncodeToString(h.Sum(nil)[:8]), attempt)
}
