package parts

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"wdpost/internal/prover"
	"wdpost/internal/task"
)

// at is a desk as the reader sees it, through calls that may fail.
type at struct {
	*Desk
	down func() bool
	slow time.Duration // of a transfer
}

func (a at) OfferPart(ctx context.Context, l task.Lease, n int, q task.Question) error {
	if a.down != nil && a.down() {
		return errors.New("unavailable")
	}
	select {
	case <-time.After(a.slow):
	case <-ctx.Done():
		return ctx.Err()
	}
	bare, data, err := q.SplitVanilla()
	if err != nil {
		return err
	}
	return a.Offer(ctx, "reader", l, n, bare, int64(len(data)), strings.NewReader(string(data)))
}

func (a at) AwaitParts(ctx context.Context, l task.Lease, want task.PartsWanted, wait time.Duration) (task.PartsNews, error) {
	if a.down != nil && a.down() {
		return task.PartsNews{}, errors.New("unavailable")
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	return a.Await(ctx, "reader", l, want), nil
}

// each partition's right proof is the number of its first sector.
func rightProof(q task.Question) []byte { return fmt.Appendf(nil, "[%d]", q.Replicas[0].SectorID) }

// checker accepts right proofs.
type checker struct{}

func (checker) VerifyWindowPoSt(_ context.Context, q task.Question, a task.Answer) error {
	if string(a.Proofs[0]) != string(rightProof(q)) {
		return task.ErrBadAnswer
	}
	return nil
}

// machine proves a part in the given time.
type machine struct {
	takes  time.Duration
	mu     sync.Mutex
	proven int
}

func (m *machine) ProveWindowPoSt(ctx context.Context, q task.Question) (task.Answer, error) {
	select {
	case <-time.After(m.takes):
	case <-ctx.Done():
		return task.Answer{}, context.Cause(ctx)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.proven++
	return task.Answer{Proofs: [][]byte{rightProof(q)}}, nil
}

func (*machine) Progress(string) (string, bool) { return "", false }

// help runs a prover at a desk until ctx ends; behave decides what it does.
func help(ctx context.Context, d *Desk, name string, behave func(p task.Part) (task.Answer, error, bool)) {
	for ctx.Err() == nil {
		seat := d.sit(name)
		if seat.Await(ctx) != nil {
			seat.Leave()
			return
		}
		p, ok := seat.Take()
		seat.Leave()
		if !ok {
			continue
		}
		a, err, alive := behave(p)
		if !alive {
			<-ctx.Done()
			return
		}
		_ = d.Finish(name, p.ID, a, err)
	}
}

// honest proves in the given time, beating.
func honest(d *Desk, name string, takes time.Duration) func(p task.Part) (task.Answer, error, bool) {
	return func(p task.Part) (task.Answer, error, bool) {
		for end := time.Now().Add(takes); time.Now().Before(end); {
			time.Sleep(min(5*time.Second, time.Until(end)))
			if len(d.Beat(name, []string{p.ID})) > 0 {
				return task.Answer{}, task.ErrLost, true
			}
		}
		return task.Answer{Proofs: [][]byte{rightProof(p.Question)}}, nil, true
	}
}

// spread proves the whole task at a desk with the given helpers, and returns how
// long it took.
func spread(t *testing.T, local Local, mode Mode, down func() bool, slow time.Duration, helpers func(ctx context.Context, d *Desk)) (time.Duration, error) {
	t.Helper()
	d := newDesk(t, nil)
	s := NewSpreader(SpreaderConfig{Local: local, Master: at{d, down, slow}, Verifier: checker{}, Pace: prover.OpenPace("", quiet), Mode: mode, Log: quiet})
	var questions []task.Question
	for n := range 3 {
		q := partOf(n)
		for i := range q.Replicas {
			q.Replicas[i].Vanilla = []byte("vvv")
		}
		questions = append(questions, q)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if helpers != nil {
		helpers(ctx, d)
		synctest.Wait()
	}
	r := s.begin(lease, wholeTask(), questions, 0)
	begin := time.Now()
	proof, err := r.run(ctx)
	took := time.Since(begin)
	cancel()
	time.Sleep(6 * time.Second) // simulated: helpers learn of the end at a beat
	if err == nil && string(proof) != "[0][2][4]" {
		t.Errorf("proof %q", proof)
	}
	if d.bytes != 0 || len(d.tasks) != 0 {
		t.Errorf("left at the desk: %d bytes, %d tasks", d.bytes, len(d.tasks))
	}
	return took, err
}

const minute = time.Minute

func TestSpreading(t *testing.T) {
	wrong := func(task.Part) (task.Answer, error, bool) { return proof("lie"), nil, true }
	dies := func(task.Part) (task.Answer, error, bool) { return task.Answer{}, nil, false }
	for name, tc := range map[string]struct {
		alone   bool // the reader does not prove
		mode    Mode
		down    func() bool
		slow    time.Duration
		helpers func(ctx context.Context, d *Desk)
		most    time.Duration
		err     error
	}{
		"nobody helps": {most: 3*minute + time.Second},
		"two help": {most: minute + time.Second, helpers: func(ctx context.Context, d *Desk) {
			go help(ctx, d, "a", honest(d, "a", minute))
			go help(ctx, d, "b", honest(d, "b", minute))
		}},
		"never": {mode: Never, most: 3*minute + time.Second, helpers: func(ctx context.Context, d *Desk) {
			go help(ctx, d, "a", honest(d, "a", time.Second))
		}},
		"a prover dies": {most: 3*minute + time.Second, helpers: func(ctx context.Context, d *Desk) {
			go help(ctx, d, "a", dies)
		}},
		"a prover hangs but beats": {most: 4*minute + 10*time.Second, helpers: func(ctx context.Context, d *Desk) {
			go help(ctx, d, "a", honest(d, "a", time.Hour))
		}},
		"a prover lies": {most: 3*minute + time.Second, helpers: func(ctx context.Context, d *Desk) {
			go help(ctx, d, "a", wrong)
		}},
		"the transfer takes for ever": {most: 3*minute + time.Second, slow: time.Hour, helpers: func(ctx context.Context, d *Desk) {
			go help(ctx, d, "a", honest(d, "a", time.Second))
		}},
		"the master is away": {most: 3*minute + time.Second, down: func() bool { return true }},
		"only others prove": {alone: true, most: 2*minute + 2*time.Second, helpers: func(ctx context.Context, d *Desk) {
			go help(ctx, d, "a", honest(d, "a", minute))
			go help(ctx, d, "b", honest(d, "b", minute))
		}},
		"only others prove, one dies, one lies": {alone: true, most: 4 * minute, helpers: func(ctx context.Context, d *Desk) {
			go help(ctx, d, "dead", dies)
			go help(ctx, d, "liar", wrong)
			go help(ctx, d, "good", honest(d, "good", minute))
		}},
		"only others prove, nobody does": {alone: true, most: 2*minute + 2*time.Second, err: ErrNoProver},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var local Local
				if !tc.alone {
					local = &machine{takes: minute}
				}
				took, err := spread(t, local, tc.mode, tc.down, tc.slow, tc.helpers)
				if !errors.Is(err, tc.err) {
					t.Fatal(err)
				}
				if took > tc.most {
					t.Errorf("took %v, at most %v", took, tc.most)
				}
			})
		})
	}
}

