package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"golang.org/x/sync/errgroup"

	"wdpost/internal/config"
	"wdpost/internal/rpc"
	"wdpost/internal/run"
	"wdpost/internal/sector"
	"wdpost/internal/slave"
)

// defaultSpool is the folder beside the config file where none is set.
const defaultSpool = "wdpost-slave-spool"

// statusPath is the page of the debug listener that "status" reads.
const statusPath = "/status"

// daemon works until soft ends and its tasks are done, or the second signal.
func (a *app) daemon(soft context.Context) error {
	cfg, warnings, err := config.LoadSlave(a.configPath)
	if err != nil {
		return err
	}
	for _, w := range warnings {
		a.log.Warn(w, "file", a.configPath)
	}
	env, err := readEnvironment(a.getenv)
	if err != nil {
		return err
	}
	client, err := a.client(cfg)
	if err != nil {
		return err
	}
	backend, err := a.backend(cfg, env)
	if err != nil {
		return errors.Join(err, client.Close())
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	if backend.guard != nil {
		registry.MustRegister(sector.Collector{Guard: backend.guard})
	}
	worker, err := slave.New(slave.Config{
		Master: client, Prover: backend.prover, Verifier: backend.verifier, Meter: backend.meter, Log: a.log, Metrics: slave.NewMetrics(registry),
		Spool:       cmp.Or(cfg.Slave.Spool, filepath.Join(filepath.Dir(a.configPath), defaultSpool)),
		SectorSizes: env.sectorSizes(),
		Concurrent:  cfg.Slave.Concurrent, HeartbeatInterval: cfg.Master.HeartbeatInterval.D(),
		PullInterval: cfg.Slave.PullInterval.D(), ReconnectInterval: cfg.Master.ReconnectInterval.D(),
	})
	if err != nil {
		return errors.Join(err, backend.close(), client.Close())
	}
	err = a.work(soft, cfg, joined{client: client, backend: backend, worker: worker, registry: registry})
	return errors.Join(err, backend.close(), client.Close())
}

// joined is what runs.
type joined struct {
	client   *rpc.Client
	backend  *backend
	worker   *slave.Worker
	registry *prometheus.Registry
}

// work runs everything until the worker has ended.
func (a *app) work(soft context.Context, cfg config.Slave, j joined) error {
	g, ctx := errgroup.WithContext(context.WithoutCancel(soft))
	ctx, done := context.WithCancel(ctx)
	g.Go(func() error { return a.debug(ctx, cfg.Debug.Listen, j) })
	g.Go(func() error { j.backend.run(ctx); return nil })
	g.Go(func() error {
		defer done()
		// A failed listener ends the worker in good order.
		stopping, stop := context.WithCancelCause(soft)
		defer stop(nil)
		defer context.AfterFunc(ctx, func() { stop(context.Cause(ctx)) })()
		a.introduce(stopping, cfg.Master.ServerAddr, j.client)
		if j.backend.warmUp(stopping) {
			j.worker.Run(stopping, a.hard)
		}
		a.log.Info("stopped")
		return nil
	})
	return g.Wait()
}

// introduce says hello until the master answers, so that a wrong address,
// token or version is seen at the start.
func (a *app) introduce(ctx context.Context, addresses []string, client *rpc.Client) {
	for failures := 0; ctx.Err() == nil; {
		limits, err := client.Hello(ctx)
		if err == nil {
			a.log.Info("connected to the master", "version", limits.Version, "heartbeat_timeout", limits.HeartbeatTimeout)
			return
		}
		if failures++; failures == 1 && ctx.Err() == nil {
			a.log.Warn("the master does not answer yet; trying on", "server_addr", addresses, "err", err)
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
		}
	}
}

// client prepares the connection to the masters.
func (a *app) client(cfg config.Slave) (*rpc.Client, error) {
	name := cfg.Slave.Name
	if name == "" {
		host, err := os.Hostname()
		if err != nil {
			return nil, fmt.Errorf("this host has no name: %w; set [slave] name", err)
		}
		name = fmt.Sprintf("%s.%d", host, os.Getpid())
	}
	out := rpc.ClientConfig{
		Addresses: cfg.Master.ServerAddr, Token: cfg.Master.Token, ReconnectInterval: cfg.Master.ReconnectInterval.D(),
		Name: name, Version: rpc.BuildVersion(), Concurrent: cfg.Slave.Concurrent,
	}
	if t := cfg.Master.TLS; t != nil {
		tlsConfig, err := rpc.ClientTLS(t.CA, t.Cert, t.Key, t.ServerName)
		if err != nil {
			return nil, fmt.Errorf("master.tls: %w", err)
		}
		out.TLS = tlsConfig
	}
	return rpc.NewClient(out)
}

// debug serves the debug pages and the status until ctx ends.
func (a *app) debug(ctx context.Context, address string, j joined) error {
	if address == "" {
		return nil
	}
	lis, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("debug.listen: %w; choose another address or free the port", err)
	}
	mux := http.NewServeMux()
	mux.Handle("/", run.Debug{Registry: j.registry, Health: j.worker.Health}.Handler())
	mux.HandleFunc("GET "+statusPath, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		if err := e.Encode(j.worker.Status()); err != nil {
			a.log.Debug("status page not written", "err", err)
		}
	})
	return run.ServeHTTP(ctx, lis, mux)
}
