package sector

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"wdpost/internal/sector/store"
	"wdpost/proofs/merkle"
	"wdpost/proofs/post"
)

// TestStorageF6MountAway: attaching a store whose mount is away says so, fails,
// and forgets nothing; --force forgets.
func TestStorageF6MountAway(t *testing.T) {
	index, log := OpenIndex(t.TempDir()), &bytes.Buffer{}
	root, away := t.TempDir(), t.TempDir()
	for n := uint64(1); n <= 6; n++ {
		copySector(t, root, n)
	}
	updated(t, root, 3)
	attach(t, index, io.Discard, AttachConfig{Name: "a", Path: root})
	for _, dir := range []string{sealedDir, cacheDir, updateDir, updateCacheDir} {
		rename(t, filepath.Join(root, dir), filepath.Join(away, dir))
	}
	report, err := tryAttach(t, index, log, AttachConfig{Name: "a", Path: root})
	if !errors.Is(err, ErrFarFewer) || !strings.Contains(err.Error(), "was 6, now 0") || report.Unseen != 6 {
		t.Errorf("%+v, %v", report, err)
	}
	record, err := index.Get("a")
	if err != nil || record.Replicas.Len() != 6 || record.UpdateCaches.Len() != 1 || record.Unseen.Len() != 6 {
		t.Fatalf("%+v, %v", record, err)
	}
	// One of them is back.
	rename(t, filepath.Join(away, sealedDir), filepath.Join(root, sealedDir))
	rename(t, filepath.Join(away, cacheDir), filepath.Join(root, cacheDir))
	rename(t, filepath.Join(root, cacheDir, "s-t01008-5"), filepath.Join(away, "s-t01008-5"))
	report, err = tryAttach(t, index, log, AttachConfig{Name: "a", Path: root})
	if !errors.Is(err, ErrFarFewer) || report.Now != 5 || report.Unseen != 2 || report.Skipped != 1 { // the replica of 5 and the update of 3
		t.Errorf("%+v, %v", report, err)
	}
	report = attach(t, index, log, AttachConfig{Name: "a", Path: root, Force: true})
	if record, err = index.Get("a"); err != nil || report.Forgotten != 2 || record.Unseen.Len() != 0 || fmt.Sprint(record.Replicas[miner], record.Caches[miner], record.UpdateReplicas.Len()) != "[1 2 3 4 6] [1 2 3 4 6] 0" {
		t.Errorf("%+v, %v, record %+v", report, err, record)
	}
}

// flawedStore is the file system with faults in some of its paths.
type flawedStore struct {
	store.Local
	errs  map[string]error // by a part of the path
	stats atomic.Int64
	delay time.Duration
	names []string // if not nil, what is in every sealed and cache folder
	ro    bool
}

func (f *flawedStore) fault(path string) error {
	for part, err := range f.errs {
		if strings.Contains(path, part) {
			return &fs.PathError{Op: "stat", Path: path, Err: err}
		}
	}
	return nil
}

func (f *flawedStore) Open(path string) (store.File, error) {
	if err := f.fault(path); err != nil {
		return nil, err
	}
	return f.Local.Open(path)
}

func (f *flawedStore) Stat(paths []string, resolve bool) []store.Info {
	f.stats.Add(1)
	if f.delay > 0 {
		time.Sleep(f.delay)
	}
	infos := f.Local.Stat(paths, resolve)
	for i, path := range paths {
		if err := f.fault(path); err != nil {
			infos[i] = store.Info{Err: err}
		}
	}
	return infos
}

func (f *flawedStore) List(dir string) ([]string, error) {
	if err := f.fault(dir); err != nil {
		return nil, err
	}
	if f.names != nil && !strings.Contains(dir, "update") {
		return f.names, nil
	}
	return f.Local.List(dir)
}

func (f *flawedStore) Space(path string) (store.Space, error) {
	space, err := f.Local.Space(path)
	space.ReadOnly = f.ro
	return space, err
}

// TestStorageF6UnreadableForNow: files that cannot be looked at now leave the
// index as it is, whatever --force says.
func TestStorageF6UnreadableForNow(t *testing.T) {
	for _, errno := range []syscall.Errno{syscall.EIO, syscall.ESTALE, syscall.EACCES} {
		index := OpenIndex(t.TempDir())
		root := t.TempDir()
		for n := uint64(1); n <= 6; n++ {
			copySector(t, root, n)
		}
		attach(t, index, io.Discard, AttachConfig{Name: "a", Path: root})
		backend := &flawedStore{errs: map[string]error{"s-t01008-4": errno}}
		log := &bytes.Buffer{}
		report, err := Attach(t.Context(), AttachConfig{
			Name: "a", Path: root, Force: true, Index: index,
			Guard: NewGuard(GuardConfig{Backend: backend}), Log: slog.New(slog.NewTextHandler(log, nil)),
		})
		if err != nil || report.Now != 5 || report.Unseen != 1 || report.Forgotten != 0 {
			t.Errorf("%v: %+v, %v\n%s", errno, report, err, log)
		}
		if record, err := index.Get("a"); err != nil || !record.Replicas.Has(ID{miner, 4}) || !record.Unseen.Has(ID{miner, 4}) {
			t.Errorf("%v: %+v, %v", errno, record, err)
		}
		// A folder that cannot be listed fails the scan, and changes nothing.
		backend.errs = map[string]error{sealedDir: errno}
		_, err = Attach(t.Context(), AttachConfig{Name: "a", Path: root, Force: true, Index: index, Guard: NewGuard(GuardConfig{Backend: backend}), Log: discard()})
		if record, _ := index.Get("a"); !errors.Is(err, errno) || record.Replicas.Len() != 6 {
			t.Errorf("%v: %v, %+v", errno, err, record)
		}
	}
}

