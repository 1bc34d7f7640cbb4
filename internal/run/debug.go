package run

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Debug is the operator's window into a daemon: /metrics, /healthz and
// /debug/pprof. Bind it to loopback or a management network: it has no access
// control.
type Debug struct {
	Addr     string              // host:port; empty serves nothing
	Registry prometheus.Gatherer // nil leaves /metrics out
	// Health says whether the daemon can do its work; nil means always.
	// Its error is the body of a 503 answer.
	Health func(context.Context) error
}

// Handler returns the debug pages.
func (d Debug) Handler() http.Handler {
	mux := http.NewServeMux()
	if d.Registry != nil {
		mux.Handle("GET /metrics", promhttp.HandlerFor(d.Registry, promhttp.HandlerOpts{}))
	}
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, r *http.Request) {
		if d.Health != nil {
			if err := d.Health(r.Context()); err != nil {
				http.Error(w, err.Error(), http.StatusServiceUnavailable)
				return
			}
		}
		fmt.Fprintln(w, "ok")
	})
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return mux
}

// Serve listens until ctx ends. It returns nil after an orderly end and at
// once when Addr is empty; an address that cannot be bound is an error.
func (d Debug) Serve(ctx context.Context) error {
	if d.Addr == "" {
		return nil
	}
	lis, err := net.Listen("tcp", d.Addr)
	if err != nil {
		return fmt.Errorf("debug listener: %w; choose another address or free the port", err)
	}
	return ServeHTTP(ctx, lis, d.Handler())
}

// ServeHTTP serves h on lis until ctx ends, then gives open requests five
// seconds. It returns nil after an orderly end.
func ServeHTTP(ctx context.Context, lis net.Listener, h http.Handler) error {
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(lis) }()
	select {
	case err := <-failed:
		if errors.Is(err, http.ErrServerClosed) {
			return nil
		}
		return fmt.Errorf("serve %s: %w", lis.Addr(), err)
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if err := srv.Shutdown(grace); err != nil {
		_ = srv.Close() // open requests outlived the grace; their clients see a reset
	}
	<-failed
	return nil
}
