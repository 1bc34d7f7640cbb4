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
	"wdpost/internal/ledger"
)

// figures are the counters that the manager keeps itself; collector reads the
// rest from the rooms at each scrape. Every series that can be known beforehand
// is there from the start, with 0, so that the first event is an increase.
type figures struct {
	deadlines *prometheus.CounterVec
	skipped   *prometheus.CounterVec
	margin    *prometheus.HistogramVec
	proving   *prometheus.HistogramVec

	once sync.Once
	reg  *prometheus.Registry

	mu   sync.Mutex
	runs map[ledger.RunKey]*counted
}

// counted is a run of the last days: an outcome that is written twice counts
// once.
type counted struct {
	closesAt time.Time
	ended    bool
}

// countedFor is how long after its close a run is remembered.
const countedFor = 48 * time.Hour

// verdicts are the outcomes of a deadline.
var verdicts = []deadline.Verdict{deadline.Proven, deadline.Missed, deadline.NothingToProve}

func newFigures(miners []config.Miner) *figures {
	f := &figures{
		deadlines: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "wdpost_deadlines_total", Help: "Deadlines that ended, by outcome",
		}, []string{"miner", "verdict"}),
		skipped: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "wdpost_sectors_skipped_total", Help: "Sectors left out of proofs",
		}, []string{"miner"}),
		margin: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "wdpost_margin_seconds", Help: "Time between the end of a proven deadline's work and the close of its window",
			Buckets: []float64{0, 60, 120, 300, 600, 900, 1200, 1500, 1800, 2400},
		}, []string{"miner"}),
		proving: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "wdpost_proving_seconds", Help: "Time from question to proof",
			Buckets: prometheus.ExponentialBuckets(0.5, 2, 13),
		}, []string{"miner", "kind"}),
		runs: map[ledger.RunKey]*counted{},
	}
	f.configured(miners)
	return f
}

// configured makes the series of the miners.
func (f *figures) configured(miners []config.Miner) {
	for _, m := range miners {
		if m.Actor != 0 {
			f.miner(m.Actor)
		}
	}
}

func (f *figures) miner(actor uint64) {
	name := subject(actor)
	for _, v := range verdicts {
		f.deadlines.WithLabelValues(name, label(v.String()))
	}
	f.skipped.WithLabelValues(name)
	f.margin.WithLabelValues(name)
	for _, kind := range []string{"window", "winning"} {
		f.proving.WithLabelValues(name, kind)
	}
}

// label is a text as the value of a label.
func label(s string) string { return strings.ReplaceAll(s, " ", "_") }

// opened notes when a run's window closes.
func (f *figures) opened(run ledger.Run) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.runs[run.RunKey] == nil {
		f.runs[run.RunKey] = &counted{closesAt: run.ClosesAt}
	}
	for key, r := range f.runs {
		if time.Since(r.closesAt) > countedFor {
			delete(f.runs, key)
		}
	}
}

// ended counts an outcome, once for each run.
func (f *figures) ended(key ledger.RunKey, end ledger.RunEnd) {
	f.mu.Lock()
	r := f.runs[key]
	if r == nil {
		r = &counted{closesAt: end.At}
		f.runs[key] = r
	}
	again := r.ended
	r.ended = true
	f.mu.Unlock()
	if again {
		return
	}
	name := subject(key.Miner)
	f.deadlines.WithLabelValues(name, label(end.Verdict)).Inc()
	f.skipped.WithLabelValues(name).Add(float64(end.Skipped))
	if end.Verdict == deadline.Proven.String() {
		f.margin.WithLabelValues(name).Observe(r.closesAt.Sub(end.At).Seconds())
	}
}

func (f *figures) proved(miner uint64, kind string, took time.Duration) {
	f.proving.WithLabelValues(subject(miner), kind).Observe(took.Seconds())
}

// registry is made once.
func (f *figures) registry(m *Manager) *prometheus.Registry {
	f.once.Do(func() {
		f.reg = prometheus.NewRegistry()
		f.reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
			f.deadlines, f.skipped, f.margin, f.proving, collector{m})
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
