package master_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"wdpost/internal/condition"
	"wdpost/internal/config"
	"wdpost/internal/extprover"
	"wdpost/internal/master"
	"wdpost/internal/rpc"
	"wdpost/internal/run"
	"wdpost/internal/task"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// host is the parent of a master in this process, and hears its reports.
type host struct {
	t       *testing.T
	address string
	reports *bufio.Reader
	end     func()
	ended   chan error
}

func start(t *testing.T, address string, change func(*config.Master)) *host {
	t.Helper()
	file := config.DefaultMaster()
	file.Server.Listen = address
	if change != nil {
		change(&file)
	}
	in, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	fd, err := syscall.Dup(int(out.Fd())) // which the reporter takes over
	if err != nil {
		t.Fatal(err)
	}
	_ = out.Close()
	t.Setenv(extprover.StatusEnv, fmt.Sprint(fd))
	reporter, err := extprover.OpenReporter()
	if err != nil {
		t.Fatal(err)
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	m, err := master.New(ctx, master.Config{
		File: file, Path: filepath.Join(t.TempDir(), "wdpost_master.toml"), Stdin: null, Stdout: null, Getenv: func(string) string { return "" },
		Log: slog.New(slog.DiscardHandler), Reporter: reporter,
	})
	if err != nil {
		t.Fatal(err)
	}
	h := &host{t: t, address: address, reports: bufio.NewReader(in), end: func() { cancel(run.ErrStopping) }, ended: make(chan error, 1)}
	go func() {
		h.ended <- m.Run(ctx)
		_ = reporter.Close()
	}()
	t.Cleanup(func() {
		h.end()
		for {
			if _, err := h.reports.ReadString('\n'); err != nil {
				break // the master has ended
			}
		}
		_, _ = in.Close(), null.Close()
	})
	return h
}

// await reads reports until one fits.
func (h *host) await(what string, fits func(extprover.Report) bool) extprover.Report {
	h.t.Helper()
	var last extprover.Report
	for {
		line, err := h.reports.ReadString('\n')
		if err != nil {
			h.t.Fatalf("%s: the reports ended: %v; the last %+v", what, err, last)
		}
		last = extprover.Report{}
		if err := json.Unmarshal([]byte(line), &last); err != nil {
			h.t.Fatalf("%q: %v", line, err)
		}
		if fits(last) {
			return last
		}
	}
}

func has(kind condition.Kind) func(extprover.Report) bool {
	return func(r extprover.Report) bool {
		return slices.ContainsFunc(r.Conditions, func(c extprover.ReportedCondition) bool { return c.Kind == string(kind) })
	}
}

// The host hears of slaves, tasks and database, and of a token that anyone on
// the way can read.
func TestHostHearsHowTheMasterIs(t *testing.T) {
	h := start(t, freeAddress(t), func(f *config.Master) {
		f.Server.Token = "sesame"
		f.Server.Listen = strings.Replace(f.Server.Listen, "127.0.0.1", "0.0.0.0", 1)
	})
	r := h.await("the token", has(condition.TokenInPlainText))
	if r.Build == "" {
		t.Errorf("no build in %+v", r)
	}
	c, err := rpc.NewClient(rpc.ClientConfig{
		Addresses: []string{h.address}, Name: "slave-1", Token: "sesame", ReconnectInterval: 50 * time.Millisecond,
		Report: func() task.Report {
			return task.Report{State: task.SlaveWaiting, Why: "no parameters", SectorSizes: []uint64{2048}}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for {
		if _, err := c.Hello(t.Context()); err == nil {
			break
		}
	}
	r = h.await("a slave that waits", has(condition.SlaveWaits))
	if !slices.Contains(r.Slaves, extprover.SlaveCount{State: "waiting", SectorSize: 2048, Count: 1}) || r.Database != "ready" || r.Tasks["ready"] != 0 ||
		!strings.Contains(r.Metrics, "wdpost_queue_tasks") || strings.Contains(r.Metrics, "go_goroutines") {
		t.Errorf("report %+v", r)
	}
	if !has(condition.NoSlave)(r) { // the only one takes no tasks
		r = h.await("no slave", has(condition.NoSlave))
	}
	h.end()
	if err := <-h.ended; err != nil {
		t.Error(err)
	}
}

// A port that is taken is told at once, with the remedy, before the host loses
// its patience (operator, F9).
func TestTakenPortIsToldAtOnce(t *testing.T) {
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := start(t, lis.Addr().String(), nil)
	r := h.await("the port", has(condition.MasterPortTaken))
	if !strings.Contains(r.Conditions[0].Detail, "address already in use") || r.Conditions[0].Remedy == "" {
		t.Errorf("told %+v", r.Conditions)
	}
	if err := lis.Close(); err != nil {
		t.Fatal(err)
	}
	h.await("that it has the port", func(r extprover.Report) bool { return !has(condition.MasterPortTaken)(r) })
}

func freeAddress(t *testing.T) string {
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer lis.Close()
	return lis.Addr().String()
}
