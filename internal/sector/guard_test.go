package sector

import (
	"context"
	"errors"
	"io/fs"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

var errInput = &fs.PathError{Op: "read", Path: "x", Err: syscall.EIO}

// hang is an access that ends when release closes.
func hang(release <-chan struct{}) func(<-chan struct{}) (int, error) {
	return func(<-chan struct{}) (int, error) { <-release; return 0, nil }
}

func ok(<-chan struct{}) (int, error) { return 7, nil }

func TestGuardPasses(t *testing.T) {
	g := NewGuard(GuardConfig{})
	if v, err := guarded(t.Context(), g, "/a", ok); v != 7 || err != nil {
		t.Fatalf("got %d, %v", v, err)
	}
	own := errors.New("own")
	if _, err := guarded(t.Context(), g, "/a", func(<-chan struct{}) (int, error) { return 0, own }); !errors.Is(err, own) {
		t.Fatalf("got %v", err)
	}
}

// TestGuardDeadStore: with 100 sectors on a dead store and 100 on a healthy
// one, the dead store costs one time-out and the healthy one nothing.
func TestGuardDeadStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewGuard(GuardConfig{Timeout: time.Minute, Parallel: 8, MaxStuck: 4, MaxFailures: 100})
		release := make(chan struct{})
		start := time.Now()
		dead := make(chan error, 100)
		for range 100 {
			go func() {
				_, err := guarded(t.Context(), g, "/dead", hang(release))
				dead <- err
			}()
		}
		for range 100 {
			if _, err := guarded(t.Context(), g, "/fine", ok); err != nil {
				t.Fatal(err)
			}
		}
		if d := time.Since(start); d != 0 {
			t.Errorf("the healthy store waited %s", d)
		}
		timedOut, setAside := 0, 0
		for range 100 {
			switch err := <-dead; {
			case errors.Is(err, ErrTimeout):
				timedOut++
			case errors.Is(err, ErrSetAside):
				setAside++
			default:
				t.Errorf("got %v", err)
			}
		}
		if d := time.Since(start); d != time.Minute || timedOut != 8 || setAside != 92 {
			t.Errorf("after %s: %d timed out, %d set aside", d, timedOut, setAside)
		}
		h := health(g, "/dead")
		if h.Stuck != 8 || h.InFlight != 8 || !h.SetAside {
			t.Errorf("health %+v", h)
		}
		// The mount comes back: the hanging reads end, and the store serves again.
		close(release)
		synctest.Wait()
		if _, err := guarded(t.Context(), g, "/dead", ok); err != nil {
			t.Errorf("got %v", err)
		}
		synctest.Wait() // the place is given back after the answer
		if h := health(g, "/dead"); h.Stuck != 0 || h.InFlight != 0 || h.SetAside {
			t.Errorf("health %+v", h)
		}
	})
}

// TestGuardBreaker: a store of which every access fails is tried once in a
// cooldown, and trusted again after one success.
func TestGuardBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewGuard(GuardConfig{MaxFailures: 3, Cooldown: time.Minute})
		calls := 0
		try := func(result error) error {
			_, err := guarded(t.Context(), g, "/a", func(<-chan struct{}) (int, error) { calls++; return 0, result })
			return err
		}
		for range 3 {
			if err := try(errInput); !errors.Is(err, syscall.EIO) {
				t.Fatalf("got %v", err)
			}
		}
		for range 5 {
			if err := try(nil); !errors.Is(err, ErrSetAside) || !errors.Is(err, syscall.EIO) {
				t.Fatalf("got %v", err)
			}
		}
		time.Sleep(time.Minute)
		if err := try(errInput); !errors.Is(err, syscall.EIO) || errors.Is(err, ErrSetAside) {
			t.Fatalf("the probe got %v", err)
		}
		if err := try(nil); !errors.Is(err, ErrSetAside) {
			t.Fatalf("after a failed probe: %v", err)
		}
		time.Sleep(time.Minute)
		for range 3 {
			if err := try(nil); err != nil {
				t.Fatalf("after recovery: %v", err)
			}
		}
		if calls != 7 {
			t.Errorf("%d accesses, want 7", calls)
		}
	})
}

// TestGuardMissingFiles: missing files are no trouble of the store.
func TestGuardMissingFiles(t *testing.T) {
	g := NewGuard(GuardConfig{MaxFailures: 1})
	for range 5 {
		_, err := guarded(t.Context(), g, "/a", func(<-chan struct{}) (int, error) {
			return 0, &fs.PathError{Op: "open", Path: "x", Err: syscall.ENOENT}
		})
		if !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("got %v", err)
		}
	}
}

// TestGuardCancelled: a caller that leaves is let go at once, the access is
// told, and its slot stays taken until it ends.
func TestGuardCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewGuard(GuardConfig{Parallel: 2})
		ctx, cancel := context.WithCancelCause(t.Context())
		told := make(chan struct{})
		why := errors.New("window closed")
		time.AfterFunc(time.Second, func() { cancel(why) })
		_, err := guarded(ctx, g, "/a", func(done <-chan struct{}) (int, error) {
			<-done
			close(told)
			return 0, nil
		})
		if !errors.Is(err, why) {
			t.Fatalf("got %v", err)
		}
		<-told
		synctest.Wait()
		if h := health(g, "/a"); h.Stuck != 0 || h.InFlight != 0 {
			t.Errorf("health %+v", h)
		}
		// One who waits for a slot also goes at once.
		release := make(chan struct{})
		for range 2 {
			go guarded(t.Context(), g, "/a", hang(release))
		}
		synctest.Wait()
		waiting, leave := context.WithTimeout(t.Context(), time.Second)
		defer leave()
		if _, err := guarded(waiting, g, "/a", ok); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		close(release)
	})
}

func health(g *Guard, store string) StoreHealth {
	for _, h := range g.Health() {
		if h.Store == store {
			return h
		}
	}
	return StoreHealth{}
}
