package actor

import (
	"bytes"
	"fmt"

	"github.com/filecoin-project/go-state-types/abi"
	minertypes "github.com/filecoin-project/go-state-types/builtin/v18/miner"
	"github.com/filecoin-project/go-state-types/crypto"
	"github.com/filecoin-project/go-state-types/dline"

	"wdpost/proofs/post"
)

// randomnessLength is the length of chain randomness in bytes.
const randomnessLength = 32

// SubmitWindowedPoSt executes method 5. It returns the miner with the partitions
// recorded as proven, or an *Error and the miner unchanged. Any other error
// means that the chain itself could not answer.
func (m *Miner) SubmitWindowedPoSt(rt *Runtime, params *minertypes.SubmitWindowedPoStParams) (*Miner, error) {
	if err := m.checkForm(params); err != nil {
		return m, err
	}
	if err := m.authorise(rt); err != nil {
		return m, err
	}
	if err := m.checkSize(params); err != nil {
		return m, err
	}
	window := m.DeadlineInfo(rt.Epoch)
	if err := checkWindow(params, window); err != nil {
		return m, err
	}
	if err := checkCommit(rt, params, window); err != nil {
		return m, err
	}

	next, dl := m.withDeadline(params.Deadline)
	post := Post{Epoch: rt.Epoch, Caller: rt.Caller, Message: rt.Message}
	recovered, err := dl.record(params.Partitions, m.Policy, &post)
	if err != nil {
		return m, within(err, "failed to process post submission for deadline %d", params.Deadline)
	}
	if len(post.Proven) == 0 {
		return m, illegalArgument("cannot prove partitions with no active sectors")
	}
	if post.query, err = m.query(rt, window.Challenge, post.Proven, params.Proofs[0].ProofBytes); err != nil {
		return m, err
	}
	post.Disputable = len(recovered) == 0
	if !rt.Optimistic || !post.Disputable {
		if err := rt.Verify(post.query); err != nil {
			return m, illegalArgument("invalid post was submitted")
		}
		post.Verified = true
	}
	dl.Posts = append(dl.Posts[:len(dl.Posts):len(dl.Posts)], post)
	return next, nil
}

// checkForm refuses what is wrong whatever the miner's state.
func (m *Miner) checkForm(params *minertypes.SubmitWindowedPoStParams) error {
	if n := len(params.Proofs); n != 1 {
		return illegalArgument("expected exactly one proof, got %d", n)
	}
	if params.Deadline >= m.Policy.PeriodDeadlines {
		return illegalArgument("invalid deadline %d of %d", params.Deadline, m.Policy.PeriodDeadlines)
	}
	if n := len(params.ChainCommitRand); n > randomnessLength {
		return illegalArgument("expected at most %d bytes of randomness, got %d", randomnessLength, n)
	}
	return nil
}

// checkSize refuses a proof of another type, too long a proof and too many
// partitions.
func (m *Miner) checkSize(params *minertypes.SubmitWindowedPoStParams) error {
	if got := params.Proofs[0].PoStProof; got != m.Info.WindowProof {
		return illegalArgument("expected proof of type %s, got %s", proofTypeName(m.Info.WindowProof), proofTypeName(got))
	}
	if limit := post.ProofSize * len(params.Partitions); len(params.Proofs[0].ProofBytes) > limit {
		return illegalArgument("expected proof to be smaller than %d bytes", limit)
	}
	if limit := m.Policy.submissionLimit(m.Info.PartitionSectors); uint64(len(params.Partitions)) > limit {
		return illegalArgument("too many partitions %d, limit %d", len(params.Partitions), limit)
	}
	return nil
}

// checkWindow accepts only the deadline that is open now.
func checkWindow(params *minertypes.SubmitWindowedPoStParams, window *dline.Info) error {
	if !window.IsOpen() {
		return illegalState("proving period %d not yet open at %d", window.PeriodStart, window.CurrentEpoch)
	}
	if params.Deadline != window.Index {
		return illegalArgument("invalid deadline %d at epoch %d, expected %d", params.Deadline, window.CurrentEpoch, window.Index)
	}
	if params.ChainCommitEpoch < window.Challenge {
		return illegalArgument("expected chain commit epoch %d to be after %d", params.ChainCommitEpoch, window.Challenge)
	}
	if params.ChainCommitEpoch >= window.CurrentEpoch {
		return illegalArgument("chain commit epoch %d must be less than the current epoch %d", params.ChainCommitEpoch, window.CurrentEpoch)
	}
	return nil
}

