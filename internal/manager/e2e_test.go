//go:build e2e

package manager

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"wdpost/internal/config"
	"wdpost/internal/prover"
	"wdpost/internal/run"
	"wdpost/internal/sector"
	"wdpost/lab/cluster"
)

// TestDaemonProvesByItself runs the manager without --ext-prover against the
// simulated network until two deadlines have closed, restarting it in between.
// PARAMS may name a folder with development keys for 2 KiB, window and winning.
func TestDaemonProvesByItself(t *testing.T) {
	params := os.Getenv("PARAMS")
	if params == "" {
		params = "/var/tmp/filecoin-proof-parameters"
	}
	dir := t.TempDir()
	log := run.NewLogger(os.Stderr, "info")
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()
	c, err := cluster.PrepareChain(ctx, cluster.Config{
		Workdir: filepath.Join(dir, "net"), Sectors: 6, Spread: 3, PeriodDeadlines: 4, WinningEvery: 7, Log: log,
	}, params)
	if err != nil {
		t.Fatal(err)
	}
	chainCtx, stopChain := context.WithCancel(ctx)
	chainGone := make(chan error, 1)
	go func() { chainGone <- c.RunChain(chainCtx) }()
	defer func() { stopChain(); <-chainGone }()
	access := filepath.Join(dir, "net", "access.json")
	for _, err := os.Stat(access); err != nil; _, err = os.Stat(access) {
		time.Sleep(10 * time.Millisecond)
	}

	home := filepath.Join(dir, "home")
	writeHome(t, home, c.Access())
	for round := range 2 {
		listen := freeAddress(t)
		daemonCtx, stop := context.WithCancel(ctx)
		ended := make(chan error, 1)
		go func() {
			ended <- runUntil(daemonCtx, home, params, listen, log)
		}()
		if err := c.WaitDeadlines(ctx, round+1); err != nil {
			t.Fatal(err)
		}
		for _, page := range []string{"healthz", "status", "metrics"} {
			t.Log(page, fetch(t, "http://"+listen+"/"+page))
		}
		stop()
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Judge().Err(); err != nil {
		t.Error(err)
	}
	t.Log(c.Judge())
}

// runUntil runs a manager that proves by itself until ctx ends.
func runUntil(ctx context.Context, home, params, listen string, log *slog.Logger) error {
	m, err := New(ctx, Config{
		Home: home, ConfDir: home, Poster: true, Winning: true, WarmUp: true, Log: log, Parts: Rooms(),
		Keys: prover.KeyConfig{ParamsDir: params},
	})
	if err != nil {
		return err
	}
	lis, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	return m.Run(ctx, lis)
}

// writeHome attaches the stores and writes sector-manager.cfg.
func writeHome(t *testing.T, home string, access cluster.Access) {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "[Common.API]\nChain = %q\nMessager = %q\nGateway = [%q]\nToken = %q\n", access.Chain, access.Messager, access.Gateway, access.Token)
	for i, store := range access.Stores {
		name := fmt.Sprintf("storage%d", i)
		if _, err := sector.Attach(t.Context(), sector.AttachConfig{
			Name: name, Path: store, Pattern: "*", Index: sector.OpenIndex(home), Guard: sector.NewGuard(sector.GuardConfig{}), Log: slog.New(slog.DiscardHandler),
		}); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "[[Common.PersistStores]]\nName = %q\nPath = %q\n", name, store)
	}
	for _, m := range access.Miners {
		fmt.Fprintf(&b, "[[Miners]]\nActor = %d\n[Miners.PoSt]\nSender = %q\nConfidence = 5\nChallengeConfidence = 5\nSubmitConfidence = 2\n[Miners.Proof]\nEnabled = true\n", m.Actor, m.Sender)
	}
	if err := os.MkdirAll(home, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(home, config.ManagerFile), []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer lis.Close()
	return lis.Addr().String()
}

func fetch(t *testing.T, url string) string {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.Status + "\n" + string(body)
}
