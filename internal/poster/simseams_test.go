package poster

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"

	"wdpost/internal/ledger"
	"wdpost/internal/lotus"
	"wdpost/internal/message"
	"wdpost/internal/task"
)

var errInjected = errors.New("injected")

// fault is asked before an operation takes effect: apply says whether it does,
// err what the caller is told. Both halves of every failure can be had: failed
// and nothing happened, failed but it happened all the same.
type fault func(op string, n int) (apply bool, err error)

// faults counts operations and asks the fault, if there is one.
type faults struct {
	mu    sync.Mutex
	count map[string]int
	fault fault
}

func (f *faults) ask(op string) (apply bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.count == nil {
		f.count = map[string]int{}
	}
	f.count[op]++
	if f.fault == nil {
		return true, nil
	}
	return f.fault(op, f.count[op])
}

func (f *faults) set(fn fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fault = fn
}

func (f *faults) counted(op string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.count[op]
}

// simSender hands messages to the model chain's pool.
type simSender struct {
	chain *simChain
	faults
}

func (s *simSender) Senders(_ context.Context, w message.Wish) ([]message.Candidate, error) {
	var list []message.Candidate
	for id := uint64(100); id <= 101; id++ {
		a, err := address.NewIDAddress(id)
		if err != nil {
			return nil, err
		}
		c := message.Candidate{Address: a, Balance: big.NewInt(1e18), Avoided: slices.Contains(w.Avoid, a)}
		if c.Avoided {
			list = append(list, c)
		} else {
			list = slices.Insert(list, 0, c)
		}
	}
	if !list[0].Avoided && !list[1].Avoided {
		slices.Reverse(list) // both are as good: the first one
	}
	return list, nil
}

func (s *simSender) Push(ctx context.Context, id string, msg *lotus.Message, spec message.Spec) (message.Handle, error) {
	if ctx.Err() != nil {
		return message.Handle{}, ctx.Err()
	}
	apply, err := s.ask("push")
	if apply {
		s.chain.mu.Lock()
		if !slices.ContainsFunc(s.chain.pool, func(m *simMessage) bool { return m.id == id }) {
			s.chain.pool = append(s.chain.pool, &simMessage{id: id, msg: msg, pushed: s.chain.heads[s.chain.last()].Height})
		}
		s.chain.mu.Unlock()
	}
	if err != nil {
		return message.Handle{}, err
	}
	return message.Handle{ID: id, CID: "cid of " + id}, nil
}

func (s *simSender) Find(ctx context.Context, h message.Handle) (message.Outcome, error) {
	if _, err := s.ask("find"); err != nil {
		return message.Outcome{}, err
	}
	s.chain.mu.Lock()
	defer s.chain.mu.Unlock()
	h.CID = "cid of " + h.ID
	if out, ok := s.chain.states[s.chain.last()].executed[h.ID]; ok {
		out.Handle, out.Depth = h, s.chain.heads[s.chain.last()].Height-out.Height
		return out, nil
	}
	for _, m := range s.chain.pool {
		if m.id == h.ID {
			return message.Outcome{
				State: message.Pending, Handle: h, From: m.msg.From, Reason: m.reason, Signed: !m.unsigned,
				Price: message.Price{FeeCap: big.NewInt(1000), Premium: big.NewInt(100), GasLimit: 1e7},
			}, nil
		}
	}
	return message.Outcome{}, nil
}

// Replace lets a message that is held go.
func (s *simSender) Replace(_ context.Context, h message.Handle, _ message.Price) (message.Handle, error) {
	apply, err := s.ask("replace")
	s.chain.mu.Lock()
	defer s.chain.mu.Unlock()
	for _, m := range s.chain.pool {
		if m.id == h.ID && apply && m.cheap {
			m.held, m.cheap, m.reason = false, false, ""
		}
	}
	return h, err
}

// GiveUp takes a message out of the pool.
func (s *simSender) GiveUp(_ context.Context, h message.Handle) error {
	apply, err := s.ask("giveup")
	if !apply || err != nil {
		return err
	}
	s.chain.mu.Lock()
	defer s.chain.mu.Unlock()
	i := slices.IndexFunc(s.chain.pool, func(m *simMessage) bool { return m.id == h.ID })
	if i < 0 || s.chain.pool[i].stuck {
		return message.ErrCannotGiveUp
	}
	s.chain.pool = slices.Delete(s.chain.pool, i, i+1)
	return nil
}

