package dashboard

import (
	"errors"
	"time"

	"wdpost/internal/condition"
)

// ErrNotFound is returned by Timeline for a deadline that nobody knows.
var ErrNotFound = errors.New("no such deadline")

// View is the state of everything at one moment. Miners are written as
// addresses, epochs are those of the chain, times are absolute.
type View struct {
	At         time.Time
	Network    string
	Build      string
	Epoch      int64 // by the clock
	BlockDelay time.Duration
	Conditions []condition.Condition // the worst first
	Windows    []Window              // open ones, then the next of each miner, by their closes
	Miners     []Miner
	Nodes      []Node
	Stores     []Store
	Sectors    []SectorState // those that are not healthy
	Slaves     []Slave
	Tasks      []Task
	Messages   []Message // not yet deep
	Balances   []Balance
	BaseFee    string // of the head, with unit; empty while unknown
	Changes    bool   // the asker may do what the rows offer
}

// Window is one deadline whose window is open or comes next.
type Window struct {
	Miner       string
	Deadline    uint64
	PeriodStart int64
	Open, Close int64
	OpensAt     time.Time
	ClosesAt    time.Time
	Verdict     string // empty while it goes on; see Verdicts
	Batches     []Batch
	Sectors     int
}

// Stages of a batch, in their order, as the deadline machine names them.
var Stages = []string{"proving", "ready", "submitting", "sent", "executed", "landed"}

// Batch is the partitions that one message proves.
type Batch struct {
	Partitions string // "0-2"
	Stage      string // one of Stages, or "skipped", "missed"
	Since      time.Time
	Progress   float64       // of the stage, 0 to 1
	Usual      time.Duration // how long the whole way usually takes; 0 while unknown
	Slave      string        // who proves it
	Task       string
	Skipped    int    // sectors
	Message    string // CID
	Note       string // the last trouble
}

// Verdicts of a deadline.
var Verdicts = []string{"proven", "proven by another sender", "missed", "nothing to prove", "all sectors faulty"}

// Miner is one storage provider with its last day.
type Miner struct {
	Name     string
	Trouble  string // why it is not proven; empty where it is
	Power    string
	Sectors  int
	Faults   int
	Day      []Cell // deadlines 0 to 47, or as many as a period has
	NextOpen time.Time
}

// Cell is the newest known outcome of one deadline of a miner.
type Cell struct {
	Deadline    uint64
	PeriodStart int64
	Verdict     string        // one of Verdicts; "open", "next" or empty
	Margin      time.Duration // between the landing and the close
	Partitions  int
	Skipped     int
}

// Node is one endpoint of the chain.
type Node struct {
	Address string
	Height  int64
	Lag     int64 // epochs behind the clock
	Used    bool
	Trouble string
}

// Store is one store of sectors.
type Store struct {
	Name, Path  string
	Sectors     int
	Used, Total uint64 // bytes; 0 while unknown
	Latency     time.Duration
	Stuck       int
	Breaker     string // closed, open, half-open
	Trouble     string
}

// SectorState is a sector that is faulty, recovering or was skipped.
type SectorState struct {
	Miner     string
	Number    uint64
	Deadline  uint64
	Partition uint64
	State     string // faulty, recovering, skipped
	Reason    string
	Store     string
	Actions   []string
}

// Slave is one proving machine.
type Slave struct {
	Name       string
	State      string // proving, idle, waiting, draining, gone
	Build      string
	Cores      int
	Memory     uint64
	SectorSize string
	Proves     string // what it proves now
	Progress   float64
	Usual      time.Duration
	LastSeen   time.Time
	Trouble    string
	Actions    []string
}

// Task is one question in the queue.
type Task struct {
	ID         string
	Miner      string
	Deadline   uint64
	Partitions string
	Sectors    int
	State      string
	Attempt    int
	Slave      string
	Progress   float64
	ClosesAt   time.Time
	Trouble    string
	Actions    []string
}

// Message is one message that is not yet deep on chain.
type Message struct {
	ID, CID   string
	Kind      string // post, recovery
	Miner     string
	Deadline  uint64
	Sender    string
	State     string
	SentAt    time.Time
	FeeCap    string
	Premium   string
	Replaced  int
	ExitCode  int64
	LatestAt  time.Time // when it must be on chain
	Trouble   string
	Actions   []string
	Partition string
}

// Balance is what an address has to pay with.
type Balance struct {
	Address string
	Role    string // worker, owner, control
	Amount  string
	Days    float64 // until it is empty at the present spending; 0 while unknown
	Trouble string
}

// Past is one ended deadline.
type Past struct {
	Miner       string
	Deadline    uint64
	PeriodStart int64
	ClosedAt    time.Time
	Verdict     string
	Reason      string
	Partitions  int
	Skipped     int
	Proving     time.Duration // of the slowest proof
	Margin      time.Duration // between the landing and the close
	Gas         int64
	Fee         float64 // FIL
}

// Timeline is the whole way of one deadline.
type Timeline struct {
	Past
	Open, Close int64
	Events      []Event
	Skipped     []SectorState
	Messages    []Message
}

// Event is one step of a deadline's way.
type Event struct {
	At    time.Time
	Epoch int64
	What  string // as in the history: proof_made, message_pushed, ended, …
	Text  string
	Slave string
	Task  string
	CID   string
}

// worst is the class of the verdict line: "ok", "note", "risk" or "bad".
func (v View) worst() string {
	class := "ok"
	for _, c := range v.Conditions {
		switch c.Cost {
		case condition.Window:
			return "bad"
		case condition.Sectors:
			class = "risk"
		case condition.Money, condition.None:
			if class == "ok" {
				class = "note"
			}
		}
	}
	return class
}

// open lists the windows that are open at the view's moment.
func (v View) open() []Window {
	var list []Window
	for _, w := range v.Windows {
		if !v.At.Before(w.OpensAt) && v.At.Before(w.ClosesAt) {
			list = append(list, w)
		}
	}
	return list
}

// next lists the windows that come, the soonest first.
func (v View) next() []Window {
	var list []Window
	for _, w := range v.Windows {
		if v.At.Before(w.OpensAt) {
			list = append(list, w)
		}
	}
	return list
}
