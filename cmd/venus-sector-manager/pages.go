package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"wdpost/internal/extprover"
	"wdpost/internal/ledger"
	"wdpost/internal/sector"
)

// pages are /healthz, /metrics and /status. They change nothing and tell no
// secrets; there is no access control.
func (d *daemon) pages() http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), collector{d})
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	health := func(w http.ResponseWriter, r *http.Request) {
		if err := d.health(r.Context()); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	}
	mux.HandleFunc("GET /healthz", health)
	mux.HandleFunc("GET /healthcheck", health)
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		if err := enc.Encode(d.status(r.Context())); err != nil {
			d.log.Debug("status page not delivered", "err", err)
		}
	})
	return mux
}

// health says why the manager cannot prove now; nil if it can.
func (d *daemon) health(ctx context.Context) error {
	j := d.joined.Load()
	if j == nil {
		return errors.New("waiting for the node's first answer")
	}
	var errs []error
	if nodes := d.node.Status(); len(nodes) > 0 {
		working := false
		for _, n := range nodes {
			working = working || n.Err == nil
		}
		if !working {
			errs = append(errs, fmt.Errorf("no node answers: %w", nodes[0].Err))
		}
	}
	if d.host != nil {
		ready := false
		children, _ := d.host.Status()
		for _, c := range children {
			ready = ready || c.Ready
		}
		if len(children) > 0 && !ready {
			errs = append(errs, errors.New("no external processor is ready"))
		}
	}
	errs = append(errs, d.presence.Missing())
	for _, s := range d.guard.Health() {
		if s.SetAside {
			errs = append(errs, fmt.Errorf("store %s is set aside: %d reads hang, %d failed in a row", s.Store, s.Stuck, s.Failures))
		}
	}
	if j.winning != nil {
		errs = append(errs, j.winning.Healthy())
	}
	if cold := j.cold.Load(); cold != nil {
		errs = append(errs, *cold)
	}
	if mute := j.mute.Load(); mute != nil {
		errs = append(errs, *mute)
	}
	return errors.Join(append(errs, j.ledger.Check(ctx))...)
}

// statusPage is the form of /status.
type statusPage struct {
	Health     string                  `json:"health"` // "ok" or why not
	Epoch      abi.ChainEpoch          `json:"epoch"`  // by the clock
	Nodes      []nodeStatus            `json:"nodes"`
	Miners     []minerStatus           `json:"miners"`
	Processors []extprover.ChildStatus `json:"processors"`
	Waiting    map[string]int          `json:"waiting"` // requests without a processor, by stage
	Stores     []sector.StoreHealth    `json:"stores"`  // those accessed so far
}

type nodeStatus struct {
	Address   string         `json:"address"`
	Preferred bool           `json:"preferred"`
	Height    abi.ChainEpoch `json:"height"`
	Error     string         `json:"error,omitempty"`
}

type minerStatus struct {
	Miner    uint64         `json:"miner"`
	Head     abi.ChainEpoch `json:"head"`
	Deadline *uint64        `json:"deadline"` // whose window is open
	Active   int            `json:"active"`   // deadlines worked on
	Recent   []runStatus    `json:"recent"`   // newest first
}

type runStatus struct {
	Deadline   uint64 `json:"deadline"`
	Open       int64  `json:"open"`
	Partitions string `json:"partitions"`
	Verdict    string `json:"verdict"` // empty while it goes on
	Reason     string `json:"reason,omitempty"`
	Proven     int    `json:"proven"`
	Skipped    int    `json:"skipped"`
}

// recentRuns is how many runs of each miner the status page shows.
const recentRuns = 10

func (d *daemon) status(ctx context.Context) statusPage {
	page := statusPage{Health: "ok", Stores: d.guard.Health()}
	if err := d.health(ctx); err != nil {
		page.Health = err.Error()
	}
	for _, n := range d.node.Status() {
		s := nodeStatus{Address: n.Address, Preferred: n.Preferred, Height: n.Height}
		if n.Err != nil {
			s.Error = n.Err.Error()
		}
		page.Nodes = append(page.Nodes, s)
	}
	if d.host != nil {
		page.Processors, page.Waiting = d.host.Status()
	}
	j := d.joined.Load()
	if j == nil {
		return page
	}
	page.Epoch = j.clock.EpochAt(time.Now())
	if j.poster == nil {
		return page
	}
	for _, m := range j.poster.Status() {
		s := minerStatus{Miner: uint64(m.Actor), Head: m.Head, Active: len(m.Active)}
		if m.Open != nil {
			s.Deadline = &m.Open.Index
		}
		runs, err := j.poster.Recent(ctx, m.Actor, recentRuns)
		if err != nil {
			page.Health = errors.Join(errors.New(page.Health), err).Error()
		}
		for _, r := range runs {
			s.Recent = append(s.Recent, runLine(r))
		}
		page.Miners = append(page.Miners, s)
	}
	return page
}

