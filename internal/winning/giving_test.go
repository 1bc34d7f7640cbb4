package winning

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/filecoin-project/go-state-types/abi"

	"wdpost/internal/condition"
	"wdpost/internal/task"
)

// What no manager can answer is refused at once.
func TestMalformedRequestsAreRefused(t *testing.T) {
	bad := request(t, 100, 1)
	bad.Rand = bad.Rand[:31]
	mixed := request(t, 100, 1, 2)
	mixed.SectorInfos[1].SealProof = abi.RegisteredSealProof_StackedDrg8MiBV1_1
	g, addr := startGateway(t)
	s := startService(t, Config{Gateways: []string{addr}, Token: token})
	next(t, g.connected, "registration")
	for i, c := range []struct {
		method  string
		payload any
		words   string
	}{
		{"ComputeProof", request(t, 100), "no sector"},
		{"ComputeProof", bad, "31 bytes"},
		{"ComputeProof", mixed, "the others have"},
		{"ComputeProof", "garbage", "not a ComputeProof request"},
		{"Dance", nil, "not supported"},
	} {
		id := fmt.Sprint("r", i)
		g.ask(id, c.method, c.payload)
		a := next(t, g.answers, "answer")
		if a.ID != id || !strings.Contains(a.Error, c.words) || len(a.Payload) != 0 {
			t.Errorf("request %d: answer %+v, want the error %q", i, a, c.words)
		}
	}
	eventually(t, "all are counted", func() bool { return s.Status()[0].Failed == 5 })
}

// What this manager cannot prove is given away (W13): a gateway takes an error
// for final, but asks the miner's other connections when the line breaks. The
// reason is in the status and on the board.
func TestWhatCannotBeProvenIsGivenAway(t *testing.T) {
	for name, c := range map[string]struct {
		sector abi.SectorNumber
		prover proverFunc
		words  string
	}{
		"the prover fails": {1, func(context.Context, task.Question) (task.Answer, error) {
			return task.Answer{}, errors.New("out of memory")
		}, "out of memory"},
		"a sector is broken": {1, func(context.Context, task.Question) (task.Answer, error) {
			return task.Answer{Faults: []uint64{1}}, nil
		}, "sectors [1] could not be read"},
		"an empty answer":  {1, func(context.Context, task.Question) (task.Answer, error) { return task.Answer{}, nil }, "0 proofs"},
		"a panic":          {1, func(context.Context, task.Question) (task.Answer, error) { panic("at the prover") }, "at the prover"},
		"a missing sector": {404, proves, "in no attached store"},
	} {
		t.Run(name, func(t *testing.T) {
			g, addr := startGateway(t)
			board := condition.NewBoard()
			s := startService(t, Config{Gateways: []string{addr}, Token: token, Prover: c.prover, Board: board})
			next(t, g.connected, "registration")
			g.ask("r1", "ComputeProof", request(t, 100, c.sector))
			next(t, g.connected, "second registration")
			r := s.Status()[0]
			if r.Failed != 1 || !strings.Contains(r.LastError, c.words) || r.LastMargin <= 0 {
				t.Errorf("status %+v", r)
			}
			if stands := board.List(); len(stands) != 1 || stands[0].Kind != condition.WinningFailed || !strings.Contains(stands[0].Detail, c.words) {
				t.Errorf("conditions %+v", stands)
			}
			select {
			case a := <-g.answers:
				t.Errorf("answered with %+v", a)
			default:
			}
		})
	}
}

// A proof under way on the same line is not thrown away by another request's
// failure.
func TestGivingAwayWaitsForOtherProofs(t *testing.T) {
	began, release := make(chan struct{}, 1), make(chan struct{})
	g, addr := startGateway(t)
	startService(t, Config{Gateways: []string{addr}, Token: token, Concurrent: 2, Prover: proverFunc(func(ctx context.Context, q task.Question) (task.Answer, error) {
		began <- struct{}{}
		<-release
		return proves(ctx, q)
	})})
	next(t, g.connected, "registration")
	g.ask("good", "ComputeProof", request(t, 100, 1))
	next(t, began, "proof")
	g.ask("bad", "ComputeProof", request(t, 101, 404))
	g.ask("last", "Dance", nil)
	if a := next(t, g.answers, "refusal"); a.ID != "last" {
		t.Errorf("answer %+v", a)
	}
	close(release)
	if a := next(t, g.answers, "answer"); a.ID != "good" || a.Error != "" {
		t.Errorf("answer %+v", a)
	}
	next(t, g.connected, "second registration")
}

