// Package wdpost is the root of a system that proves Filecoin storage on many
// machines. The programs are under cmd, their rooms under internal, the proof
// system under proofs; docs/ARCHITECTURE.md tells how they fit together.
//
// This package itself holds only the tests that keep the house in order.
package wdpost