// TestStorageF5FieldF14SizesWithoutNode: empty and short files are found without
// a node, from names and sizes alone.
func TestStorageF5FieldF14SizesWithoutNode(t *testing.T) {
	index, log := OpenIndex(t.TempDir()), &bytes.Buffer{}
	root := t.TempDir()
	for n := uint64(1); n <= 6; n++ {
		copySector(t, root, n)
	}
	const tree = "sc-02-data-tree-r-last.dat"
	touch(t, filepath.Join(root, sealedDir, "s-t01008-1"), 0)
	touch(t, filepath.Join(root, cacheDir, "s-t01008-2", "p_aux"), 0)
	touch(t, filepath.Join(root, cacheDir, "s-t01008-3", tree), 0)
	touch(t, filepath.Join(root, cacheDir, "s-t01008-4", tree), 100)
	remove(t, filepath.Join(root, sealedDir, "s-t01008-5"))
	report := attach(t, index, log, AttachConfig{Name: "a", Path: root})
	if report.Sectors != 1 || report.Skipped != 5 {
		t.Errorf("%+v", report)
	}
	for _, want := range []string{
		`file=s-t01008-1 reason="replica is empty`, `file=s-t01008-2 reason="p_aux has 0 bytes`, "file=s-t01008-3", "file=s-t01008-4",
		"too short: 0 bytes", `file=s-t01008-5 reason="a cache without its replica`, "1 sectors out of 5 files",
	} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("log lacks %q:\n%s", want, log)
		}
	}
}

// TestCachesOfEverySize: the files of a cache alone tell the sector size.
func TestCachesOfEverySize(t *testing.T) {
	for _, size := range post.SectorSizes() {
		index, root := OpenIndex(t.TempDir()), t.TempDir()
		shape, err := merkle.ShapeOf(size)
		if err != nil {
			t.Fatal(err)
		}
		dir := filepath.Join(root, cacheDir, "s-t01008-1")
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		touch(t, filepath.Join(dir, post.PAuxName), post.PAuxSize)
		for _, name := range shape.FileNames() {
			sparse(t, filepath.Join(dir, name), shape.DefaultLayout().FileSize())
		}
		if report := attach(t, index, io.Discard, AttachConfig{Name: "c", Path: root, AllowSplitted: true}); report.Sectors != 1 {
			t.Errorf("%s: %+v", post.SizeName(size), report)
		}
		sparse(t, filepath.Join(root, "short"), 64)
		rename(t, filepath.Join(root, "short"), filepath.Join(dir, shape.FileNames()[0]))
		if report, err := tryAttach(t, OpenIndex(t.TempDir()), io.Discard, AttachConfig{Name: "c", Path: root, AllowSplitted: true, FixedSize: size}); !errors.Is(err, ErrNothing) {
			t.Errorf("%s with a short tree file: %+v, %v", post.SizeName(size), report, err)
		}
	}
}

func sparse(t *testing.T, path string, size int64) {
	t.Helper()
	touch(t, path, 0)
	if err := os.Truncate(path, size); err != nil {
		t.Fatal(err)
	}
}

