package mysql_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"wdpost/internal/queue"
	"wdpost/internal/queue/mysql"
	"wdpost/internal/queue/queuetest"
	"wdpost/internal/task"
)

var quiet = slog.New(slog.DiscardHandler)

// server is the url of the server under test; noServer says why there is none.
var (
	server   string
	noServer error
	private  *queuetest.MariaDB
)

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// run uses the server of the environment, or a private one if it can.
func run(m *testing.M) (int, error) {
	if server = os.Getenv(queuetest.EnvDSN); server == "" {
		dir, err := os.MkdirTemp("", "wdpost-mariadb")
		if err != nil {
			return 1, err
		}
		defer os.RemoveAll(dir)
		stop, err := startServer(dir)
		switch {
		case errors.Is(err, queuetest.ErrNoMariaDB):
			noServer = err
		case err != nil:
			return 1, err
		default:
			defer stop()
		}
	}
	return m.Run(), nil
}

var databases atomic.Int64

// fresh creates an empty database and returns its address and a function that
// runs statements as the operator would.
func fresh(t *testing.T) (mysql.Config, func(query string)) {
	t.Helper()
	if server == "" {
		t.Skipf("%v, and %s is not set", noServer, queuetest.EnvDSN)
	}
	name := fmt.Sprintf("wdpost_test_%d_%d", os.Getpid(), databases.Add(1))
	plain := queuetest.Database(t, server, name)
	cfg := mysql.Config{Database: name, TLS: mysql.TLSDisabled, MaxConnections: 8}
	cfg.User, cfg.Password, cfg.Address = queuetest.Server(t, server)
	return cfg, func(query string) {
		t.Helper()
		if _, err := plain.Exec(query); err != nil {
			t.Fatalf("%s: %v", query, err)
		}
	}
}

