package config

import "slices"

// The sections of this file are accepted so that an existing sector-manager.cfg
// can be used as it is. They steer sealing, which is not done here.

// Foreign is a key or section that belongs to another program: whatever it holds
// is accepted.
type Foreign struct{}

func (*Foreign) setTOML(any) error { return nil }

// MinerSector is [Miners.Sector].
type MinerSector struct {
	InitNumber           uint64
	MinNumber, MaxNumber uint64
	Enabled, EnableDeals bool
	LifetimeDays         uint64
	Verbose              bool
}

// SnapUp is [Miners.SnapUp].
type SnapUp struct {
	Enabled                                bool
	Sender                                 string
	Senders                                []string
	SendFund                               bool
	CleanupCCData                          bool
	MessageConfidential, MessageConfidence int64
	ReleaseCondidential, ReleaseConfidence int64
	Fee
	Retry SnapUpRetry
}

// SnapUpRetry is [Miners.SnapUp.Retry].
type SnapUpRetry struct {
	MaxAttempts                                    int
	PollInterval, APIFailureWait, LocalFailureWait Duration
}

// Commitment is [Miners.Commitment].
type Commitment struct {
	Confidence            int64
	Pre, Prove, Terminate CommitmentPolicy
}

// CommitmentPolicy is how one kind of sealing message is sent.
type CommitmentPolicy struct {
	Sender   string
	Senders  []string
	SendFund bool
	Fee
	Batch CommitmentBatch
}

// CommitmentBatch is how sealing messages of one kind are gathered.
type CommitmentBatch struct {
	Enabled                bool
	Threshold              int
	MaxWait, CheckInterval Duration

	BatchCommitAboveBaseFee FIL
	Fee
}

// Sealing is [Miners.Sealing].
type Sealing struct {
	SealingEpochDuration             int64
	RequireActivationSuccess         bool
	RequireActivationSuccessUpdate   bool
	RequireNotificationSuccess       bool
	RequireNotificationSuccessUpdate bool
	UseSyntheticPoRep                bool
	SealingSectorDeadlineDelayNi     uint64
}

func sortedUnique(names []string) []string {
	slices.Sort(names)
	return slices.Compact(names)
}
