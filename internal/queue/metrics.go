package queue

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"wdpost/internal/task"
)

// Metrics counts what happens to tasks.
type Metrics struct {
	put, claimed, finished, rescued, offered prometheus.Counter
	again                                    prometheus.Counter
	failed                                   *prometheus.CounterVec // by verdict
	refused                                  *prometheus.CounterVec // by what was wrong
	waited                                   prometheus.Histogram
}

// NewMetrics registers the metrics; a nil registry leaves them unseen.
func NewMetrics(r prometheus.Registerer) *Metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Namespace: "wdpost", Subsystem: "queue", Name: name, Help: help})
	}
	vec := func(name, help, label string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "wdpost", Subsystem: "queue", Name: name, Help: help}, []string{label})
	}
	m := &Metrics{
		put:      counter("tasks_put_total", "New tasks stored."),
		claimed:  counter("tasks_claimed_total", "Tasks handed to slaves."),
		again:    counter("claims_repeated_total", "Tasks given to their slaves again because the reply to the claim was lost."),
		finished: counter("tasks_finished_total", "Verified answers stored."),
		rescued:  counter("tasks_rescued_total", "Attempts given up because the slave fell silent or took too long."),
		offered:  counter("answers_in_hand_total", "Answers that left sectors out while another slave was asked."),
		failed:   vec("attempts_failed_total", "Attempts that ended without an answer.", "verdict"),
		refused:  vec("refused_total", "Messages of slaves that were refused: a lost lease or a wrong answer.", "what"),
		waited: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: "wdpost", Subsystem: "queue", Name: "claim_wait_seconds",
			Help: "Time from ready to claimed, in whole seconds.", Buckets: []float64{0, 1, 2, 5, 10, 30, 60, 300, 1800},
		}),
	}
	if r != nil {
		r.MustRegister(m.put, m.claimed, m.again, m.finished, m.rescued, m.offered, m.failed, m.refused, m.waited)
	}
	return m
}

// depth reports how many tasks are in each state.
type depth struct {
	store Store
	desc  *prometheus.Desc
}

// NewDepth returns a collector of the number of tasks in each state, read from
// the store at each scrape.
func NewDepth(s Store) prometheus.Collector {
	return depth{store: s, desc: prometheus.NewDesc("wdpost_queue_tasks", "Tasks by state, the archive aside.", []string{"state"}, nil)}
}

// Describe implements prometheus.Collector.
func (d depth) Describe(ch chan<- *prometheus.Desc) { ch <- d.desc }

// Collect implements prometheus.Collector. While the database is away the
// metric is absent.
func (d depth) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	counts, err := d.store.Counts(ctx)
	if err != nil {
		return // the database's absence is what /healthz tells
	}
	for _, st := range task.States() {
		ch <- prometheus.MustNewConstMetric(d.desc, prometheus.GaugeValue, float64(counts[st]), string(st))
	}
}
