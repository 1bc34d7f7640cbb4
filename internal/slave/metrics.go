package slave

import "github.com/prometheus/client_golang/prometheus"

// Metrics counts the work of a slave.
type Metrics struct {
	tasks   *prometheus.CounterVec // by result
	held    prometheus.Gauge
	proving prometheus.Histogram
}

// NewMetrics registers the metrics; a nil registry leaves them unseen.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := &Metrics{
		tasks: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "wdpost", Subsystem: "slave", Name: "tasks_total",
			Help: "Tasks by result: proven, unread (no sector could be read here), failed here, or stopped from outside."}, []string{"result"}),
		held: prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: "wdpost", Subsystem: "slave", Name: "tasks_held", Help: "Tasks in hand, undelivered answers included."}),
		proving: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: "wdpost", Subsystem: "slave", Name: "proving_seconds",
			Help: "From claim to verified proof.", Buckets: prometheus.ExponentialBuckets(0.5, 2, 13)}),
	}
	if r != nil {
		r.MustRegister(m.tasks, m.held, m.proving)
	}
	return m
}
