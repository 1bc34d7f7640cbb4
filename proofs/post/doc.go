// Package post is the part of WindowPoSt and WinningPoSt that comes before the
// SNARK: proof types, challenges, vanilla proofs and their bytes, partitions
// and public inputs, compatible with rust-fil-proofs 19.1.0.
//
// Numbers in bytes are little-endian. Field elements travel as 32 bytes
// little-endian, canonical (smaller than the modulus r of BLS12-381's Fr).
// Nothing here opens files, logs or keeps state; sectors are read through
// io.ReaderAt. "Spec" in comments is the project's description of the proof
// system, sections 1 to 6.
package post
