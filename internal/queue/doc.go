// Package queue is the durable queue of proving tasks between the masters and
// their slaves. It survives the death of any of them at any moment.
//
// A [Store] is one database (packages mysql and sqlite); its methods are whole
// steps of a task's life, each one transaction. A [Queue] is a store plus the
// policy of one master: the retry limit and time-outs, the clock, long-polling
// claimers and askers, and the periodic work (rescue, drop, archive). Several
// queues, in several masters, may share one database.
//
// # Time
//
// Every statement that depends on time takes now, in Unix seconds, from the
// queue, which counts it from the database's clock: one clock for all masters
// of a database, whatever their hosts' clocks say. The only foreign time is
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
