package sector

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"wdpost/internal/condition"
	"wdpost/internal/sector/store"
)

// access is one operation on a file of a store, as an access of its own.
func access(ctx context.Context, g *Guard, root, path string, call func() error) error {
	return g.visit(ctx, visitKind{roots: []string{root}, weight: 1}, func(v *visit) error { return v.op(root, path, call) })
}

// file numbers make paths of different files.
func file(root string, n int) string { return fmt.Sprintf("%s/sealed/s-t01-%d", root, n) }

// hang is a call that ends when release closes.
func hang(release <-chan struct{}) func() error { return func() error { <-release; return nil } }

func answers(err error) func() error { return func() error { return err } }

func pathError(errno syscall.Errno) error { return &fs.PathError{Op: "read", Path: "x", Err: errno} }

func TestGuardPasses(t *testing.T) {
	g := NewGuard(GuardConfig{})
	called := false
	if err := access(t.Context(), g, "/a", "/a/x", func() error { called = true; return nil }); err != nil || !called {
		t.Fatalf("called %v, %v", called, err)
	}
	own := errors.New("own")
	if err := access(t.Context(), g, "/a", "/a/x", answers(own)); !errors.Is(err, own) {
		t.Fatalf("got %v", err)
	}
	if err := access(t.Context(), g, "/a", "/a/x", func() error { panic("ouch") }); err == nil || !strings.Contains(err.Error(), "ouch") {
		t.Fatalf("got %v", err)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.threads != 0 || g.stores["/a"].visits != 0 {
		t.Errorf("%d threads, %d visits left", g.threads, g.stores["/a"].visits)
	}
}

// countingBackend answers probes as told.
type countingBackend struct {
	store.Local
	probes  atomic.Int64
	probing func() error
}

func (b *countingBackend) Open(string) (store.File, error) {
	b.probes.Add(1)
	return nil, b.probing()
}

func (b *countingBackend) Stat(paths []string, _ bool) []store.Info {
	return make([]store.Info, len(paths))
}

// TestStorageF20OneReadDecides: of 100 sectors in a dead store one goes ahead;
// when it has had its time the others are refused at once, and later ones cost
// nothing, until the store answers again.
func TestStorageF20OneReadDecides(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		backend := &countingBackend{probing: hang(release)}
		g := NewGuard(GuardConfig{Timeout: time.Minute, Backend: backend})
		start := time.Now()
		errs := make(chan error, 100)
		for i := range 100 {
			go func() { errs <- access(t.Context(), g, "/dead", file("/dead", i), hang(release)) }()
		}
		for range 100 {
			if err := access(t.Context(), g, "/fine", "/fine/x", answers(nil)); err != nil {
				t.Fatal(err)
			}
		}
		if d := time.Since(start); d != 0 {
			t.Errorf("the healthy store waited %s", d)
		}
		timedOut := 0
		for range 100 {
			err := <-errs
			if errors.Is(err, ErrTimeout) && !errors.Is(err, ErrSetAside) {
				timedOut++
			} else if !errors.Is(err, ErrSetAside) {
				t.Errorf("got %v", err)
			}
		}
		if d := time.Since(start); d != time.Minute || timedOut > 1 {
			t.Errorf("after %s: %d timed out", d, timedOut)
		}
		if h := health(g, "/dead"); h.Stuck != 1 || h.InFlight != 1 || !h.SetAside || h.State != StateHangs {
			t.Errorf("health %+v", h)
		}
		for range 100 { // hours later: still refused at once, a bounded number of tries
			time.Sleep(time.Minute)
			before := time.Now()
			if err := access(t.Context(), g, "/dead", file("/dead", 1), answers(nil)); !errors.Is(err, ErrSetAside) || time.Since(before) != 0 {
				t.Fatalf("got %v after %s", err, time.Since(before))
			}
		}
		if n := backend.probes.Load(); n < 1 || n > mostHungTries {
			t.Errorf("%d tries hang", n)
		}
		// The mount comes back: the hanging reads end, and the store serves again.
		close(release)
		synctest.Wait()
		if err := access(t.Context(), g, "/dead", file("/dead", 1), answers(nil)); err != nil {
			t.Errorf("got %v", err)
		}
		synctest.Wait()
		if h := health(g, "/dead"); h.Stuck != 0 || h.InFlight != 0 || h.SetAside {
			t.Errorf("health %+v", h)
		}
		if all, stuck := g.Threads(); all != 0 || stuck != 0 {
			t.Errorf("%d threads, %d stuck", all, stuck)
		}
	})
}

