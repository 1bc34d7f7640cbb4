//go:build !galera

package mysql_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"wdpost/internal/queue"
	"wdpost/internal/queue/mysql"
	"wdpost/internal/queue/queuetest"
	"wdpost/internal/task"
)

// odd starts a server of its own with settings that are found in the field.
func odd(t *testing.T, args ...string) (mysql.Config, *sql.DB) {
	t.Helper()
	m, err := queuetest.StartMariaDB(t.TempDir(), args...)
	if errors.Is(err, queuetest.ErrNoMariaDB) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Kill() })
	plain := queuetest.Database(t, m.URL(""), "odd")
	cfg := mysql.Config{Database: "odd", TLS: mysql.TLSDisabled, MaxConnections: 8}
	cfg.User, cfg.Password, cfg.Address = queuetest.Server(t, m.URL(""))
	return cfg, plain
}

// A server that overlooks the character set that a client asks for does not let
// the text of a slave out of its quotes (storage and queue, F9).
func TestCharacterSetIsEnforced(t *testing.T) {
	cfg, _ := odd(t, "--character-set-server=gbk", "--collation-server=gbk_chinese_ci", "--skip-character-set-client-handshake")
	db := open(t, cfg)
	names := []string{"中' OR 1=1 -- ", "中', 'x', 0, 0, 0, 0, NULL) -- ", "機房\\", "ü'\"\\"}
	for i, name := range names {
		id := fmt.Sprint(i)
		_, err := db.Put(t.Context(), 100, queue.NewTask{ID: id, In: []byte("q中'"), NotAfter: 900, About: queue.About{Known: true, Stores: []string{"/存储'/" + name}}})
		if err != nil {
			t.Fatal(err)
		}
		ts, err := db.Claim(t.Context(), 100, []queue.Claimer{{Slave: name}})
		if err != nil || ts[0].ID != id {
			t.Fatalf("claim of %q: %+v, %v", name, ts, err)
		}
		if _, err := db.Heartbeat(t.Context(), 101, []queue.Beat{{Lease: ts[0].Lease(), Progress: name}}); err != nil {
			t.Fatal(err)
		}
		if _, err := db.SeeSlaves(t.Context(), 101, []queue.Slave{{Name: name, Report: &task.Report{Why: name}}}); err != nil {
			t.Fatal(err)
		}
		got, err := db.Show(t.Context(), id)
		if err != nil || got.Slave != name || got.Progress != name || got.About.Stores[0] != "/存储'/"+name || string(got.In) != "q中'" {
			t.Fatalf("stored %+v, %v", got, err)
		}
	}
	slaves, err := db.Slaves(t.Context(), 0)
	if err != nil || len(slaves) != len(names) {
		t.Fatalf("%d slaves, %v", len(slaves), err)
	}
}

