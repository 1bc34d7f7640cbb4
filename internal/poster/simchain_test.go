package poster

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-bitfield"
	commcid "github.com/filecoin-project/go-fil-commcid"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	mineractor "github.com/filecoin-project/go-state-types/builtin/v18/miner"
	"github.com/filecoin-project/go-state-types/crypto"
	"github.com/filecoin-project/go-state-types/dline"
	"github.com/filecoin-project/go-state-types/exitcode"
	"github.com/filecoin-project/go-state-types/network"
	"github.com/ipfs/go-cid"

	"wdpost/internal/lotus"
	"wdpost/internal/message"
	"wdpost/internal/task"
)

// The network of the simulation: windows of 20 epochs, five of them a period.
const (
	simWindow   abi.ChainEpoch = 20
	simPeriod   abi.ChainEpoch = 100
	simLookback abi.ChainEpoch = 16
	simCutoff   abi.ChainEpoch = 30
	simSectors                 = 2 // of a partition
	simProof                   = abi.RegisteredPoStProof_StackedDrgWindow2KiBV1_1
)

// simPart is a partition of the model chain.
type simPart struct{ all, faulty, recovering []uint64 }

// simState is everything the model chain knows after a tipset.
type simState struct {
	parts    map[uint64][]simPart           // by deadline
	posted   map[uint64][]uint64            // by deadline, in the present window
	executed map[string]message.Outcome     // by message id
	proven   map[window]map[uint64]int      // accepted submissions by window and partition
	due      map[window][]uint64            // partitions due in a window, noted at its close
	lost     map[window]map[uint64][]uint64 // sectors that went faulty at the close of a window
}

// window names one deadline of one period.
type window struct {
	start abi.ChainEpoch // of the period
	index uint64
}

func (s *simState) clone() *simState {
	c := &simState{
		parts: map[uint64][]simPart{}, posted: map[uint64][]uint64{}, executed: maps.Clone(s.executed),
		proven: map[window]map[uint64]int{}, due: maps.Clone(s.due), lost: maps.Clone(s.lost),
	}
	for d, ps := range s.parts {
		c.parts[d] = slices.Clone(ps)
	}
	for d, ps := range s.posted {
		c.posted[d] = slices.Clone(ps)
	}
	for w, ps := range s.proven {
		c.proven[w] = maps.Clone(ps)
	}
	return c
}

// simChain plays the node and the miner actor's PoSt rules for one miner.
type simChain struct {
	t     *testing.T
	miner abi.ActorID

	mu     sync.Mutex
	heads  []*lotus.TipSet           // by position; heights may jump
	states []*simState               // after each
	fork   int                       // changes with each reorg, and the tickets with it
	salt   byte                      // changes the beacon
	pool   []*simMessage             // handed over, in order
	hold   bool                      // no message gets into a tipset
	fail   func(method string) error // called under mu
}

// simMessage is a message in the pool, executed as soon as a tipset is made.
type simMessage struct {
	id  string
	msg *lotus.Message
	// outcome forces an exit code; held keeps the message out of tipsets.
	outcome  exitcode.ExitCode
	held     bool
	cheap    bool   // held until it is replaced
	reason   string // why it waits, as the service says
	stuck    bool   // cannot be given up
	unsigned bool
	pushed   abi.ChainEpoch // the head when it was handed over
}

// newSimChain begins at the given epoch with partitions by deadline, each a
// list of sector numbers.
func newSimChain(t *testing.T, at abi.ChainEpoch, parts map[uint64][][]uint64) *simChain {
	c := &simChain{t: t, miner: 1008}
	s := &simState{
		parts: map[uint64][]simPart{}, posted: map[uint64][]uint64{}, executed: map[string]message.Outcome{},
		proven: map[window]map[uint64]int{}, due: map[window][]uint64{}, lost: map[window]map[uint64][]uint64{},
	}
	for d, ps := range parts {
		for _, sectors := range ps {
			s.parts[d] = append(s.parts[d], simPart{all: sectors})
		}
	}
	c.heads, c.states = []*lotus.TipSet{c.tipset(at)}, []*simState{s}
	return c
}

