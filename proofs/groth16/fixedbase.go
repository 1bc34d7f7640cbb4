package groth16

import (
	"math/bits"

	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
)

// Fixed-base multiplication: a table of the multiples j·2^(w·k)·G, j = 1…2^(w−1),
// of every w-bit window k of a scalar. A scalar with signed digits d_k costs one
// affine addition of ±table[k][|d_k|] a window, and the additions of a batch of
// scalars share one field inversion (fixedBatch). About 4 µs a point of G1.

// fixedBatch is how many scalars share an inversion: enough to make its cost
// vanish, few enough that the accumulators stay in the L2 cache.
const fixedBatch = 1024

// fixedWindow chooses the digit width for n multiples: wide tables pay off only
// for many points.
func fixedWindow(n uint64) int {
	return min(max(bits.Len64(n)-4, 4), 16)
}

// signedDigits writes the digits of x in base 2^w, least significant first,
// each in −2^(w−1)…2^(w−1)−1; out has ⌈256/w⌉ elements, which is enough since
// r < 2^255.
func signedDigits(x *fr.Element, w int, out []int32) {
	words := x.Bits()
	half, full := int32(1)<<(w-1), int32(1)<<w
	carry := int32(0)
	for k := range out {
		at := k * w
		word, shift := at/64, at%64
		v := words[word] >> shift
		if shift+w > 64 && word+1 < len(words) {
			v |= words[word+1] << (64 - shift)
		}
		d := int32(v&uint64(full-1)) + carry
		carry = 0
		if d >= half {
			d, carry = d-full, 1
		}
		out[k] = d
	}
}

// g1Table holds the multiples of the G1 generator.
type g1Table struct {
	window int
	rows   [][]bls.G1Affine // rows[k][j−1] = j·2^(w·k)·G
}

// newG1Table sizes the table for n multiples and fills it.
func newG1Table(n uint64, p pool) *g1Table {
	_, _, base, _ := bls.Generators()
	t := &g1Table{window: fixedWindow(n)}
	t.rows = make([][]bls.G1Affine, (256+t.window-1)/t.window)
	for k := range t.rows {
		t.rows[k] = make([]bls.G1Affine, 1<<(t.window-1))
		t.rows[k][0] = base
		for range t.window {
			base.Double(&base)
		}
	}
	uncanceled := newPool(p.workers, nil)
	_ = uncanceled.run(len(t.rows), func(_, k int) error {
		fillG1Row(t.rows[k])
		return nil
	})
	return t
}

// fillG1Row completes a row from its first point: with the multiples up to 2^k
// known, the next 2^k are 2^k·G + i·G.
func fillG1Row(row []bls.G1Affine) {
	var batch g1Batch
	batch.grow(len(row) / 2)
	for n := 1; n < len(row); n *= 2 {
		copy(row[n:2*n], row[:n])
		row[2*n-1].Double(&row[n-1])
		for i := range n - 1 {
			batch.add(&row[n+i], &row[n-1], false)
		}
		batch.flush()
	}
}

// multiples writes scalars[i]·G to out.
func (t *g1Table) multiples(p pool, out []bls.G1Affine, scalars []fr.Element) error {
	batches := make([]g1Batch, p.workers)
	digits := make([][]int32, p.workers)
	return p.run((len(out)+fixedBatch-1)/fixedBatch, func(worker, i int) error {
		if digits[worker] == nil {
			batches[worker].grow(fixedBatch)
			digits[worker] = make([]int32, fixedBatch*len(t.rows))
		}
		from, to := i*fixedBatch, min((i+1)*fixedBatch, len(out))
		t.batch(out[from:to], scalars[from:to], digits[worker], &batches[worker])
		return nil
	})
}

// batch is multiples for at most fixedBatch scalars on one goroutine.
func (t *g1Table) batch(out []bls.G1Affine, scalars []fr.Element, digits []int32, batch *g1Batch) {
	n := len(t.rows)
	for i := range scalars {
		signedDigits(&scalars[i], t.window, digits[i*n:(i+1)*n])
		out[i].SetInfinity()
	}
	for k, row := range t.rows {
		for i := range out {
			switch d := digits[i*n+k]; {
			case d > 0:
				batch.add(&out[i], &row[d-1], false)
			case d < 0:
				batch.add(&out[i], &row[-d-1], true)
			}
		}
		batch.flush()
	}
}

// g2Table holds the multiples of the G2 generator.
type g2Table struct {
	window int
	rows   [][]bls.G2Affine
}

// newG2Table sizes the table for n multiples and fills it.
func newG2Table(n uint64, p pool) *g2Table {
	_, _, _, base := bls.Generators()
	t := &g2Table{window: fixedWindow(n)}
	t.rows = make([][]bls.G2Affine, (256+t.window-1)/t.window)
	for k := range t.rows {
		t.rows[k] = make([]bls.G2Affine, 1<<(t.window-1))
		t.rows[k][0] = base
		for range t.window {
			base.Double(&base)
		}
	}
	uncanceled := newPool(p.workers, nil)
	_ = uncanceled.run(len(t.rows), func(_, k int) error {
		fillG2Row(t.rows[k])
		return nil
	})
	return t
}

// fillG2Row is fillG1Row over G2.
func fillG2Row(row []bls.G2Affine) {
	var batch g2Batch
	batch.grow(len(row) / 2)
	for n := 1; n < len(row); n *= 2 {
		copy(row[n:2*n], row[:n])
		row[2*n-1].Double(&row[n-1])
		for i := range n - 1 {
			batch.add(&row[n+i], &row[n-1], false)
		}
		batch.flush()
	}
}

// multiples writes scalars[i]·G to out.
func (t *g2Table) multiples(p pool, out []bls.G2Affine, scalars []fr.Element) error {
	batches := make([]g2Batch, p.workers)
	digits := make([][]int32, p.workers)
	return p.run((len(out)+fixedBatch-1)/fixedBatch, func(worker, i int) error {
		if digits[worker] == nil {
			batches[worker].grow(fixedBatch)
			digits[worker] = make([]int32, fixedBatch*len(t.rows))
		}
		from, to := i*fixedBatch, min((i+1)*fixedBatch, len(out))
		t.batch(out[from:to], scalars[from:to], digits[worker], &batches[worker])
		return nil
	})
}

// batch is multiples for at most fixedBatch scalars on one goroutine.
func (t *g2Table) batch(out []bls.G2Affine, scalars []fr.Element, digits []int32, batch *g2Batch) {
	n := len(t.rows)
	for i := range scalars {
		signedDigits(&scalars[i], t.window, digits[i*n:(i+1)*n])
		out[i].SetInfinity()
	}
	for k, row := range t.rows {
		for i := range out {
			switch d := digits[i*n+k]; {
			case d > 0:
				batch.add(&out[i], &row[d-1], false)
			case d < 0:
				batch.add(&out[i], &row[-d-1], true)
			}
		}
		batch.flush()
	}
}