// written returns how many bytes of binary log do writes.
func written(t *testing.T, plain *sql.DB, do func()) int {
	t.Helper()
	at := func() int {
		t.Helper()
		rows, err := plain.Query(`SHOW MASTER STATUS`)
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		columns, err := rows.Columns()
		if err != nil || !rows.Next() {
			t.Fatalf("no binary log: %v", err)
		}
		values := make([]sql.RawBytes, len(columns))
		dest := make([]any, len(columns))
		for i := range values {
			dest[i] = &values[i]
		}
		if err := rows.Scan(dest...); err != nil {
			t.Fatal(err)
		}
		n, err := strconv.Atoi(string(values[1]))
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	before := at()
	do()
	return at() - before
}

// What a claim, a heartbeat and an answer write does not grow with the question,
// and the guide's table and view tell the truth all the while.
func TestWritesDoNotGrowWithTheQuestion(t *testing.T) {
	cfg, plain := odd(t, "--log-bin=bin", "--binlog-format=ROW", "--binlog-row-image=FULL", "--server-id=1", "--max-allowed-packet=64M")
	db := open(t, cfg)
	ctx := t.Context()
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	question := bytes.Repeat([]byte("/存储/s-t01008-1"), 2_600_000/17)
	id := strings.Repeat("ab", 16)
	_, err := db.Put(ctx, 100, queue.NewTask{ID: id, In: question, NotAfter: 9000, About: queue.About{Known: true, Stores: []string{"/mnt/a", "/mnt/b"}}})
	ok(err)
	truth := func(want string) {
		t.Helper()
		for _, table := range []string{"tasks", "tasks_view"} {
			query := `SELECT CONCAT_WS(' ', LENGTH(in_body), heartbeat_at, slave, finished_at) FROM ` + table
			if table == "tasks_view" {
				query = `SELECT CONCAT_WS(' ', LENGTH(in_body), UNIX_TIMESTAMP(heartbeat_at), slave, UNIX_TIMESTAMP(finished_at)) FROM ` + table
			}
			var got string
			ok(plain.QueryRow(query).Scan(&got))
			if want := fmt.Sprint(len(question), want); got != want {
				t.Errorf("%s shows %q, want %q", table, got, want)
			}
		}
	}
	var l task.Lease
	for _, step := range []struct {
		name, truth string
		do          func() error
	}{
		{"claim", " 110 a", func() error {
			ts, err := db.Claim(ctx, 110, []queue.Claimer{{Slave: "a", ID: strings.Repeat("i", 26)}})
			if err == nil {
				l = ts[0].Lease()
				if !bytes.Equal(ts[0].In, question) {
					t.Error("another question came back")
				}
			}
			return err
		}},
		{"heartbeat", " 115 a", func() error {
			_, err := db.Heartbeat(ctx, 115, []queue.Beat{{Lease: l, Progress: "reading sectors 7% 5s"}})
			return err
		}},
		{"second heartbeat", " 120 a", func() error {
			_, err := db.Heartbeat(ctx, 120, []queue.Beat{{Lease: l, Progress: "proving 41% 10s"}})
			return err
		}},
		{"answer", " 120 a 130", func() error { return db.Finish(ctx, 130, l, bytes.Repeat([]byte("p"), 300)) }},
	} {
		most := 1024
		if step.name == "answer" {
			most += 2 * 300 // the proof itself
		}
		if n := written(t, plain, func() { ok(step.do()) }); n == 0 || n > most {
			t.Errorf("%s: writes %d bytes, at most %d expected", step.name, n, most)
		} else {
			t.Logf("%s: writes %d bytes", step.name, n)
		}
		truth(step.truth)
	}
}

// A server whose packets are too small for the largest question is found at the
// start, and named with the remedy when it refuses one (F8).
func TestPacketLimitIsNamed(t *testing.T) {
	cfg, _ := odd(t, "--max-allowed-packet=1M")
	db := open(t, cfg)
	if limit, err := db.MaxPacket(t.Context()); err != nil || limit != 1<<20 {
		t.Fatalf("%d, %v", limit, err)
	}
	_, err := db.Put(t.Context(), 100, queue.NewTask{ID: "1", In: make([]byte, 2_500_000), NotAfter: 900})
	wantRemedy(t, err, "max_allowed_packet")
}

// wantRemedy checks that an error says what to do and is no absence of the
// database.
func wantRemedy(t *testing.T, err error, want string) {
	t.Helper()
	var r queue.Remedy
	if !errors.As(err, &r) || !strings.Contains(r.Remedy(), want) || !strings.Contains(err.Error(), r.Remedy()) || errors.Is(err, queue.ErrAway) {
		t.Errorf("%v: want the remedy %q", err, want)
	}
}

// A server that is read-only, and tables that a backup holds, are named.
func TestHinderedServersAreNamed(t *testing.T) {
	cfg, plain := odd(t)
	db := open(t, cfg)
	exec := func(query string) {
		t.Helper()
		if _, err := plain.Exec(query); err != nil {
			t.Fatalf("%s: %v", query, err)
		}
	}
	exec(`CREATE USER 'wd'@'127.0.0.1' IDENTIFIED BY 'w'`)
	exec(`GRANT ALL ON odd.* TO 'wd'@'127.0.0.1'`)
	exec(`SET GLOBAL read_only = 1`)
	cfg.User, cfg.Password = "wd", "w"
	limited := open(t, cfg)
	put := func(db *mysql.DB, id string) error {
		_, err := db.Put(t.Context(), 100, queue.NewTask{ID: id, In: []byte("q"), NotAfter: 900})
		return err
	}
	wantRemedy(t, put(limited, "1"), "read-only")
	exec(`SET GLOBAL read_only = 0`)
	if err := put(limited, "1"); err != nil {
		t.Errorf("after it: %v", err)
	}
	exec(`REVOKE ALL ON odd.* FROM 'wd'@'127.0.0.1'`)
	cfg.MaxConnections = 4
	if _, err := mysql.Open(t.Context(), cfg, quiet); err == nil || errors.Is(err, queue.ErrUnavailable) {
		t.Errorf("without any right: %v", err)
	} else {
		wantRemedy(t, err, "grant")
	}
	exec(`CREATE USER 'sock'@'127.0.0.1' IDENTIFIED VIA unix_socket`)
	cfg.User = "sock"
	_, err := mysql.Open(t.Context(), cfg, quiet)
	wantRemedy(t, err, "socket")
	_ = db
}

// migrate mends what its own message sends people to it for: tables that were
// dropped, or made anew by the guide's SQL (F22).
func TestMigrateMendsTables(t *testing.T) {
	for name, harm := range map[string]string{
		"state dropped":               `DROP TABLE wdpost_tasks`,
		"questions dropped":           `DROP TABLE wdpost_bodies`,
		"archive and slaves dropped":  `DROP TABLE tasks_archived; DROP TABLE slaves; DROP TABLE wdpost_migrating; DROP TABLE wdpost_clock`,
		"views dropped":               `DROP VIEW tasks_view; DROP VIEW tasks`,
		"a column dropped":            `ALTER TABLE wdpost_tasks DROP COLUMN tried`,
		"index dropped":               `DROP INDEX wdpost_tasks_ready ON wdpost_tasks`,
		"made anew by the guide":      `DROP VIEW tasks_view; DROP VIEW tasks; DROP TABLE wdpost_tasks; DROP TABLE tasks_archived; ` + guide,
		"the guide's beside the ours": `DROP VIEW tasks_view; DROP VIEW tasks; DROP TABLE tasks_archived; ` + guide + ` INSERT INTO tasks (id, in_body, created_at) VALUES ('foreign', 'q', 1)`,
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			cfg, exec := fresh(t)
			db := open(t, cfg)
			exec(harm)
			if _, err := db.Migrate(t.Context()); err != nil {
				t.Fatal(err)
			}
			if _, err := db.Put(t.Context(), 100, queue.NewTask{ID: "1", In: []byte("q"), NotAfter: 50}); err != nil {
				t.Fatal(err)
			}
			if _, err := db.DropClosed(t.Context(), 60); err != nil {
				t.Fatal(err)
			}
			if got := value(t, cfg.Database, `SELECT in_body FROM tasks_view WHERE id = '1'`); got != "q" {
				t.Errorf("tasks_view shows %q", got)
			}
			if n, err := db.Archive(t.Context(), 100, 10); err != nil || n != 1 {
				t.Errorf("archived %d, %v", n, err)
			}
			if name == "the guide's beside the ours" {
				if got, err := db.Show(t.Context(), "foreign"); err != nil || string(got.In) != "q" {
					t.Errorf("the row that was put there: %+v, %v", got, err)
				}
			}
		})
	}
}

