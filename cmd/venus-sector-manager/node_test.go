package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"wdpost/internal/config"
	"wdpost/internal/run"
	"wdpost/lab/devnet"
	"wdpost/lab/devnet/actor"
)

// anyProof believes everything: nothing is proven in these tests.
type anyProof struct{}

func (anyProof) VerifyWindowPoSt(context.Context, actor.WindowPoSt) error   { return nil }
func (anyProof) VerifyWinningPoSt(context.Context, actor.WinningPoSt) error { return nil }

// startNetwork starts a simulated network whose time stands still, with miner
// t01008 and no sectors.
func startNetwork(t *testing.T) *devnet.Network {
	t.Helper()
	n, err := devnet.New(devnet.Config{Miners: []devnet.Miner{{ID: 1008}}, Verifier: anyProof{}, Manual: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	return n
}

// runningDaemon is a manager on a free port.
type runningDaemon struct {
	log   *logBuffer
	url   string
	stop  context.CancelFunc
	ended chan error
}

func startDaemon(t *testing.T, miner int, chain, token string) *runningDaemon {
	t.Helper()
	home := filepath.Join(t.TempDir(), "home")
	store := t.TempDir()
	d := &runningDaemon{log: &logBuffer{}, ended: make(chan error, 1)}
	var block bytes.Buffer
	a := &app{log: run.NewLogger(d.log, "debug"), stdout: &block, hard: context.Background(), getenv: func(string) string { return "" }}
	if err := a.command().Run(t.Context(), []string{"x", "--home", home, "util", "storage", "attach", "--name=a", store}); err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf("[Common.API]\nChain = %q\nMessager = 'none'\nToken = %q\n[[Miners]]\nActor = %d\n", chain, token, miner)
	if err := os.MkdirAll(home, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(home, config.ManagerFile), []byte(text+block.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listen := lis.Addr().String()
	lis.Close()
	d.url = "http://" + listen
	ctx, stop := context.WithCancel(t.Context())
	d.stop = stop
	go func() {
		d.ended <- a.runDaemon(ctx, daemonOptions{home: home, confDir: home, listen: listen, poster: true})
	}()
	return d
}

func (d *runningDaemon) waitLog(t *testing.T, text string) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !strings.Contains(d.log.String(), text); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %q in\n%s", text, d.log)
		}
	}
}

func (d *runningDaemon) page(t *testing.T, path string) (int, string) {
	t.Helper()
	resp, err := http.Get(d.url + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func TestNodeUnreachable(t *testing.T) {
	d := startDaemon(t, 1008, "/ip4/127.0.0.1/tcp/1/ws", "")
	d.waitLog(t, "the node does not answer; nothing can be proven")
	if code, body := d.page(t, "/healthz"); code != http.StatusServiceUnavailable || !strings.Contains(body, "waiting for the node") {
		t.Errorf("healthz: %d %s", code, body)
	}
	d.stop()
	if err := <-d.ended; err != nil {
		t.Error(err)
	}
}

func TestAddresses(t *testing.T) {
	good := config.API{Chain: config.Strings{"/ip4/127.0.0.1/tcp/1/ws"}, Messager: "none", Gateway: config.Strings{"TOKEN:/dns/host/tcp/2/wss"}}
	if err := checkAddresses(good); err != nil {
		t.Error(err)
	}
	for want, bad := range map[string]config.API{
		"no Common.API.Chain":                   {},
		`Common.API.Chain address "127.0.0.1"`:  {Chain: config.Strings{"127.0.0.1"}},
		`Common.API.Messager address "/ip4/x"`:  {Chain: good.Chain, Messager: "/ip4/x"},
		`Common.API.Gateway address "ftp://x/"`: {Chain: good.Chain, Gateway: config.Strings{"ftp://x/"}},
	} {
		if err := checkAddresses(bad); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}

// TestTwoDaemons: the second daemon of a home is refused and disturbs nothing.
func TestTwoDaemons(t *testing.T) {
	home := t.TempDir()
	unlock, err := lockHome(home)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lockHome(home); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("process %d", os.Getpid())) || !strings.Contains(err.Error(), "--home") {
		t.Errorf("the second daemon: %v", err)
	}
	unlock()
	unlock, err = lockHome(filepath.Join(home, "not", "there", "yet"))
	if err != nil {
		t.Fatal(err)
	}
	unlock()
}

func TestWrongToken(t *testing.T) {
	n := startNetwork(t)
	d := startDaemon(t, 1008, n.Node().Multiaddr("ws"), "wrong")
	err := <-d.ended
	if err == nil || !strings.Contains(err.Error(), "Common.API.Token") {
		t.Errorf("got %v", err)
	}
}

func TestUnknownMiner(t *testing.T) {
	n := startNetwork(t)
	d := startDaemon(t, 4711, n.Node().Multiaddr("ws"), n.Token())
	err := <-d.ended
	if err == nil || !strings.Contains(err.Error(), "04711") {
		t.Errorf("got %v", err)
	}
}

// TestPages: a manager that works shows it, and stops when asked.
func TestPages(t *testing.T) {
	n := startNetwork(t)
	d := startDaemon(t, 1008, n.Node().Multiaddr("ws"), n.Token())
	d.waitLog(t, "following the chain")
	if code, body := d.page(t, "/healthz"); code != http.StatusOK {
		t.Errorf("healthz: %d %s", code, body)
	}
	if _, body := d.page(t, "/status"); !strings.Contains(body, `"miner": 1008`) {
		t.Errorf("status: %s", body)
	}
	if _, body := d.page(t, "/metrics"); !strings.Contains(body, "wdpost_node_up") || !strings.Contains(body, "wdpost_poster_active_deadlines") {
		t.Errorf("metrics: %s", body)
	}
	if strings.Contains(d.log.String(), n.Token()) {
		t.Error("the log tells the token")
	}
	d.stop()
	if err := <-d.ended; err != nil {
		t.Error(err)
	}
}

// logBuffer gathers log lines.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