// TestOddStores: links, spaces, Chinese characters, relative paths.
func TestOddStores(t *testing.T) {
	base := t.TempDir()
	root := filepath.Join(base, "扇区 存储 (1)")
	for n := uint64(1); n <= 6; n++ {
		copySector(t, root, n)
	}
	elsewhere := t.TempDir()
	link := func(name string) { // the file lies elsewhere, a link in its place
		rename(t, filepath.Join(root, name), filepath.Join(elsewhere, filepath.Base(name)))
		symlink(t, filepath.Join(elsewhere, filepath.Base(name)), filepath.Join(root, name))
	}
	link("sealed/s-t01008-1") // a replica
	link("cache/s-t01008-2")  // a folder
	loop := filepath.Join(root, "sealed/s-t01008-3")
	remove(t, loop)
	symlink(t, loop, loop)
	remove(t, filepath.Join(root, "sealed/s-t01008-4"))
	symlink(t, "nowhere", filepath.Join(root, "sealed/s-t01008-4"))
	remove(t, filepath.Join(root, "sealed/s-t01008-5"))
	if err := os.Mkdir(filepath.Join(root, "sealed/s-t01008-5"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(root, "cache/s-t01008-6")); err != nil {
		t.Fatal(err)
	}
	touch(t, filepath.Join(root, "cache/s-t01008-6"), 10) // a file in place of a folder
	whole := filepath.Join(base, "link to the store")
	symlink(t, root, whole)
	wanted := []Wanted{{Number: 1, SectorSize: size, CommR: commR(t, 1)}, {Number: 2, SectorSize: size, CommR: commR(t, 2)}}
	t.Chdir(base)
	for _, path := range []string{root, whole, "扇区 存储 (1)", "link to the store/"} {
		index, log := OpenIndex(t.TempDir()), &bytes.Buffer{}
		report := attach(t, index, log, AttachConfig{Path: path})
		if report.Sectors != 2 || report.Skipped != 4 {
			t.Errorf("%s: %+v\n%s", path, report, log)
		}
		for _, want := range []string{"too many levels of symbolic links", "no such file", "is not a file", "not a directory"} {
			if !strings.Contains(log.String(), want) {
				t.Errorf("%s: log lacks %q", path, want)
			}
		}
		record, err := index.Get(path)
		if err != nil || !filepath.IsAbs(record.Path) {
			t.Fatalf("%s: %+v, %v", path, record, err)
		}
		l, err := NewLocator(index, []Store{{Name: path, Path: record.Path}}, discard())
		if err != nil {
			t.Fatal(err)
		}
		c := NewChecker(l, NewGuard(GuardConfig{}))
		for _, got := range c.CheckRead(t.Context(), miner, wanted) {
			if got.Err != nil {
				t.Errorf("%s: %v", path, got.Err)
			}
		}
		if report, err := tryAttach(t, OpenIndex(t.TempDir()), log, AttachConfig{Path: path, Strict: true}); !errors.Is(err, ErrNothing) || report.Skipped != 6 {
			t.Errorf("%s, strict: %+v, %v", path, report, err)
		}
	}
}

func symlink(t *testing.T, target, name string) {
	t.Helper()
	if err := os.Symlink(target, name); err != nil {
		t.Fatal(err)
	}
}

// slowScan is a scan of 1000 sectors that takes about 32 seconds.
func slowScan(ctx context.Context, index *Index, log io.Writer) (AttachReport, error) {
	backend := &flawedStore{delay: time.Second}
	for n := range 1000 {
		backend.names = append(backend.names, ID{miner, uint64(n)}.String())
	}
	return Attach(ctx, AttachConfig{Name: "a", Path: os.TempDir(), Index: index, Guard: NewGuard(GuardConfig{Backend: backend}), Log: slog.New(slog.NewTextHandler(log, nil))})
}

// TestScanTellsProgress: a long scan says how far it is and how fast.
func TestScanTellsProgress(t *testing.T) {
	index := OpenIndex(t.TempDir())
	synctest.Test(t, func(t *testing.T) {
		log := &bytes.Buffer{}
		if _, err := slowScan(t.Context(), index, log); !errors.Is(err, ErrNothing) {
			t.Error(err)
		}
		if n := strings.Count(log.String(), "of 1000 sectors"); n < 4 || n > 8 {
			t.Errorf("%d lines of progress", n)
		}
	})
}

// TestScanInterrupted: an interrupted scan ends at once and keeps what was known
// and what it has seen.
func TestScanInterrupted(t *testing.T) {
	index := OpenIndex(t.TempDir())
	root := t.TempDir()
	for n := uint64(1); n <= 6; n++ {
		copySector(t, root, n)
	}
	attach(t, index, io.Discard, AttachConfig{Name: "a", Path: root, Pattern: "s-t01008-[12]"})
	why := errors.New("interrupted")
	ctx, cancel := context.WithCancelCause(t.Context())
	backend := &flawedStore{}
	guard := NewGuard(GuardConfig{Backend: backend, Parallel: 1})
	log := slog.New(slog.NewTextHandler(&onLine{"s-t01008-3 scanned", func() { cancel(why) }}, nil))
	_, err := Attach(ctx, AttachConfig{Name: "a", Path: root, Verbose: true, Force: true, Index: index, Guard: guard, Log: log})
	record, getErr := index.Get("a")
	if !errors.Is(err, why) || getErr != nil || !record.Replicas.Has(ID{miner, 3}) || !record.Replicas.Has(ID{miner, 1}) {
		t.Errorf("%v, %v, %+v", err, getErr, record)
	}
}

// onLine calls what when a text is written.
type onLine struct {
	text string
	what func()
}

func (o *onLine) Write(b []byte) (int, error) {
	if bytes.Contains(b, []byte(o.text)) {
		o.what()
	}
	return len(b), nil
}
