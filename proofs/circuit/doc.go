// Package circuit is the FallbackPoSt constraint system of rust-fil-proofs
// 19.1.0, constraint for constraint: the relation that a WindowPoSt or
// WinningPoSt partition proves.
//
// A partition is a sequence of sector blocks that share only the constant ONE
// and differ in nothing but their values. Only one block is ever compiled or
// held: New builds its rows, an Assignment makes the values of any block from
// its sector's openings when they are asked for.
//
// A block proves, for public comm_r and leaf indices: comm_r = H2(comm_c,
// comm_r_last), and for each index a leaf whose Merkle path of that index ends
// in comm_r_last. Hashes are Poseidon in the form of neptune's legacy gadget,
// whose allocated values are exactly the intermediate values of an evaluation
// (poseidon.Params.Trace). Sector numbers and the prover are not part of it.
//
// "Spec" in comments is the project's description of the proof system,
// section 6.
package circuit
