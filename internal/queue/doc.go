// Package queue is the durable queue of proving tasks between the masters and
// their slaves. It survives the death of any of them at any moment.
//
// A [Store] is one database (packages mysql and sqlite); its methods are whole
// steps of a task's life, each one transaction. A [Queue] is a store plus the
// policy of one master: the retry limit and time-outs, the clock, long-polling
// claimers and askers, and the periodic work (rescue, drop, archive). Several
// queues, in several masters, may share one database.
//
// # A task's life
//
//	Put ──▶ ready ──Claim──▶ running ──Finish──▶ done ──Archive──▶ tasks_archived
//	          ▲                 │  ▲ └──Fail: permanent, retries used up──▶ failed
//	          │◀──Fail, Rescue──┘  └─Heartbeat           Put, Retry reopen it
//	          │◀──Offer: an answer in hand, others are asked
//	          └──Settle: the answer in hand, or the failure, is final
//	DropClosed ends what is not over when the window closes.
//
// What is durable, in order: the question (a task without it is never there),
// the task, the claim, the answer. A process that dies between two of them
// leaves a question to sweep up, a ready task, or a lease to rescue.
//
// # Who gets what
//
// Tasks of which nothing bad is known go first, then those whose windows close
// first. A slave that tried a task and gave no whole answer leaves it to others
// for a while; one that fails again and again is served last; when the retries
// are used up a slave that has not tried still may. An attempt is given up when
// its slave is silent, or when it does not advance and another could take over.
//
// # Time
//
// Every statement that depends on time takes now, in Unix seconds, from the
// queue, which counts it from the database's clock: one clock for all masters
// of a database, whatever their hosts' clocks say. A jump of the database's own
// clock is made up for by a shift that all masters read. The only foreign time is
// Question.NotAfter, on the clock of the asker. It is turned into a remaining
// duration where it enters (the asking master runs beside the asker) and only
// durations leave towards the slaves.
//
// # Attempts
//
// Each claim gives the task the next attempt number, never used before for
// that task. A heartbeat, answer or failure carries the number and is refused
// if another claim came after it. A rescued task (its slave fell silent) keeps
// its number until it is claimed again, so an answer that comes late but first
// is still taken.
package queue
