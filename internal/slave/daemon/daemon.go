package daemon

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"golang.org/x/sync/errgroup"

	"wdpost/internal/attr"
	"wdpost/internal/config"
	"wdpost/internal/patience"
	"wdpost/internal/rpc"
	"wdpost/internal/run"
	"wdpost/internal/sector"
	"wdpost/internal/sector/store/reach"
	"wdpost/internal/slave"
	"wdpost/internal/task"
)

// StatusPath is the page of the debug listener that tells what the slave has in
// hand.
const StatusPath = "/status"

// KernelHeader of the status page names the instructions that the native prover
// uses.
const KernelHeader = "Wdpost-Kernel"

// Config is what New needs.
type Config struct {
	File    config.Slave
	Dir     string       // folder of the file, for what lies beside it by default
	Environ []string     // as of os.Environ
	Log     *slog.Logger // required
}

// Daemon is one slave process.
type Daemon struct {
	log     *slog.Logger
	plan    plan
	guard   *sector.Guard
	reading *reach.All // what reads the stores
	client  *rpc.Client
	backend *backend
	worker  *slave.Worker
	metrics *prometheus.Registry

	mu  sync.Mutex
	why error // why no task is taken yet
}

// New joins the rooms; nothing runs yet. Close it if Run is not called.
func New(cfg Config) (*Daemon, error) {
	env, err := readEnvironment(cfg.Environ)
	if err != nil {
		return nil, err
	}
	host, err := os.Hostname()
	if err != nil && cfg.File.Slave.Name == "" {
		return nil, fmt.Errorf("this host has no name: %w; set [slave] name", err)
	}
	p, err := planOf(cfg.File, env, cfg.Dir, host)
	if err != nil {
		return nil, err
	}
	d := &Daemon{log: cfg.Log, plan: p, metrics: prometheus.NewRegistry()}
	d.metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	reading := reach.New(cfg.Log)
	p.guard.Backend, p.guard.Log = reading, cfg.Log
	d.reading, d.guard = reading, sector.NewGuard(p.guard)
	d.metrics.MustRegister(sector.Collector{Guard: d.guard})
	if t := p.tls; t != nil {
		if p.client.TLS, err = rpc.ClientTLS(t.CA, t.Cert, t.Key, t.ServerName); err != nil {
			return nil, fmt.Errorf("master.tls: %w", err)
		}
	}
	p.client.Report = d.report
	if d.client, err = rpc.NewClient(p.client); err != nil {
		return nil, errors.Join(err, reading.Close())
	}
	if d.backend, err = newBackend(p, env, d.guard, cfg.Log); err != nil {
		return nil, errors.Join(err, d.client.Close(), reading.Close())
	}
	p.worker.Master, p.worker.Log, p.worker.Metrics = d.client, cfg.Log, slave.NewMetrics(d.metrics)
	spreader := d.backend.spreader(p, d.client)
	p.worker.Whole, p.worker.Meter = slave.Mapped{Paths: p.paths, Prover: spreader}, spreader
	p.worker.Parts, p.worker.Prover, p.worker.Verifier = d.client, d.backend.local, d.backend.verifier
	if d.worker, err = slave.New(p.worker); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

// Close gives back what New took.
func (d *Daemon) Close() error {
	return errors.Join(d.backend.close(), d.client.Close(), d.reading.Close())
}

// Run works until soft ends and the tasks in hand are done, or hard ends; hard
// must outlive soft. It closes the daemon. Run once.
func (d *Daemon) Run(soft, hard context.Context) error {
	g, ctx := errgroup.WithContext(context.WithoutCancel(soft))
	ctx, done := context.WithCancel(ctx)
	g.Go(func() error { return d.debug(ctx) })
	g.Go(func() error { d.backend.run(ctx); return nil })
	g.Go(func() error {
		defer done()
		// A failed listener ends the worker in good order.
		stopping, stop := context.WithCancelCause(soft)
		defer stop(nil)
		defer context.AfterFunc(ctx, func() { stop(context.Cause(ctx)) })()
		d.introduce(stopping)
		if d.backend.warmUp(stopping, func(why error) { d.waiting(stopping, why) }) {
			d.setWhy(nil)
			d.worker.Run(stopping, hard)
		}
		d.log.Info("stopped")
		return nil
	})
	return errors.Join(g.Wait(), d.Close())
}

// introduce says hello until the master answers, so that a wrong address,
// token or version is seen at the start.
func (d *Daemon) introduce(ctx context.Context) {
	var outage patience.Outage
	for ctx.Err() == nil {
		limits, err := d.client.Hello(ctx)
		if err == nil {
			d.log.Info("connected to the master", attr.Slave(d.plan.client.Name), attr.Version(limits.Version), attr.Limit(limits.HeartbeatTimeout))
			return
		}
		if ctx.Err() != nil {
			return
		}
		for _, address := range d.plan.client.Addresses {
			outage.Failed(d.log, "the master does not answer yet, retrying", err.Error(), attr.Address(address), attr.Err(err))
		}
		_ = patience.Sleep(ctx, time.Second)
	}
}

// waiting notes why no task is taken, and tells the master.
func (d *Daemon) waiting(ctx context.Context, why error) {
	d.setWhy(why)
	if _, err := d.client.Hello(ctx); err != nil && ctx.Err() == nil {
		d.log.Warn("the master was not told why no task is taken here", attr.Err(err))
	}
}

func (d *Daemon) setWhy(why error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.why = why
}

// report is what the master is told of this slave with every call.
func (d *Daemon) report() task.Report {
	var r task.Report
	if d.worker != nil {
		r = d.worker.Report()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.why != nil {
		r.State, r.Why = task.SlaveWaiting, d.why.Error()
	}
	r.Cores = runtime.GOMAXPROCS(0)
	if d.backend != nil && d.backend.engine != nil {
		r.Memory = d.backend.engine.Memory()
	}
	return r
}

// Health reports why no task can be proven here now.
func (d *Daemon) Health(ctx context.Context) error {
	d.mu.Lock()
	why := d.why
	d.mu.Unlock()
	return cmp.Or(why, d.worker.Health(ctx))
}

// debug serves the debug pages and the status until ctx ends.
func (d *Daemon) debug(ctx context.Context) error {
	if d.plan.debug == "" {
		return nil
	}
	lis, err := net.Listen("tcp", d.plan.debug)
	if err != nil {
		return fmt.Errorf("debug.listen: %w; choose another address or free the port", err)
	}
	mux := http.NewServeMux()
	mux.Handle("/", run.Debug{Registry: d.metrics, Health: d.Health}.Handler())
	mux.HandleFunc("GET "+StatusPath, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if d.backend != nil && d.backend.engine != nil {
			w.Header().Set(KernelHeader, d.backend.engine.Kernel().String())
		}
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		if err := e.Encode(d.worker.Status()); err != nil {
			d.log.Debug("status page not written", attr.Err(err))
		}
	})
	return run.ServeHTTP(ctx, lis, mux)
}
