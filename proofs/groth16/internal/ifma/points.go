package ifma

// G1 is an affine point: the limbs of x and y. The identity has no form.
type G1 [2 * limbs]uint64

// G2 is an affine point: the limbs of x.A0, x.A1, y.A0, y.A1.
type G2 [4 * limbs]uint64
