package sector

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"wdpost/internal/condition"
	"wdpost/internal/task"
	"wdpost/proofs/merkle"
	"wdpost/proofs/post"
)

const (
	miner = 1008
	size  = 2048
)

func TestParseID(t *testing.T) {
	for name, want := range map[string]ID{"s-t01008-1": {1008, 1}, "s-t01-0": {1, 0}, "s-t018446744073709551-9": {18446744073709551, 9}} {
		if got, ok := ParseID(name); !ok || got != want || got.String() != name {
			t.Errorf("%q: %v, %v", name, got, ok)
		}
	}
	for _, name := range []string{"", "s-t01008", "s-t01008-", "s-t01008-01", "s-t01008-1.tmp", "s-f01008-1", "fetching", "s-t001-1", "s-t01008--1", "s-t01008-99999999999999999999"} {
		if got, ok := ParseID(name); ok {
			t.Errorf("%q taken for %v", name, got)
		}
	}
}

func FuzzParseID(f *testing.F) {
	f.Add("s-t01008-1")
	f.Add("s-t0-")
	f.Fuzz(func(t *testing.T, name string) {
		if id, ok := ParseID(name); ok && id.String() != name {
			t.Fatalf("%q is %v", name, id)
		}
	})
}

// TestAttachAndFind walks the guide's way: attach two stores, find sectors.
func TestAttachAndFind(t *testing.T) {
	index := OpenIndex(t.TempDir())
	one, two := t.TempDir(), t.TempDir()
	copySector(t, one, 1)
	copySector(t, one, 2)
	copySector(t, two, 2)
	copySector(t, two, 3)
	updated(t, two, 3)
	touch(t, filepath.Join(one, sealedDir, "not a sector"), 10)

	log := &bytes.Buffer{}
	report := attach(t, index, log, AttachConfig{Name: "storage1", Path: one + "/", Verbose: true})
	if report != (AttachReport{Sectors: 2, Now: 2}) {
		t.Errorf("report %+v", report)
	}
	if report := attach(t, index, log, AttachConfig{Name: "storage2", Path: two}); report != (AttachReport{Sectors: 2, Updated: 1, Now: 2}) {
		t.Errorf("report %+v", report)
	}
	for _, want := range []string{"sector s-t01008-1 scanned", "2 sectors out of 2 files have been found"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("log %s lacks %q", log, want)
		}
	}

	only := func(m uint64) func(uint64) string {
		return func(x uint64) string {
			if x == m {
				return ""
			}
			return "AllowMiners"
		}
	}
	l, err := NewLocator(index, []Store{{Name: "storage1", Path: one, LeavesOut: only(miner)}, {Name: "storage2", Path: two + "/"}}, discard())
	if err != nil {
		t.Fatal(err)
	}
	find := func(number uint64, updated bool) string {
		var names []string
		for _, at := range l.Find(ID{miner, number}, updated) {
			names = append(names, at.ReplicaStore+"/"+at.CacheStore)
		}
		return strings.Join(names, " ")
	}
	for number, want := range map[uint64]string{
		1: "storage1/storage1",
		2: "storage1/storage1 storage2/storage2 storage1/storage2 storage2/storage1",
		3: "storage2/storage2",
		4: "",
	} {
		if got := find(number, false); got != want {
			t.Errorf("sector %d: %q, want %q", number, got, want)
		}
	}
	if got := find(3, true); got != "storage2/storage2" {
		t.Errorf("updated sector 3: %q", got)
	}
	if got := l.Find(ID{7, 1}, false); got != nil {
		t.Errorf("sector of another miner: %v", got)
	}
	at := l.Find(ID{miner, 3}, true)[0]
	if at.SealedFile != filepath.Join(two, "update", "s-t01008-3") || at.CacheDir != filepath.Join(two, "update-cache", "s-t01008-3") {
		t.Errorf("location %+v", at)
	}

	// Attaching again while the locator runs shows.
	copySector(t, one, 5)
	attach(t, index, io.Discard, AttachConfig{Name: "storage1", Path: one})
	l.looked = time.Time{}
	if got := find(5, false); got != "storage1/storage1" {
		t.Errorf("new sector 5: %q", got)
	}
}

