package sector

import (
	"cmp"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"wdpost/internal/sector/store"
)

// latencyBounds are the upper bounds of the latency histogram in seconds.
var latencyBounds = []float64{0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30}

// storeStats are counts since the start. They are guarded by Guard.mu.
type storeStats struct {
	buckets  [11]uint64 // not cumulative; the last is beyond all bounds
	seconds  float64
	calls    uint64
	bytes    uint64
	troubles uint64 // errors of the store
	fileErrs uint64 // errors of single files
	hung     uint64
	setAside uint64
}

func (c *storeStats) observe(took time.Duration, err error) {
	at, _ := slices.BinarySearch(latencyBounds, took.Seconds())
	c.buckets[at]++
	c.seconds += took.Seconds()
	c.calls++
	if err == nil {
		return
	}
	switch store.TroubleOf(err) {
	case store.OfStore:
		c.troubles++
	case store.OfFile:
		c.fileErrs++
	}
}

// StoreHealth is the state of one store at one moment.
type StoreHealth struct {
	Store    string    `json:"store"` // its name
	Path     string    `json:"path"`
	State    string    `json:"state"`    // "ok", "hangs" or "fails"
	InFlight int       `json:"inFlight"` // operations under way, those that hang included
	Stuck    int       `json:"stuck"`    // files that hang
	Waiting  int       `json:"waiting"`  // sectors that wait for their turn
	Failures int       `json:"failures"` // in a row
	SetAside bool      `json:"setAside"`
	Since    time.Time `json:"since,omitzero"`   // of being set aside
	NextTry  time.Time `json:"nextTry,omitzero"` // when it is tried again
	Error    string    `json:"error,omitempty"`  // the last error of the store
}

// States of a store.
const (
	StateOK    = "ok"
	StateHangs = "hangs"
	StateFails = "fails"
)

// Health lists the stores that were accessed so far, by name.
func (g *Guard) Health() []StoreHealth {
	g.mu.Lock()
	defer g.unlock()
	var out []StoreHealth
	for _, s := range g.stores {
		h := StoreHealth{
			Store: s.name, Path: s.root, State: StateOK, InFlight: s.ops, Stuck: len(s.hanging),
			Waiting: len(s.queue), Failures: s.failures,
		}
		if s.lastErr != nil {
			h.Error = s.lastErr.Error()
		}
		if a := s.aside; a != nil {
			h.SetAside, h.Since, h.NextTry, h.State = true, a.since, a.next, StateFails
			if a.hang {
				h.State = StateHangs
			}
		}
		out = append(out, h)
	}
	slices.SortFunc(out, func(a, b StoreHealth) int { return cmp.Compare(a.Store, b.Store) })
	return out
}

// Threads is how many operations are under way or reserved, over all stores, and
// how many of them hang.
func (g *Guard) Threads() (all, stuck int) {
	g.mu.Lock()
	defer g.unlock()
	return g.threads, g.stuck
}

// count adds bytes that came from the store of the folder root.
func (g *Guard) count(root string, n int) {
	g.mu.Lock()
	defer g.unlock()
	g.stateOf(root).stats.bytes += uint64(n)
}

// storeDesc describes a metric of stores.
func storeDesc(name, help string) *prometheus.Desc {
	return prometheus.NewDesc("wdpost_store_"+name, help, []string{"store"}, nil)
}

// Metrics of stores.
var (
	descStuck    = storeDesc("stuck_reads", "Files that hang")
	descSetAside = storeDesc("set_aside", "1 while the store is left alone")
	descInFlight = storeDesc("operations", "Operations on files under way, those that hang included")
	descWaiting  = storeDesc("waiting_sectors", "Sectors that wait for their turn in the store")
	descLatency  = storeDesc("operation_seconds", "How long operations on files took")
	descBytes    = storeDesc("read_bytes_total", "Bytes read")
	descTroubles = storeDesc("errors_total", "Operations that failed by an error of the store")
	descFileErrs = storeDesc("file_errors_total", "Operations that failed by an error of one file")
	descHung     = storeDesc("hung_total", "Operations that were not answered in time")
	descAsides   = storeDesc("set_aside_total", "How often the store was set aside")
)

// Collector makes the metrics of a guard's stores at each scrape.
type Collector struct{ Guard *Guard }

// Describe sends nothing: what there is depends on the configuration.
func (Collector) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c Collector) Collect(ch chan<- prometheus.Metric) {
	g := c.Guard
	g.mu.Lock()
	defer g.unlock()
	for _, s := range g.stores {
		value := func(desc *prometheus.Desc, kind prometheus.ValueType, v float64) {
			ch <- prometheus.MustNewConstMetric(desc, kind, v, s.name)
		}
		gauge := func(desc *prometheus.Desc, v int) { value(desc, prometheus.GaugeValue, float64(v)) }
		count := func(desc *prometheus.Desc, v uint64) { value(desc, prometheus.CounterValue, float64(v)) }
		aside := 0
		if s.aside != nil {
			aside = 1
		}
		gauge(descSetAside, aside)
		gauge(descStuck, len(s.hanging))
		gauge(descInFlight, s.ops)
		gauge(descWaiting, len(s.queue))
		count(descBytes, s.stats.bytes)
		count(descTroubles, s.stats.troubles)
		count(descFileErrs, s.stats.fileErrs)
		count(descHung, s.stats.hung)
		count(descAsides, s.stats.setAside)
		cumulative, buckets := uint64(0), map[float64]uint64{}
		for i, bound := range latencyBounds {
			cumulative += s.stats.buckets[i]
			buckets[bound] = cumulative
		}
		ch <- prometheus.MustNewConstHistogram(descLatency, s.stats.calls, s.stats.seconds, buckets, s.name)
	}
}