// A sector that cannot be read at its first place is read at its second (F9).
func TestWinningTakesAnotherCopy(t *testing.T) {
	g, addr := startGateway(t)
	startService(t, Config{Gateways: []string{addr}, Token: token, Prover: proverFunc(func(ctx context.Context, q task.Question) (task.Answer, error) {
		if strings.HasPrefix(q.Replicas[0].CacheDir, "cache/") {
			return task.Answer{Faults: []uint64{2}}, nil
		}
		return proves(ctx, q)
	})})
	next(t, g.connected, "registration")
	g.ask("r1", "ComputeProof", request(t, 100, 2))
	if a := next(t, g.answers, "answer"); a.Error != "" {
		t.Errorf("answer %+v", a)
	}
}

// Two gateways ask the same thing: one proof, two answers; and a third who asks
// a moment later gets it too.
func TestSameRequestIsProvenOnce(t *testing.T) {
	var proofs atomic.Int32
	began, release := make(chan struct{}, 4), make(chan struct{})
	one, addr1 := startGateway(t)
	two, addr2 := startGateway(t)
	s := startService(t, Config{Gateways: []string{addr1, addr2}, Token: token, Concurrent: 4, Prover: proverFunc(func(ctx context.Context, q task.Question) (task.Answer, error) {
		proofs.Add(1)
		began <- struct{}{}
		<-release
		return proves(ctx, q)
	})})
	next(t, one.connected, "registration")
	next(t, two.connected, "registration")
	one.ask("a", "ComputeProof", request(t, 100, 1))
	next(t, began, "proof")
	two.ask("b", "ComputeProof", request(t, 100, 1))
	two.ask("behind", "Dance", nil) // once it is refused, b was taken
	if a := next(t, two.answers, "refusal"); a.ID != "behind" {
		t.Errorf("answer %+v", a)
	}
	close(release)
	for _, g := range []*fakeGateway{one, two} {
		if a := next(t, g.answers, "answer"); a.Error != "" {
			t.Errorf("answer %+v", a)
		}
	}
	two.ask("c", "ComputeProof", request(t, 100, 1))
	if a := next(t, two.answers, "answer"); a.ID != "c" || a.Error != "" {
		t.Errorf("answer %+v", a)
	}
	if proofs.Load() != 1 {
		t.Errorf("%d proofs", proofs.Load())
	}
	eventually(t, "all are counted", func() bool { return s.Status()[0].Answered == 1 && s.Status()[1].Answered == 2 })
}

// A manager that is stopped hangs up: an error would be final, and keep the
// gateway from asking another.
func TestStoppingGivesAway(t *testing.T) {
	began := make(chan struct{}, 1)
	g, addr := startGateway(t)
	cfg := Config{
		Gateways: []string{addr}, Token: token, Miners: []Miner{{Address: miner(t, 1008)}}, Locator: locator{}, Clock: clock{time.Now()},
		Prover: proverFunc(func(ctx context.Context, _ task.Question) (task.Answer, error) {
			began <- struct{}{}
			<-ctx.Done()
			return task.Answer{}, ctx.Err()
		}),
	}
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	next(t, g.connected, "registration")
	g.ask("r1", "ComputeProof", request(t, 100, 1))
	next(t, began, "proof")
	stop()
	if err := next(t, done, "end"); err != nil {
		t.Error(err)
	}
	select {
	case a := <-g.answers:
		t.Errorf("answered with %+v", a)
	default:
	}
}

// x25: a gateway that answers pings and passes nothing on is noticed, because a
// quiet registration is renewed. While it works, renewing loses no request.
func TestQuietRegistrationIsRenewed(t *testing.T) {
	g, addr := startGateway(t)
	s, err := New(Config{Gateways: []string{addr}, Token: token, Miners: []Miner{{Address: miner(t, 1008)}}, Locator: locator{}, Clock: clock{time.Now()}, Prover: proverFunc(proves)})
	if err != nil {
		t.Fatal(err)
	}
	s.quietAfter, s.confirmIn = 50*time.Millisecond, 2*time.Second
	runService(t, s)
	for i := range 5 {
		next(t, g.connected, "registration")
		id := fmt.Sprint("r", i)
		g.ask(id, "ComputeProof", request(t, 100, 1))
		if a := next(t, g.answers, "answer"); a.ID != id || a.Error != "" {
			t.Errorf("answer %+v", a)
		}
	}
	if r := s.Status()[0]; !r.Registered || r.Failed != 0 {
		t.Errorf("status %+v", r)
	}
	g.set(func() { g.mute = true })
	eventually(t, "the gateway that passes nothing on is told", func() bool {
		r := s.Status()[0]
		return !r.Registered && strings.Contains(r.Reason, "did not confirm")
	})
	g.set(func() { g.mute = false })
	eventually(t, "registered again", func() bool { return s.Status()[0].Registered })
}