// TestMountedAnewAfterDetaching: all tries of a dead mount hang, and go on hanging
// when it is detached. What is mounted in its place is tried and taken back.
func TestMountedAnewAfterDetaching(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var anew atomic.Bool
		release := make(chan struct{})
		backend := &countingBackend{probing: func() error {
			if !anew.Load() {
				<-release
			}
			return pathError(syscall.ENOENT)
		}}
		g := NewGuard(GuardConfig{Timeout: time.Minute, Backend: backend})
		g.mountOf = func(string) string {
			if anew.Load() {
				return "new"
			}
			return "old"
		}
		_ = access(t.Context(), g, "/dead", "/dead/x", hang(release))
		time.Sleep(5 * time.Hour)
		if h := health(g, "/dead"); !h.SetAside || backend.probes.Load() != mostHungTries {
			t.Fatalf("%d tries, %+v", backend.probes.Load(), h)
		}
		anew.Store(true)
		time.Sleep(longestCooldown * 30 * time.Second)
		if h := health(g, "/dead"); h.SetAside {
			t.Errorf("mounted anew, still set aside: %+v", h)
		}
		close(release)
		synctest.Wait()
		if all, stuck := g.Threads(); all != 0 || stuck != 0 {
			t.Errorf("%d threads, %d stuck", all, stuck)
		}
	})
}

// TestStorageF1F20ManyDeadStores: however many stores are dead, the sectors of the
// healthy ones are read at once, the rest are given up after one time-out, and the
// threads stay bounded.
func TestStorageF1F20ManyDeadStores(t *testing.T) {
	for _, dead := range []int{1, 10, 40, 100} {
		synctest.Test(t, func(t *testing.T) {
			release := make(chan struct{})
			g := NewGuard(GuardConfig{Timeout: time.Minute, Parallel: 128, Backend: &countingBackend{probing: hang(release)}})
			start := time.Now()
			const sectors = 130
			errs := make(chan error, dead*sectors)
			for s := range dead {
				root := fmt.Sprintf("/dead%d", s)
				for i := range sectors {
					go func() {
						errs <- g.visit(t.Context(), visitKind{roots: []string{root}, weight: ReadsAtOnce}, func(v *visit) error {
							return each(10, v.done, func(k int) error {
								return v.op(root, file(root, 1000*i+k), hang(release))
							})
						})
					}()
				}
			}
			synctest.Wait()
			most, _ := g.Threads()
			for i := range 50 {
				if err := access(t.Context(), g, "/fine", file("/fine", i), answers(nil)); err != nil {
					t.Fatal(err)
				}
			}
			if d := time.Since(start); d != 0 {
				t.Errorf("%d dead stores: the healthy store waited %s", dead, d)
			}
			for range dead * sectors {
				if err := <-errs; !errors.Is(err, ErrTimeout) {
					t.Fatalf("got %v", err)
				}
			}
			if d := time.Since(start); d > 78*time.Second {
				t.Errorf("%d dead stores: given up after %s", dead, d)
			}
			time.Sleep(time.Hour) // tries in the background
			last, _ := g.Threads()
			if max(most, last) > 900 {
				t.Errorf("%d dead stores: %d, later %d threads", dead, most, last)
			}
			close(release)
			synctest.Wait()
			if all, stuck := g.Threads(); all != 0 || stuck != 0 {
				t.Errorf("%d threads, %d stuck after all came back", all, stuck)
			}
		})
	}
}

// TestStoresThatDieInFullSwing: stores that serve and then hang one after the
// other, each with all its places taken, leave threads for the next one.
func TestStoresThatDieInFullSwing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		g := NewGuard(GuardConfig{Timeout: time.Minute, Parallel: 128, MaxStuck: 1000, Backend: &countingBackend{probing: hang(release)}})
		for s := range 30 {
			root := fmt.Sprintf("/store%d", s)
			if err := access(t.Context(), g, root, file(root, 0), answers(nil)); err != nil {
				t.Fatalf("store %d: %v", s, err)
			}
			errs := make(chan error, 200)
			for i := range 200 {
				go func() {
					errs <- g.visit(t.Context(), visitKind{roots: []string{root}, weight: ReadsAtOnce}, func(v *visit) error {
						return each(10, v.done, func(k int) error { return v.op(root, file(root, 1000*i+k), hang(release)) })
					})
				}()
			}
			for range 200 {
				<-errs
			}
			if all, _ := g.Threads(); all >= 1000 {
				t.Fatalf("after store %d: %d threads", s, all)
			}
		}
		close(release)
		synctest.Wait()
	})
}

