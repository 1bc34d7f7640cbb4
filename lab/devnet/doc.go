// Package devnet is a Filecoin network for one process: a simulated
// Lotus-compatible node, a Venus messager and a Venus gateway on loopback ports,
// over one simulated chain whose miner actors keep the PoSt rules and verify
// every proof. A manager cannot tell it from the real services.
//
//	serve     listeners, tokens, faults
//	actor     the rules of the miner actor, pure
//	simchain  epochs, tipsets, forks, randomness, messages, state by tipset
//	fullnode  namespace Filecoin
//	messager  namespace Message
//	gateway   namespace Gateway
//
// The network is for demonstrations and tests. Besides playing it can misbehave
// on request (faults, null rounds, reorganisations, stuck messages, fee spikes),
// and it keeps score: Report says how every window of every miner ended, and
// Check whether the whole history obeys the rules a prover must keep.
package devnet
