package dashboard

import (
	"context"
	"fmt"
	"sync"
	"time"

	"wdpost/internal/condition"
)

// demo is a source with everything that pages show.
type demo struct {
	mu      sync.Mutex
	view    View
	past    []Past
	changed chan struct{}
	done    []Action
}

var noon = time.Date(2026, 3, 14, 12, 0, 0, 0, time.UTC)

// newDemo makes a cluster of so many miners with a hung store, a dead slave, a
// risen base fee and a missed deadline.
func newDemo(miners, partitions, slaves int) *demo {
	d := &demo{changed: make(chan struct{})}
	v := View{
		At: noon, Network: "mainnet", Build: "v1.0.0", Epoch: 4_800_000, BlockDelay: 30 * time.Second, BaseFee: "3.2 nanoFIL",
		Conditions: []condition.Condition{
			{Kind: "fee_cap_below_base_fee", Subject: "t01000", Cost: condition.Window, Since: noon.Add(-7 * time.Minute), Detail: "The base fee is 6.1 nanoFIL, the cap of t01000 is 5 nanoFIL.", Remedy: "Raise GasFeeCap in [Miners.PoSt] and reload."},
			{Kind: "store_hangs", Subject: "storage3", Cost: condition.Sectors, Since: noon.Add(-40 * time.Minute), Detail: "16 reads hang in storage3; 312 sectors lie there.", Remedy: "Check the mount of storage3; it is tried again by itself."},
			{Kind: "slave_gone", Subject: "gpu-2", Cost: condition.None, Since: noon.Add(-3 * time.Minute), Detail: "No sign of life since 11:57.", Remedy: "Look at the machine gpu-2."},
		},
		Nodes:    []Node{{Address: "ws://10.0.0.1:1234/rpc/v1", Height: 4_800_000, Used: true}, {Address: "ws://10.0.0.2:1234/rpc/v1", Height: 4_799_960, Lag: 40, Trouble: "40 epochs behind the clock"}},
		Stores:   []Store{{Name: "storage1", Path: "/mnt/nfs/1", Sectors: 4000, Used: 3 << 46, Total: 4 << 46, Latency: 8 * time.Millisecond, Breaker: "closed"}, {Name: "storage3", Path: "/mnt/nfs/3", Sectors: 312, Stuck: 16, Breaker: "open", Trouble: "no answer within 1m"}},
		Sectors:  []SectorState{{Miner: "t01000", Number: 17, Deadline: 3, Partition: 1, State: "skipped", Reason: "no answer from /mnt/nfs/3 within 1m", Store: "storage3", Actions: []string{"recover"}}},
		Messages: []Message{{ID: "1000-2880-3/post/0-2/1", CID: "bafy2bzaceexample", Kind: "post", Miner: "t01000", Deadline: 3, Sender: "t3worker", State: "waiting", SentAt: noon.Add(-4 * time.Minute), LatestAt: noon.Add(9 * time.Minute), FeeCap: "5 nanoFIL", Premium: "0.1 nanoFIL", Replaced: 1, Trouble: "base fee above the cap", Actions: []string{"replace-message"}, Partition: "0-2"}},
		Balances: []Balance{{Address: "t3worker", Role: "worker", Amount: "12.5 FIL", Days: 61}},
	}
	left := partitions
	for m := range miners {
		name := fmt.Sprintf("t0%d", 1000+m)
		miner := Miner{Name: name, Power: "1.2 PiB", Sectors: 40000, Faults: m % 3, NextOpen: noon.Add(10 * time.Minute)}
		for i := range 48 {
			c := Cell{Deadline: uint64(i), PeriodStart: 4_799_000, Verdict: "proven", Margin: 21 * time.Minute, Partitions: 3}
			switch {
			case i == 3:
				c.Verdict = "open"
			case i == 4:
				c.Verdict = "next"
			case i == 40 && m == 0:
				c.Verdict, c.Margin = "missed", 0
			}
			miner.Day = append(miner.Day, c)
		}
		v.Miners = append(v.Miners, miner)
		w := Window{Miner: name, Deadline: 3, PeriodStart: 4_799_000, Open: 4_799_960, Close: 4_800_020, OpensAt: noon.Add(-20 * time.Minute), ClosesAt: noon.Add(10 * time.Minute)}
		for b := range max(1, partitions/miners/3) {
			if left -= 3; left < -3 {
				break
			}
			w.Batches = append(w.Batches, Batch{Partitions: fmt.Sprintf("%d-%d", 3*b, 3*b+2), Stage: Stages[(b+m)%len(Stages)], Progress: .41, Usual: 9 * time.Minute, Slave: "gpu-1", Skipped: b % 2})
		}
		next := w
		next.Deadline, next.OpensAt, next.ClosesAt = 4, noon.Add(10*time.Minute), noon.Add(40*time.Minute)
		v.Windows = append(v.Windows, w, next)
	}
	for i := range slaves {
		s := Slave{Name: fmt.Sprintf("gpu-%d", i+1), State: "proving", Build: "v1.0.0", Cores: 64, Memory: 256 << 30, SectorSize: "32GiB", Proves: "t01000/3/0-2", Progress: .41, Usual: 9 * time.Minute, LastSeen: noon.Add(-2 * time.Second), Actions: []string{"drain-slave"}}
		if i == 1 {
			s.State, s.Progress, s.Proves, s.Trouble = "gone", 0, "", "no sign of life since 11:57"
		}
		v.Slaves = append(v.Slaves, s)
		v.Tasks = append(v.Tasks, Task{ID: fmt.Sprintf("%032x", i), Miner: "t01000", Deadline: 3, Partitions: "0-2", Sectors: 7047, State: "proving", Attempt: 1, Slave: s.Name, Progress: .41, ClosesAt: noon.Add(10 * time.Minute), Actions: []string{"retry-task"}})
	}
	for i := range 30 * 48 {
		p := Past{Miner: "t01000", Deadline: uint64(i % 48), PeriodStart: 4_700_000, ClosedAt: noon.Add(time.Duration(i-30*48) * 30 * time.Minute), Verdict: "proven", Partitions: 3, Proving: 9*time.Minute + time.Duration(i%7)*20*time.Second, Margin: 15*time.Minute - time.Duration(i%11)*30*time.Second, Gas: 25_000_000 + int64(i%13)*300_000, Fee: 0.021}
		if i == 700 {
			p.Verdict, p.Margin, p.Reason = "missed", 0, "no slave took the task"
		}
		d.past = append(d.past, p)
	}
	d.view = v
	return d
}

