// Package simchain is a blockchain that one process plays to itself: epochs and
// null rounds, tipsets of one or two blocks, tickets and beacon randomness,
// reorganisations on request, a message pool, and for every tipset the state of
// the miner actors as it was there.
//
// Time is not its business: the owner calls Advance once an epoch. Everything
// is deterministic for a seed and a sequence of calls.
//
// As on a real node, the state seen at a tipset is the one before its own
// messages; a message of the tipset at height h is executed at epoch h and its
// receipt is known in the next tipset. Gas estimation executes a message on the
// head's state and epoch, after the head's messages.
//
// CIDs of blocks, receipts and states are hashes of what they stand for, but not
// of the encoding a real node uses: nothing can be fetched by them. CIDs of
// messages are the real ones.
//
// Sources: lotus chain/rand, chain/store/messages.go, chain/stmgr/{call,searchwait}.go,
// chain/messagepool.
package simchain