// simProver proves after a while, what it can read.
type simProver struct {
	faults
	took   time.Duration
	broken map[uint64]bool // unreadable, though their files exist
	blind  map[uint64]int  // unreadable for the first so many rounds: another slave sees them
	badDir string          // unreadable in this folder
	wrong  bool            // makes proofs that do not verify
	peer   bool            // knows nothing of AllowSkip
}

func (p *simProver) ProveWindowPoSt(ctx context.Context, q task.Question) (task.Answer, error) {
	select {
	case <-ctx.Done():
		return task.Answer{}, ctx.Err()
	case <-time.After(p.took):
	}
	if _, err := p.ask("prove"); err != nil {
		return task.Answer{}, err
	}
	var a task.Answer
	var good []uint64
	for _, r := range q.Replicas {
		switch {
		case p.broken[r.SectorID]:
			a.Faults = append(a.Faults, r.SectorID)
			a.Reasons = append(a.Reasons, task.Reason{Kind: task.FaultData, Sectors: []uint64{r.SectorID}, Err: "damaged"})
		case q.Round < p.blind[r.SectorID], p.badDir != "" && r.CacheDir == p.badDir:
			a.Faults = append(a.Faults, r.SectorID)
			a.Reasons = append(a.Reasons, task.Reason{Kind: task.FaultUnseen, Store: "/mnt", Sectors: []uint64{r.SectorID}, Err: "no such file"})
		default:
			good = append(good, r.SectorID)
		}
	}
	if len(good) == 0 || p.peer && len(a.Faults) > 0 {
		return a, nil
	}
	a.Proofs = [][]byte{simProve(q.Seed, good)}
	if p.wrong {
		a.Proofs[0][0] ^= 1
	}
	return a, nil
}

type simVerifier struct{ faults }

func (v *simVerifier) VerifyWindowPoSt(ctx context.Context, q task.Question, proof []byte) (bool, error) {
	if _, err := v.ask("verify"); err != nil {
		return false, err
	}
	var sectors []uint64
	for _, r := range q.Replicas {
		if r.CommR != simCommR(r.SectorID) || r.CacheDir == "" {
			return false, fmt.Errorf("sector %d came with another's commitment or without files", r.SectorID)
		}
		sectors = append(sectors, r.SectorID)
	}
	return slices.Equal(proof, simProve(q.Seed, sectors)), nil
}

// simChecker knows which sectors are missing.
type simChecker struct {
	faults
	missing map[uint64]bool
	copies  map[uint64][]Files // where a sector lies in more than one place
	damaged map[uint64]bool    // found by a thorough check only
	doubted []uint64
	inner   sync.Mutex
}

func (c *simChecker) lose(missing map[uint64]bool) {
	c.inner.Lock()
	defer c.inner.Unlock()
	c.missing = missing
}

func (c *simChecker) Doubt(_ abi.ActorID, sector uint64, _ string, _ error) {
	c.inner.Lock()
	defer c.inner.Unlock()
	c.doubted = append(c.doubted, sector)
}

func (c *simChecker) CheckSectors(ctx context.Context, miner abi.ActorID, sectors []Sector, thorough bool) (CheckResult, error) {
	if _, err := c.ask("check"); err != nil {
		return CheckResult{}, err
	}
	c.inner.Lock()
	defer c.inner.Unlock()
	r := CheckResult{Good: map[uint64][]Files{}, Bad: map[uint64]error{}}
	for _, s := range sectors {
		if s.Size != 2048 || s.CommR != simCommR(s.Number) {
			return CheckResult{}, fmt.Errorf("asked for %+v", s)
		}
		switch {
		case c.missing[s.Number]:
			r.Bad[s.Number] = errors.New("no sealed file")
		case thorough && c.damaged[s.Number]:
			r.Bad[s.Number] = errors.New("damaged")
		case len(c.copies[s.Number]) > 0:
			r.Good[s.Number] = c.copies[s.Number]
		default:
			r.Good[s.Number] = []Files{{CacheDir: "/cache", SealedFile: "/sealed"}}
		}
	}
	return r, nil
}

