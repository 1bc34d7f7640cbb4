package queue

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"time"

	"wdpost/internal/task"
)

// Errors that stores return besides task.ErrLost, to be tested with errors.Is.
var (
	// ErrNotFound means that no task, or slave, has the given name.
	ErrNotFound = errors.New("not found")
	// ErrState refuses a command that the task's state does not allow.
	ErrState = errors.New("not possible in the task's state")
	// ErrUnavailable wraps failures of the database itself: it is away, the
	// connection broke, the transaction lost a conflict too often. Nothing is
	// known about the effect of the call; every call may be repeated.
	ErrUnavailable = errors.New("database unavailable")
)

// NoEnd is the NotAfter of a task whose window's close is unknown.
const NoEnd int64 = math.MaxInt64

// Task is one row. Times are Unix seconds on the database's clock, 0 when the
// thing has not happened.
type Task struct {
	ID          string
	State       task.State
	Attempt     int // claims so far; the current attempt while running
	Retries     int // failed attempts of this round, the guide's retry_count
	CreatedAt   int64
	StartedAt   int64
	FinishedAt  int64
	HeartbeatAt int64
	NotAfter    int64 // NoEnd when unknown
	ReadyAt     int64 // not claimed before
	SectorSize  uint64
	Slave       string           // who has or last had it
	Verdict     task.VerdictKind // of the last failure; empty when there was none
	Reason      string           // of the last failure
	Progress    string           // as of the last heartbeat
	Archived    bool
	AdvancedAt  int64    // when the attempt last came nearer to its end
	Holder      string   // the process of the slave that has the attempt
	Tried       []string // slaves that gave no whole answer in this round
	Troubles    int      // attempts that ended with a verdict
	SettleAt    int64    // when the answer in hand, or the failure of a task without retries, becomes final; 0: it is, or there is none
	About       About
	In          []byte // question JSON; nil in listings
	Out         []byte // answer JSON; nil in listings. Before the task is done: the one in hand
}

// Lease returns the task's current attempt.
func (t Task) Lease() task.Lease { return task.Lease{ID: t.ID, Attempt: t.Attempt} }

// About is what a question is about, for people and for who hands it out.
type About struct {
	Known      bool // false: an earlier version stored the task, the rest is unknown
	Miner      uint64
	Deadline   *uint64 // nil when unknown
	Partitions []uint64
	Sectors    int
	Stores     []string // the folders of the stores in which its sectors lie
}

// NewTask is what Put stores.
type NewTask struct {
	ID         string
	In         []byte
	About      About
	NotAfter   int64 // NoEnd when unknown
	SectorSize uint64
}

// Claimer is one free place of one slave.
type Claimer struct {
	Slave       string
	SectorSizes []uint64 // what the slave can prove; empty means everything
	// Again is a lease that the slave was given before without hearing of it,
	// as Unheard found; zero when there is none.
	Again task.Lease
	ID    string // of the slave's process
	// Elsewhere is for how many seconds a lease that was given to another
	// process of the slave's name is not given again: who lives is heard of.
	Elsewhere int64
	// Avoid is for how many seconds after a task became ready a slave is passed
	// over that tried it, or cannot see one of its stores, so that another gets
	// its chance.
	Avoid int64
	// Handicap is for how many seconds after it became ready the slave gets no
	// task at all: one that fails at once is served last.
	Handicap int64
	Unseen   []string // stores that the slave cannot see
}

// Heard is what a heartbeat comes to.
type Heard struct {
	Lost     []task.Lease         // of tasks that are over or were claimed again
	NotAfter map[task.Lease]int64 // of the others
}

// Reading is the database's clock.
type Reading struct {
	Time time.Time
	// Shift is how far Time is from what the database's host calls the time: it
	// makes up for jumps of that clock.
	Shift time.Duration
}

// Due says what upkeep has to do, and whether there are tasks that are not over.
type Due struct{ Lost, Closed, Settle, Unfinished bool }

