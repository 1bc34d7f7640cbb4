package chaos

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	commcid "github.com/filecoin-project/go-fil-commcid"
	"github.com/filecoin-project/go-state-types/abi"

	"wdpost/internal/ledger"
	"wdpost/internal/poster"
	"wdpost/internal/task"
	"wdpost/lab/devnet/actor"
)

// partitionSectors is how many sectors a partition has.
const partitionSectors = 2

// commR is a sector's commitment.
func commR(n uint64) (r [32]byte) {
	sum := sha256.Sum256(binary.BigEndian.AppendUint64([]byte("sector"), n))
	copy(r[:], sum[:])
	r[31] &= 0x3f
	return r
}

// proofOver is the only proof over a set of sectors that this world accepts.
func proofOver(seed [32]byte, sectors []uint64) []byte {
	seed[31] &= 0x3f
	h := sha256.New()
	h.Write(seed[:])
	for _, n := range sectors {
		h.Write(binary.BigEndian.AppendUint64(nil, n))
	}
	size := (len(sectors) + partitionSectors - 1) / partitionSectors * 192
	return bytes.Repeat(h.Sum(nil), size/sha256.Size)
}

// network verifies as the network does.
type network struct{}

// VerifyWindowPoSt implements actor.Verifier.
func (network) VerifyWindowPoSt(_ context.Context, q actor.WindowPoSt) error {
	var sectors []uint64
	for _, s := range q.Sectors {
		r := commR(uint64(s.Number))
		if c, err := commcid.ReplicaCommitmentV1ToCID(r[:]); err != nil || !c.Equals(s.SealedCID) {
			return fmt.Errorf("sector %d has another commitment", s.Number)
		}
		sectors = append(sectors, uint64(s.Number))
	}
	if !bytes.Equal(q.Proof, proofOver(q.Randomness, sectors)) {
		return errors.New("invalid proof")
	}
	return nil
}

// VerifyWinningPoSt implements actor.Verifier.
func (network) VerifyWinningPoSt(context.Context, actor.WinningPoSt) error { return nil }

// plant is the prover, the verifier and the stores of one world.
type plant struct {
	mu      sync.Mutex
	took    time.Duration
	hang    func(q task.Question) bool     // the question is never answered
	fail    int                            // so many questions fail
	wrong   int                            // so many proofs are wrong
	unseen  func(n uint64, round int) bool // no slave sees it in this round
	damaged map[uint64]bool                // its files are there and cannot be proven
	missing map[uint64]bool                // its files are not there
	stuck   bool                           // the check of sectors hangs
	verify  int                            // so many checks of proofs fail
}

var errPlant = errors.New("the plant is on fire")

// down counts *n down and reports whether it was not 0.
func (p *plant) down(n *int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if *n == 0 {
		return false
	}
	*n--
	return true
}

// ProveWindowPoSt implements poster.Prover.
func (p *plant) ProveWindowPoSt(ctx context.Context, q task.Question) (task.Answer, error) {
	p.mu.Lock()
	took, hang := p.took, p.hang != nil && p.hang(q)
	p.mu.Unlock()
	if hang {
		<-ctx.Done()
		return task.Answer{}, ctx.Err()
	}
	if err := wait(ctx, took); err != nil {
		return task.Answer{}, err
	}
	if p.down(&p.fail) {
		return task.Answer{}, errPlant
	}
	var a task.Answer
	var good []uint64
	faults := map[uint64]error{}
	p.mu.Lock()
	for _, r := range q.Replicas {
		switch {
		case p.damaged[r.SectorID]:
			faults[r.SectorID] = &task.FaultError{Kind: task.FaultData, Err: errors.New("damaged")}
		case p.unseen != nil && p.unseen(r.SectorID, q.Round):
			faults[r.SectorID] = &task.FaultError{Kind: task.FaultUnseen, Store: "/mnt", Err: errors.New("no such file")}
		default:
			good = append(good, r.SectorID)
		}
	}
	p.mu.Unlock()
	for n := range faults {
		a.Faults = append(a.Faults, n)
	}
	slices.Sort(a.Faults)
	a.Reasons = task.Reasons(faults)
	if len(good) > 0 {
		slices.Sort(good)
		proof := proofOver(q.Seed, good)
		if p.down(&p.wrong) {
			proof[0] ^= 1
		}
		a.Proofs = [][]byte{proof}
	}
	return a, nil
}

