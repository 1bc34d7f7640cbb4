//go:build e2e

package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"wdpost/internal/config"
	"wdpost/internal/run"
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

	app := &app{log: log, stdout: io.Discard, hard: t.Context(), getenv: func(name string) string {
		if name == "FIL_PROOFS_PARAMETER_CACHE" {
			return params
		}
		return ""
	}}
	home := filepath.Join(dir, "home")
	writeHome(t, app, home, c.Access())
	for round := range 2 {
		listen := freeAddress(t)
		daemonCtx, stop := context.WithCancel(ctx)
		ended := make(chan error, 1)
		go func() {
			ended <- app.runDaemon(daemonCtx, daemonOptions{home: home, confDir: home, listen: listen, poster: true, miner: true, warmup: true})
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

// writeHome attaches the stores and writes sector-manager.cfg.
func writeHome(t *testing.T, app *app, home string, access cluster.Access) {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "[Common.API]\nChain = %q\nMessager = %q\nGateway = [%q]\nToken = %q\n", access.Chain, access.Messager, access.Gateway, access.Token)
	for i, store := range access.Stores {
		var block strings.Builder
		app.stdout = &block
		name := fmt.Sprintf("storage%d", i)
		if err := app.command().Run(t.Context(), []string{"x", "--home", home, "util", "storage", "attach", "--name", name, store}); err != nil {
			t.Fatal(err)
		}
		b.WriteString(block.String())
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