// TestGuardBreaker: a store that answers with errors again and again is left
// alone, tried in the background, and trusted again after one good answer.
func TestGuardBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		trouble := pathError(syscall.EIO)
		var gone atomic.Bool
		backend := &countingBackend{probing: func() error {
			if gone.Load() {
				return pathError(syscall.ENOENT)
			}
			return trouble
		}}
		g := NewGuard(GuardConfig{MaxFailures: 3, Cooldown: time.Minute, Backend: backend})
		for range 3 {
			if err := access(t.Context(), g, "/a", "/a/x", answers(trouble)); !errors.Is(err, syscall.EIO) || errors.Is(err, ErrSetAside) {
				t.Fatalf("got %v", err)
			}
		}
		for range 5 {
			if err := access(t.Context(), g, "/a", "/a/x", answers(nil)); !errors.Is(err, ErrSetAside) || !errors.Is(err, syscall.EIO) {
				t.Fatalf("got %v", err)
			}
		}
		time.Sleep(time.Hour)
		if n := backend.probes.Load(); n < 5 || n > 8 {
			t.Errorf("%d tries in an hour", n)
		}
		if h := health(g, "/a"); h.State != StateFails || h.NextTry.Before(time.Now()) {
			t.Errorf("health %+v", h)
		}
		gone.Store(true) // the file is gone, but the store answers
		time.Sleep(time.Hour)
		if err := access(t.Context(), g, "/a", "/a/x", answers(nil)); err != nil {
			t.Errorf("after recovery: %v", err)
		}
	})
}

// TestStorageF2ErrorsOfFiles: trouble of single files never sets a store aside,
// that of the store does.
func TestStorageF2ErrorsOfFiles(t *testing.T) {
	for errno, ofStore := range map[syscall.Errno]bool{
		syscall.ENOENT: false, syscall.EACCES: false, syscall.EPERM: false, syscall.ELOOP: false, syscall.ENOTDIR: false,
		syscall.EISDIR: false, syscall.ENAMETOOLONG: false, syscall.EINVAL: false, syscall.EMFILE: false, syscall.ENOMEM: false,
		syscall.EIO: true, syscall.ESTALE: true, syscall.ENOTCONN: true, syscall.ETIMEDOUT: true, syscall.EHOSTDOWN: true,
	} {
		synctest.Test(t, func(t *testing.T) {
			g := NewGuard(GuardConfig{Backend: &countingBackend{probing: answers(pathError(errno))}})
			for range 100 {
				_ = access(t.Context(), g, "/a", "/a/x", answers(pathError(errno)))
			}
			if got := health(g, "/a").SetAside; got != ofStore {
				t.Errorf("%v: set aside %v", errno, got)
			}
		})
	}
}

// TestStorageF3CancelIsNoHang: accesses whose callers left are no hangs as long
// as they may still be answered, and keep nobody out.
func TestStorageF3CancelIsNoHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewGuard(GuardConfig{Parallel: 32})
		if err := access(t.Context(), g, "/a", file("/a", 0), answers(nil)); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		why := errors.New("window closed")
		errs := make(chan error, 32)
		for i := range 32 {
			go func() {
				errs <- access(ctx, g, "/a", file("/a", i), func() error { time.Sleep(300 * time.Millisecond); return nil })
			}()
		}
		synctest.Wait()
		cancel(why)
		for range 32 {
			if err := <-errs; !errors.Is(err, why) {
				t.Fatalf("got %v", err)
			}
		}
		for i := range 100 {
			if err := access(t.Context(), g, "/a", file("/a", 100+i), answers(nil)); err != nil {
				t.Fatalf("another user: %v", err)
			}
		}
		time.Sleep(time.Second)
		if h := health(g, "/a"); h.Stuck != 0 || h.InFlight != 0 || h.Failures != 0 {
			t.Errorf("health %+v", h)
		}
		if all, _ := g.Threads(); all != 0 {
			t.Errorf("%d threads", all)
		}
	})
}

// TestCancelledWaiter: one who waits for a place goes at once when its context
// ends, and takes no place with it.
func TestCancelledWaiter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewGuard(GuardConfig{})
		release := make(chan struct{})
		go access(t.Context(), g, "/a", file("/a", 1), hang(release))
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := access(ctx, g, "/a", file("/a", 2), answers(nil)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		close(release)
		synctest.Wait()
		if err := access(t.Context(), g, "/a", file("/a", 3), answers(nil)); err != nil {
			t.Error(err)
		}
	})
}