// VerifyWindowPoSt implements poster.Verifier.
func (p *plant) VerifyWindowPoSt(_ context.Context, q task.Question, proof []byte) (bool, error) {
	if p.down(&p.verify) {
		return false, errPlant
	}
	var sectors []uint64
	for _, r := range q.Replicas {
		sectors = append(sectors, r.SectorID)
	}
	return bytes.Equal(proof, proofOver(q.Seed, sectors)), nil
}

// Doubt implements poster.SectorChecker.
func (p *plant) Doubt(abi.ActorID, uint64, string, error) {}

// CheckSectors implements poster.SectorChecker.
func (p *plant) CheckSectors(ctx context.Context, _ abi.ActorID, sectors []poster.Sector, thorough bool) (poster.CheckResult, error) {
	p.mu.Lock()
	stuck := p.stuck
	p.mu.Unlock()
	if stuck {
		<-ctx.Done()
		return poster.CheckResult{}, ctx.Err()
	}
	r := poster.CheckResult{Good: map[uint64][]poster.Files{}, Bad: map[uint64]error{}}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range sectors {
		switch {
		case p.missing[s.Number]:
			r.Bad[s.Number] = errors.New("no sealed file")
		case thorough && p.damaged[s.Number]:
			r.Bad[s.Number] = errors.New("damaged")
		default:
			r.Good[s.Number] = []poster.Files{{CacheDir: fmt.Sprintf("/a/cache/s-%d", s.Number), SealedFile: fmt.Sprintf("/a/sealed/s-%d", s.Number)}}
		}
	}
	return r, nil
}

// set changes the plant.
func (p *plant) set(f func(*plant)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f(p)
}

// book is a ledger that survives the process, and fails on demand.
type book struct {
	ledger.Ledger
	mu   sync.Mutex
	dead bool          // the process was killed: nothing is written any more
	err  error         // every call fails
	hang chan struct{} // every call hangs until it is closed
}

func (b *book) pass() error {
	b.mu.Lock()
	hang, err, dead := b.hang, b.err, b.dead
	b.mu.Unlock()
	if hang != nil {
		<-hang
	}
	if dead {
		return errors.New("killed")
	}
	return err
}

func (b *book) OpenRun(ctx context.Context, r ledger.Run) error {
	if err := b.pass(); err != nil {
		return err
	}
	return b.Ledger.OpenRun(ctx, r)
}

func (b *book) EndRun(ctx context.Context, k ledger.RunKey, e ledger.RunEnd) error {
	if err := b.pass(); err != nil {
		return err
	}
	return b.Ledger.EndRun(ctx, k, e)
}

func (b *book) Runs(ctx context.Context, q ledger.RunQuery) ([]ledger.Run, error) {
	if err := b.pass(); err != nil {
		return nil, err
	}
	return b.Ledger.Runs(ctx, q)
}

func (b *book) PutProof(ctx context.Context, p ledger.Proof) error {
	if err := b.pass(); err != nil {
		return err
	}
	return b.Ledger.PutProof(ctx, p)
}

func (b *book) Proofs(ctx context.Context, k ledger.RunKey) ([]ledger.Proof, error) {
	if err := b.pass(); err != nil {
		return nil, err
	}
	return b.Ledger.Proofs(ctx, k)
}

func (b *book) PutMessage(ctx context.Context, m ledger.Message) error {
	if err := b.pass(); err != nil {
		return err
	}
	return b.Ledger.PutMessage(ctx, m)
}

func (b *book) Messages(ctx context.Context, k ledger.RunKey) ([]ledger.Message, error) {
	if err := b.pass(); err != nil {
		return nil, err
	}
	return b.Ledger.Messages(ctx, k)
}

// set changes the book.
func (b *book) set(f func(*book)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f(b)
}