// memLedger is a ledger in memory that survives the poster, with faults.
type memLedger struct {
	faults
	inner    sync.Mutex
	runs     map[ledger.RunKey]ledger.Run
	verdicts map[ledger.RunKey]string // of the last end
	changes  map[ledger.RunKey]int    // how often an end was followed by another
	proofs   map[ledger.RunKey]map[string]ledger.Proof
	messages map[string]ledger.Message
}

var _ ledger.Ledger = (*memLedger)(nil)

func newMemLedger() *memLedger {
	return &memLedger{
		runs: map[ledger.RunKey]ledger.Run{}, verdicts: map[ledger.RunKey]string{}, changes: map[ledger.RunKey]int{},
		proofs: map[ledger.RunKey]map[string]ledger.Proof{}, messages: map[string]ledger.Message{},
	}
}

// do performs f under the fault op.
func (l *memLedger) do(ctx context.Context, op string, f func() error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	apply, err := l.ask(op)
	if apply {
		l.inner.Lock()
		defer l.inner.Unlock()
		if ferr := f(); err == nil {
			err = ferr
		}
	}
	return err
}

func (l *memLedger) OpenRun(ctx context.Context, r ledger.Run) error {
	return l.do(ctx, "OpenRun", func() error {
		if old, ok := l.runs[r.RunKey]; ok {
			r.StartedAt = old.StartedAt
		}
		l.runs[r.RunKey] = r
		return nil
	})
}

func (l *memLedger) EndRun(ctx context.Context, key ledger.RunKey, end ledger.RunEnd) error {
	return l.do(ctx, "EndRun", func() error {
		r, ok := l.runs[key]
		if !ok {
			return ledger.ErrNotFound
		}
		if prev := l.verdicts[key]; prev != "" && prev != end.Verdict {
			l.changes[key]++
		}
		l.verdicts[key] = end.Verdict
		r.Ended = &end
		l.runs[key] = r
		return nil
	})
}

func (l *memLedger) Runs(ctx context.Context, q ledger.RunQuery) (out []ledger.Run, err error) {
	err = l.do(ctx, "Runs", func() error {
		for _, r := range l.runs {
			if !q.Unfinished || r.Ended == nil {
				out = append(out, r)
			}
		}
		slices.SortFunc(out, func(a, b ledger.Run) int { return int(b.Open - a.Open) })
		return nil
	})
	return out, err
}

func (l *memLedger) PutProof(ctx context.Context, p ledger.Proof) error {
	return l.do(ctx, "PutProof", func() error {
		if l.proofs[p.RunKey] == nil {
			l.proofs[p.RunKey] = map[string]ledger.Proof{}
		}
		l.proofs[p.RunKey][p.Partitions.String()] = p
		return nil
	})
}

func (l *memLedger) Proofs(ctx context.Context, key ledger.RunKey) (out []ledger.Proof, err error) {
	err = l.do(ctx, "Proofs", func() error {
		for _, name := range slices.Sorted(maps.Keys(l.proofs[key])) {
			out = append(out, l.proofs[key][name])
		}
		return nil
	})
	return out, err
}

func (l *memLedger) DropProof(ctx context.Context, key ledger.RunKey, partitions ledger.Partitions) error {
	return l.do(ctx, "DropProof", func() error {
		delete(l.proofs[key], partitions.String())
		return nil
	})
}

func (l *memLedger) PutMessage(ctx context.Context, m ledger.Message) error {
	return l.do(ctx, "PutMessage", func() error {
		l.messages[m.ID] = m
		return nil
	})
}

func (l *memLedger) Messages(ctx context.Context, key ledger.RunKey) (out []ledger.Message, err error) {
	err = l.do(ctx, "Messages", func() error {
		for _, m := range l.messages {
			if m.RunKey == key {
				out = append(out, m)
			}
		}
		slices.SortFunc(out, func(a, b ledger.Message) int { return a.CreatedAt.Compare(b.CreatedAt) })
		return nil
	})
	return out, err
}

func (l *memLedger) Prune(context.Context, time.Time) (int, error) {
	panic("the poster does not prune; its owner does")
}

func (l *memLedger) Check(ctx context.Context) error { return ctx.Err() }
func (l *memLedger) Close() error                    { return nil }
