// Package params reads and writes the key files of the PoSt circuits.
//
// Three of them are those of rust-fil-proofs, bit for bit: the verifying key
// (.vk), the proving key (.params) and its small description (.meta); their
// names and identities are those of the parameter cache. The fourth is our
// own: a raw cache that holds the same proving key in the in-memory form of
// gnark-crypto, so that a program maps it instead of parsing it.
//
// A proving key is a stream of points that can be far larger than memory
// (60.8 GB for 32 GiB WindowPoSt). Everything that produces one, a setup or a
// .params file, pushes it into a groth16.Sink; everything that holds one, a
// .params writer, a raw cache writer or memory, is such a sink.
//
// The package opens no files: it works on io.Reader, io.Writer and byte
// slices. Spec sections 8.1 to 8.4.
package params
