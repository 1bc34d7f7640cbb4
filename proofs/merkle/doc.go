// Package merkle is tree-r-last, the Merkle tree over a sector's replica that
// proofs of spacetime open: its shapes, its cached files, inclusion proofs read
// from the two, and the making of the files.
//
// A tree is made of 1 to 16 base trees of arity 8 over consecutive equal slices
// of the replica, joined by at most one sub layer and at most one top layer.
// Leaves are the 32-byte words of the replica itself. Row 0 of a base tree is
// its leaves; rows 1…d are discarded and rebuilt from the replica when needed;
// rows d+1…n are kept in the tree's file, one after the other, the root last.
//
// Nodes in files are field elements of 32 bytes, little-endian and canonical.
// The package opens no files: it reads through io.ReaderAt. Spec section 2.
package merkle
