package lotus

import (
	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-bitfield"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/proof"
	"github.com/ipfs/go-cid"
)

// MinerInfo is the answer of StateMinerInfo, as far as it is used.
type MinerInfo struct {
	Owner                      address.Address
	Worker                     address.Address
	NewWorker                  address.Address // "<empty>" on the wire when there is none
	ControlAddresses           []address.Address
	WorkerChangeEpoch          abi.ChainEpoch
	PeerId                     *string
	Multiaddrs                 []abi.Multiaddrs
	WindowPoStProofType        abi.RegisteredPoStProof
	SectorSize                 abi.SectorSize
	WindowPoStPartitionSectors uint64
	ConsensusFaultElapsed      abi.ChainEpoch
	PendingOwnerAddress        *address.Address
	Beneficiary                address.Address
	BeneficiaryTerm            *BeneficiaryTerm
	PendingBeneficiaryTerm     *PendingBeneficiaryChange
}

// BeneficiaryTerm is part of MinerInfo.
type BeneficiaryTerm struct {
	Quota      abi.TokenAmount
	UsedQuota  abi.TokenAmount
	Expiration abi.ChainEpoch
}

// PendingBeneficiaryChange is part of MinerInfo.
type PendingBeneficiaryChange struct {
	NewBeneficiary        address.Address
	NewQuota              abi.TokenAmount
	NewExpiration         abi.ChainEpoch
	ApprovedByBeneficiary bool
	ApprovedByNominee     bool
}

// Partition is one entry of StateMinerPartitions. Bitfields travel as RLE
// arrays: alternating run lengths, zeros first.
type Partition struct {
	AllSectors        bitfield.BitField
	FaultySectors     bitfield.BitField
	RecoveringSectors bitfield.BitField
	LiveSectors       bitfield.BitField
	ActiveSectors     bitfield.BitField
}

// Deadline is one entry of StateMinerDeadlines.
type Deadline struct {
	PostSubmissions      bitfield.BitField // partitions with an accepted proof in this window
	DisputableProofCount uint64
	DailyFee             abi.TokenAmount
}

// SectorOnChainInfo is one entry of StateMinerSectors and the answer of
// StateSectorGetInfo. SealedCID holds comm_r; SectorKeyCID is set for updated
// (snap) sectors, whose files are under update/ and update-cache/.
type SectorOnChainInfo struct {
	SectorNumber          abi.SectorNumber
	SealProof             abi.RegisteredSealProof
	SealedCID             cid.Cid
	Activation            abi.ChainEpoch
	Expiration            abi.ChainEpoch
	DealWeight            abi.DealWeight
	VerifiedDealWeight    abi.DealWeight
	InitialPledge         abi.TokenAmount
	ExpectedDayReward     *abi.TokenAmount
	ExpectedStoragePledge *abi.TokenAmount
	PowerBaseEpoch        abi.ChainEpoch
	ReplacedDayReward     *abi.TokenAmount
	SectorKeyCID          *cid.Cid
	Flags                 uint64
	DailyFee              abi.TokenAmount
}

// SectorExpiration is the answer of StateSectorExpiration.
type SectorExpiration struct {
	OnTime abi.ChainEpoch
	Early  abi.ChainEpoch
}

// SectorLocation is the answer of StateSectorPartition.
type SectorLocation struct {
	Deadline  uint64
	Partition uint64
}

// Claim is a storage power claim.
type Claim struct {
	RawBytePower    abi.StoragePower
	QualityAdjPower abi.StoragePower
}

// MinerPower is the answer of StateMinerPower.
type MinerPower struct {
	MinerPower  Claim
	TotalPower  Claim
	HasMinPower bool
}

// Actor is the answer of StateGetActor.
type Actor struct {
	Code             cid.Cid
	Head             cid.Cid
	Nonce            uint64
	Balance          big.Int
	DelegatedAddress *address.Address
}

// MiningBaseInfo is the answer of MinerGetBaseInfo.
type MiningBaseInfo struct {
	MinerPower        big.Int
	NetworkPower      big.Int
	Sectors           []proof.ExtendedSectorInfo
	WorkerKey         address.Address
	SectorSize        abi.SectorSize
	PrevBeaconEntry   BeaconEntry
	BeaconEntries     []BeaconEntry
	EligibleForMining bool
}
