// Package deadline holds the timing of WindowPoSt: epoch arithmetic over what a
// node says about a proving deadline, and the state machine that carries every
// deadline of one miner from its challenge to exactly one outcome, and every
// recovery of faulty sectors from two deadlines ahead to the message that
// declares it.
//
// The package is pure. Events go in, actions come out; nothing here waits,
// reads a clock or talks to anybody. All lengths (window, lookback, cut-off,
// deadlines per period) come from dline.Info, never from constants, because
// development networks choose their own.
//
// An epoch is the height of the head: a message pushed while the head is at
// epoch e is executed at e+1 at the earliest. Beside the head there is the
// clock: Tick tells which epoch it is by the clock, so that the machine also
// acts while no head comes, and nothing is pushed that by the clock could only
// be executed after the window.
//
// # A deadline
//
//	           Start          Planned              every batch landed
//	Waiting ────────▶ Planning ────────▶ Working ─────────────────────▶ ended: proven,
//	   ▲  StartAt        │ PlanFailed:      │                             nothing to prove,
//	   │                 ╰ Start again      │ Close                       all faulty
//	   │ Abort (the challenge was reverted) ▼
//	   ╰──────────────────────────────── Settling ──▶ AskChain ──▶ ended: proven, proven by
//	                                        │        ChainSays     another sender, missed
//	  no head, by the clock long after Close╰──▶ ended: missed, unsure; asked again when
//	                                             a head comes
//
// Settling is also where a deadline begins that passed while the manager was
// away (Past): the chain is asked what became of it.
//
// # A recovery
//
// The same, with other words: planning is to look for faulty sectors and to
// read each (Start with Kind Recovery), a batch is one declaration, the window
// ends at the fault cut-off. Sectors that could not be read are looked at again
// every LookEvery epochs until then. A declaration that failed is not repeated
// as it was: the sectors are looked at again.
//
// # A batch and its message
//
//	Proving ──Proved──▶ Ready ──Submit──▶ Submitting ──Submitted──▶ Sent ──▶ Executed ──▶ Landed
//	   ▲                 ▲  ▲                 │ SubmitFailed: again    │  ▲       │ deep enough
//	   │ Stale, ProveFailed │                 ╰─(another sender where  │  ╰───────┤ reverted
//	   │                 │  │                    this one cannot pay)  │          │
//	   │                 │  ╰─ failed on chain, dropped ───────────────┤          │
//	   │                 ╰──── GaveUp: from another sender ────────────╯          │
//	   ╰── Regrouped                                                               │
//	                             unknown to the service: the same attempt again ◀─╯
//
// While a message is Sent, each MessageSeen says how it stands: pending since,
// at which price, with which reason. At every head and tick the policy is asked
// what is to be done about it: Replace it with more fee, GiveUp and send from
// another sender, or wait. A failed receipt is acted upon at once, at whatever
// depth; success counts as landed only when Confidence deep. One that can no
// longer be executed in time is given up, so that it neither costs nor blocks.
//
// The reason of a miss is the first true one: a later error that only says that
// time ran out never takes its place.
package deadline
