//go:build galera

package mysql_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"wdpost/internal/queue"
	"wdpost/internal/queue/mysql"
	"wdpost/internal/queue/queuetest"
	"wdpost/internal/task"
)

// cluster takes the place of the private server: all tests of the store run on
// its first node, those below on all of them.
var cluster *queuetest.Galera

func startServer(dir string) (stop func() error, err error) {
	if cluster, err = queuetest.StartGalera(dir, 3); err != nil {
		return nil, err
	}
	server = cluster.Nodes[0].URL("")
	return cluster.Kill, nil
}

// nodes returns a store on each node, all of one empty database.
func nodes(t *testing.T) (stores []*mysql.DB, address func(node int) string) {
	t.Helper()
	cfg, _ := fresh(t)
	if cluster == nil {
		t.Skipf("needs a private cluster; %s is set", queuetest.EnvDSN)
	}
	everywhere(t, cfg)
	address = func(node int) string {
		_, _, a := queuetest.Server(t, cluster.Nodes[node].URL(""))
		return a
	}
	for i := range cluster.Nodes {
		cfg.Address = address(i)
		stores = append(stores, open(t, cfg))
	}
	return stores, address
}

// everywhere waits until every node knows a database that was made on another:
// who connects to it by name is not made to wait for it.
func everywhere(t *testing.T, cfg mysql.Config) {
	t.Helper()
	for i := range cluster.Nodes {
		_, _, cfg.Address = queuetest.Server(t, cluster.Nodes[i].URL(""))
		db, err := mysql.OpenUnmigrated(cfg, quiet)
		if err != nil {
			t.Fatal(err)
		}
		for begin := time.Now(); ; time.Sleep(20 * time.Millisecond) {
			if _, err = db.MaxPacket(t.Context()); err == nil || time.Since(begin) > 30*time.Second {
				break
			}
		}
		if err := errors.Join(err, db.Close()); err != nil {
			t.Fatalf("node %d: %v", i, err)
		}
	}
}

// Masters on all nodes that start together after an upgrade migrate in turn.
func TestNodesMigrateTogether(t *testing.T) {
	for round := range 4 {
		t.Run(fmt.Sprint(round), func(t *testing.T) {
			cfg, _ := fresh(t)
			if cluster == nil {
				t.Skipf("needs a private cluster; %s is set", queuetest.EnvDSN)
			}
			everywhere(t, cfg)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			var starts sync.WaitGroup
			for i := range 2 * len(cluster.Nodes) {
				_, _, cfg.Address = queuetest.Server(t, cluster.Nodes[i/2].URL(""))
				own := cfg
				starts.Go(func() {
					db, err := mysql.Open(ctx, own, quiet)
					if err == nil {
						err = db.Close()
					}
					if err != nil {
						t.Errorf("a master on node %d: %v", i/2, err)
					}
				})
			}
			starts.Wait()
		})
	}
}

// A slave whose master is lost goes on with another, on a node that has not
// yet applied what the first one wrote: it must not be told that its lease is
// lost.
func TestNodeThatIsBehind(t *testing.T) {
	stores, address := nodes(t)
	ctx := t.Context()
	admin, err := sql.Open("mysql", fmt.Sprintf("root:password@tcp(%s)/", address(1)))
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	admin.SetMaxOpenConns(1) // the lock belongs to a connection
	exec := func(query string) {
		t.Helper()
		if _, err := admin.Exec(query); err != nil {
			t.Fatalf("%s: %v", query, err)
		}
	}
	for name, call := range map[string]func(db *mysql.DB, l task.Lease) error{
		"Show": func(db *mysql.DB, l task.Lease) error {
			got, err := db.Show(ctx, l.ID)
			if err == nil && got.Attempt != l.Attempt {
				err = fmt.Errorf("shows attempt %d", got.Attempt)
			}
			return err
		},
		"Heartbeat": func(db *mysql.DB, l task.Lease) error {
			heard, err := db.Heartbeat(ctx, 105, []queue.Beat{{Lease: l}})
			if len(heard.Lost) > 0 {
				err = task.ErrLost
			}
			return err
		},
		"Fail": func(db *mysql.DB, l task.Lease) error {
			_, err := db.Fail(ctx, 105, l, queue.Failure{Kind: task.KindPermanent})
			return err
		},
		"Finish": func(db *mysql.DB, l task.Lease) error { return db.Finish(ctx, 105, l, []byte("a")) },
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := stores[0].Put(ctx, 100, queue.NewTask{ID: name, In: []byte("q"), NotAfter: 900}); err != nil {
				t.Fatal(err)
			}
			exec(`FLUSH TABLES WITH READ LOCK`) // the node applies nothing
			ts, err := stores[0].Claim(ctx, 100, []queue.Claimer{{Slave: "a"}})
			if err != nil {
				t.Fatal(err)
			}
			done := make(chan error, 1)
			go func() { done <- call(stores[1], ts[0].Lease()) }()
			select {
			case err = <-done:
				exec(`UNLOCK TABLES`)
			case <-time.After(500 * time.Millisecond):
				exec(`UNLOCK TABLES`)
				err = <-done
			}
			if err != nil {
				t.Fatal(err)
			}
		})
	}
}

