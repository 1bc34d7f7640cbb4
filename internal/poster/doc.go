// Package poster proves deadlines: from the challenge of a deadline to the
// message that is seen deep on the chain, for many miners at once, and the
// recovery of faulty sectors two deadlines ahead.
//
// The decisions (when to start, send, send again, give up) are made by
// internal/deadline, which is pure. A miner here is a thin loop that feeds
// events to that machine and carries out its actions, each in a goroutine of
// its own that ends in exactly one event:
//
//	head ─▶ machine ─▶ Start  ─▶ plan.go    list partitions, pick up what the ledger and the chain know
//	                   Prove  ─▶ prove.go   check sectors, ask the prover, verify, keep the proof
//	                   Submit ─▶ submit.go  look whether it is still needed and still right, push
//	                   Wait   ─▶ wait.go    see it deep on the chain
//	                   CheckRecoveries ─▶ recover.go
//	                   End    ─▶ outcome, logged once and kept
//
// Rules that hold everywhere:
//   - A failed call ends its goroutine with an event that says so, and the
//     machine asks again, after a growing pause, until the window closes.
//   - A proof is kept in the ledger before its message is made; a message is
//     noted in the ledger before it is handed over, under an id that follows
//     from what it proves. A restart reads these rows and goes on; nothing is
//     proven or sent twice.
//   - No proof is sent that was not verified here, or that no longer answers
//     the chain's question.
//   - The ledger going away does not stop proving: what it could not keep is
//     held in memory, and said.
package poster