// TestStorageF4WhatHangsIsBlamed: where replica and cache lie in two stores and
// one hangs, that one is set aside, and the sectors of the other are read.
func TestStorageF4WhatHangsIsBlamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		g := NewGuard(GuardConfig{Timeout: time.Minute, Parallel: 4, Backend: &countingBackend{probing: hang(release)}})
		start := time.Now()
		errs := make(chan error, 40)
		for i := range 40 {
			go func() {
				errs <- g.visit(t.Context(), visitKind{roots: []string{"/good", "/hung"}, weight: 2}, func(v *visit) error {
					return errors.Join(
						v.op("/good", file("/good", i), answers(nil)),
						v.op("/hung", file("/hung", i), hang(release)))
				})
			}()
		}
		synctest.Wait()
		for i := range 100 { // whole sectors of the good store
			if err := access(t.Context(), g, "/good", file("/good", 100+i), answers(nil)); err != nil {
				t.Fatal(err)
			}
		}
		if d := time.Since(start); d != 0 {
			t.Errorf("whole sectors waited %s", d)
		}
		for range 40 {
			var at *StoreError
			if err := <-errs; !errors.Is(err, ErrTimeout) || !errors.As(err, &at) || at.Store != "/hung" {
				t.Errorf("got %v", err)
			}
		}
		if health(g, "/good").SetAside || !health(g, "/hung").SetAside {
			t.Errorf("good %+v, hung %+v", health(g, "/good"), health(g, "/hung"))
		}
		close(release)
		synctest.Wait()
	})
}

// TestOneFileHangs: a file that hangs in a store that answers costs its sector one
// time-out and one thread, once, and the store nothing.
func TestOneFileHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewGuard(GuardConfig{Timeout: time.Minute})
		release := make(chan struct{})
		stop := make(chan struct{})
		go func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				case <-time.After(time.Second):
				}
				if err := access(t.Context(), g, "/a", file("/a", i), answers(nil)); err != nil {
					t.Error(err)
				}
			}
		}()
		time.Sleep(1500 * time.Millisecond)
		for i := range 100 {
			before := time.Now()
			err := access(t.Context(), g, "/a", "/a/fifo", hang(release))
			want := time.Duration(0)
			if i == 0 {
				want = time.Minute
			}
			if d := time.Since(before); !errors.Is(err, ErrTimeout) || d != want {
				t.Fatalf("%v after %s", err, d)
			}
		}
		if h := health(g, "/a"); h.Stuck != 1 || h.SetAside {
			t.Errorf("health %+v", h)
		}
		close(stop)
		close(release)
		synctest.Wait()
	})
}

// TestSlowStore: an access that is answered, but too slowly as a whole, times out
// and counts as a failure of the store it waits for.
func TestSlowStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewGuard(GuardConfig{Timeout: time.Minute, MaxFailures: 2, Backend: &countingBackend{probing: answers(nil)}})
		for i := range 2 {
			err := g.visit(t.Context(), visitKind{roots: []string{"/a"}, weight: 1}, func(v *visit) error {
				for k := range 10 {
					if err := v.op("/a", file("/a", 10*i+k), func() error { time.Sleep(25 * time.Second); return nil }); err != nil {
						return err
					}
				}
				return nil
			})
			if !errors.Is(err, ErrTimeout) {
				t.Fatalf("got %v", err)
			}
		}
		if h := health(g, "/a"); !h.SetAside {
			t.Errorf("health %+v", h)
		}
		time.Sleep(time.Hour)
	})
}

// TestShortOfFiles: what this machine is short of is a condition, no store's
// trouble.
func TestShortOfFiles(t *testing.T) {
	board := condition.NewBoard()
	g := NewGuard(GuardConfig{Board: board, MaxFailures: 1})
	_ = access(t.Context(), g, "/a", "/a/x", answers(pathError(syscall.EMFILE)))
	if kinds(board) != "store_reader_fails/" || health(g, "/a").SetAside {
		t.Errorf("conditions %s", kinds(board))
	}
	_ = access(t.Context(), g, "/a", "/a/x", answers(nil))
	if kinds(board) != "" {
		t.Errorf("conditions %s", kinds(board))
	}
}

func health(g *Guard, store string) StoreHealth {
	for _, h := range g.Health() {
		if h.Path == store {
			return h
		}
	}
	return StoreHealth{}
}
