// Package postfile holds one call of a proof as a file: what `util post prove`
// writes and `util post verify` reads. A file carries the whole statement, its
// vanilla proofs and the proof, so that it can be checked elsewhere and by other
// implementations. Byte strings are hex; field elements little-endian.
package postfile