// checkCommit compares the ticket randomness that the message was bound to with
// that of the chain it is executed on: a message of a fork that was left fails.
func checkCommit(rt *Runtime, params *minertypes.SubmitWindowedPoStParams, window *dline.Info) error {
	want, err := rt.Randomness.Tickets(crypto.DomainSeparationTag_PoStChainCommit, params.ChainCommitEpoch, nil)
	if err != nil {
		return fmt.Errorf("commit randomness at %d of deadline %d: %w", params.ChainCommitEpoch, window.Index, err)
	}
	if !bytes.Equal(want[:], params.ChainCommitRand) {
		return illegalArgument("post commit randomness mismatched")
	}
	return nil
}

// record marks the partitions as proven: skipped sectors become faults, what
// recovers is healthy again, what was unproven has power. It fills post and
// returns the sectors that recovered.
func (d *Deadline) record(partitions []minertypes.PoStPartition, policy *Policy, post *Post) (recovered Set, err error) {
	for _, p := range partitions {
		post.Partitions = append(post.Partitions, p.Index)
	}
	if post.Partitions = NewSet(post.Partitions...); len(post.Partitions) != len(partitions) {
		return nil, illegalArgument("duplicate partitions proven")
	}
	if again := d.Posted.And(post.Partitions); len(again) != 0 {
		return nil, illegalArgument("partition already proven: %s", again)
	}
	for _, p := range partitions {
		if p.Index >= uint64(len(d.Partitions)) {
			return nil, notFound("no such partition %d", p.Index)
		}
		skipped, err := setOf(p.Skipped, policy.AddressedSectorsMax)
		if err != nil {
			return nil, illegalArgument("failed to add skipped faults to partition %d: %v", p.Index, err)
		}
		part := &d.Partitions[p.Index]
		if !part.All.Contains(skipped) {
			return nil, illegalArgument("failed to add skipped faults to partition %d: skipped faults contains sectors outside partition", p.Index)
		}
		skipped = skipped.Minus(part.Terminated)
		part.Recovering = part.Recovering.Minus(skipped)
		recovered = recovered.Union(part.Recovering)
		part.Faults = part.Faults.Union(skipped).Minus(part.Recovering)
		part.Recovering = nil
		part.Unproven = nil
		post.Skipped = post.Skipped.Union(skipped)
		post.Proven = post.Proven.Union(part.Live().Minus(part.Faults))
	}
	d.Posted = d.Posted.Union(post.Partitions)
	return recovered, nil
}

// query puts together what the verifier is asked about a post over the given sectors.
func (m *Miner) query(rt *Runtime, challengeEpoch abi.ChainEpoch, proven Set, proof []byte) (WindowPoSt, error) {
	randomness, err := m.challenge(rt, challengeEpoch)
	if err != nil {
		return WindowPoSt{}, err
	}
	q := WindowPoSt{
		Miner:            m.Info.ID,
		ProofType:        m.Info.WindowProof,
		SectorSize:       m.Info.SectorSize,
		PartitionSectors: m.Info.PartitionSectors,
		Randomness:       randomness,
		Proof:            bytes.Clone(proof),
	}
	for _, n := range proven {
		q.Sectors = append(q.Sectors, m.sectors[n])
	}
	return q, nil
}

// proofTypeName is the debug name of a registered window proof type.
func proofTypeName(t abi.RegisteredPoStProof) string {
	switch t {
	case abi.RegisteredPoStProof_StackedDrgWindow2KiBV1:
		return "StackedDRGWindow2KiBV1"
	case abi.RegisteredPoStProof_StackedDrgWindow8MiBV1:
		return "StackedDRGWindow8MiBV1"
	case abi.RegisteredPoStProof_StackedDrgWindow512MiBV1:
		return "StackedDRGWindow512MiBV1"
	case abi.RegisteredPoStProof_StackedDrgWindow32GiBV1:
		return "StackedDRGWindow32GiBV1"
	case abi.RegisteredPoStProof_StackedDrgWindow64GiBV1:
		return "StackedDRGWindow64GiBV1"
	case abi.RegisteredPoStProof_StackedDrgWindow2KiBV1_1:
		return "StackedDRGWindow2KiBV1P1"
	case abi.RegisteredPoStProof_StackedDrgWindow8MiBV1_1:
		return "StackedDRGWindow8MiBV1P1"
	case abi.RegisteredPoStProof_StackedDrgWindow512MiBV1_1:
		return "StackedDRGWindow512MiBV1P1"
	case abi.RegisteredPoStProof_StackedDrgWindow32GiBV1_1:
		return "StackedDRGWindow32GiBV1P1"
	case abi.RegisteredPoStProof_StackedDrgWindow64GiBV1_1:
		return "StackedDRGWindow64GiBV1P1"
	}
	return fmt.Sprintf("Invalid(%d)", t)
}