// ring is a set of slaves and masters that work on the same tasks, each master
// on a node of its own.
type ring struct {
	t      *testing.T
	stores []*mysql.DB
	tasks  int
	begin  time.Time

	mu       sync.Mutex
	claimed  map[task.Lease]string // by whom
	accepted map[string]task.Lease // whose answer was taken, by task
	away     atomic.Int64          // calls that a node did not serve
	left     atomic.Int64          // tasks without an answer
}

// now is the time that the masters would take from the database.
func (r *ring) now() int64 { return 100 + int64(time.Since(r.begin).Seconds()) }

// try repeats a call, on the next node each time, until a node serves it or
// ctx ends.
func (r *ring) try(ctx context.Context, node int, call func(*mysql.DB) error) error {
	for {
		err := call(r.stores[node%len(r.stores)])
		if !errors.Is(err, queue.ErrUnavailable) {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		r.away.Add(1)
		node++
		time.Sleep(20 * time.Millisecond)
	}
}

// master puts all tasks and takes those of lost slaves back.
func (r *ring) master(ctx context.Context, node int) {
	for i := range r.tasks {
		all := r.t.Context() // every master asks every question, answered or not
		if err := r.try(all, node, func(db *mysql.DB) error {
			_, err := db.Put(all, r.now(), queue.NewTask{ID: fmt.Sprint(i), In: []byte("q"), NotAfter: queue.NoEnd})
			return err
		}); err != nil {
			r.t.Errorf("put: %v", err)
			return
		}
	}
	for ctx.Err() == nil {
		err := r.try(ctx, node, func(db *mysql.DB) error {
			_, err := db.Rescue(ctx, r.now(), queue.RescuePolicy{SilentSince: r.now() - 10, MaxRetry: 100})
			return err
		})
		if err != nil && ctx.Err() == nil {
			r.t.Errorf("rescue: %v", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// until waits until at most so many tasks are left.
func (r *ring) until(left int) {
	for r.left.Load() > int64(left) && !r.t.Failed() {
		time.Sleep(10 * time.Millisecond)
	}
}

// slave works until every task has its answer.
func (r *ring) slave(ctx context.Context, node, n int) {
	name := fmt.Sprintf("slave%d-%d", node, n)
	for r.left.Load() > 0 && !r.t.Failed() {
		var got queue.Task
		err := r.try(ctx, node, func(db *mysql.DB) error {
			ts, err := db.Claim(ctx, r.now(), []queue.Claimer{{Slave: name}})
			if err == nil {
				got = ts[0]
			}
			return err
		})
		if err != nil {
			r.t.Errorf("claim: %v", err)
			return
		}
		if got.ID == "" {
			time.Sleep(20 * time.Millisecond)
			continue
		}
		r.work(ctx, node, name, got)
	}
}

// work is a slave's way with one task; its heartbeat and its answer go through
// different masters.
func (r *ring) work(ctx context.Context, node int, name string, got queue.Task) {
	l := got.Lease()
	r.mu.Lock()
	if who, twice := r.claimed[l]; twice {
		r.t.Errorf("attempt %s went to %s and %s", l, who, name)
	}
	r.claimed[l] = name
	r.mu.Unlock()
	err := r.try(ctx, node+1, func(db *mysql.DB) error {
		heard, err := db.Heartbeat(ctx, r.now(), []queue.Beat{{Lease: l, Slave: name}})
		if len(heard.Lost) > 0 {
			err = task.ErrLost
		}
		return err
	})
	if err == nil {
		err = r.try(ctx, node+2, func(db *mysql.DB) error { return db.Finish(ctx, r.now(), l, answer(l)) })
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	switch first, twice := r.accepted[l.ID]; {
	case errors.Is(err, task.ErrLost):
		if silent := r.now() - got.HeartbeatAt; silent < 10 {
			r.t.Errorf("attempt %s was lost after %d s: %v", l, silent, err)
		}
	case err != nil:
		r.t.Errorf("attempt %s: %v", l, err)
	case twice:
		r.t.Errorf("task %s was answered by attempts %d and %d", l.ID, first.Attempt, l.Attempt)
	default:
		r.accepted[l.ID] = l
		r.left.Add(-1)
	}
}

func answer(l task.Lease) []byte { return fmt.Appendf(nil, "answer of %s", l) }

// check holds what a node has against what the slaves were told.
func (r *ring) check(node int) {
	for i := range r.tasks {
		got, err := r.stores[node].Show(r.t.Context(), fmt.Sprint(i))
		if err != nil {
			r.t.Errorf("node %d: %v", node, err)
			continue
		}
		l := r.accepted[got.ID]
		if got.State != task.Done || got.Attempt != l.Attempt || string(got.Out) != string(answer(l)) {
			r.t.Errorf("node %d: task %s is %s with %q of attempt %d, want attempt %d", node, got.ID, got.State, got.Out, got.Attempt, l.Attempt)
		}
	}
}

// conflicts counts what the nodes refused at commit or rolled back for the
// sake of another node, since they started.
func conflicts(t *testing.T) (n int) {
	for _, m := range cluster.Nodes {
		for _, name := range []string{"wsrep_local_cert_failures", "wsrep_local_bf_aborts"} {
			text, err := m.Status(t.Context(), name)
			if err != nil {
				t.Fatal(err)
			}
			v, err := strconv.Atoi(text)
			if err != nil {
				t.Fatal(err)
			}
			n += v
		}
	}
	return n
}

// Masters on all nodes put, claim and finish the same tasks at once; in the
// middle a node is killed and comes back. Nothing is lost, wrong, or given to
// two slaves under the same attempt.
func TestMastersOnAllNodes(t *testing.T) {
	stores, _ := nodes(t)
	r := &ring{t: t, stores: stores, tasks: 600, begin: time.Now(), claimed: map[task.Lease]string{}, accepted: map[string]task.Lease{}}
	r.left.Store(int64(r.tasks))
	ctx, stop := context.WithCancel(t.Context())
	var masters, slaves sync.WaitGroup
	defer func() { // before the stores are closed
		stop()
		slaves.Wait()
		masters.Wait()
	}()
	for node := range stores {
		masters.Go(func() { r.master(ctx, node) })
		for n := range 3 {
			slaves.Go(func() { r.slave(ctx, node, n) })
		}
	}
	before := conflicts(t)
	r.until(2 * r.tasks / 3)
	refused := conflicts(t) - before
	if err := cluster.Nodes[2].Kill(); err != nil {
		t.Fatal(err)
	}
	r.until(r.tasks / 3)
	if err := cluster.Return(2); err != nil {
		t.Fatal(err)
	}
	slaves.Wait()
	stop()
	masters.Wait()
	for node := range stores {
		r.check(node)
	}
	t.Logf("%d tasks, %d attempts in %v; %d conflicts between nodes before the kill, %d calls repeated on another node",
		r.tasks, len(r.claimed), time.Since(r.begin).Round(time.Second), refused, r.away.Load())
	if refused == 0 {
		t.Error("no conflict between nodes: this shows nothing")
	}
}
