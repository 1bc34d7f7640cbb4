package sector

import (
	"errors"
	"syscall"
	"testing"

	"wdpost/proofs/merkle"
)

// badBlock is a file of zeros of which one byte cannot be read.
type badBlock struct{ size, bad int64 }

func (f badBlock) Size() int64 { return f.size }

func (f badBlock) ReadAt(b []byte, at int64) (int, error) {
	if at <= f.bad && f.bad < at+int64(len(b)) {
		return 0, syscall.EIO
	}
	clear(b)
	return len(b), nil
}

// TestReadDamageBesideThePath: a block of a tree file that cannot be read costs
// a sector only where a challenge needs it, although more is read at once.
func TestReadDamageBesideThePath(t *testing.T) {
	shape, err := merkle.ShapeOf(32 << 30)
	if err != nil {
		t.Fatal(err)
	}
	layout, challenges := shape.DefaultLayout(), []uint64{0}
	top := layout.Tops(challenges)[0]
	var inTop []merkle.Read
	for _, read := range layout.Plan(0) {
		if read.File == 0 && read.Offset >= top.Offset {
			inTop = append(inTop, read)
		}
	}
	if len(inTop) != 4 {
		t.Fatalf("%d rows of the path lie in the top, want 4", len(inTop))
	}
	end := layout.FileSize()
	for _, tt := range []struct {
		name       string
		bad        int64
		opens      bool
		unreadable int // groups of the path
	}{
		{"no damage", -1, true, 0},
		{"beside the path", inTop[0].Offset + 4096, true, 0},
		{"on the path", inTop[1].Offset, true, 1},
		{"the root", end - 1, false, 0},
	} {
		file, err := newToppedFile(shape, 0, badBlock{end, tt.bad}, challenges)
		if (err == nil) != tt.opens {
			t.Errorf("%s: %v", tt.name, err)
		}
		if !tt.opens {
			if fault := (*merkle.FileError)(nil); !errors.As(err, &fault) || !errors.Is(err, syscall.EIO) {
				t.Errorf("%s: %v, want a FileError of the disk's error", tt.name, err)
			}
			continue
		}
		unreadable := 0
		for _, read := range inTop {
			if _, err := file.ReadAt(make([]byte, read.Length), read.Offset); err != nil {
				unreadable++
			}
		}
		if unreadable != tt.unreadable {
			t.Errorf("%s: %d groups of the path cannot be read, want %d", tt.name, unreadable, tt.unreadable)
		}
	}
}
