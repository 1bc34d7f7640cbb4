// Package manager is what `venus-sector-manager daemon run` runs: it joins the
// rooms that know the chain, the sectors, the proofs and the messages, for each
// miner of the configuration, and folds what they tell into one verdict.
//
// Nothing is a gate for the whole. New refuses only a configuration with which
// nothing could ever be proven. Everything else that is wrong, at the start or
// later, is a standing condition, is tried again until it works, and costs only
// what depends on it:
//
//	Run ── node ──▶ network (clock, senders; asked until the node answers)
//	    ├─ stores     each store that is whole; the others looked at again
//	    ├─ records    the ledger behind a gate that opens when the ledger does
//	    ├─ host       external processors and what they report
//	    └─ miners     one goroutine each: admit ▶ poster, winning ▶ run, guarded
//
// A reload (SIGHUP, or the control socket in the home) reads the files again.
// Miners whose settings changed are taken up anew with the new ones; a proof
// that is being made for them meanwhile goes on and is joined by whoever asks
// the same question next.
package manager