func open(t *testing.T, cfg mysql.Config) *mysql.DB {
	t.Helper()
	db, err := mysql.Open(t.Context(), cfg, quiet)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

func TestConformance(t *testing.T) {
	queuetest.Exercise(t, func(t *testing.T) (queue.Store, func() queue.Store) {
		cfg, _ := fresh(t)
		return open(t, cfg), func() queue.Store { return open(t, cfg) }
	})
}

// guide is the SQL of the operator's guide, as the operator types it.
const guide = `
CREATE TABLE IF NOT EXISTS tasks (
    id CHAR(32) PRIMARY KEY NOT NULL,
    in_body LONGBLOB NOT NULL,
    created_at BIGINT NOT NULL,
    started_at BIGINT DEFAULT NULL,
    finished_at BIGINT DEFAULT NULL,
    retry_count SMALLINT NOT NULL DEFAULT 0,
    error_reason TEXT DEFAULT NULL,
    out_body LONGBLOB DEFAULT NULL,
    slave VARCHAR(100) DEFAULT NULL,
    heartbeat_at BIGINT DEFAULT NULL
) ENGINE = InnoDB CHARACTER SET = utf8mb4 COLLATE = utf8mb4_general_ci;
CREATE TABLE IF NOT EXISTS tasks_archived (
    id CHAR(32) PRIMARY KEY NOT NULL,
    in_body LONGBLOB NOT NULL,
    created_at BIGINT NOT NULL,
    started_at BIGINT DEFAULT NULL,
    finished_at BIGINT DEFAULT NULL,
    retry_count SMALLINT NOT NULL DEFAULT 0,
    error_reason TEXT DEFAULT NULL,
    out_body LONGBLOB DEFAULT NULL,
    slave VARCHAR(100) DEFAULT NULL,
    heartbeat_at BIGINT DEFAULT NULL
) ENGINE = InnoDB CHARACTER SET = utf8mb4 COLLATE = utf8mb4_general_ci;
CREATE VIEW tasks_view AS
SELECT id,
    in_body,
    FROM_UNIXTIME(created_at, '%Y-%m-%d %H:%i:%s') AS created_at,
    FROM_UNIXTIME(started_at, '%Y-%m-%d %H:%i:%s') AS started_at,
    FROM_UNIXTIME(finished_at, '%Y-%m-%d %H:%i:%s') AS finished_at,
    retry_count,
    error_reason,
    out_body,
    slave,
    FROM_UNIXTIME(heartbeat_at, '%Y-%m-%d %H:%i:%s') AS heartbeat_at
    FROM tasks;`

// Tables made by hand from the guide, with rows of an older version in them.
func TestMigrationsStartFromTheGuide(t *testing.T) {
	cfg, exec := fresh(t)
	exec(guide)
	exec(`INSERT INTO tasks (id, in_body, created_at) VALUES ('old', 'q', 50)`)
	exec(`INSERT INTO tasks_archived (id, in_body, created_at, started_at, finished_at, out_body) VALUES ('older', 'q', 1, 2, 3, 'a')`)
	db := open(t, cfg)
	ctx := t.Context()
	if ts, err := db.List(ctx, queue.Filter{}); err != nil || len(ts) != 1 || ts[0].State != task.Ready || ts[0].NotAfter != queue.NoEnd {
		t.Fatalf("tasks: %+v, %v", ts, err)
	}
	if got, err := db.Show(ctx, "older"); err != nil || got.State != task.Done || !got.Archived {
		t.Fatalf("archive: %+v, %v", got, err)
	}
	exec(`INSERT INTO wdpost_tasks (id, in_body, created_at) VALUES ('new', 'q', 51)`) // by hand
	if _, err := db.Put(ctx, 52, queue.NewTask{ID: "ours", In: []byte("question"), NotAfter: 900}); err != nil {
		t.Fatal(err)
	}
	for query, want := range map[string]string{
		`SELECT GROUP_CONCAT(in_body ORDER BY created_at) FROM tasks`:      "q,q,question",
		`SELECT GROUP_CONCAT(in_body ORDER BY created_at) FROM tasks_view`: "q,q,question",
		`SELECT COUNT(finished_at) FROM tasks_view`:                        "0",
	} {
		if got := value(t, cfg.Database, query); got != want {
			t.Errorf("%s: %q, want %q", query, got, want)
		}
	}
	exec(`UPDATE tasks SET started_at = 60 WHERE id = 'ours'`) // what is done by hand means what it looks like
	if got, err := db.Show(ctx, "ours"); err != nil || got.State != task.Running {
		t.Fatalf("started by hand: %+v, %v", got, err)
	}
	exec(`DELETE FROM tasks WHERE id = 'new'`)
	if v, err := db.MigrateDown(ctx, 0); err != nil || v != 0 {
		t.Fatalf("down: %d, %v", v, err)
	}
	if got := value(t, cfg.Database, `SELECT GROUP_CONCAT(in_body ORDER BY created_at) FROM tasks_view`); got != "q,question" {
		t.Fatalf("questions after going down: %q", got)
	}
	if _, err := db.Migrate(ctx); err != nil {
		t.Fatal(err)
	}
	if ts, err := db.List(ctx, queue.Filter{}); err != nil || len(ts) != 2 {
		t.Fatalf("tasks after down and up: %+v, %v", ts, err)
	}
}

func TestMastersMigrateTogether(t *testing.T) {
	cfg, _ := fresh(t)
	errs := make(chan error)
	for range 4 {
		go func() {
			db, err := mysql.Open(t.Context(), cfg, quiet)
			if err == nil {
				err = db.Close()
			}
			errs <- err
		}()
	}
	for range 4 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}

// A master waits for its turn to migrate, and takes that of one that has died.
func TestMigrationsInTurn(t *testing.T) {
	cfg, exec := fresh(t)
	open := func(patience time.Duration) error {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		db, err := mysql.Open(ctx, cfg, quiet)
		if err == nil {
			err = db.Close()
		}
		return err
	}
	exec(`CREATE TABLE wdpost_migrating (id TINYINT NOT NULL PRIMARY KEY, holder VARCHAR(64) NOT NULL, until_at BIGINT NOT NULL)`)
	exec(`INSERT INTO wdpost_migrating VALUES (1, 'another', UNIX_TIMESTAMP() + 3600)`)
	if err := open(500 * time.Millisecond); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("another migrates: %v", err)
	}
	exec(`UPDATE wdpost_migrating SET until_at = UNIX_TIMESTAMP() - 1`)
	if err := open(time.Minute); err != nil {
		t.Fatalf("the other has died: %v", err)
	}
	exec(`UPDATE wdpost_migrating SET holder = 'another', until_at = UNIX_TIMESTAMP() + 3600`)
	if err := open(time.Minute); err != nil {
		t.Fatalf("nothing to migrate: %v", err)
	}
}

