package sector

import (
	"errors"
	"io"
	"path/filepath"
	"strings"
	"testing"
)

// twoCopies is a checker over two stores with the same sector 2, the first copy
// of which has a tree of zeros at its right size.
func twoCopies(t *testing.T) (c *Checker, first string) {
	index := OpenIndex(t.TempDir())
	one, two := t.TempDir(), t.TempDir()
	copySector(t, one, 2)
	copySector(t, two, 2)
	tree := filepath.Join(one, cacheDir, "s-t01008-2", "sc-02-data-tree-r-last.dat")
	touch(t, tree, 64)
	copyFile(t, golden("cache/s-t01008-1/sc-02-data-tree-r-last.dat"), tree)
	attach(t, index, io.Discard, AttachConfig{Name: "one", Path: one})
	attach(t, index, io.Discard, AttachConfig{Name: "two", Path: two})
	l, err := NewLocator(index, []Store{{Name: "one", Path: one}, {Name: "two", Path: two}}, discard())
	if err != nil {
		t.Fatal(err)
	}
	return NewChecker(l, NewGuard(GuardConfig{})), one
}

// TestStorageF23FieldF6AllCopiesUntilProven: all copies of a sector are told, and
// one that could not be read where it was needed comes last and is believed again
// only when it was read.
func TestStorageF23FieldF6AllCopiesUntilProven(t *testing.T) {
	c, one := twoCopies(t)
	wanted := []Wanted{{Number: 2, SectorSize: size, CommR: commR(t, 2)}}
	got := c.Check(t.Context(), miner, wanted, false)[0]
	if got.Err != nil || got.ReplicaStore != "one" || len(got.Others) == 0 || got.Others[0].ReplicaStore != "two" || got.Others[0].CacheStore != "two" {
		t.Fatalf("%+v", got)
	}
	if all, err := c.Candidates(miner, 2, false); err != nil || len(all) != 4 || all[0].CacheStore != "one" || all[1].CacheStore != "two" {
		t.Errorf("candidates %+v", all)
	}
	c.Doubt(miner, 2, got.SealedFile, nil, errors.New("a slave could not read it"))
	for range 3 {
		if got = c.Check(t.Context(), miner, wanted, false)[0]; got.Err != nil || got.CacheStore != "two" {
			t.Fatalf("%+v", got)
		}
	}
	if all, err := c.Candidates(miner, 2, false); err != nil || all[0].ReplicaStore != "two" {
		t.Errorf("candidates %+v", all)
	}
	// The damaged copy is mended: a check by reading finds it, and the doubt ends.
	copySector(t, one, 2)
	all, err := c.Candidates(miner, 2, false)
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range all {
		if err := c.checkOne(t.Context(), at, wanted[0], true); err != nil {
			t.Errorf("%+v: %v", at, err)
		}
	}
	if got = c.Check(t.Context(), miner, wanted, false)[0]; got.ReplicaStore != "one" {
		t.Errorf("%+v", got)
	}
}

// TestStorageF12FieldF10ReadBeforePromised: a sector that was named unreadable
// does not pass a check by looking, whatever the setting.
func TestStorageF12FieldF10ReadBeforePromised(t *testing.T) {
	c, one := twoCopies(t)
	wanted := []Wanted{{Number: 2, SectorSize: size, CommR: commR(t, 2)}}
	l := c.locator
	l.stores = l.stores[:1] // the damaged copy is the only one
	if got := c.Check(t.Context(), miner, wanted, false)[0]; got.Err != nil {
		t.Fatal(got.Err)
	}
	if got := c.CheckRead(t.Context(), miner, wanted)[0]; got.Err == nil {
		t.Error("a check by reading passed")
	}
	c.Doubt(miner, 2, filepath.Join(one, sealedDir, "s-t01008-2"), []uint64{1, 2, 3}, errors.New("a slave could not read it"))
	for range 3 {
		if got := c.Check(t.Context(), miner, wanted, false)[0]; got.Err == nil {
			t.Error("a doubted copy passed by its looks")
		}
	}
	copySector(t, one, 2)
	for range 2 {
		if got := c.Check(t.Context(), miner, wanted, false)[0]; got.Err != nil {
			t.Error(got.Err)
		}
	}
	if len(c.doubts) != 0 {
		t.Errorf("doubts left: %v", c.doubts)
	}
}

// TestFieldF4ReasonOfTheList: a sector in a store whose lists leave its miner out
// is said to be there.
func TestFieldF4ReasonOfTheList(t *testing.T) {
	index, root := OpenIndex(t.TempDir()), t.TempDir()
	copySector(t, root, 1)
	attach(t, index, io.Discard, AttachConfig{Name: "a", Path: root})
	l, err := NewLocator(index, []Store{{Name: "a", Path: root, LeavesOut: func(uint64) string { return "AllowMiners" }}}, discard())
	if err != nil {
		t.Fatal(err)
	}
	got := NewChecker(l, NewGuard(GuardConfig{})).Check(t.Context(), miner, []Wanted{{Number: 1, SectorSize: size}, {Number: 9, SectorSize: size}}, false)
	if err := got[0].Err; !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), `in store "a", whose AllowMiners leaves miner 1008 out`) {
		t.Errorf("got %v", err)
	}
	if err := got[1].Err; !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), "not in any attached store") {
		t.Errorf("got %v", err)
	}
}
