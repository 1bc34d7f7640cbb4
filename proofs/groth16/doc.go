// Package groth16 is the Groth16 proof system over BLS12-381 in the dialect of
// bellperson 0.27: keys, setup, prove, verify and batch verify. Keys and proofs
// are interchangeable with those of rust-fil-proofs.
//
// The package proves systems of identical blocks (see Circuit): one block is
// all it ever holds of the constraints, and the witness is made block by block
// while it is consumed, so that memory follows the size of the FFT domain and
// not the number of constraint terms.
//
// Conventions. m is the FFT domain: the smallest power of two that holds all
// constraints and one row for each input, the constant ONE included. G1 points
// are 96 bytes in memory and on disk, G2 points 192. Field elements are in
// Montgomery form in memory. Nothing here logs, opens files or keeps state.
//
// The algorithms, at whose functions they are named again:
//
//   - the proof system: J. Groth, "On the Size of Pairing-based Non-interactive
//     Arguments", EUROCRYPT 2016 (ePrint 2016/260); batch verification with
//     random weights: M. Bellare, J. Garay, T. Rabin, "Fast Batch Verification",
//     EUROCRYPT 1998
//   - sums of multiples: N. Pippenger, "On the evaluation of powers and related
//     problems", FOCS 1976, as in D. J. Bernstein et al., "Faster batch forgery
//     identification" (ePrint 2012/549), section 4; affine additions over one
//     inversion: P. Montgomery, "Speeding the Pollard and Elliptic Curve Methods
//     of Factorization", Math. Comp. 48 (1987), section 10.3.1
//   - the transform in two or more levels: D. H. Bailey, "FFTs in external or
//     hierarchical memory", J. Supercomputing 4 (1990)
//
// "Spec" in comments is the project's description of the proof system,
// section 7.
package groth16
