package parts

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"wdpost/internal/task"
)

var quiet = slog.New(slog.DiscardHandler)

// leases are the tasks that slaves have, by lease.
type leases map[task.Lease]string

func (l leases) Leased(_ context.Context, slave string, lease task.Lease) (task.Question, time.Duration, error) {
	if l[lease] != slave {
		return task.Question{}, 0, task.ErrLost
	}
	return wholeTask(), time.Hour, nil
}

var lease = task.Lease{ID: "t1", Attempt: 1}

// wholeTask asks about sectors 0…5.
func wholeTask() task.Question {
	q := task.Question{MinerID: 7, ProofType: "StackedDrgWindow2KiBV1_2", Seed: task.Hash32{9}}
	for n := range uint64(6) {
		q.Replicas = append(q.Replicas, task.Replica{SectorID: n, CommR: task.Hash32{byte(n)}})
	}
	return q
}

// partOf is the part of sectors 2·n and 2·n+1.
func partOf(n int) task.Question {
	q := wholeTask()
	q.Replicas = q.Replicas[2*n : 2*n+2]
	return q
}

func newDesk(t *testing.T, edit func(*DeskConfig)) *Desk {
	cfg := DeskConfig{Tasks: leases{lease: "reader"}, Log: quiet, Dir: t.TempDir()}
	if edit != nil {
		edit(&cfg)
	}
	d := NewDesk(cfg)
	t.Cleanup(d.Close)
	return d
}

// offer offers part n with some bytes.
func offer(t *testing.T, d *Desk, n int) {
	t.Helper()
	if err := d.Offer(t.Context(), "reader", lease, n, partOf(n), 6, strings.NewReader("vanill")); err != nil {
		t.Fatal(err)
	}
}

// states writes the states of the parts: "waiting taken done".
func states(d *Desk, want task.PartsWanted) string {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	var out []string
	for _, p := range d.Await(ctx, "reader", lease, want).Parts {
		out = append(out, string(p.State))
	}
	return strings.Join(out, " ")
}

func (d *Desk) sit(slave string) *Seat { return d.Sit(slave, task.Want{}) }

func proof(text string) task.Answer { return task.Answer{Proofs: [][]byte{[]byte(text)}} }

func TestAPartFromOfferToProof(t *testing.T) {
	d := newDesk(t, nil)
	offer(t, d, 0)
	offer(t, d, 1)
	seat := d.sit("a")
	if n := d.Await(t.Context(), "reader", lease, task.PartsWanted{}).Idle; n != 1 {
		t.Errorf("%d idle", n)
	}
	p, ok := seat.Take()
	seat.Leave()
	var data bytes.Buffer
	if err := d.Fetch("a", p.ID, &data); !ok || err != nil || data.String() != "vanill" || p.DataLen != 6 || p.Question.Replicas[0].SectorID != 0 {
		t.Fatalf("%+v, %q, %v", p, &data, err)
	}
	if s := states(d, task.PartsWanted{TakeBack: []int{0, 1}}); s != "taken back" {
		t.Errorf("after taking back: %s", s)
	}
	if err := d.Finish("b", p.ID, proof("x"), nil); !errors.Is(err, task.ErrLost) {
		t.Errorf("another slave finishes it: %v", err)
	}
	if err := d.Finish("a", p.ID, proof("x"), nil); err != nil {
		t.Error(err)
	}
	news := d.Await(t.Context(), "reader", lease, task.PartsWanted{})
	if news.Parts[0].State != task.PartDone || string(news.Parts[0].Answer.Proofs[0]) != "x" || news.Parts[0].Slave != "a" {
		t.Errorf("%+v", news.Parts[0])
	}
	d.Await(t.Context(), "reader", lease, task.PartsWanted{Over: true})
	if d.bytes != 0 || len(d.tasks)+len(d.parts) != 0 {
		t.Errorf("left: %d bytes, %d tasks, %d parts", d.bytes, len(d.tasks), len(d.parts))
	}
}