func runLine(r ledger.Run) runStatus {
	s := runStatus{Deadline: r.Deadline, Open: r.Open, Partitions: r.Partitions.String()}
	if r.Ended != nil {
		s.Verdict, s.Reason, s.Proven, s.Skipped = r.Ended.Verdict, r.Ended.Reason, r.Ended.Proven, r.Ended.Skipped
	}
	return s
}

// collector makes metrics of the same states at each scrape.
type collector struct{ d *daemon }

var (
	nodeUp          = prometheus.NewDesc("wdpost_node_up", "1 while the node answers", []string{"node"}, nil)
	nodeHeight      = prometheus.NewDesc("wdpost_node_height", "Highest head seen on the node, in epochs", []string{"node"}, nil)
	minerHead       = prometheus.NewDesc("wdpost_poster_head", "Head the poster works with, in epochs", []string{"miner"}, nil)
	minerActive     = prometheus.NewDesc("wdpost_poster_active_deadlines", "Deadlines worked on", []string{"miner"}, nil)
	childReady      = prometheus.NewDesc("wdpost_processor_ready", "1 while the external processor is ready", []string{"processor"}, nil)
	childInFlight   = prometheus.NewDesc("wdpost_processor_requests", "Requests the processor has", []string{"processor"}, nil)
	childAnswered   = prometheus.NewDesc("wdpost_processor_answers_total", "Requests answered", []string{"processor"}, nil)
	childFailed     = prometheus.NewDesc("wdpost_processor_failures_total", "Requests answered with an error", []string{"processor"}, nil)
	childDeaths     = prometheus.NewDesc("wdpost_processor_deaths_total", "Ends of the process that were not asked for", []string{"processor"}, nil)
	requestsWaiting = prometheus.NewDesc("wdpost_processor_waiting", "Requests that wait for a processor", []string{"stage"}, nil)
	storeStuck      = prometheus.NewDesc("wdpost_store_stuck_reads", "Reads that hang", []string{"store"}, nil)
	storeSetAside   = prometheus.NewDesc("wdpost_store_set_aside", "1 while the store is left alone", []string{"store"}, nil)
)

// Describe sends nothing: what there is depends on the configuration.
func (collector) Describe(chan<- *prometheus.Desc) {}

// Collect reads the states.
func (c collector) Collect(ch chan<- prometheus.Metric) {
	gauge := func(desc *prometheus.Desc, v float64, label string) {
		ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, v, label)
	}
	counter := func(desc *prometheus.Desc, v uint64, label string) {
		ch <- prometheus.MustNewConstMetric(desc, prometheus.CounterValue, float64(v), label)
	}
	for _, n := range c.d.node.Status() {
		gauge(nodeUp, truth(n.Err == nil), n.Address)
		if n.Height >= 0 { // heads are compared only where there are several nodes
			gauge(nodeHeight, float64(n.Height), n.Address)
		}
	}
	for _, s := range c.d.guard.Health() {
		gauge(storeStuck, float64(s.Stuck), s.Store)
		gauge(storeSetAside, truth(s.SetAside), s.Store)
	}
	if c.d.host != nil {
		children, waiting := c.d.host.Status()
		for _, p := range children {
			gauge(childReady, truth(p.Ready), p.Name)
			gauge(childInFlight, float64(p.InFlight), p.Name)
			counter(childAnswered, p.Answered, p.Name)
			counter(childFailed, p.Failed, p.Name)
			counter(childDeaths, p.Deaths, p.Name)
		}
		for stage, n := range waiting {
			gauge(requestsWaiting, float64(n), stage)
		}
	}
	if j := c.d.joined.Load(); j != nil && j.poster != nil {
		for _, m := range j.poster.Status() {
			gauge(minerHead, float64(m.Head), m.Miner.String())
			gauge(minerActive, float64(len(m.Active)), m.Miner.String())
		}
	}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
