package groth16

import (
	"slices"
	"testing"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr/fft"
	"github.com/consensys/gnark-crypto/utils"

	"wdpost/proofs/kernel"
)

// TestTransform compares with gnark-crypto's FFT, for cuts with no, one and
// several column levels, wide and narrow.
func TestTransform(t *testing.T) {
	for _, cut := range []struct{ log, leaf, level int }{
		{1, leafLog, levelLog}, {4, leafLog, levelLog}, {leafLog, leafLog, levelLog}, {leafLog + 2, leafLog, levelLog},
		{10, 7, 3}, {12, 4, 3}, {13, 6, 7}, {12, 2, 2}, {11, 1, 1},
	} {
		m := 1 << cut.log
		g, err := fft.Generator(uint64(2 * m))
		if err != nil {
			t.Fatal(err)
		}
		domain := fft.NewDomain(uint64(m), fft.WithShift(g))
		values := make([]fr.Element, m)
		for i := range values {
			values[i] = fr.NewElement(uint64(i*i + 7))
			values[i].Square(&values[i])
		}
		plan, p := newCutTransform(m, cut.leaf, cut.level), newPool(2, nil, kernel.Auto)
		check := func(name string, got, want []fr.Element) {
			t.Helper()
			if !slices.Equal(got, want) {
				t.Errorf("%+v: %s differs", cut, name)
			}
		}

		got, want := slices.Clone(values), slices.Clone(values)
		if err := plan.interpolate(p, got); err != nil {
			t.Fatal(err)
		}
		domain.FFTInverse(want, fft.DIF)
		check("interpolate", got, want)
		if err := plan.permute(p, got); err != nil {
			t.Fatal(err)
		}
		utils.BitReverse(want)
		check("permute", got, want)

		got, want = slices.Clone(values), slices.Clone(values)
		if err := plan.toCoset(p, got); err != nil {
			t.Fatal(err)
		}
		domain.FFTInverse(want, fft.DIF)
		domain.FFT(want, fft.DIT, fft.OnCoset())
		check("toCoset", got, want)

		got, want = slices.Clone(values), slices.Clone(values)
		if err := plan.fromCoset(p, got); err != nil {
			t.Fatal(err)
		}
		domain.FFTInverse(want, fft.DIF, fft.OnCoset())
		check("fromCoset", got, want)
	}
}

func BenchmarkToCoset(b *testing.B) {
	const m = 1 << 19
	plan, a := newTransform(m), make([]fr.Element, m)
	for i := range a {
		a[i].MustSetRandom()
	}
	b.Run("ours", func(b *testing.B) {
		for b.Loop() {
			if err := plan.toCoset(newPool(1, nil, kernel.Auto), a); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("gnark-crypto", func(b *testing.B) {
		domain := fft.NewDomain(m)
		for b.Loop() {
			domain.FFTInverse(a, fft.DIF, fft.WithNbTasks(1))
			domain.FFT(a, fft.DIT, fft.OnCoset(), fft.WithNbTasks(1))
		}
	})
}
