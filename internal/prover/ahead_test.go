package prover

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestAhead: any part of a mapping may be asked for, whatever its alignment.
func TestAhead(t *testing.T) {
	size := 3*os.Getpagesize() + 100
	path := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(path, make([]byte, size), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	mapped, err := unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Munmap(mapped) }()
	key := &ProvingKey{raw: &RawFile{Path: path, mapped: mapped}}
	for _, part := range [][2]int{{0, 0}, {0, 1}, {0, size}, {size - 1, size}, {size, size}, {os.Getpagesize() - 1, os.Getpagesize() + 1}, {777, size - 1}} {
		key.Ahead(mapped[part[0]:part[1]])
		if err := key.raw.ahead(mapped[part[0]:part[1]]); err != nil {
			t.Errorf("bytes %d…%d: %v", part[0], part[1], err)
		}
	}
	(&ProvingKey{}).Ahead(mapped) // of no file
}
