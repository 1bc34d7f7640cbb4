package rpc_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"wdpost/internal/queue"
	"wdpost/internal/queue/mysql"
	"wdpost/internal/queue/queuetest"
	"wdpost/internal/queue/sqlite"
	"wdpost/internal/rpc"
	"wdpost/internal/task"
)

// databases runs a benchmark on SQLite and, where there is a server or one can
// be started, on MariaDB. fill gets a plain connection to prepare rows with.
func databases(b *testing.B, bench func(b *testing.B, store queue.Store, fill *sql.DB)) {
	b.Run("sqlite", func(b *testing.B) {
		path := filepath.Join(b.TempDir(), "queue.db")
		store, err := sqlite.Open(b.Context(), path, slog.New(slog.DiscardHandler))
		if err != nil {
			b.Fatal(err)
		}
		fill, err := sql.Open("sqlite", path)
		if err != nil {
			b.Fatal(err)
		}
		defer func() { _ = errors.Join(fill.Close(), store.Close()) }()
		bench(b, store, fill)
	})
	b.Run("mariadb", func(b *testing.B) {
		server := os.Getenv(queuetest.EnvDSN)
		if server == "" {
			private, err := queuetest.StartMariaDB(b.TempDir())
			if errors.Is(err, queuetest.ErrNoMariaDB) {
				b.Skip(err)
			}
			if err != nil {
				b.Fatal(err)
			}
			defer private.Kill()
			server = private.URL("")
		}
		const name = "wdpost_bench"
		fill := queuetest.Database(b, server, name)
		cfg := mysql.Config{Database: name, TLS: mysql.TLSDisabled}
		cfg.User, cfg.Password, cfg.Address = queuetest.Server(b, server)
		store, err := mysql.Open(b.Context(), cfg, slog.New(slog.DiscardHandler))
		if err != nil {
			b.Fatal(err)
		}
		defer func() { _ = store.Close() }()
		bench(b, store, fill)
	})
}

// accepting accepts every proof: the queue is measured, not the pairing.
type accepting struct{}

func (accepting) VerifyWindowPoSt(context.Context, task.Question, task.Answer) error { return nil }

// cluster is a master with connected slaves that answer at once.
type cluster struct {
	q     *queue.Queue
	got   chan time.Time // when a slave has a task; taken from if anyone wants to know
	close func()
}

func newCluster(b *testing.B, store queue.Store, slaves int) *cluster {
	b.Helper()
	quiet := slog.New(slog.DiscardHandler)
	ctx, cancel := context.WithCancel(context.Background())
	q, err := queue.New(ctx, store, queue.Config{MaxRetry: 2, Verifier: accepting{}, Log: quiet})
	if err != nil {
		b.Fatal(err)
	}
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	got := make(chan time.Time, 1)
	var wg sync.WaitGroup
	wg.Go(func() { q.Run(ctx) })
	serving, stopServing := context.WithCancel(ctx)
	var server sync.WaitGroup
	server.Go(func() {
		if err := rpc.NewServer(rpc.ServerConfig{Queue: queue.Undecoded{Queue: q}, Log: quiet, MaxConnections: slaves}).Serve(serving, lis); err != nil {
			b.Error(err)
		}
	})
	for i := range slaves {
		c, err := rpc.NewClient(rpc.ClientConfig{Addresses: []string{lis.Addr().String()}, Name: fmt.Sprintf("slave-%d", i)})
		if err != nil {
			b.Fatal(err)
		}
		wg.Go(func() {
			defer c.Close()
			for ctx.Err() == nil {
				a, err := c.Claim(ctx, task.Want{}, 20*time.Second)
				if err != nil {
					continue
				}
				select {
				case got <- time.Now():
				default:
				}
				_, beat := c.Heartbeat(ctx, map[task.Lease]string{a.Lease: "proving"})
				finish := c.Finish(ctx, a.Lease, task.Answer{Proofs: [][]byte{make([]byte, 192)}})
				if err := errors.Join(beat, finish); err != nil && ctx.Err() == nil {
					b.Error(err)
				}
			}
		})
	}
	return &cluster{q: q, got: got, close: func() {
		stopServing()
		server.Wait()
		cancel()
		wg.Wait()
	}}
}

// benchQuestion is the n-th question, of the size of a small partition.
func benchQuestion(n int64) task.Question {
	q := task.Question{MinerID: uint64(n), ProofType: "StackedDrgWindow32GiBV1_2"}
	for i := range 20 {
		q.Replicas = append(q.Replicas, task.Replica{SectorID: uint64(i), CacheDir: "/mnt/store/cache/s-t01008-1", SealedFile: "/mnt/store/sealed/s-t01008-1"})
	}
	return q
}

// fullQuestion is the n-th question of a full message: three partitions of
// 32 GiB sectors, 7,047 of them, under long paths with Chinese names; 2.6 MB.
func fullQuestion(n int64) task.Question {
	q := task.Question{MinerID: uint64(n), ProofType: "StackedDrgWindow32GiBV1_2"}
	for i := range 7047 {
		name := fmt.Sprintf("s-t01008-%d", 100_000+i)
		r := task.Replica{SectorID: uint64(i), CacheDir: "/mnt/存储/" + strconv.Itoa(i%40) + "/cache/" + name, SealedFile: "/mnt/存储/" + strconv.Itoa(i%40) + "/sealed/" + name}
		for b := range r.CommR {
			r.CommR[b] = byte(100 + i + b)
		}
		q.Replicas = append(q.Replicas, r)
	}
	return q
}

