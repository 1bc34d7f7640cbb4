package sector

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"wdpost/internal/sector/store/process"
	"wdpost/internal/task"
	"wdpost/lab/hangfs"
)

// TestStoreThatHangs: a file system that hangs on reads, as a dead disk does,
// costs its own sectors one time-out, later ones nothing, and comes back by
// itself; the healthy store beside it is read all the time.
func TestStoreThatHangs(t *testing.T) {
	good, source, mount := t.TempDir(), t.TempDir(), t.TempDir()
	for n := uint64(1); n <= 6; n++ {
		copySector(t, good, n)
		copySector(t, source, n)
	}
	var hang, release func()
	if err := hangfs.Available(); err == nil {
		fs, err := hangfs.Mount(source, mount)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := fs.Close(); err != nil {
				t.Error(err)
			}
		})
		hang, release = func() { fs.Hang(hangfs.Reads) }, func() { fs.Hang(hangfs.Nothing) }
	} else {
		t.Logf("no FUSE here (%v): FIFOs hang in its place", err)
		mount = source
		hang, release = fifoCaches(t, mount)
	}
	reader := process.New(slog.New(slog.DiscardHandler))
	defer reader.Close()
	guard := NewGuard(GuardConfig{Timeout: 500 * time.Millisecond, Cooldown: 50 * time.Millisecond, Backend: reader})
	index := OpenIndex(t.TempDir())
	var wanted []Wanted
	for n := uint64(1); n <= 6; n++ {
		wanted = append(wanted, Wanted{Number: n, SectorSize: size, CommR: commR(t, n)})
	}
	checker := func(name, root string) *Checker {
		if _, err := Attach(t.Context(), AttachConfig{Name: name, Path: root, Index: index, Guard: guard, Log: discard()}); err != nil {
			t.Fatal(err)
		}
		l, err := NewLocator(index, []Store{{Name: name, Path: root}}, discard())
		if err != nil {
			t.Fatal(err)
		}
		return NewChecker(l, guard)
	}
	healthy, sick := checker("good", good), checker("sick", mount)
	read := func(c *Checker) (bad int, err error) {
		for _, got := range c.CheckRead(t.Context(), miner, wanted) {
			if got.Err != nil {
				bad++
				err = got.Err
			}
		}
		return bad, err
	}
	if bad, err := read(sick); err != nil {
		t.Fatalf("%d bad: %v", bad, err)
	}
	hang()
	for range 3 {
		bad, err := read(sick)
		if bad != 6 || !errors.Is(err, ErrTimeout) {
			t.Errorf("%d bad, %v", bad, err)
		}
		if bad, err := read(healthy); bad != 0 {
			t.Errorf("the healthy store: %v", err)
		}
	}
	if h := health(guard, mount); h.State != StateHangs || h.Stuck > ReadsAtOnce*6 {
		t.Errorf("%+v", h)
	}
	release()
	for until := time.Now().Add(30 * time.Second); health(guard, mount).SetAside; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatalf("not taken back: %+v", health(guard, mount))
		}
	}
	if bad, err := read(sick); bad != 0 {
		t.Errorf("after its return %d bad: %v", bad, err)
	}
}

func fifo(t *testing.T, name string) {
	t.Helper()
	if err := syscall.Mkfifo(name, 0o644); err != nil {
		t.Fatal(err)
	}
}

// fifoCaches replaces every file of a store by a FIFO, and back.
func fifoCaches(t *testing.T, root string) (hang, release func()) {
	saved := t.TempDir() + "/saved"
	hang = func() {
		rename(t, root, saved)
		err := filepath.Walk(saved, func(path string, info os.FileInfo, err error) error {
			if err != nil {
				return err
			}
			to := root + strings.TrimPrefix(path, saved)
			if info.IsDir() {
				return os.MkdirAll(to, 0o755)
			}
			return syscall.Mkfifo(to, 0o644)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	release = func() {
		rename(t, root, saved+".fifos")
		rename(t, saved, root)
	}
	return hang, release
}

// TestStorageF1RealThreads: forty stores whose files hang take few threads of the
// reader, and none of this process.
func TestStorageF1RealThreads(t *testing.T) {
	const stores, sectors = 40, 20
	base := t.TempDir()
	for s := range stores {
		root := filepath.Join(base, fmt.Sprint(s))
		for n := range uint64(sectors) {
			name := ID{miner, n}.String()
			if err := errors.Join(os.MkdirAll(filepath.Join(root, sealedDir), 0o755), os.MkdirAll(filepath.Join(root, cacheDir, name), 0o755)); err != nil {
				t.Fatal(err)
			}
			for _, file := range []string{sealedDir + "/" + name, cacheDir + "/" + name + "/p_aux", cacheDir + "/" + name + "/sc-02-data-tree-r-last.dat"} {
				fifo(t, filepath.Join(root, file))
			}
		}
	}
	reader := process.New(slog.New(slog.DiscardHandler))
	defer reader.Close()
	guard := NewGuard(GuardConfig{Timeout: time.Second, Backend: reader})
	before := threads(t, os.Getpid())
	r := NewReader(guard)
	var wg sync.WaitGroup
	for s := range stores {
		for n := range uint64(sectors) {
			wg.Go(func() {
				if _, err := r.ReadVanilla(t.Context(), size, replicaIn(filepath.Join(base, fmt.Sprint(s)), n), []uint64{1}); !errors.Is(err, ErrTimeout) {
					t.Error(err)
				}
			})
		}
	}
	wg.Wait()
	if n := threads(t, reader.PID()); n < stores || n > 1000 {
		t.Errorf("the reader has %d threads", n)
	}
	if n := threads(t, os.Getpid()) - before; n > 50 {
		t.Errorf("this process has %d threads more", n)
	}
}

// replicaIn names the files of a sector in a store.
func replicaIn(root string, number uint64) task.Replica {
	sealed, cache := Files(root, ID{miner, number}, false)
	return task.Replica{SectorID: number, SealedFile: sealed, CacheDir: cache}
}

// threads counts the threads of a process.
func threads(t *testing.T, pid int) int {
	t.Helper()
	tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		t.Fatal(err)
	}
	return len(tasks)
}
