package poseidon

import "github.com/consensys/gnark-crypto/ecc/bls12-381/fr"

// matrix is a square matrix, row-major. Vectors are row vectors throughout:
// (v·m)[j] = Σ_i v[i]·m[i][j].
type matrix [][]fr.Element

func newMatrix(n int) matrix {
	m := make(matrix, n)
	for i := range m {
		m[i] = make([]fr.Element, n)
	}
	return m
}

// cauchy returns the MDS matrix M[i][j] = 1/(i + t + j). Spec 3.2.
func cauchy(t int) matrix {
	m := newMatrix(t)
	for i := range t {
		for j := range t {
			m[i][j].SetUint64(uint64(i + t + j))
			m[i][j].Inverse(&m[i][j])
		}
	}
	return m
}

// clone returns a deep copy.
func (m matrix) clone() matrix {
	c := make(matrix, len(m))
	for i := range m {
		c[i] = append([]fr.Element(nil), m[i]...)
	}
	return c
}

// mul returns m·n.
func (m matrix) mul(n matrix) matrix {
	out := newMatrix(len(m))
	for i := range m {
		copy(out[i], n.apply(m[i]))
	}
	return out
}

// apply returns the row vector v·m.
func (m matrix) apply(v []fr.Element) []fr.Element {
	out := make([]fr.Element, len(m))
	var term fr.Element
	for i := range m {
		for j := range m {
			term.Mul(&v[i], &m[i][j])
			out[j].Add(&out[j], &term)
		}
	}
	return out
}

// minor returns m without row 0 and column 0.
func (m matrix) minor() matrix {
	out := make(matrix, len(m)-1)
	for i := range out {
		out[i] = append([]fr.Element(nil), m[i+1][1:]...)
	}
	return out
}

// inverse returns m⁻¹ by Gauss–Jordan elimination. m must be regular, as every
// square submatrix of an MDS matrix is.
func (m matrix) inverse() matrix {
	n := len(m)
	a, inv := m.clone(), newMatrix(n)
	for i := range n {
		inv[i][i].SetOne()
	}
	var scale, term fr.Element
	for col := range n {
		pivot := col
		for a[pivot][col].IsZero() {
			pivot++
		}
		a[col], a[pivot] = a[pivot], a[col]
		inv[col], inv[pivot] = inv[pivot], inv[col]
		scale.Inverse(&a[col][col])
		for j := range n {
			a[col][j].Mul(&a[col][j], &scale)
			inv[col][j].Mul(&inv[col][j], &scale)
		}
		for i := range n {
			if i == col || a[i][col].IsZero() {
				continue
			}
			scale = a[i][col]
			for j := range n {
				term.Mul(&scale, &a[col][j])
				a[i][j].Sub(&a[i][j], &term)
				term.Mul(&scale, &inv[col][j])
				inv[i][j].Sub(&inv[i][j], &term)
			}
		}
	}
	return inv
}
