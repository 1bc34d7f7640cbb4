package manager

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"wdpost/internal/condition"
	"wdpost/internal/deadline"
	"wdpost/internal/endpoint"
	"wdpost/internal/extprover"
	"wdpost/internal/ledger"
	"wdpost/internal/poster"
	"wdpost/internal/sector"
)

// collector makes metrics of the states of the rooms at each scrape.
type collector struct{ m *Manager }

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("wdpost_"+name, help, labels, nil)
}

var (
	buildInfo       = desc("build_info", "1, with the build of the manager", "version")
	conditions      = desc("condition", "Conditions of the kind that stand", "kind", "cost")
	ready           = desc("ready", "1 while a window that opened now could be proven")
	minerAdmitted   = desc("miner_admitted", "1 while the miner is worked for", "miner")
	nodeUp          = desc("node_up", "1 while the node answers and may be used", "node")
	nodeHeight      = desc("node_height", "Head that the node answered last, in epochs; -1 before the first", "node")
	nodeLag         = desc("node_lag_epochs", "Epochs between the clock and the node's head", "node")
	nodeCalls       = desc("node_calls_total", "Calls made to the node", "node")
	nodeErrors      = desc("node_errors_total", "Failed calls to the node, by category", "node", "category")
	headLag         = desc("head_lag_epochs", "Epochs between the clock and the head that the miner's work stands on", "miner")
	minerHead       = desc("poster_head", "Head the poster works with, in epochs", "miner")
	minerActive     = desc("poster_active_deadlines", "Deadlines worked on", "miner")
	windowLeft      = desc("window_seconds_left", "Seconds until the open window closes", "miner")
	windowBatches   = desc("window_partitions", "Partitions of the open window by stage", "miner", "stage")
	childReady      = desc("processor_ready", "1 while the external processor is ready", "processor")
	childInFlight   = desc("processor_requests", "Requests the processor has", "processor")
	childAnswered   = desc("processor_answers_total", "Requests answered", "processor")
	childFailed     = desc("processor_failures_total", "Requests answered with an error", "processor")
	childDeaths     = desc("processor_deaths_total", "Ends of the process that were not asked for", "processor")
	requestsWaiting = desc("processor_waiting", "Requests that wait for a processor", "stage")
	slavesByState   = desc("slaves", "Slaves behind the processor, by state and sector size in bytes", "processor", "state", "sector_size")
	tasksByState    = desc("tasks", "Tasks of the processor, by state", "processor", "state")
	storeUsable     = desc("store_usable", "1 while the configured store can be read", "store")
)

// slaveStates and taskStates are those that are always shown, with 0.
var (
	slaveStates = []string{"proving", "idle", "waiting", "draining", "gone"}
	taskStates  = []string{"ready", "assigned", "completed", "failed"}
)

// Describe sends nothing: what there is depends on the configuration.
func (collector) Describe(chan<- *prometheus.Desc) {}

// sink sends what Collect reads.
type sink chan<- prometheus.Metric

func (s sink) gauge(d *prometheus.Desc, v float64, labels ...string) {
	s <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
}

func (s sink) counter(d *prometheus.Desc, v uint64, labels ...string) {
	s <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
}

// Collect reads the states.
func (c collector) Collect(ch chan<- prometheus.Metric) {
	s := sink(ch)
	c.m.fold(time.Now())
	s.gauge(buildInfo, 1, c.m.cfg.Build)
	s.gauge(ready, truth(c.m.Ready() == nil))
	c.conditions(s)
	for _, n := range c.m.node.Status() {
		s.gauge(nodeUp, truth(n.Up), n.Address)
		s.gauge(nodeHeight, float64(n.Height), n.Address)
		s.gauge(nodeLag, float64(n.Lag), n.Address)
		s.counter(nodeCalls, n.Calls, n.Address)
		for _, category := range endpoint.Categories() {
			s.counter(nodeErrors, n.Errors[category], n.Address, string(category))
		}
	}
	sector.Collector{Guard: c.m.stores.guard}.Collect(ch)
	for _, store := range c.m.storeStatus() {
		s.gauge(storeUsable, truth(store.Error == ""), store.Name)
	}
	c.processors(s)
	c.senders(s)
	running := map[uint64]*minerRun{}
	c.m.miners.each(func(actor uint64, r *minerRun) { running[actor] = r })
	for _, conf := range c.m.settings.Load().manager.Miners {
		if c.m.worksFor(conf) {
			c.miner(s, conf.Actor, running[conf.Actor])
		}
	}
}