var benchTask atomic.Int64

// BenchmarkThroughput: 200 slaves, tasks put, claimed, heartbeaten, finished
// and answered, every commit durable.
func BenchmarkThroughput(b *testing.B) { throughput(b, 200, 200, benchQuestion) }

// BenchmarkThroughputOf1000Slaves is BenchmarkThroughput with a larger site.
func BenchmarkThroughputOf1000Slaves(b *testing.B) { throughput(b, 1000, 1000, benchQuestion) }

// BenchmarkFullQuestions is BenchmarkThroughput with questions of full messages,
// of which a hundred are under way at once.
func BenchmarkFullQuestions(b *testing.B) { throughput(b, 1000, 100, fullQuestion) }

// throughput measures tasks a second with so many slaves and askers.
func throughput(b *testing.B, slaves, askers int, question func(int64) task.Question) {
	databases(b, func(b *testing.B, store queue.Store, _ *sql.DB) {
		c := newCluster(b, store, slaves)
		defer c.close()
		var wg sync.WaitGroup
		work := make(chan int64)
		for range askers {
			wg.Go(func() {
				for n := range work {
					if _, err := c.q.Ask(context.Background(), question(n)); err != nil {
						b.Error(err)
					}
				}
			})
		}
		begin := time.Now()
		n := 0
		for b.Loop() {
			work <- benchTask.Add(1)
			n++
		}
		close(work)
		wg.Wait()
		b.ReportMetric(float64(n)/time.Since(begin).Seconds(), "tasks/s")
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		b.ReportMetric(float64(m.Sys)/(1<<20), "MiB")
	})
}

// BenchmarkIdleSlaves: what ten thousand slaves that wait cost the master, in
// cores; ns/op is meaningless.
func BenchmarkIdleSlaves(b *testing.B) {
	databases(b, func(b *testing.B, store queue.Store, _ *sql.DB) {
		const slaves = 10_000
		quiet := slog.New(slog.DiscardHandler)
		ctx, cancel := context.WithCancel(context.Background())
		q, err := queue.New(ctx, store, queue.Config{Verifier: accepting{}, Log: quiet})
		if err != nil {
			b.Fatal(err)
		}
		var wg sync.WaitGroup
		wg.Go(func() { _ = q.Run(ctx) })
		for n := range slaves {
			wg.Go(func() {
				me := queue.Slave{Name: fmt.Sprint("slave-", n), ID: fmt.Sprint(n)}
				for ctx.Err() == nil {
					poll, done := context.WithTimeout(ctx, 20*time.Second)
					_, _ = q.Claim(poll, me, task.Want{Holding: &task.Holding{}})
					done()
				}
			})
		}
		time.Sleep(5 * time.Second) // all have introduced themselves
		begin, used := time.Now(), cpu(b)
		for b.Loop() {
			time.Sleep(20 * time.Second) // each claims once
		}
		b.ReportMetric((cpu(b)-used).Seconds()/time.Since(begin).Seconds(), "cores")
		cancel()
		wg.Wait()
	})
}

// cpu is the time that this process has used of its cores.
func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkIdleSlave: from the question to the slave that waits for one; ns/op
// is until the answer.
func BenchmarkIdleSlave(b *testing.B) {
	databases(b, func(b *testing.B, store queue.Store, _ *sql.DB) {
		c := newCluster(b, store, 200)
		defer c.close()
		time.Sleep(time.Second) // all claims wait
		var took []time.Duration
		for b.Loop() {
			begin := time.Now()
			if _, err := c.q.Ask(context.Background(), benchQuestion(benchTask.Add(1))); err != nil {
				b.Fatal(err)
			}
			took = append(took, (<-c.got).Sub(begin))
		}
		report(b, took)
	})
}

// BenchmarkClaimBesideArchive: a claim while a million tasks are archived.
func BenchmarkClaimBesideArchive(b *testing.B) {
	databases(b, func(b *testing.B, store queue.Store, fill *sql.DB) {
		const rows, batch = 1_000_000, 10_000
		ctx := b.Context()
		for first := 0; first < rows; first += batch {
			values := make([]byte, 0, batch*100)
			for n := first; n < first+batch; n++ {
				if n > first {
					values = append(values, ',')
				}
				values = fmt.Appendf(values, "('%032x', 'question', %d, %d, %d, 'answer')", n, n, n, n)
			}
			if _, err := fill.ExecContext(ctx, "INSERT INTO tasks_archived (id, in_body, created_at, started_at, finished_at, out_body) VALUES "+string(values)); err != nil {
				b.Fatal(err)
			}
		}
		var took []time.Duration
		for b.Loop() {
			b.StopTimer()
			if _, err := store.Put(ctx, 1000, queue.NewTask{ID: fmt.Sprintf("bench%027x", benchTask.Add(1)), In: []byte("{}"), NotAfter: queue.NoEnd}); err != nil {
				b.Fatal(err)
			}
			b.StartTimer()
			begin := time.Now()
			ts, err := store.Claim(ctx, 1001, []queue.Claimer{{Slave: "a"}})
			if err != nil || ts[0].ID == "" {
				b.Fatalf("%+v, %v", ts, err)
			}
			took = append(took, time.Since(begin))
		}
		report(b, took)
	})
}

// report adds the median and the 99th percentile.
func report(b *testing.B, took []time.Duration) {
	slices.Sort(took)
	for p, name := range map[int]string{50: "p50-ms", 99: "p99-ms"} {
		b.ReportMetric(float64(took[len(took)*p/100].Microseconds())/1000, name)
	}
}
