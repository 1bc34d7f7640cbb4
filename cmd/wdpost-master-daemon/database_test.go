package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"wdpost/internal/queue/queuetest"
)

// sharedLog is a log that is read while it is written.
type sharedLog struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *sharedLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *sharedLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// child is a daemon in this process with the test as its parent.
type child struct {
	t      *testing.T
	log    *sharedLog
	stdin  *os.File
	stdout *bufio.Reader
	debug  string
	ended  chan error
}

func startChild(t *testing.T, databaseURL string) *child {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &child{t: t, log: &sharedLog{}, debug: lis.Addr().String(), ended: make(chan error, 1)}
	if err := lis.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "wdpost_master.toml")
	text := fmt.Sprintf("[server]\nlisten = '127.0.0.1:0'\n[db]\nurl = '%s'\n[debug]\nlisten = '%s'\n", databaseURL, c.debug)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	in, parent, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	answers, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	c.stdin, c.stdout = parent, bufio.NewReader(answers)
	a := &app{log: slog.New(slog.NewTextHandler(c.log, nil)), stdin: in, stdout: out, getenv: func(string) string { return "" }, configPath: path}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		c.ended <- a.daemon(ctx)
		_ = out.Close() // a parent that reads on sees the end
	}()
	t.Cleanup(func() {
		_ = parent.Close() // closed already where the test went well
		cancel()
		_, _ = answers.Close(), in.Close()
	})
	return c
}

// health returns the status and the text of /healthz.
func (c *child) health() (int, string) {
	res, err := http.Get("http://" + c.debug + "/healthz")
	if err != nil {
		return 0, err.Error()
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, err.Error()
	}
	return res.StatusCode, string(body)
}

// await polls until the condition holds.
func (c *child) await(what string, holds func() bool) {
	c.t.Helper()
	for begin := time.Now(); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Since(begin) > time.Minute {
			c.t.Fatalf("%s: not within a minute\n%s", what, c.log)
		}
	}
}

func mariaDB(t *testing.T) *queuetest.MariaDB {
	t.Helper()
	m, err := queuetest.StartMariaDB(t.TempDir())
	if errors.Is(err, queuetest.ErrNoMariaDB) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Kill(); err != nil {
			t.Error(err)
		}
	})
	return m
}

// A child whose database is away announces itself, says so in one line, and goes
// on when the database comes; one that cannot use it ends with the remedy.
func TestDatabaseThatComesLate(t *testing.T) {
	m := mariaDB(t)
	queuetest.Database(t, m.URL(""), "late")
	if err := m.Kill(); err != nil {
		t.Fatal(err)
	}

	c := startChild(t, m.URL("late"))
	if line, err := c.stdout.ReadString('\n'); err != nil || line != "window_post processor ready\n" {
		t.Fatalf("%q, %v\n%s", line, err, c.log)
	}
	c.await("healthz", func() bool {
		status, text := c.health()
		return status == http.StatusServiceUnavailable && strings.Contains(text, "connection refused")
	})
	if _, err := c.stdin.WriteString(`{"id":7,"task":{"miner_id":1008,"proof_type":"StackedDrgWindow2KiBV1_2","replicas":[{"sector_id":1}],"seed":[` +
		strings.Repeat("0,", 31) + "0]}}\n"); err != nil {
		t.Fatal(err)
	}
	if err := m.Restart(); err != nil {
		t.Fatal(err)
	}
	c.await("the question in the queue", func() bool { return strings.Contains(c.log.String(), "task queued") })
	c.await("healthz", func() bool { status, _ := c.health(); return status == http.StatusOK })
	for key, want := range map[string]int{"database ready": 1, "listening for slaves": 1, "the database is not there yet": 1, "level=ERROR": 0} {
		if n := strings.Count(c.log.String(), key); n != want {
			t.Errorf("%q is %d times in the log, want %d:\n%s", key, n, want, c.log)
		}
	}
	if err := c.stdin.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-c.ended; err != nil {
		t.Error(err)
	}

	for what, tc := range map[string]struct{ url, want string }{
		"password": {strings.Replace(m.URL("late"), "password@", "sesame@", 1), "check user and password"},
		"database": {m.URL("nowhere"), "CREATE DATABASE"},
	} {
		c := startChild(t, tc.url)
		if err := <-c.ended; err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "sesame") {
			t.Errorf("wrong %s: %v", what, err)
		}
	}
}