func TestAttachLeavesOut(t *testing.T) {
	index := OpenIndex(t.TempDir())
	store := t.TempDir()
	for n := uint64(1); n <= 5; n++ {
		copySector(t, store, n)
	}
	remove(t, filepath.Join(store, cacheDir, "s-t01008-2", "p_aux"))
	remove(t, filepath.Join(store, cacheDir, "s-t01008-3", "sc-02-data-tree-r-last.dat"))
	touch(t, filepath.Join(store, sealedDir, "s-t01008-4"), 2047)
	elsewhere := filepath.Join(t.TempDir(), "file")
	touch(t, elsewhere, size)
	remove(t, filepath.Join(store, sealedDir, "s-t01008-5"))
	if err := os.Symlink(elsewhere, filepath.Join(store, sealedDir, "s-t01008-5")); err != nil {
		t.Fatal(err)
	}
	remove(t, filepath.Join(store, cacheDir, "s-t01008-1", "t_aux")) // not needed

	log := &bytes.Buffer{}
	report := attach(t, index, log, AttachConfig{Name: "a", Path: store, Strict: true})
	if report != (AttachReport{Sectors: 1, Skipped: 4, Now: 1}) {
		t.Errorf("report %+v\n%s", report, log)
	}
	for _, want := range []string{"s-t01008-2/p_aux", "s-t01008-3/sc-02", "2047 bytes, which is no size", "link out of the store"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("log lacks %q:\n%s", want, log)
		}
	}
	// The word of the chain or of the operator on the size counts.
	for text, cfg := range map[string]AttachConfig{
		"the miner's sectors have 8388608": {SectorSize: func(context.Context, uint64) (uint64, error) { return 8 << 20, nil }},
		"sectors have 8388608":             {FixedSize: 8 << 20},
		"no such miner":                    {SectorSize: func(context.Context, uint64) (uint64, error) { return 0, errors.New("no such miner") }},
	} {
		log.Reset()
		cfg.Name, cfg.Path = "b", store
		report, err := tryAttach(t, index, log, cfg)
		if !errors.Is(err, ErrNothing) || report.Sectors != 0 || report.Skipped != 5 || !strings.Contains(log.String(), text) {
			t.Errorf("%v, report %+v\n%s", err, report, log)
		}
	}
}

// TestAttachPattern: a pattern adds to and removes from what it selects only.
func TestAttachPattern(t *testing.T) {
	index := OpenIndex(t.TempDir())
	store := t.TempDir()
	for n := uint64(1); n <= 3; n++ {
		copySector(t, store, n)
	}
	attach(t, index, io.Discard, AttachConfig{Name: "a", Path: store})
	for _, n := range []string{"s-t01008-1", "s-t01008-2"} {
		remove(t, filepath.Join(store, sealedDir, n))
	}
	attach(t, index, io.Discard, AttachConfig{Name: "a", Path: store, Pattern: "s-t01008-1", Force: true})
	r, err := index.Get("a")
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(r.Replicas[miner]); got != "[2 3]" {
		t.Errorf("replicas %s", got)
	}
	_, err = Attach(t.Context(), AttachConfig{Path: store, Pattern: "[", Index: index, Guard: NewGuard(GuardConfig{}), Log: discard()})
	if err == nil || !strings.Contains(err.Error(), "malformed") {
		t.Errorf("got %v", err)
	}
}

// TestAttachSplit: replicas in one store, caches in another.
func TestAttachSplit(t *testing.T) {
	index := OpenIndex(t.TempDir())
	whole, replicas, caches := t.TempDir(), t.TempDir(), t.TempDir()
	copySector(t, whole, 1)
	rename(t, filepath.Join(whole, sealedDir), filepath.Join(replicas, sealedDir))
	rename(t, filepath.Join(whole, cacheDir), filepath.Join(caches, cacheDir))
	if got, err := tryAttach(t, index, io.Discard, AttachConfig{Name: "r", Path: replicas}); got.Sectors != 0 || !errors.Is(err, ErrNothing) {
		t.Errorf("half a sector taken for whole: %+v, %v", got, err)
	}
	log := &bytes.Buffer{}
	if got, err := tryAttach(t, index, log, AttachConfig{Name: "c", Path: caches}); got.Skipped != 1 || !errors.Is(err, ErrNothing) || !strings.Contains(log.String(), "a cache without its replica") {
		t.Errorf("%+v, %v\n%s", got, err, log)
	}
	if got := attach(t, index, log, AttachConfig{Name: "r", Path: replicas, AllowSplitted: true}); got.Halves != 1 || !strings.Contains(log.String(), "its cache in no attached store") {
		t.Errorf("%+v\n%s", got, log)
	}
	lonely, err := NewLocator(index, []Store{{Name: "r", Path: replicas}}, discard())
	if err != nil {
		t.Fatal(err)
	}
	if got := NewChecker(lonely, NewGuard(GuardConfig{})).Check(t.Context(), miner, []Wanted{{Number: 1, SectorSize: size}}, false)[0]; !errors.Is(got.Err, ErrNotFound) || !strings.Contains(got.Err.Error(), `only its replica is known, in store "r"`) {
		t.Errorf("got %v", got.Err)
	}
	if got := attach(t, index, io.Discard, AttachConfig{Name: "c", Path: caches, AllowSplitted: true}); got.Halves != 0 {
		t.Errorf("%+v", got)
	}
	l, err := NewLocator(index, []Store{{Name: "r", Path: replicas}, {Name: "c", Path: caches}}, discard())
	if err != nil {
		t.Fatal(err)
	}
	c := NewChecker(l, NewGuard(GuardConfig{}))
	got := c.Check(t.Context(), miner, []Wanted{{Number: 1, SectorSize: size, CommR: commR(t, 1)}}, true)
	if got[0].Err != nil || got[0].ReplicaStore != "r" || got[0].CacheStore != "c" {
		t.Errorf("got %+v", got[0])
	}
}

