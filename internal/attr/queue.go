package attr

import (
	"log/slog"
	"time"
)

// Task is a task's id, 32 hex digits, the same in manager, master and slave.
func Task(id string) slog.Attr { return slog.String("task", id) }

// TaskState is a task's state in the queue.
func TaskState(s string) slog.Attr { return slog.String("taskState", s) }

// TaskCount is a number of tasks.
func TaskCount(n int) slog.Attr { return slog.Int("tasks", n) }

// Attempt is the number of a task's attempt, from 1.
func Attempt[T ~int | ~int64 | ~uint32 | ~uint64](n T) slog.Attr {
	return slog.Int64("attempt", int64(n))
}

// Slave is a slave's name.
func Slave(name string) slog.Attr { return slog.String("slave", name) }

// Stage is what is being done of a proof or a deadline.
func Stage(s string) slog.Attr { return slog.String("stage", s) }

// Database is a database's address without its password.
func Database(url string) slog.Attr { return slog.String("database", url) }

// Result is how a task or an attempt ended.
func Result(s string) slog.Attr { return slog.String("result", s) }

// ProofType is the wire name of a proof type.
func ProofType(name string) slog.Attr { return slog.String("proofType", name) }

// Remaining is the time until a window closes.
func Remaining(d time.Duration) slog.Attr { return slog.Duration("remaining", d) }

// Call is a method of the contract between master and slaves.
func Call(method string) slog.Attr { return slog.String("call", method) }

// Unlogged is how many lines of the same sort were left out before this one.
func Unlogged(n int) slog.Attr { return slog.Int("unloggedBefore", n) }

// Verdict is what the end of an attempt means for its task.
func Verdict(kind string) slog.Attr { return slog.String("verdict", kind) }

// Concurrent is how many tasks a slave works on at once.
func Concurrent(n int) slog.Attr { return slog.Int("concurrent", n) }

// Patience is for how long something is waited for.
func Patience(d time.Duration) slog.Attr { return slog.Duration("patience", d) }

// Slaves is a number of slaves.
func Slaves(n int) slog.Attr { return slog.Int("slaves", n) }

// SchemaVersion is the version of a database's tables.
func SchemaVersion(v int64) slog.Attr { return slog.Int64("schemaVersion", v) }