func (c *simChain) tipset(height abi.ChainEpoch) *lotus.TipSet {
	k, err := abi.CidBuilder.Sum(fmt.Appendf(nil, "%d on fork %d", height, c.fork))
	if err != nil {
		c.t.Fatal(err)
	}
	return &lotus.TipSet{Cids: []cid.Cid{k}, Height: height, Blocks: []*lotus.BlockHeader{{Height: height, ParentBaseFee: big.NewInt(100)}}}
}

// stateAt is the state after the tipset of key.
func (c *simChain) stateAt(key lotus.TipSetKey) *simState {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, ts := range c.heads {
		if ts.Key().Equals(key) {
			return c.states[i].clone()
		}
	}
	return c.states[c.last()].clone()
}

func (c *simChain) last() int { return len(c.heads) - 1 }

func (c *simChain) head() *lotus.TipSet {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.heads[c.last()]
}

func (c *simChain) state() *simState {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.states[c.last()].clone()
}

// info is the deadline at an epoch.
func (c *simChain) info(epoch abi.ChainEpoch) dline.Info {
	start := epoch - (epoch%simPeriod+simPeriod)%simPeriod
	return *dline.NewInfo(start, uint64((epoch-start)/simWindow), epoch, uint64(simPeriod/simWindow), simPeriod, simWindow, simLookback, simCutoff)
}

// grow makes the tipset of the next epoch, skipping null rounds before it.
func (c *simChain) grow(nulls abi.ChainEpoch) *lotus.TipSet {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.states[c.last()].clone()
	epoch := c.heads[c.last()].Height
	for range nulls + 1 {
		epoch++
		if di := c.info(epoch); epoch == di.Open {
			s.closeWindow(c.info(epoch - 1))
		}
	}
	ts := c.tipset(epoch)
	for _, m := range c.pool {
		if _, done := s.executed[m.id]; done || m.held || c.hold || epoch <= m.pushed {
			continue
		}
		code := m.outcome
		if code == 0 {
			code = c.execute(s, epoch, m.msg)
		}
		s.executed[m.id] = message.Outcome{State: message.Executed, ExitCode: code, Height: epoch}
	}
	c.heads, c.states = append(c.heads, ts), append(c.states, s)
	return ts
}

// reorg takes off every tipset from height on; the chain grows differently
// from there.
func (c *simChain) reorg(from abi.ChainEpoch) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.heads[c.last()].Height >= from {
		c.heads, c.states = c.heads[:c.last()], c.states[:c.last()]
	}
	c.fork++
}

// closeWindow is what cron does: what was not proven goes faulty.
func (s *simState) closeWindow(di dline.Info) {
	w := window{di.PeriodStart, di.Index}
	lost := map[uint64][]uint64{}
	for i := range s.parts[di.Index] {
		p := &s.parts[di.Index][i]
		want := p.toProve()
		if len(want) > 0 {
			s.due[w] = append(s.due[w], uint64(i))
		}
		if slices.Contains(s.posted[di.Index], uint64(i)) {
			continue
		}
		if len(want) > 0 {
			lost[uint64(i)] = want
			p.faulty = union(p.faulty, want)
		}
		p.recovering = nil
	}
	if s.proven[w] != nil { // those accepted in time were due as well
		for i := range s.proven[w] {
			s.due[w] = union(s.due[w], []uint64{i})
		}
	}
	s.lost[w] = lost
	s.posted[di.Index] = nil
}

func (p simPart) toProve() []uint64 { return union(without(p.all, p.faulty), p.recovering) }

func union(a, b []uint64) []uint64 {
	out := slices.Concat(a, b)
	slices.Sort(out)
	return slices.Compact(out)
}

// execute applies a message as the miner actor does.
func (c *simChain) execute(s *simState, epoch abi.ChainEpoch, msg *lotus.Message) exitcode.ExitCode {
	switch msg.Method {
	case methodSubmit:
		var p mineractor.SubmitWindowedPoStParams
		if err := p.UnmarshalCBOR(bytes.NewReader(msg.Params)); err != nil {
			return exitcode.ErrSerialization
		}
		return c.submit(s, epoch, &p)
	case methodRecover:
		var p mineractor.DeclareFaultsRecoveredParams
		if err := p.UnmarshalCBOR(bytes.NewReader(msg.Params)); err != nil {
			return exitcode.ErrSerialization
		}
		return c.declare(s, epoch, &p)
	}
	return exitcode.SysErrInvalidMethod
}

