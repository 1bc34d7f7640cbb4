// Package actor plays the PoSt rules of the storage miner actor: proving
// periods, deadlines and partitions, SubmitWindowedPoSt with every check,
// DeclareFaultsRecovered, DisputeWindowedPoSt, and what happens to whatever was
// not proven when a deadline closes.
//
// It is pure: a Miner is a value that is never changed; each method returns the
// miner as it is afterwards, so a chain can keep one for every tipset and go
// back to any of them. Randomness, the caller and the proof verifier come in
// through Runtime.
//
// One rule differs from the main network on purpose: a proof is verified when
// it is submitted, not taken on trust until somebody disputes it, unless
// Runtime.Optimistic is set. Money (pledge, penalties, fees) and the expiry of
// sectors that stay faulty for 42 periods are not played; Terminate and MarkFaulty
// play what else can happen to sectors.
//
// Source of the rules and of the error texts: builtin-actors v18,
// actors/miner/src/{lib,deadline_state,partition_state,deadline_assignment}.rs.
package actor