// A slow prover that lives is progress of the task: else the master takes the task
// away from its reader after the time-out of an attempt, and all is done again. One
// that goes on and on is not.
func TestLivingProverIsProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &spreading{s: NewSpreader(SpreaderConfig{}), changed: make(chan struct{}), pieces: []*piece{{}, {number: 1}}}
		r.mu.Lock()
		r.set(r.pieces[0], task.PartTaken, "a")
		r.mu.Unlock()
		told := map[string]int{}
		for range 60 {
			told[r.progress()]++
			time.Sleep(minute)
		}
		if len(told) != 11 || told["0 of 2 partitions proven, 1 by others (minute 10)"] != 50 {
			t.Errorf("%v", told)
		}
	})
}

// meanwhile is a master during whose calls something happens.
type meanwhile func() task.PartsNews

func (meanwhile) OfferPart(context.Context, task.Lease, int, task.Question) error { return nil }

func (m meanwhile) AwaitParts(context.Context, task.Lease, task.PartsWanted, time.Duration) (task.PartsNews, error) {
	return m(), nil
}

// A part that comes back while another is asked for is proven here at once.
func TestPartThatComesBackMeanwhile(t *testing.T) {
	pieces := []*piece{{offered: true, state: task.PartTaken, since: time.Now()}, {number: 1, offered: true, state: task.PartWaiting}}
	r := &spreading{changed: make(chan struct{}), pieces: pieces}
	r.s = NewSpreader(SpreaderConfig{Pace: prover.OpenPace("", quiet), Master: meanwhile(func() task.PartsNews {
		back := task.PartsNews{Parts: []task.PartNews{{Number: 0, State: task.PartBack}, {Number: 1, State: task.PartTaken}}}
		for _, n := range back.Parts {
			r.take(t.Context(), n)
		}
		return back
	})})
	if p, wait := r.next(t.Context()); p != pieces[0] {
		t.Errorf("%+v, waits %s", p, wait)
	}
}