// statements counts the statements that a server has run for us.
func statements(t *testing.T, plain *sql.DB) int {
	t.Helper()
	var name string
	var n int
	if err := plain.QueryRow(`SHOW GLOBAL STATUS LIKE 'Questions'`).Scan(&name, &n); err != nil {
		t.Fatal(err)
	}
	return n
}

// passing takes every answer.
type passing struct{}

func (passing) VerifyWindowPoSt(context.Context, task.Question, task.Answer) error { return nil }

// Two hundred idle slaves cost the database at most 12 statements a second, and
// a task's whole life at most 10.
func TestStatementsAreFew(t *testing.T) {
	cfg, plain := odd(t)
	db := open(t, cfg)
	q, err := queue.New(t.Context(), db, queue.Config{Verifier: passing{}, Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() { _ = q.Run(ctx) })
	const slaves = 200
	for n := range slaves {
		wg.Go(func() {
			me := queue.Slave{Name: fmt.Sprint("slave-", n), ID: fmt.Sprint(n), Concurrent: 1}
			for ctx.Err() == nil {
				poll, done := context.WithTimeout(ctx, 20*time.Second)
				a, err := q.Claim(poll, me, task.Want{Holding: &task.Holding{}})
				done()
				if err != nil {
					continue
				}
				if err := q.Finish(ctx, me.Name, a.Lease, task.Answer{Proofs: [][]byte{{1}}}); err != nil && ctx.Err() == nil {
					t.Errorf("finish: %v", err)
				}
			}
		})
	}
	time.Sleep(time.Second) // all have introduced themselves
	before, begin := statements(t, plain), time.Now()
	time.Sleep(5 * time.Second)
	idle := float64(statements(t, plain)-before) / time.Since(begin).Seconds()
	if idle > 12 {
		t.Errorf("%.1f statements a second for %d idle slaves", idle, slaves)
	}

	const tasks = 1000
	before, begin = statements(t, plain), time.Now()
	var asks sync.WaitGroup
	for n := range tasks {
		asks.Go(func() {
			_, err := q.Ask(ctx, task.Question{MinerID: 1008, ProofType: "StackedDrgWindow2KiBV1_2", Replicas: []task.Replica{{SectorID: uint64(n)}}})
			if err != nil {
				t.Errorf("ask: %v", err)
			}
		})
	}
	asks.Wait()
	// What runs all the time is not the tasks'.
	each := (float64(statements(t, plain)-before) - idle*time.Since(begin).Seconds()) / tasks
	if each > 10 {
		t.Errorf("%.1f statements a task", each)
	}
	t.Logf("%.1f statements a second when idle, %.1f a task, %d tasks in %s", idle, each, tasks, time.Since(begin).Round(time.Millisecond))
}
