// Package lotus is the vocabulary of a Lotus-compatible node: the JSON shapes
// that its RPC methods take and return, and nothing that behaves.
//
// Every room that talks about the chain (chain, poster, message, devnet) uses
// these words, so none of them needs to import another. Types that
// go-state-types already defines (abi.*, dline.Info, bitfield.BitField,
// actor parameters) are used from there and not repeated here.
//
// Source of the shapes: lotus api/types.go, chain/types; checked against
// answers recorded from a Lotus 1.36 node (testdata).
package lotus
