// Package proofs proves and verifies Filecoin's proofs of spacetime, WindowPoSt
// and WinningPoSt, compatible with rust-fil-proofs 19.1.0: the same circuits,
// parameters, proofs.
//
// It joins the rooms below it. A post.Statement says what is proven (proof
// type, randomness, sectors with their comm_r); post.OpenSector reads a
// sector's vanilla proof; a System turns vanilla proofs into a SNARK of 192
// bytes for each partition with a proving key, and verifies with a verifying
// key:
//
//	system := proofs.New()
//	proof, err := system.Prove(key, &proofs.Task{Statement: st, Vanilla: vanilla}, config)
//	err = system.Verify(verifier, st, proof)
//
// Keys come from parameter files (proofs/params) or, for development, from
// System.GenerateKey.
//
// Nothing below this package opens files, logs, uses the network or keeps
// global state. Work that takes long has a number of workers, a channel to stop
// it and a progress callback.
package proofs
