// Package chaos plays faults on the manager's way of a deadline, in simulated
// time: the devnet's own chain, actor, mempool and fee rule and its JSON-RPC
// service below; the product's chain, message, ledger and poster rooms above; in
// the place of slaves and stores a prover and a checker that fail on demand.
//
// Each world is one bubble of testing/synctest with one miner, whose deadlines
// follow one another. At an epoch drawn from the deadline's whole life a fault
// begins, alone or with a second one, and ends again. After each window the whole
// state is checked:
//
//   - every partition is proven by exactly one message, or skipped or missed for
//     a reason that the scenario planted and that leaves no other way;
//   - no partition is in two executed messages, no message is executed twice;
//   - no message may cost more than the limit;
//   - every miss and every skipped sector was told by a condition that stood
//     before the window closed;
//   - the ledger's verdict is the chain's.
//
// A run is made of a seed alone: the same seed plays the same faults. `make chaos`
// runs the full form, the default tests a short one.
package chaos
