package sector

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"wdpost/internal/sector/store"
	"wdpost/internal/sector/store/process"
	"wdpost/internal/sector/store/s3"
	"wdpost/internal/task"
	"wdpost/proofs/merkle"
	"wdpost/proofs/post"
)

// Benchmarks of `make bench-storage`.

const benchSize = 32 << 30

// manySectors makes a store of n sectors with the names and sizes of 32 GiB: one
// set of sparse files with n names.
func manySectors(b *testing.B, n int) string {
	b.Helper()
	root := b.TempDir()
	shape, err := merkle.ShapeOf(benchSize)
	if err != nil {
		b.Fatal(err)
	}
	model := filepath.Join(root, "model")
	sizes := map[string]int64{"replica": benchSize, post.PAuxName: post.PAuxSize}
	for _, name := range shape.FileNames() {
		sizes[name] = shape.DefaultLayout().FileSize()
	}
	for name, size := range sizes {
		must(b, os.MkdirAll(model, 0o755))
		must(b, os.WriteFile(filepath.Join(model, name), nil, 0o644))
		must(b, os.Truncate(filepath.Join(model, name), size))
	}
	must(b, os.MkdirAll(filepath.Join(root, "sealed"), 0o755))
	for i := range n {
		id := ID{Miner: 1008, Number: uint64(i)}.String()
		dir := filepath.Join(root, "cache", id)
		must(b, os.MkdirAll(dir, 0o755))
		must(b, os.Link(filepath.Join(model, "replica"), filepath.Join(root, "sealed", id)))
		for name := range sizes {
			if name != "replica" {
				must(b, os.Link(filepath.Join(model, name), filepath.Join(dir, name)))
			}
		}
	}
	return root
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

func attachTo(tb testing.TB, root string, guard *Guard) *Locator {
	tb.Helper()
	index := OpenIndex(tb.TempDir())
	_, err := Attach(tb.Context(), AttachConfig{Name: "a", Path: root, Index: index, Guard: guard, Log: slog.New(slog.DiscardHandler)})
	must(tb, err)
	l, err := NewLocator(index, []Store{{Name: "a", Path: root}}, slog.New(slog.DiscardHandler))
	must(tb, err)
	return l
}

// BenchmarkStorageAttachAndCheck scans and checks sectors with 32 GiB names, in
// this process and through the one that daemons read with.
func BenchmarkStorageAttachAndCheck(b *testing.B) {
	const n = 5000
	root := manySectors(b, n)
	reader := process.New(slog.New(slog.DiscardHandler))
	defer reader.Close()
	for _, kind := range []struct {
		name    string
		backend store.Backend
	}{{"here", store.Local{}}, {"process", reader}} {
		guard := NewGuard(GuardConfig{Backend: kind.backend, Parallel: 64})
		var locator *Locator
		b.Run("attach/"+kind.name, func(b *testing.B) {
			for b.Loop() {
				locator = attachTo(b, root, guard)
			}
			b.ReportMetric(n*float64(b.N)/b.Elapsed().Seconds(), "sectors/s")
		})
		wanted := make([]Wanted, n)
		for i := range wanted {
			wanted[i] = Wanted{Number: uint64(i), SectorSize: benchSize}
		}
		b.Run("check/"+kind.name, func(b *testing.B) {
			c := NewChecker(locator, guard)
			for b.Loop() {
				for _, got := range c.Check(b.Context(), 1008, wanted, false) {
					must(b, got.Err)
				}
			}
			b.ReportMetric(n*float64(b.N)/b.Elapsed().Seconds(), "sectors/s")
		})
	}
}

// deadStores hangs for every path below /dead, and serves small files of zeros
// below /fine.
type deadStores struct {
	store.Local
	release chan struct{}
}

func (d deadStores) Open(path string) (store.File, error) {
	if strings.HasPrefix(path, "/dead") {
		<-d.release
	}
	return nil, os.ErrNotExist
}

// BenchmarkStorageDeadStores asks for 60 sectors in each of many dead stores, and
// for as many in a healthy one: how long until the healthy ones are answered, and
// until all dead ones are given up, in time-outs; how many threads hang.
func BenchmarkStorageDeadStores(b *testing.B) {
	const timeout = 2 * time.Second
	for _, dead := range []int{1, 10, 40, 100} {
		b.Run(fmt.Sprint(dead), func(b *testing.B) {
			var healthy, all time.Duration
			most := 0
			for b.Loop() {
				backend := deadStores{release: make(chan struct{})}
				guard := NewGuard(GuardConfig{Backend: backend, Timeout: timeout})
				reader := NewReader(guard)
				start := time.Now()
				var wg, fine sync.WaitGroup
				read := func(root string, number uint64) error {
					id := ID{Miner: 1008, Number: number}.String()
					_, err := reader.ReadVanilla(b.Context(), 2048, task.Replica{
						SectorID: number, SealedFile: root + "/sealed/" + id, CacheDir: root + "/cache/" + id,
					}, []uint64{1})
					return err
				}
				for s := range dead {
					for n := range uint64(60) {
						wg.Go(func() {
							if err := read(fmt.Sprintf("/dead%d", s), n); !errors.Is(err, ErrTimeout) {
								b.Error(err)
							}
						})
					}
				}
				for n := range uint64(60) {
					fine.Go(func() { _ = read("/fine", n) })
				}
				fine.Wait()
				healthy += time.Since(start)
				wg.Wait()
				all += time.Since(start)
				threads, _ := guard.Threads()
				most = max(most, threads)
				close(backend.release)
			}
			b.ReportMetric(healthy.Seconds()/float64(b.N)*1000, "ms-to-healthy")
			b.ReportMetric(all.Seconds()/float64(b.N)/timeout.Seconds(), "timeouts-to-all")
			b.ReportMetric(float64(most), "threads")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// slow answers every operation on an open file late.
type slow struct {
	store.Backend
	delay time.Duration
}

func (s slow) Open(path string) (store.File, error) {
	f, err := s.Backend.Open(path)
	if err != nil {
		return nil, err
	}
	return slowFile{f, s.delay}, nil
}

type slowFile struct {
	store.File
	delay time.Duration
}

func (f slowFile) ReadAt(b []byte, at int64) (int, error) {
	time.Sleep(f.delay)
	return f.File.ReadAt(b, at)
}

// BenchmarkStorageRead reads the challenges of sectors with 10 ms added to each
// read, in this process and through the other; and from an object store.
func BenchmarkStorageRead(b *testing.B) {
	root := b.TempDir()
	const n = 64
	copySector(b, root, 1)
	for i := range uint64(n) {
		if i != 1 {
			must(b, os.Link(filepath.Join(root, sealedDir, "s-t01008-1"), filepath.Join(root, sealedDir, ID{miner, i}.String())))
			must(b, os.CopyFS(filepath.Join(root, cacheDir, ID{miner, i}.String()), os.DirFS(filepath.Join(root, cacheDir, "s-t01008-1"))))
		}
	}
	ofOne := commR(b, 1)
	reader := process.New(slog.New(slog.DiscardHandler))
	defer reader.Close()
	far, _, _ := objectStore(b, root)
	objects := s3.New(b.Context())
	defer objects.Close()
	for _, kind := range []struct {
		name, root string
		backend    store.Backend
	}{
		{"here", root, store.Local{}}, {"process", root, reader},
		{"here-10ms", root, slow{store.Local{}, 10 * time.Millisecond}}, {"process-10ms", root, slow{reader, 10 * time.Millisecond}},
		{"s3", far, objects},
	} {
		b.Run(kind.name, func(b *testing.B) {
			r := NewReader(NewGuard(GuardConfig{Backend: kind.backend}))
			for b.Loop() {
				var wg sync.WaitGroup
				for i := range uint64(n) {
					wg.Go(func() {
						id := ID{Miner: 1008, Number: i}.String()
						_, err := r.ReadVanilla(b.Context(), 2048, task.Replica{
							SectorID: i, CommR: ofOne, SealedFile: kind.root + "/sealed/" + id, CacheDir: kind.root + "/cache/" + id,
						}, []uint64{1, 7, 13, 21, 22, 33, 34, 40, 55, 60})
						if err != nil {
							b.Error(err)
						}
					})
				}
				wg.Wait()
			}
			reads, bytes := r.Counts()
			b.ReportMetric(float64(reads)/float64(b.N), "reads/op")
			b.ReportMetric(float64(bytes)/float64(b.N), "bytes/op")
		})
	}
}
