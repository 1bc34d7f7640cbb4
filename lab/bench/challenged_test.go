package bench

import (
	"io"
	"log/slog"
	"path/filepath"
	"testing"

	"wdpost/internal/prover"
	"wdpost/internal/sector"
	"wdpost/internal/sectorfile"
	"wdpost/proofs/post"
)

// TestChallenged reads sectors of which only what a proof opens is there, with
// all checks, in every tree shape; for other randomness they must not fit.
func TestChallenged(t *testing.T) {
	place := Place{Dir: t.TempDir()}
	for _, typ := range []post.ProofType{post.Window2KiBV1_1, post.Winning8MiB, post.Winning32GiB, post.Window32GiBV1_1, post.Window64GiBV1_1} {
		t.Run(typ.String(), func(t *testing.T) {
			n, randomness := 2, [32]byte{1, 2, 3}
			if typ.IsWinning() {
				n = 1
			}
			path, err := place.Challenged(t.Context(), typ, n, randomness)
			if err != nil {
				t.Fatal(err)
			}
			list, err := sectorfile.ReadList(path)
			if err != nil {
				t.Fatal(err)
			}
			engine, err := prover.New(prover.Config{
				Reader: sector.NewReader(sector.NewGuard(sector.GuardConfig{})), Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
			})
			if err != nil {
				t.Fatal(err)
			}
			defer engine.Close()
			read, err := engine.Read(t.Context(), questionOf(typ, list, path, randomness))
			if err != nil || len(read.Faults) > 0 || len(read.Task.Vanilla) != n {
				t.Fatalf("%+v, %v", read, err)
			}
			if typ.SectorSize() < 1<<30 {
				return // so small that other randomness may read the same
			}
			if read, err = engine.Read(t.Context(), questionOf(typ, list, path, [32]byte{9})); err != nil || len(read.Faults) != n {
				t.Errorf("other randomness: %+v, %v", read, err)
			}
			again := Place{Dir: t.TempDir()}
			second, err := again.Challenged(t.Context(), typ, n, randomness)
			if err != nil {
				t.Fatal(err)
			}
			if other, err := sectorfile.ReadList(second); err != nil || other.Sectors[0] != list.Sectors[0] {
				t.Errorf("made again in %s it is another sector: %v", filepath.Dir(second), err)
			}
		})
	}
}
