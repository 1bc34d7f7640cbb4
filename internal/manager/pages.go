package manager

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"wdpost/internal/condition"
)

// pages are the page on the wall, /healthz, /readyz, /metrics and /status. They
// change nothing and tell no secrets; who may see them is access.Guard's matter.
func (m *Manager) pages() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", m.wall())
	mux.Handle("GET /metrics", promhttp.HandlerFor(prometheus.Gatherers{m.figures.registry(m), processorFigures{m}}, promhttp.HandlerOpts{
		ErrorHandling: promhttp.ContinueOnError, // a processor's odd figures must not hide ours
	}))
	health := func(w http.ResponseWriter, _ *http.Request) {
		m.fold(time.Now())
		writeVerdict(w, m.board.List())
	}
	mux.HandleFunc("GET /healthz", health)
	mux.HandleFunc("GET /healthcheck", health)
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if err := m.Ready(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ready")
	})
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, r *http.Request) {
		m.answer(w, m.Status(r.Context()), nil)
	})
	return mux
}

// writeVerdict answers 503 while a condition stands that costs power, and lists
// what stands, a line each.
func writeVerdict(w http.ResponseWriter, standing []condition.Condition) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if len(standing) > 0 && grave(standing[0]) { // the worst comes first
		w.WriteHeader(http.StatusServiceUnavailable)
	} else {
		fmt.Fprintln(w, "ok")
	}
	for _, c := range standing {
		_, _ = io.WriteString(w, conditionLine(c)+"\n") // whoever asked is gone
	}
}

// conditionLine is one condition as a line of text.
func conditionLine(c condition.Condition) string {
	var b strings.Builder
	b.WriteString(string(c.Kind))
	if c.Subject != "" {
		fmt.Fprintf(&b, " %s", c.Subject)
	}
	if c.Source != "" {
		fmt.Fprintf(&b, " (%s)", c.Source)
	}
	fmt.Fprintf(&b, " since %s, costs %s: %s", c.Since.Format(time.DateTime), c.Cost, c.Detail)
	if c.Remedy != "" {
		fmt.Fprintf(&b, " | do: %s", c.Remedy)
	}
	return strings.ReplaceAll(b.String(), "\n", "; ")
}

// Health says why the manager cannot prove everything; nil if it can.
func (m *Manager) Health() error {
	m.fold(time.Now())
	var errs []error
	for _, c := range m.board.List() {
		if grave(c) {
			errs = append(errs, errors.New(conditionLine(c)))
		}
	}
	return errors.Join(errs...)
}

// Ready says why nothing could be proven if a window opened now; nil once
// something could.
func (m *Manager) Ready() error {
	if m.network.Load() == nil {
		return errors.New("the node has not answered yet")
	}
	admitted, all := 0, 0
	m.miners.each(func(_ uint64, r *minerRun) {
		all++
		if r.joined.Load() != nil {
			admitted++
		}
	})
	if admitted == 0 {
		return fmt.Errorf("none of %d miners is worked for yet", all)
	}
	if m.host == nil {
		return nil
	}
	children, _ := m.host.Status()
	for _, c := range children {
		if c.Ready {
			return nil
		}
	}
	return errors.New("no external processor is ready")
}
