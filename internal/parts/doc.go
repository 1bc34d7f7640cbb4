// Package parts lets several machines prove the partitions of one task.
//
// The slave that has a task reads its sectors once. A Spreader there offers
// partitions, each with its vanilla proofs, at its master's Desk; slaves that are
// idle take them, check the vanilla proofs against comm_r and challenge, and
// prove; the Spreader verifies what comes back, proves what nobody took, and
// joins the proof, which is the same byte for byte.
//
//	Spreader ──Offer──▶ Desk ◀──Take, Fetch── idle provers
//	    ▲                 │ ◀──────Finish──────────┘
//	    └─────Await───────┘
//
// What it promises:
//
//   - A Desk takes only parts of a task that the offering slave has, over sectors,
//     commitments and randomness of that task: a reader that lies is refused.
//   - A prover that is silent, fails or lies costs its part only: the part goes to
//     another, and its reader proves it itself when it has nothing else to do.
//   - A reader that is silent is forgotten with its parts, and its provers stop.
//   - Parts live in the memory and the temporary files of one master. When that
//     is lost nothing is lost: the reader proves the rest itself.
package parts
