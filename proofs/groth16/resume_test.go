package groth16_test

import (
	"errors"
	"slices"
	"testing"

	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"

	"wdpost/proofs/groth16"
)

// resumed is a sink that claims to have the first points and keeps the others.
type resumed struct {
	there  uint64
	counts groth16.Counts
	g1     []bls.G1Affine
	g2     []bls.G2Affine
	ended  bool
}

func (s *resumed) Begin(_ *groth16.VerifyingKey, n groth16.Counts) error { s.counts = n; return nil }
func (s *resumed) Resume() uint64                                        { return s.there }
func (s *resumed) G1(points []bls.G1Affine) error                        { s.g1 = append(s.g1, points...); return nil }
func (s *resumed) G2(points []bls.G2Affine) error                        { s.g2 = append(s.g2, points...); return nil }
func (s *resumed) End() error                                            { s.ended = true; return nil }

// TestResume: whatever the number of points that are there, Setup makes exactly
// the others, and they are those of an uninterrupted setup. The large system
// has vectors of several pieces.
func TestResume(t *testing.T) {
	for _, blocks := range []int{1, 4, 22_000} {
		if blocks > 1000 && testing.Short() {
			continue
		}
		trapdoor, err := groth16.NewTrapdoor(nil)
		if err != nil {
			t.Fatal(err)
		}
		var whole resumed
		if err := groth16.Setup(toy{blocks}, trapdoor, &whole, groth16.SetupConfig{Workers: 2}); err != nil {
			t.Fatal(err)
		}
		total := whole.counts.Points()
		allG1 := uint64(len(whole.g1))
		step := uint64(1)
		if total > 1000 {
			step = 2*total/5 + 1 // within l and within b_g1
		}
		for there := step - 1; there <= total; there += step {
			part := resumed{there: there}
			var first, last uint64
			err := groth16.Setup(toy{blocks}, trapdoor, &part, groth16.SetupConfig{Workers: 2, Progress: func(done, _ uint64) {
				if first == 0 {
					first = done
				}
				last = done
			}})
			if err != nil {
				t.Fatalf("%d of %d points there: %v", there, total, err)
			}
			skipG1 := min(there, allG1)
			if !slices.Equal(part.g1, whole.g1[skipG1:]) || !slices.Equal(part.g2, whole.g2[there-skipG1:]) {
				t.Errorf("%d of %d points there: made %d and %d others, or wrong ones", there, total, len(part.g1), len(part.g2))
			}
			if !part.ended || first == 0 || last != total {
				t.Errorf("%d of %d points there: ended %t, progress from %d to %d", there, total, part.ended, first, last)
			}
		}
		if err := groth16.Setup(toy{blocks}, trapdoor, &resumed{there: total + 1}, groth16.SetupConfig{}); err == nil {
			t.Error("more points there than the key has")
		}
	}
}

// TestResumeSparesWork: a setup that is canceled at once can still take a key
// over that is whole.
func TestResumeSparesWork(t *testing.T) {
	trapdoor, err := groth16.NewTrapdoor(nil)
	if err != nil {
		t.Fatal(err)
	}
	counts, err := groth16.CountsOf(toy{3})
	if err != nil {
		t.Fatal(err)
	}
	for _, lacks := range []uint64{0, 1} {
		done := make(chan struct{})
		err = groth16.Setup(toy{3}, trapdoor, cancelingResume{&resumed{there: counts.Points() - lacks}, done}, groth16.SetupConfig{Done: done})
		if want := lacks > 0; errors.Is(err, groth16.ErrCanceled) != want || !want && err != nil {
			t.Errorf("%d points lack: %v", lacks, err)
		}
	}
}

// cancelingResume cancels when it is asked what it has.
type cancelingResume struct {
	*resumed
	done chan struct{}
}

func (s cancelingResume) Resume() uint64 {
	close(s.done)
	return s.resumed.Resume()
}
