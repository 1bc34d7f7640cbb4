// Package prover binds the proof system to this machine: where its keys lie,
// how much memory and how many cores it may use, how the sectors of a question
// are read, and when to stop.
//
// Keys finds and loads the key files, a raw cache where there is one. Engine
// answers proving tasks: it reads every vanilla proof once, proves what was
// read, verifies the result and names the sectors that had to be left out.
// Verifier checks the proofs of others. Admission decides how many proofs run
// at once, from a memory budget and the cores.
//
// Sectors are read through a VanillaReader, which the sector room implements
// with time-outs of its own.
package prover