// Mark is what of a progress stays the same while an attempt does not advance:
// all but the times in it, such as "12s".
func Mark(progress string) string {
	return strings.Join(slices.DeleteFunc(strings.Fields(progress), func(word string) bool {
		_, err := time.ParseDuration(word)
		return err == nil
	}), " ")
}

// Beat is a sign of life of one attempt.
type Beat struct {
	Lease    task.Lease
	Slave    string
	Progress string // at most 100 bytes, for people
}

// Failure ends an attempt without an answer.
type Failure struct {
	Kind     task.VerdictKind // KindPermanent, KindRetry or KindAborted
	Reason   string
	ReadyAt  int64 // of the next attempt, if there is one
	MaxRetry int   // attempts after the first that KindRetry may use up
	// Others are the slaves that could try the task: one that has not yet gets
	// its chance when the retries are used up.
	Others []string
	// Silent says that the attempt just stopped: nothing is known against the
	// task.
	Silent bool
	// Unheard refuses the failure with task.ErrLost once the lease was given
	// out again or anything was heard of it.
	Unheard bool
}

// GivenAgain is the progress of a task whose lease was given out a second time
// and of which nothing was heard since.
const GivenAgain = "given out again"

// Offer is an answer in hand.
type Offer struct {
	Out      []byte
	Reason   string // why another attempt is worth it
	SettleAt int64
}

// RescuePolicy says which running attempts are given up as lost: those of
// slaves that fell silent, and those that do not advance while another attempt
// could follow.
type RescuePolicy struct {
	SilentSince  int64 // last sign of life at or before this second
	StalledSince int64 // begun and not come nearer to the end since this second, signs of life or not
	ReadyAt      int64
	MaxRetry     int
	Others       []string // slaves that could take over
}

// Slave is what is known of one slave process.
type Slave struct {
	Name       string
	ID         string // of the process, made when it started; empty where it does not tell
	Version    string
	Address    string
	Concurrent int
	Running    int // tasks leased to it, counted from the tasks
	FirstSeen  int64
	LastSeen   int64
	Draining   bool
	Failures   int          // attempts that failed there in a row
	Report     *task.Report // what it told last of itself; nil where it does not tell
}

// Filter narrows a listing. Zero values do not narrow.
type Filter struct {
	States   []task.State
	Slave    string
	Archived bool // list the archive instead
	// CreatedBefore leaves out tasks that were put after this second; 0 does not.
	CreatedBefore int64
	Limit         int // newest first; 0 means 1000
}

