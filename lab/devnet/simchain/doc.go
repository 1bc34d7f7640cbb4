// Package simchain is a blockchain that one process plays to itself: epochs and
// null rounds, tipsets of one or two blocks, tickets and beacon randomness,
// reorganisations on request, message pools, a base fee, and for every tipset
// the state of the miner actors as it was there.
//
// Time is not its business: the owner calls Advance once an epoch. Everything
// is deterministic for a seed and a sequence of calls. It starts no goroutine and
// asks no clock, so that it runs in a testing/synctest bubble.
//
// # State
//
// As on a real node, the state seen at a tipset is the one before its own
// messages; a message of the tipset at height h is executed at epoch h and its
// receipt is known in the next tipset. Gas estimation executes a message on the
// head's state and epoch, after the head's messages and after those of its sender
// that wait in the node's pool.
//
// # Nodes
//
// Config.Nodes full nodes follow the chain. A Chain is also its first node
// (Chain embeds it); NodeAt returns the others. Each has a head, a pool, a memory
// of messages and keys of its own. A message that is pushed to one is known to
// all and to the block producers at once. Trouble is made by
//
//	node.Freeze(true)     the head stands still; Freeze(false) catches up in one step
//	node.Lag(3)           the head is three tipsets behind
//	node.AnswerOld(true)  ChainHead answers one old head, the stream goes on
//	node.Cut(true)        messages neither leave nor reach it
//	node.Forget()         set up anew: pool and memory of messages are empty, and
//	                      Search of a message it never saw is an error
//	node.SetKey(a, false) it does not sign for a
//	chain.Evict(cid)      a message is put out of all pools
//	chain.Reorg(ctx, depth, drop)
//	chain.Hold(match)     messages that match are never mined until they are replaced
//
// What happens to the state without a message is scheduled for the next epoch's
// tipset, and repeated on the new branch of a reorganisation:
//
//	chain.Terminate(miner, sectors...)   sectors end
//	chain.ChangeMiner(miner, f)          anything else: MarkFaulty, WithInfo, WithPolicy
//	chain.SetBalance(account, amount)
//	chain.Upgrade(version)               another network version
//
// # Fees
//
// The base fee follows the main network's rule (an eighth an epoch at most, 100
// attoFIL at least) from what is in the blocks:
//
//	chain.SetDemand(Demand{Gas: 9e9, Premium: p})  others fill the blocks: the fee
//	                      rises, and messages below their premium find room only in
//	                      what is left
//	chain.SetDemand(Demand{})                      others take as much as keeps the fee
//	chain.SetBaseFee(fee, epochs)                  the fee is what it is told to be
//
// Senders pay as the virtual machine has it: base fee and premium, and what a
// too high limit burns (Record.Fee). A proof needs the more gas the more
// partitions of its deadline are proven already, and a message whose limit is too
// low spends all of it.
//
// # Pools
//
// A message enters a pool with the sender's next nonce or at most four above, if
// the sender can pay for all that waits, and takes the place of one with its
// nonce for a premium a quarter and one atto higher (PushSigned); errors are in
// Lotus's words. With a fee cap under a tenth of the base fee it stays at its
// node. Of more than Config.PoolLimit messages the cheapest are put out.
//
// CIDs of messages and blocks are the real ones, so that any client can follow;
// those of receipts and states are hashes of what they stand for, but not of the
// encoding a real node uses: nothing can be fetched by them.
//
// Sources: lotus chain/rand, chain/store/{messages,basefee}.go, chain/vm/burn.go,
// chain/stmgr/{call,searchwait}.go, chain/messagepool.
package simchain