// A reader that lies is refused: parts are over the sectors, commitments and
// randomness of a task that it has.
func TestReaderThatLiesIsRefused(t *testing.T) {
	for name, lie := range map[string]func(q *task.Question, slave *string){
		"not its task":       func(_ *task.Question, slave *string) { *slave = "stranger" },
		"another sector":     func(q *task.Question, _ *string) { q.Replicas[1].SectorID = 99 },
		"another commitment": func(q *task.Question, _ *string) { q.Replicas[1].CommR = task.Hash32{77} },
		"other randomness":   func(q *task.Question, _ *string) { q.Seed = task.Hash32{1} },
		"another miner":      func(q *task.Question, _ *string) { q.MinerID = 8 },
		"a sector twice":     func(q *task.Question, _ *string) { q.Replicas[1] = q.Replicas[0] },
		"nothing":            func(q *task.Question, _ *string) { q.Replicas = nil },
	} {
		d := newDesk(t, nil)
		q, slave := partOf(0), "reader"
		lie(&q, &slave)
		if err := d.Offer(t.Context(), slave, lease, 0, q, 6, strings.NewReader("vanill")); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	d := newDesk(t, nil)
	for _, data := range []string{"vanil", "vanilla"} {
		if err := d.Offer(t.Context(), "reader", lease, 0, partOf(0), 6, strings.NewReader(data)); err == nil {
			t.Errorf("%d bytes for 6 announced: taken", len(data))
		}
	}
	if d.bytes != 0 {
		t.Errorf("%d bytes left", d.bytes)
	}
}

func TestDeskHasBounds(t *testing.T) {
	d := newDesk(t, func(c *DeskConfig) { c.MaxBytes = 18 })
	offer(t, d, 0)
	offer(t, d, 1)
	offer(t, d, 0) // the same again takes its place
	offer(t, d, 2)
	if err := d.Offer(t.Context(), "reader", lease, 2, partOf(2), 6, strings.NewReader("vanill")); !errors.Is(err, ErrNoRoom) {
		t.Errorf("beyond the limit: %v", err)
	}
	d.Close()
	if d.bytes != 0 {
		t.Errorf("%d bytes left", d.bytes)
	}
}

// A prover that dies loses its part to another; one that beats keeps it.
func TestSilentProverLosesItsPart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, nil)
		offer(t, d, 0)
		offer(t, d, 1)
		dead, alive := d.sit("dead"), d.sit("alive")
		lost, _ := dead.Take()
		kept, _ := alive.Take()
		for range 6 {
			time.Sleep(5 * time.Second)
			if gone := d.Beat("alive", []string{kept.ID, "unknown"}); len(gone) != 1 {
				t.Errorf("lost %v", gone)
			}
			states(d, task.PartsWanted{}) // the reader lives
		}
		if s := states(d, task.PartsWanted{}); s != "waiting taken" {
			t.Errorf("after 30 s: %s", s)
		}
		if _, again := dead.Take(); again {
			t.Error("given to the same prover again")
		}
		p, ok := alive.Take()
		if !ok || p.ID != lost.ID {
			t.Error("not given to another")
		}
		if err := d.Finish("dead", lost.ID, proof("late"), nil); !errors.Is(err, task.ErrLost) {
			t.Errorf("late: %v", err)
		}
	})
}

// A reader that dies is forgotten, and its provers stop.
func TestSilentReaderIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, nil)
		offer(t, d, 0)
		p, _ := d.sit("a").Take()
		for range 7 {
			if gone := d.Beat("a", []string{p.ID}); len(gone) > 0 {
				t.Fatalf("lost too early")
			}
			time.Sleep(5 * time.Second)
		}
		d.Beat("a", []string{p.ID})
		if gone := d.Beat("a", []string{p.ID}); len(gone) != 1 || d.bytes != 0 {
			t.Errorf("lost %v, %d bytes left", gone, d.bytes)
		}
	})
}

// A waiting reader lives however long nothing happens, and is told of changes at
// once.
func TestWaitingReaderIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, nil)
		offer(t, d, 0)
		seen := d.Await(t.Context(), "reader", lease, task.PartsWanted{}).Version
		go func() {
			time.Sleep(2 * time.Minute)
			d.sit("a").Take()
		}()
		begin := time.Now()
		news := d.Await(t.Context(), "reader", lease, task.PartsWanted{Seen: seen})
		for news.Parts[0].State != task.PartTaken {
			news = d.Await(t.Context(), "reader", lease, task.PartsWanted{Seen: news.Version})
		}
		if took := time.Since(begin); took != 2*time.Minute {
			t.Errorf("told after %v", took)
		}
	})
}

// What one prover fails on goes to two more, then back to its reader; a proof
// that does not verify is such a failure.
func TestFailuresGoToOthersThenBack(t *testing.T) {
	d := newDesk(t, nil)
	offer(t, d, 0)
	for i, name := range []string{"a", "b", "c"} {
		p, ok := d.sit(name).Take()
		if !ok {
			t.Fatalf("%s gets nothing", name)
		}
		switch i {
		case 0:
			_ = d.Finish(name, p.ID, task.Answer{}, errors.New("out of memory"))
		case 1: // it refuses the vanilla proofs
			_ = d.Finish(name, p.ID, task.Answer{Faults: []uint64{0}}, nil)
		case 2: // it lies
			_ = d.Finish(name, p.ID, proof("wrong"), nil)
			if s := states(d, task.PartsWanted{}); s != "done" {
				t.Errorf("answered: %s", s)
			}
		}
		want := "waiting"
		if i == 2 {
			want = "back"
		}
		if s := states(d, task.PartsWanted{Wrong: []int{0}}); s != want {
			t.Errorf("after %s: %s, want %s", name, s, want)
		}
	}
	if d.bytes != 0 {
		t.Errorf("%d bytes left", d.bytes)
	}
}

// Slaves get only parts of sizes they take, and only if they prove.
func TestSeatsAreForProvers(t *testing.T) {
	d := newDesk(t, nil)
	offer(t, d, 0)
	if s := d.Sit("reader 2", task.Want{Roles: []task.Role{task.RoleRead}}); s != nil {
		t.Error("a slave that does not prove is idle for parts")
	}
	if _, ok := d.Sit("b", task.Want{SectorSizes: []uint64{32 << 30}}).Take(); ok {
		t.Error("a part of another size")
	}
	if _, ok := d.Sit("c", task.Want{SectorSizes: []uint64{2 << 10}, Roles: []task.Role{task.RoleProve}}).Take(); !ok {
		t.Error("no part")
	}
	if n := d.Await(t.Context(), "reader", lease, task.PartsWanted{}).Idle; n != 2 {
		t.Errorf("%d idle", n)
	}
}