func (c *simChain) submit(s *simState, epoch abi.ChainEpoch, p *mineractor.SubmitWindowedPoStParams) exitcode.ExitCode {
	di := c.info(epoch)
	w := window{di.PeriodStart, di.Index}
	if p.Deadline != di.Index || len(p.Proofs) != 1 || p.Proofs[0].PoStProof != simProof || len(p.Partitions) > 3 ||
		p.ChainCommitEpoch < di.Challenge || p.ChainCommitEpoch >= epoch || !bytes.Equal(p.ChainCommitRand, c.ticket(p.ChainCommitEpoch)) {
		return exitcode.ErrIllegalArgument
	}
	var sectors []uint64
	next := slices.Clone(s.parts[di.Index])
	for _, part := range p.Partitions {
		if part.Index >= uint64(len(next)) || slices.Contains(s.posted[di.Index], part.Index) {
			return exitcode.ErrIllegalArgument
		}
		skipped, err := part.Skipped.All(1000)
		if err != nil || len(without(skipped, next[part.Index].all)) > 0 {
			return exitcode.ErrIllegalArgument
		}
		pt := &next[part.Index]
		proven := without(pt.toProve(), skipped)
		sectors = union(sectors, proven)
		pt.faulty = union(without(pt.faulty, proven), skipped)
		pt.recovering = nil
	}
	seed, err := maskSeed(c.beacon(di.Challenge))
	if err != nil || len(sectors) == 0 || !bytes.Equal(p.Proofs[0].ProofBytes, simProve(seed, sectors)) {
		return exitcode.ErrIllegalArgument
	}
	s.parts[di.Index] = next
	if s.proven[w] == nil {
		s.proven[w] = map[uint64]int{}
	}
	for _, part := range p.Partitions {
		s.posted[di.Index] = union(s.posted[di.Index], []uint64{part.Index})
		s.proven[w][part.Index]++
	}
	return exitcode.Ok
}

func (c *simChain) declare(s *simState, epoch abi.ChainEpoch, p *mineractor.DeclareFaultsRecoveredParams) exitcode.ExitCode {
	for _, rec := range p.Recoveries {
		di := c.info(epoch)
		target := dline.NewInfo(di.PeriodStart, rec.Deadline, epoch, di.WPoStPeriodDeadlines, simPeriod, simWindow, simLookback, simCutoff).NextNotElapsed()
		sectors, err := rec.Sectors.All(1000)
		if err != nil || target.FaultCutoffPassed() || rec.Partition >= uint64(len(s.parts[rec.Deadline])) {
			return exitcode.ErrIllegalArgument
		}
		pt := &s.parts[rec.Deadline][rec.Partition]
		if len(without(sectors, pt.faulty)) > 0 {
			return exitcode.ErrIllegalArgument
		}
		pt.recovering = union(pt.recovering, sectors)
	}
	return exitcode.Ok
}

func (c *simChain) beacon(epoch abi.ChainEpoch) abi.Randomness {
	sum := sha256.Sum256(fmt.Appendf(nil, "beacon %d %d", epoch, c.salt))
	return sum[:]
}

// ticket is the randomness of the tipset at or before epoch.
func (c *simChain) ticket(epoch abi.ChainEpoch) abi.Randomness {
	for i := c.last(); i >= 0; i-- {
		if c.heads[i].Height <= epoch {
			sum := sha256.Sum256(c.heads[i].Cids[0].Bytes())
			return sum[:]
		}
	}
	sum := sha256.Sum256([]byte("before the simulation"))
	return sum[:]
}

// simProve is the only proof of a set of sectors that the model accepts.
func simProve(seed [32]byte, sectors []uint64) []byte {
	h := sha256.New()
	h.Write(seed[:])
	for _, n := range sectors {
		h.Write(binary.BigEndian.AppendUint64(nil, n))
	}
	return bytes.Repeat(h.Sum(nil), proofLength(len(sectors), simSectors)/sha256.Size)
}

func simCommR(n uint64) (r task.Hash32) {
	sum := sha256.Sum256(binary.BigEndian.AppendUint64(nil, n))
	copy(r[:], sum[:])
	r[31] &= 0x3f
	return r
}

// The Chain interface. Every method may be made to fail.