func (d *demo) View(context.Context) View {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.view
}

func (d *demo) Changed() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.changed
}

func (d *demo) change(f func(*View)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f(&d.view)
	close(d.changed)
	d.changed = make(chan struct{})
}

func (d *demo) History(_ context.Context, miner string, since time.Time) ([]Past, error) {
	var list []Past
	for _, p := range d.past {
		if p.ClosedAt.After(since) && (miner == "" || miner == p.Miner) {
			list = append(list, p)
		}
	}
	return list, nil
}

func (d *demo) Timeline(_ context.Context, miner string, periodStart int64, deadline uint64) (Timeline, error) {
	if miner != "t01000" {
		return Timeline{}, ErrNotFound
	}
	return Timeline{
		Past: Past{Miner: miner, Deadline: deadline, PeriodStart: periodStart, Verdict: "proven", Partitions: 3, Skipped: 1, Margin: 14 * time.Minute},
		Events: []Event{
			{At: noon.Add(-25 * time.Minute), Epoch: 4_799_950, What: "proof_failed", Text: "challenge 4799940"},
			{At: noon.Add(-24 * time.Minute), What: "message_refused", Text: "7047 sectors", Task: "0f9b22aa", Slave: "gpu-1"},
			{At: noon.Add(-15 * time.Minute), What: "proof_made", Slave: "gpu-1", Task: "0f9b22aa"},
			{At: noon.Add(-14 * time.Minute), Epoch: 4_799_972, What: "message_ended", CID: "bafy2bzaceexample"},
		},
		Skipped:  d.view.Sectors,
		Messages: d.view.Messages,
	}, nil
}

func (d *demo) Do(_ context.Context, a Action) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if a.Subject == "refuse" {
		return fmt.Errorf("task %s is done", a.Subject)
	}
	d.done = append(d.done, a)
	return nil
}
