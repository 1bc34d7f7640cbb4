package manager

import (
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"wdpost/internal/config"
	"wdpost/internal/deadline"
	"wdpost/internal/poster"
)

// figures are the counters that the manager keeps itself; collector reads the
// rest from the rooms at each scrape. Every series that can be known beforehand
// is there from the start, with 0, so that the first event is an increase.
type figures struct {
	deadlines  *prometheus.CounterVec
	recoveries *prometheus.CounterVec
	skipped    *prometheus.CounterVec
	messages   *prometheus.CounterVec
	gas        *prometheus.CounterVec
	failures   *prometheus.CounterVec
	margin     *prometheus.HistogramVec
	proving    *prometheus.HistogramVec

	once sync.Once
	reg  *prometheus.Registry
}

// What each kind of run can end in, and what happens to messages.
var (
	postVerdicts     = []deadline.Verdict{deadline.Proven, deadline.ProvenByAnother, deadline.Missed, deadline.NothingToProve, deadline.AllFaulty}
	recoveryVerdicts = []deadline.Verdict{deadline.Declared, deadline.NotDeclared}
	messageEvents    = []string{"pushed", "refused", "raised", "given_up", "landed", "failed", "dropped"}
)

func newFigures(miners []config.Miner) *figures {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "wdpost_" + name, Help: help}, append([]string{"miner"}, labels...))
	}
	f := &figures{
		deadlines:  counter("deadlines_total", "Deadlines that ended, by outcome", "verdict"),
		recoveries: counter("recoveries_total", "Deadlines whose faulty sectors were to be declared recovered, by outcome", "verdict"),
		skipped:    counter("sectors_skipped_total", "Sectors left out of proofs"),
		messages:   counter("messages_total", "What happened to messages: post or recovery", "kind", "event"),
		gas:        counter("message_gas_used_total", "Gas used by executed messages", "kind"),
		failures:   counter("proving_failures_total", "Attempts to prove that failed"),
		margin: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "wdpost_margin_seconds", Help: "Time between the end of a proven deadline's work and the close of its window",
			Buckets: []float64{0, 60, 120, 300, 600, 900, 1200, 1500, 1800, 2400},
		}, []string{"miner"}),
		proving: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "wdpost_proving_seconds", Help: "Time from question to proof",
			Buckets: prometheus.ExponentialBuckets(0.5, 2, 13),
		}, []string{"miner", "kind"}),
	}
	f.configured(miners)
	return f
}

// configured makes the series of the miners.
func (f *figures) configured(miners []config.Miner) {
	for _, m := range miners {
		if m.Actor != 0 {
			f.miner(subject(m.Actor))
		}
	}
}

func (f *figures) miner(name string) {
	for _, v := range postVerdicts {
		f.deadlines.WithLabelValues(name, label(v.String()))
	}
	for _, v := range recoveryVerdicts {
		f.recoveries.WithLabelValues(name, label(v.String()))
	}
	for _, kind := range []deadline.Kind{deadline.PoSt, deadline.Recovery} {
		for _, event := range messageEvents {
			f.messages.WithLabelValues(name, kind.String(), event)
		}
		f.gas.WithLabelValues(name, kind.String())
	}
	f.skipped.WithLabelValues(name)
	f.failures.WithLabelValues(name)
	f.margin.WithLabelValues(name)
	for _, kind := range []string{"window", "winning"} {
		f.proving.WithLabelValues(name, kind)
	}
}

// label is a text as the value of a label.
func label(s string) string { return strings.ReplaceAll(s, " ", "_") }

// outcome counts what a poster tells.
func (f *figures) outcome(o poster.Outcome) {
	name, kind := subject(uint64(o.Miner)), o.Kind.String()
	message := func(event string) { f.messages.WithLabelValues(name, kind, event).Inc() }
	switch o.What {
	case poster.RunEnded:
		f.runEnded(name, o)
	case poster.ProofFailed:
		f.failures.WithLabelValues(name).Inc()
	case poster.MessagePushed:
		message("pushed")
	case poster.MessageRefused:
		message("refused")
	case poster.MessageRaised:
		if !o.Failed {
			message("raised")
		}
	case poster.MessageGivenUp:
		message("given_up")
	case poster.MessageEnded:
		message(endOf(o))
		f.gas.WithLabelValues(name, kind).Add(float64(o.Message.GasUsed))
	}
}

func (f *figures) runEnded(name string, o poster.Outcome) {
	if o.Kind == deadline.Recovery {
		f.recoveries.WithLabelValues(name, label(o.Verdict.String())).Inc()
		return
	}
	f.deadlines.WithLabelValues(name, label(o.Verdict.String())).Inc()
	f.skipped.WithLabelValues(name).Add(float64(o.Skipped))
	if o.Verdict == deadline.Proven {
		f.margin.WithLabelValues(name).Observe(o.Margin.Seconds())
	}
}

// endOf is how a message ended.
func endOf(o poster.Outcome) string {
	switch {
	case o.Message.Succeeded():
		return "landed"
	case o.Message.Failed():
		return "failed"
	}
	return "dropped"
}

func (f *figures) proved(miner uint64, kind string, took time.Duration) {
	f.proving.WithLabelValues(subject(miner), kind).Observe(took.Seconds())
}

// registry is made once.
func (f *figures) registry(m *Manager) *prometheus.Registry {
	f.once.Do(func() {
		f.reg = prometheus.NewRegistry()
		f.reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
			f.deadlines, f.recoveries, f.skipped, f.messages, f.gas, f.failures, f.margin, f.proving, collector{m})
	})
	return f.reg
}

// processorFigures are the metrics that processors report, each with a label
// that names the processor.
type processorFigures struct{ m *Manager }

// Gather implements prometheus.Gatherer.
func (p processorFigures) Gather() ([]*dto.MetricFamily, error) {
	if p.m.host == nil {
		return nil, nil
	}
	children, _ := p.m.host.Status()
	byName := map[string]*dto.MetricFamily{}
	var order []*dto.MetricFamily
	var errs []error
	for _, c := range children {
		if c.Report == nil || c.Report.Metrics == "" {
			continue
		}
		parser := expfmt.NewTextParser(model.UTF8Validation)
		families, err := parser.TextToMetricFamilies(strings.NewReader(c.Report.Metrics))
		errs = append(errs, err)
		for name, family := range families {
			for _, metric := range family.Metric {
				metric.Label = append(metric.Label, pair("processor", c.Name))
			}
			if known := byName[name]; known != nil {
				known.Metric = append(known.Metric, family.Metric...)
				continue
			}
			byName[name] = family
			order = append(order, family)
		}
	}
	return order, errors.Join(errs...)
}

func pair(name, value string) *dto.LabelPair { return &dto.LabelPair{Name: &name, Value: &value} }