func (c *simChain) ask(ctx context.Context, method string) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fail != nil {
		return c.fail(method)
	}
	return nil
}

func (c *simChain) ChainHead(ctx context.Context) (*lotus.TipSet, error) {
	return c.head(), c.ask(ctx, "ChainHead")
}

func (c *simChain) StateNetworkVersion(ctx context.Context, _ lotus.TipSetKey) (network.Version, error) {
	return network.Version28, c.ask(ctx, "StateNetworkVersion")
}

func (c *simChain) StateMinerInfo(ctx context.Context, _ address.Address, _ lotus.TipSetKey) (*lotus.MinerInfo, error) {
	return &lotus.MinerInfo{WindowPoStProofType: simProof, WindowPoStPartitionSectors: simSectors, SectorSize: 2048}, c.ask(ctx, "StateMinerInfo")
}

func (c *simChain) StateMinerProvingDeadline(ctx context.Context, _ address.Address, tsk lotus.TipSetKey) (*dline.Info, error) {
	di := c.info(c.head().Height)
	return &di, c.ask(ctx, "StateMinerProvingDeadline")
}

func (c *simChain) ChainGetTipSetByHeight(ctx context.Context, height abi.ChainEpoch, _ lotus.TipSetKey) (*lotus.TipSet, error) {
	if err := c.ask(ctx, "ChainGetTipSetByHeight"); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := c.last(); i >= 0; i-- {
		if c.heads[i].Height <= height {
			return c.heads[i], nil
		}
	}
	return c.heads[0], nil
}

func (c *simChain) StateMinerDeadlines(ctx context.Context, _ address.Address, tsk lotus.TipSetKey) ([]lotus.Deadline, error) {
	s := c.stateAt(tsk)
	out := make([]lotus.Deadline, simPeriod/simWindow)
	for d := range out {
		out[d].PostSubmissions = bitfield.NewFromSet(s.posted[uint64(d)])
	}
	return out, c.ask(ctx, "StateMinerDeadlines")
}

func (c *simChain) StateMinerPartitions(ctx context.Context, _ address.Address, deadline uint64, tsk lotus.TipSetKey) ([]lotus.Partition, error) {
	var out []lotus.Partition
	for _, p := range c.stateAt(tsk).parts[deadline] {
		out = append(out, lotus.Partition{
			AllSectors: bitfield.NewFromSet(p.all), LiveSectors: bitfield.NewFromSet(p.all), ActiveSectors: bitfield.NewFromSet(without(p.all, p.faulty)),
			FaultySectors: bitfield.NewFromSet(p.faulty), RecoveringSectors: bitfield.NewFromSet(p.recovering),
		})
	}
	return out, c.ask(ctx, "StateMinerPartitions")
}

func (c *simChain) StateMinerSectors(ctx context.Context, _ address.Address, sectors *bitfield.BitField, _ lotus.TipSetKey) ([]*lotus.SectorOnChainInfo, error) {
	all, err := sectors.All(100_000)
	if err != nil {
		return nil, err
	}
	var out []*lotus.SectorOnChainInfo
	for _, n := range all {
		commR := simCommR(n)
		sealed, err := commcid.ReplicaCommitmentV1ToCID(commR[:])
		if err != nil {
			return nil, err
		}
		out = append(out, &lotus.SectorOnChainInfo{SectorNumber: abi.SectorNumber(n), SealedCID: sealed})
	}
	return out, c.ask(ctx, "StateMinerSectors")
}

func (c *simChain) StateGetRandomnessFromBeacon(ctx context.Context, tag crypto.DomainSeparationTag, epoch abi.ChainEpoch, ent []byte, _ lotus.TipSetKey) (abi.Randomness, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if tag != 4 || len(ent) == 0 {
		return nil, errors.New("wrong tag or entropy")
	}
	return c.beacon(epoch), ctx.Err()
}

func (c *simChain) StateGetRandomnessFromTickets(ctx context.Context, tag crypto.DomainSeparationTag, epoch abi.ChainEpoch, ent []byte, _ lotus.TipSetKey) (abi.Randomness, error) {
	if err := c.ask(ctx, "StateGetRandomnessFromTickets"); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if tag != 9 || len(ent) != 0 {
		return nil, errors.New("wrong tag or entropy")
	}
	return c.ticket(epoch), nil
}
