package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"golang.org/x/sync/errgroup"

	"wdpost/internal/config"
	"wdpost/internal/extprover"
	"wdpost/internal/parts"
	"wdpost/internal/prover"
	"wdpost/internal/queue"
	"wdpost/internal/rpc"
	"wdpost/internal/run"
	"wdpost/internal/task"
)

// errHostGone ends the daemon in good order when its parent has.
var errHostGone = errors.New("the manager has closed the connection")

// daemon serves until ctx ends or, as a child, until the parent is gone.
func (a *app) daemon(ctx context.Context) error {
	cfg, err := a.load(true)
	if err != nil {
		return err
	}
	db, url, err := a.database(cfg.DB, true)
	if err != nil {
		return err
	}
	err = a.serve(ctx, cfg, db, a.prepare(db, url))
	return errors.Join(err, db.Close())
}

// serve joins queue, server and the parent's protocol over a database, which
// may be away.
func (a *app) serve(ctx context.Context, cfg config.Master, db store, prepare func(context.Context) error) error {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), queue.NewDepth(db))
	verifier, closeKeys, err := a.verifier(cfg)
	if err != nil {
		return err
	}
	defer closeKeys()
	q, err := queue.New(ctx, db, queue.Config{
		Timeout: cfg.Task.Timeout.D(), HeartbeatTimeout: cfg.Task.HeartbeatTimeout.D(), MaxRetry: cfg.Task.MaxRetry,
		RetryInterval: cfg.Task.RetryJobInterval.D(), ArchiveInterval: cfg.Task.ArchiveJobInterval.D(),
		ArchiveAfter: cfg.Task.ShouldArchive.D(), Verifier: verifier, Log: a.log, Metrics: queue.NewMetrics(registry),
		Prepare: prepare,
	})
	if err != nil {
		return err
	}
	server, err := a.server(cfg.Server, q, registry)
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	tended := tend(ctx, q)
	defer tended.stop()
	if err := tended.awaitDatabase(ctx); err != nil {
		return err
	}
	lis, err := a.listen(ctx, cfg.Server.Listen)
	if err != nil {
		return err
	}
	g.Go(func() error { return tended.wait(ctx) })
	g.Go(func() error { return server.Serve(ctx, lis) })
	g.Go(func() error {
		return run.Debug{Addr: cfg.Debug.Listen, Registry: registry, Health: q.Health}.Serve(ctx)
	})
	if a.isChild() {
		g.Go(func() error { return a.answerParent(ctx, q) })
	} else {
		a.log.Info("no parent on stdin: serving slaves only")
		g.Go(func() error {
			<-ctx.Done()
			return context.Cause(ctx)
		})
	}
	if err := g.Wait(); !errors.Is(err, errHostGone) && !errors.Is(err, run.ErrStopping) {
		return err
	}
	a.log.Info("stopped")
	return nil
}

// isChild reports whether another process talks to us through stdin. A
// terminal, a file or /dev/null, as service managers give it, does not.
func (a *app) isChild() bool {
	info, err := a.stdin.Stat()
	return err == nil && info.Mode()&(fs.ModeNamedPipe|fs.ModeSocket) != 0
}

// answerParent speaks the external-processor protocol until the parent is gone.
func (a *app) answerParent(ctx context.Context, q *queue.Queue) error {
	err := extprover.Server{
		Stage: extprover.StageWindowPoSt,
		Log:   a.log,
		Handle: func(ctx context.Context, question task.Question) (task.Answer, error) {
			return q.Ask(withdrawable(ctx), question)
		},
	}.Serve(ctx, a.stdin, a.stdout)
	if err == nil {
		a.log.Info("the manager has closed stdin: stopping; tasks stay in the database")
		return errHostGone
	}
	return err
}

// withdrawable turns the parent's withdrawal of a request into the queue's. The
// protocol ends each request's context, so this one ends too.
func withdrawable(parent context.Context) context.Context {
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(parent))
	context.AfterFunc(parent, func() {
		if errors.Is(context.Cause(parent), extprover.ErrCancelled) {
			cancel(queue.ErrWithdrawn)
			return
		}
		cancel(context.Cause(parent))
	})
	return ctx
}

// listenPatience is how long a port may be taken by our predecessor, which is
// still leaving.
const listenPatience = 10 * time.Second

// listen opens the port for slaves.
func (a *app) listen(ctx context.Context, address string) (net.Listener, error) {
	for begin := time.Now(); ; {
		lis, err := net.Listen("tcp", address)
		if err == nil {
			a.log.Info("listening for slaves", "address", lis.Addr().String())
			return lis, nil
		}
		if !errors.Is(err, syscall.EADDRINUSE) || time.Since(begin) > listenPatience {
			return nil, fmt.Errorf("server.listen: %w; choose another address or end the program that has it", err)
		}
		if !pause(ctx, 100*time.Millisecond) {
			return nil, context.Cause(ctx)
		}
	}
}

// server prepares the gRPC service.
func (a *app) server(cfg config.Server, q *queue.Queue, r prometheus.Registerer) (*rpc.Server, error) {
	out := rpc.ServerConfig{
		Queue: q, Parts: parts.NewDesk(parts.DeskConfig{Tasks: q, Log: a.log, Silence: q.HeartbeatTimeout()}), Log: a.log, Version: rpc.BuildVersion(), Token: cfg.Token, MaxConnections: cfg.MaxConnections, Metrics: rpc.NewMetrics(r),
	}
	if t := cfg.TLS; t != nil {
		tlsConfig, err := rpc.ServerTLS(t.Cert, t.Key, t.ClientCA, a.log)
		if err != nil {
			return nil, fmt.Errorf("server.tls: %w", err)
		}
		out.TLS = tlsConfig
	}
	return rpc.NewServer(out), nil
}

// verifier checks proofs with the keys of this machine.
func (a *app) verifier(cfg config.Master) (*prover.Verifier, func(), error) {
	keyConfig, err := prover.KeyConfigFromEnv(a.getenv)
	if err != nil {
		return nil, nil, err
	}
	keyConfig.Log = a.log
	keys := prover.NewKeys(keyConfig)
	return prover.NewVerifier(keys, cfg.Task.PartitionSectors), func() {
		if err := keys.Close(); err != nil {
			a.log.Warn("keys not closed", "err", err)
		}
	}, nil
}

// pause waits, or returns false when ctx ends first.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}
