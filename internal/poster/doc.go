// Package poster proves deadlines: from the challenge of a deadline to the
// message that is seen deep on the chain, for many miners at once, and the
// recovery of faulty sectors two deadlines ahead.
//
// The decisions (when to start, send, send again, offer more, give up) are made
// by internal/deadline, which is pure. A miner here is a thin loop that feeds
// events to that machine and carries out its actions, each in a goroutine of
// its own that ends in exactly one event:
//
//	heads.go ─▶ machine ─▶ Start    ─▶ plan.go     list partitions, pick up what the ledger and the chain know
//	ticks    ─▶                        recover.go  or: read faulty sectors, and declare those that can be read
//	                       Prove    ─▶ prove.go    check sectors, ask the prover, verify, keep the proof
//	                       Submit   ─▶ submit.go   look whether it is still needed and still right, push
//	                       Watch    ─▶ watch.go    report how the message stands, until it is deep on the chain
//	                       Replace, GiveUp ─▶ watch.go
//	                       AskChain ─▶ settle.go   ask the chain what became of a closed window
//	                       End      ─▶ settle.go   the outcome, logged once, counted and kept
//
// Rules that hold everywhere:
//   - A failed call ends its goroutine with an event that says so, and the
//     machine asks again, after a growing pause, until the window closes.
//   - Every call has a limit of its own (calls.go), derived from the time that
//     is left: a peer that is slow on each call still gets the window proven.
//   - A proof is kept before its message is made; a message is noted before it
//     is handed over, under an id that follows from what it proves. A restart
//     reads these rows and goes on; nothing is proven or sent twice.
//   - The ledger is beside the path (ledger.Book): what is written waits in a
//     queue, a push waits for it at most a second, reads of the past are made
//     once. It may be slow, locked, hanging or away: work goes on from memory
//     and from the chain's own record.
//   - No proof is sent that was not verified here, or that no longer answers
//     the chain's question.
//   - A partial answer is not the truth: sectors that one slave could not read
//     are asked for again, while there is time, and only what nobody can read is
//     left out.
//   - Batches are independent: Parallel = false bounds proving at a time, and a
//     batch that hangs holds the others for no longer than a proof usually takes.
//   - What stands between a deadline and its proof stands on the board of
//     conditions (troubles.go), computed from the machine's state.
//   - A panic in any goroutine costs that attempt, not the process.
package poster