func TestStoreComplaints(t *testing.T) {
	index := OpenIndex(t.TempDir())
	store := t.TempDir()
	copySector(t, store, 1)
	attach(t, index, io.Discard, AttachConfig{Name: "storage1", Path: store})
	tests := []struct {
		name   string
		stores []Store
		want   []string
	}{
		{"other path", []Store{{Name: "storage1", Path: "/elsewhere"}}, []string{`store "storage1" is configured with the path /elsewhere but was attached with ` + store, "attach --verbose --name=storage1 /elsewhere"}},
		{"other name", []Store{{Name: "storage9", Path: store}}, []string{`store "storage9" at ` + store + ` was attached under the name "storage1"`, "correct Name"}},
		{"never attached", []Store{{Name: "new", Path: "/new"}}, []string{`store "new" at /new has not been attached`, "util storage attach"}},
		{"twice", []Store{{Name: "storage1", Path: store}, {Name: "storage1", Path: store}}, []string{`two stores have the name "storage1"`}},
		{"several at once", []Store{{Name: "x", Path: "/x"}, {Name: "y", Path: "/y"}}, []string{`store "x"`, `store "y"`}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := NewLocator(index, tt.stores, discard())
			for _, want := range tt.want {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("got %v, want %q", err, want)
				}
			}
		})
	}
	file := filepath.Join(t.TempDir(), "file")
	touch(t, file, 1)
	for path, want := range map[string]string{file: "is not a directory", "/does/not/exist": "does not exist"} {
		_, err := Attach(t.Context(), AttachConfig{Path: path, Index: index, Guard: NewGuard(GuardConfig{}), Log: discard()})
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// TestFieldF18DamagedRecord: the damaged record of one store stops neither the
// others nor the start, and a watch makes it anew.
func TestFieldF18DamagedRecord(t *testing.T) {
	index := OpenIndex(t.TempDir())
	one, two := t.TempDir(), t.TempDir()
	copySector(t, one, 1)
	copySector(t, two, 2)
	attach(t, index, io.Discard, AttachConfig{Name: "/weird/../name", Path: one})
	attach(t, index, io.Discard, AttachConfig{Name: "two", Path: two})
	file, err := index.file("/weird/../name")
	if err != nil {
		t.Fatal(err)
	}
	touch(t, file, 10)
	if _, err := index.Get("/weird/../name"); err == nil || !strings.Contains(err.Error(), "attach the store again") {
		t.Errorf("got %v", err)
	}
	stores := []Store{{Name: "/weird/../name", Path: one}, {Name: "two", Path: two}}
	l, err := NewLocator(index, stores, discard())
	if err != nil {
		t.Fatal(err)
	}
	guard := NewGuard(GuardConfig{})
	c := NewChecker(l, guard)
	wanted := []Wanted{{Number: 1, SectorSize: size}, {Number: 2, SectorSize: size}}
	got := c.Check(t.Context(), miner, wanted, false)
	if got[1].Err != nil || !errors.Is(got[0].Err, ErrNotFound) || !strings.Contains(got[0].Err.Error(), "is damaged") {
		t.Errorf("got %v, %v", got[0].Err, got[1].Err)
	}
	board := condition.NewBoard()
	w := NewWatch(WatchConfig{Stores: stores, Index: index, Guard: guard, Board: board, Log: discard()})
	w.scanDue(t.Context())
	w.scans.Wait()
	l.looked = time.Time{}
	if got := c.Check(t.Context(), miner, wanted, false); got[0].Err != nil {
		t.Errorf("after the scan: %v", got[0].Err)
	}
	if standing := board.List(); len(standing) != 0 {
		t.Errorf("conditions %+v", standing)
	}
	if _, err := index.Get("unknown"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	for _, name := range []string{"", strings.Repeat("x", 300), "..", ".hidden"} {
		if err := index.Put(newRecord(name, "/x")); err == nil {
			t.Errorf("the name %q was taken", name)
		}
	}
}

func TestCheck(t *testing.T) {
	index := OpenIndex(t.TempDir())
	one, two := t.TempDir(), t.TempDir()
	for n := uint64(1); n <= 6; n++ {
		copySector(t, one, n)
	}
	copySector(t, two, 2)
	attach(t, index, io.Discard, AttachConfig{Name: "one", Path: one})
	attach(t, index, io.Discard, AttachConfig{Name: "two", Path: two})
	l, err := NewLocator(index, []Store{{Name: "one", Path: one}, {Name: "two", Path: two}}, discard())
	if err != nil {
		t.Fatal(err)
	}
	remove(t, filepath.Join(one, sealedDir, "s-t01008-2")) // there is a copy in two
	remove(t, filepath.Join(one, cacheDir, "s-t01008-3", "p_aux"))
	remove(t, filepath.Join(one, cacheDir, "s-t01008-4", "t_aux"))
	touch(t, filepath.Join(one, sealedDir, "s-t01008-5"), 100)
	copyFile(t, golden("cache/s-t01008-1/p_aux"), filepath.Join(one, cacheDir, "s-t01008-6", "p_aux"))

	c := NewChecker(l, NewGuard(GuardConfig{}))
	var wanted []Wanted
	for n := uint64(1); n <= 7; n++ {
		wanted = append(wanted, Wanted{Number: n, SectorSize: size, CommR: commR(t, n)})
	}
	wanted[0].CommR = commR(t, 2)
	expect := func(strict bool, bad map[uint64]string) {
		t.Helper()
		for _, got := range c.Check(t.Context(), miner, wanted, strict) {
			want, isBad := bad[got.Wanted.Number]
			if isBad != (got.Err != nil) || isBad && !strings.Contains(got.Err.Error(), want) {
				t.Errorf("strict %v, sector %d: %v, want %q", strict, got.Wanted.Number, got.Err, want)
			}
		}
	}
	expect(false, map[uint64]string{3: "s-t01008-3/p_aux", 5: "has 100 bytes", 7: "not in any attached store"})
	expect(true, map[uint64]string{
		1: "files belong to another replica", 3: "s-t01008-3/p_aux", 5: "too short",
		6: "p_aux", 7: "not in any attached store",
	})
	if got := c.Check(t.Context(), miner, wanted[1:2], false)[0]; got.ReplicaStore != "two" {
		t.Errorf("the healthy copy was not taken: %+v", got)
	}
}

func TestCheckEndsWithContext(t *testing.T) {
	index := OpenIndex(t.TempDir())
	store := t.TempDir()
	copySector(t, store, 1)
	attach(t, index, io.Discard, AttachConfig{Name: "a", Path: store})
	l, err := NewLocator(index, []Store{{Name: "a", Path: store}}, discard())
	if err != nil {
		t.Fatal(err)
	}
	guard := NewGuard(GuardConfig{})
	release := make(chan struct{})
	defer close(release)
	go access(t.Context(), guard, store, file(store, 1), hang(release))
	for health(guard, store).InFlight == 0 {
		time.Sleep(time.Millisecond)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("window closed")
	cancel(why)
	got := NewChecker(l, guard).Check(ctx, miner, []Wanted{{Number: 1, SectorSize: size}}, false)
	if !errors.Is(got[0].Err, why) {
		t.Errorf("got %v", got[0].Err)
	}
}

// TestReadVanilla reads a golden sector and holds the proof to its commitment.
func TestReadVanilla(t *testing.T) {
	store := t.TempDir()
	copySector(t, store, 1)
	replica := task.Replica{
		SectorID: 1, CommR: commR(t, 1),
		CacheDir: filepath.Join(store, cacheDir, "s-t01008-1"), SealedFile: filepath.Join(store, sealedDir, "s-t01008-1"),
	}
	r := NewReader(NewGuard(GuardConfig{}))
	challenges := []uint64{0, 5, 63}
	v, err := r.ReadVanilla(t.Context(), size, replica, challenges)
	if err != nil {
		t.Fatal(err)
	}
	shape, err := merkle.ShapeOf(size)
	if err != nil {
		t.Fatal(err)
	}
	if err := v.Verify(merkle.NewHasher(), shape, challenges); err != nil {
		t.Error(err)
	}
	replica.CommR = commR(t, 2)
	if _, err := r.ReadVanilla(t.Context(), size, replica, challenges); !errors.Is(err, post.ErrOtherSector) {
		t.Errorf("got %v", err)
	}
	replica.SealedFile += "9"
	if _, err := r.ReadVanilla(t.Context(), size, replica, challenges); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "s-t01008-19") {
		t.Errorf("got %v", err)
	}
}