// conditions shows every kind of the catalogue, those that do not stand with 0.
func (c collector) conditions(s sink) {
	count := map[[2]string]int{}
	for _, e := range condition.Catalogue() {
		count[[2]string{string(e.Kind), string(e.Cost)}] = 0
	}
	for _, standing := range c.m.board.List() {
		count[[2]string{string(standing.Kind), string(standing.Cost)}]++
	}
	for labels, n := range count {
		s.gauge(conditions, float64(n), labels[0], labels[1])
	}
}

func (c collector) processors(s sink) {
	if c.m.host == nil {
		return
	}
	children, waiting := c.m.host.Status()
	for _, p := range children {
		s.gauge(childReady, truth(p.Ready), p.Name)
		s.gauge(childInFlight, float64(p.InFlight), p.Name)
		s.counter(childAnswered, p.Answered, p.Name)
		s.counter(childFailed, p.Failed, p.Name)
		s.counter(childDeaths, p.Deaths, p.Name)
		if p.Report != nil {
			reportFigures(s, p.Name, p.Report)
		}
	}
	for stage, n := range waiting {
		s.gauge(requestsWaiting, float64(n), stage)
	}
}

func reportFigures(s sink, name string, r *extprover.Report) {
	tasks := map[string]int{}
	for _, state := range taskStates {
		tasks[state] = 0
	}
	for state, n := range r.Tasks {
		tasks[state] = n
	}
	for state, n := range tasks {
		s.gauge(tasksByState, float64(n), name, state)
	}
	type group struct {
		state string
		size  uint64
	}
	slaves := map[group]int{}
	for _, state := range slaveStates {
		slaves[group{state, 0}] = 0
	}
	for _, count := range r.Slaves {
		slaves[group{count.State, count.SectorSize}] += count.Count
	}
	for g, n := range slaves {
		s.gauge(slavesByState, float64(n), name, g.state, strconv.FormatUint(g.size, 10))
	}
}

// miner shows one configured miner; r is nil before it was taken up.
func (c collector) miner(s sink, actor uint64, r *minerRun) {
	name := subject(actor)
	var p poster.MinerStatus
	admitted := false
	if r != nil {
		if j := r.joined.Load(); j != nil {
			admitted = true
			if j.winning != nil {
				c.winnings(s, name, j.winning.Status())
			}
			if j.poster != nil {
				if list := j.poster.Status(); len(list) > 0 {
					p = list[0]
				}
			}
		}
	}
	s.gauge(minerAdmitted, truth(admitted), name)
	s.gauge(minerHead, float64(p.Head), name)
	s.gauge(minerActive, float64(len(p.Active)), name)
	left, lag := 0.0, 0.0
	if n := c.m.network.Load(); n != nil && p.Open != nil {
		left = time.Until(n.clock.TimeOf(p.Open.Close)).Seconds()
		lag = float64(n.clock.EpochAt(time.Now()) - p.Head)
	}
	s.gauge(windowLeft, left, name)
	s.gauge(headLag, lag, name)
	for stage, n := range stagesOf(p) {
		s.gauge(windowBatches, float64(n), name, stage)
	}
}

// stagesOf counts the partitions of the open window by stage, every stage
// included.
func stagesOf(p poster.MinerStatus) map[string]int {
	stages := map[string]int{}
	for stage := deadline.Proving; stage <= deadline.Landed; stage++ {
		stages[stage.String()] = 0
	}
	for _, d := range p.Active {
		if p.Open == nil || d.Info.Open != p.Open.Open || d.Kind != deadline.PoSt {
			continue
		}
		for _, b := range d.Batches {
			stages[b.Stage.String()] += partitionsOf(string(b.ID))
		}
	}
	return stages
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// partitionsOf counts the partitions of a batch by its name.
func partitionsOf(batch string) int {
	p, err := ledger.ParsePartitions(batch)
	if err != nil {
		return 0
	}
	return len(p)
}