// The claim reads its rows in the order of its index: a sort would lock every
// ready task, and other claimers would find none.
func TestClaimDoesNotSort(t *testing.T) {
	cfg, exec := fresh(t)
	db := open(t, cfg)
	exec(`CREATE PROCEDURE fill() BEGIN DECLARE i INT DEFAULT 0; WHILE i < 500 DO
		INSERT INTO wdpost_tasks (id, in_body, created_at, started_at, finished_at) VALUES (i, 'q', i, IF(i%2, NULL, 1), IF(i%2, NULL, 2)); SET i = i + 1; END WHILE; END`)
	exec(`CALL fill()`)
	plan := plan(t, cfg.Database, `SELECT * FROM wdpost_tasks FORCE INDEX (wdpost_tasks_ready) WHERE finished_at IS NULL AND started_at IS NULL
		AND not_after > 5 AND ready_at <= 5 ORDER BY troubles, not_after, created_at, id LIMIT 1 FOR UPDATE SKIP LOCKED`)
	if strings.Contains(plan, "filesort") || !strings.Contains(plan, "wdpost_tasks_ready") {
		t.Fatalf("plan: %s", plan)
	}
	if ts, err := db.Claim(t.Context(), 1000, []queue.Claimer{{Slave: "a"}}); err != nil || ts[0].ID != "1" {
		t.Fatalf("claimed %+v, %v", ts, err)
	}
}

func TestSetupErrorsNameTheRemedy(t *testing.T) {
	cfg, _ := fresh(t)
	open := func(change func(*mysql.Config)) error {
		c := cfg
		change(&c)
		db, err := mysql.Open(t.Context(), c, quiet)
		if err == nil {
			_ = db.Close()
		}
		return err
	}
	for want, change := range map[string]func(*mysql.Config){
		"check user and password": func(c *mysql.Config) { c.Password = "secret-word" },
		"CREATE DATABASE":         func(c *mysql.Config) { c.Database = "nowhere" },
		"unknown TLS mode":        func(c *mysql.Config) { c.TLS = "MAYBE" },
	} {
		err := open(change)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret-word") {
			t.Errorf("want %q in: %v", want, err)
		}
	}
	if err := open(func(c *mysql.Config) { c.Address = "127.0.0.1:1" }); !errors.Is(err, queue.ErrUnavailable) {
		t.Errorf("a server that is away: %v", err)
	}
}

// value reads one text.
func value(t *testing.T, database, query string) string {
	t.Helper()
	user, password, address := queuetest.Server(t, server)
	db, err := sql.Open("mysql", fmt.Sprintf("%s:%s@tcp(%s)/%s", user, password, address, database))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var out sql.NullString
	if err := db.QueryRow(query).Scan(&out); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return out.String
}

// plan returns how the server would run a statement.
func plan(t *testing.T, database, query string) string {
	t.Helper()
	user, password, address := queuetest.Server(t, server)
	db, err := sql.Open("mysql", fmt.Sprintf("%s:%s@tcp(%s)/%s", user, password, address, database))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var out string
	if err := db.QueryRow("EXPLAIN FORMAT=JSON " + query).Scan(&out); err != nil {
		t.Fatal(err)
	}
	return out
}

// The server dies and comes back in the middle of a task.
func TestServerGoesAwayAndComesBack(t *testing.T) {
	if private == nil {
		t.Skip("needs a private server to kill")
	}
	cfg, _ := fresh(t)
	db := open(t, cfg)
	ctx := t.Context()
	if _, err := db.Put(ctx, 100, queue.NewTask{ID: "1", In: []byte("q"), NotAfter: 900}); err != nil {
		t.Fatal(err)
	}
	ts, err := db.Claim(ctx, 100, []queue.Claimer{{Slave: "a"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := private.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := db.Finish(ctx, 101, ts[0].Lease(), []byte("a")); !errors.Is(err, queue.ErrUnavailable) {
		t.Fatalf("finish without a server: %v", err)
	}
	if err := private.Restart(); err != nil {
		t.Fatal(err)
	}
	if err := db.Finish(ctx, 102, ts[0].Lease(), []byte("a")); err != nil {
		t.Fatal(err)
	}
	if got, err := db.Show(ctx, "1"); err != nil || got.State != task.Done {
		t.Fatalf("afterwards: %+v, %v", got, err)
	}
}