// Store is a database of tasks. Each method is one transaction: when it
// returns nil its effect is durable, when it returns an error other than
// ErrUnavailable nothing has changed. After ErrUnavailable the effect may or
// may not have happened, and calling again is always safe: no method does
// anything twice. Methods may be called concurrently, from many processes.
type Store interface {
	// Put stores the task unless its id is known, and returns the stored one,
	// with its answer. A known task that failed is reopened with a fresh
	// retry count and the new NotAfter, except when an operator cancelled it.
	// A known task whose window was unknown or longer takes the new NotAfter.
	Put(ctx context.Context, now int64, t NewTask) (Task, error)

	// Claim gives each claimer at most one ready task, which is then running
	// under a new attempt number: earliest NotAfter first, then oldest. The
	// result has the claimers' order; an entry without ID means no task. No
	// task is given to two claimers, here or elsewhere.
	//
	// A claimer with a lease to be given again gets that one, the attempt
	// unchanged and its Progress GivenAgain, if it is still the slave's and
	// nothing was heard of it; otherwise it is served like the others.
	Claim(ctx context.Context, now int64, claimers []Claimer) ([]Task, error)

	// Unheard returns the running tasks of open windows of which nothing was
	// heard since they were given out, without their bodies.
	Unheard(ctx context.Context, now int64) ([]Task, error)

	// Heartbeat records signs of life, and whether the attempts advanced. A task
	// that was rescued and not yet claimed again is not lost: its slave may still
	// be the first.
	Heartbeat(ctx context.Context, now int64, beats []Beat) (Heard, error)

	// Finish stores the answer. Repeating it for the same attempt succeeds; a
	// lease that is not the latest, or a task that failed, is task.ErrLost.
	Finish(ctx context.Context, now int64, l task.Lease, out []byte) error

	// Offer takes an answer in hand, one that might be bettered, and makes the
	// task ready again for slaves that have not tried it. It replaces an answer
	// that was in hand before, and becomes final at SettleAt, or when the task
	// would fail or its window closes. Repeating it for the same attempt
	// succeeds; a lease that is not the latest is task.ErrLost. Like Finish it
	// takes what comes late but first, of an attempt that was rescued.
	Offer(ctx context.Context, now int64, l task.Lease, o Offer) error

	// Due says in one look what Rescue, DropClosed and Settle would find.
	Due(ctx context.Context, now int64, p RescuePolicy) (Due, error)

	// Settle makes answers in hand final whose time has come, and fails tasks
	// whose reserve nobody took; it returns them as they are now.
	Settle(ctx context.Context, now int64) ([]Task, error)

	// Fail ends the attempt: the task is ready again, or failed for good.
	// Repeating it for the same attempt has no further effect, and is task.ErrLost.
	Fail(ctx context.Context, now int64, l task.Lease, f Failure) (task.State, error)

	// Rescue makes running tasks whose slave is lost ready again, or fails
	// them for good, and returns them as they are now.
	Rescue(ctx context.Context, now int64, p RescuePolicy) ([]Task, error)

	// DropClosed fails unfinished tasks whose NotAfter has come and returns
	// them as they are now.
	DropClosed(ctx context.Context, now int64) ([]Task, error)

	// Archive moves at most limit tasks, and of them as many as make a
	// transaction of bounded size, that finished at or before the given second
	// to the archive. It returns how many; 0 when none are left.
	Archive(ctx context.Context, finishedBefore int64, limit int) (int, error)

	// Sweep drops questions without a task that were put before the second.
	Sweep(ctx context.Context, putBefore int64) error

	// Resolve returns the ids, archived ones included, that begin with prefix; a
	// few where there are many.
	Resolve(ctx context.Context, prefix string) ([]string, error)

	// Poll returns the named tasks, archived ones included, with the answers
	// of those that are done. Unknown names are left out.
	Poll(ctx context.Context, ids []string) ([]Task, error)

	// Show returns one task, archived or not, with both bodies.
	Show(ctx context.Context, id string) (Task, error)

	// List returns tasks without their bodies, newest first.
	List(ctx context.Context, f Filter) ([]Task, error)

	// Retry reopens a task that is over, dropping its answer if it had one.
	Retry(ctx context.Context, now int64, id string) error

	// Cancel fails a task that is not over. Its slave learns by heartbeat. The
	// kind is task.KindCancelled for an operator, whose word lasts, or
	// task.KindAborted for an asker that needs no answer now.
	Cancel(ctx context.Context, now int64, id string, kind task.VerdictKind, reason string) error

	// Ready returns how many tasks could be claimed, counting up to limit.
	Ready(ctx context.Context, now int64, limit int) (int, error)

	// Counts returns how many tasks are in each state, the archive aside.
	Counts(ctx context.Context) (map[task.State]int, error)

	// SeeSlaves records signs of life and returns the names of all slaves that
	// are to drain.
	SeeSlaves(ctx context.Context, now int64, slaves []Slave) (draining []string, err error)

	// Slaves lists the slaves seen at or after the given second, by name.
	Slaves(ctx context.Context, seenSince int64) ([]Slave, error)

	// DrainSlave sets or clears the wish that a slave take no more tasks.
	DrainSlave(ctx context.Context, name string, drain bool) error

	// ForgetSlaves drops what is known of slaves last seen before the second.
	ForgetSlaves(ctx context.Context, seenBefore int64) error

	// Now reads the database's clock. It counts in UTC.
	Now(ctx context.Context) (Reading, error)

	// ShiftClock changes the shift of the clock for all masters, unless it is
	// not what the caller has read.
	ShiftClock(ctx context.Context, from, to time.Duration) error

	// Close releases the connections.
	Close() error
}
