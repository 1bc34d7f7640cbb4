package manager

import (
	"context"
	"time"

	"github.com/filecoin-project/go-state-types/abi"

	"wdpost/internal/condition"
	"wdpost/internal/config"
	"wdpost/internal/extprover"
	"wdpost/internal/ledger"
	"wdpost/internal/message"
	"wdpost/internal/poster"
	"wdpost/internal/sector"
	"wdpost/internal/winning"
)

// Status is everything the manager knows about itself at one moment, as /status
// and the commands show it.
type Status struct {
	Build      string                  `json:"build"`
	Started    time.Time               `json:"started"`
	Home       string                  `json:"home"`
	Health     string                  `json:"health"` // "ok" or what costs power
	Ready      string                  `json:"ready"`  // "ready" or why not
	Conditions []condition.Condition   `json:"conditions"`
	Network    *NetworkStatus          `json:"network"` // null before the node's first answer
	Epoch      abi.ChainEpoch          `json:"epoch"`   // by the clock
	Nodes      []NodeStatus            `json:"nodes"`
	Miners     []MinerStatus           `json:"miners"`
	Processors []extprover.ChildStatus `json:"processors"`
	Waiting    map[string]int          `json:"waiting"` // requests without a processor, by stage
	Stores     []StoreStatus           `json:"stores"`
	Reads      []sector.StoreHealth    `json:"reads"` // folders accessed so far
	ConfigAt   time.Time               `json:"configAt"`
}

// NetworkStatus is the chain's grid.
type NetworkStatus struct {
	Name       string        `json:"name"`
	Genesis    time.Time     `json:"genesis"`
	BlockDelay time.Duration `json:"blockDelay"` // nanoseconds
}

// NodeStatus is one endpoint of the chain.
type NodeStatus struct {
	Address   string         `json:"address"`
	Preferred bool           `json:"preferred"`
	Height    abi.ChainEpoch `json:"height"` // -1 before the first head
	Latency   time.Duration  `json:"latency"`
	Error     string         `json:"error,omitempty"`
}

// MinerStatus is one configured miner.
type MinerStatus struct {
	Miner      uint64                 `json:"miner"`
	Admitted   bool                   `json:"admitted"`
	Error      string                 `json:"error,omitempty"` // why it is not
	SectorSize uint64                 `json:"sectorSize,omitempty"`
	ProofType  int64                  `json:"proofType,omitempty"`
	Head       abi.ChainEpoch         `json:"head"`
	Deadline   *uint64                `json:"deadline"`      // whose window is open
	Open       abi.ChainEpoch         `json:"open"`          // its first epoch
	Close      abi.ChainEpoch         `json:"close"`         // the first epoch after it
	SecondsTo  int64                  `json:"secondsLeft"`   // of the open window
	Active     int                    `json:"active"`        // deadlines worked on
	Running    []RunningDeadline      `json:"running"`       // those
	Recent     []RunStatus            `json:"recent"`        // newest first
	Winning    []winning.Registration `json:"registrations"` // at gateways
}

// RunningDeadline is a deadline that is worked on.
type RunningDeadline struct {
	Kind        string         `json:"kind"` // "post", or "recovery" of a deadline ahead
	PeriodStart abi.ChainEpoch `json:"periodStart"`
	Deadline    uint64         `json:"deadline"`
	Open        abi.ChainEpoch `json:"open"`
	Close       abi.ChainEpoch `json:"close"`
	Phase       string         `json:"phase"`
	Batches     []BatchStatus  `json:"batches"`
	Error       string         `json:"error,omitempty"` // the last one
}

// BatchStatus is one message's share of a deadline.
type BatchStatus struct {
	Partitions string           `json:"partitions"`
	Stage      string           `json:"stage"`
	Attempt    int              `json:"attempt"`
	Error      string           `json:"error,omitempty"`
	Message    string           `json:"message,omitempty"`  // its CID, once known
	Replaced   int              `json:"replaced,omitempty"` // how often its price was raised
	Seen       *message.Outcome `json:"-"`                  // as the service told last
}

// RunStatus is a deadline as the ledger keeps it.
type RunStatus struct {
	Deadline    uint64 `json:"deadline"`
	PeriodStart int64  `json:"periodStart"`
	Open        int64  `json:"open"`
	Partitions  string `json:"partitions"`
	Verdict     string `json:"verdict"` // empty while it goes on
	Reason      string `json:"reason,omitempty"`
	Proven      int    `json:"proven"`
	Skipped     int    `json:"skipped"`
}

// StoreStatus is one configured store.
type StoreStatus struct {
	Name  string            `json:"name"`
	Path  string            `json:"path"`
	Error string            `json:"error,omitempty"` // why its sectors are skipped
	Meta  map[string]string `json:"meta,omitempty"`
}

// recentRuns is how many runs of each miner the status shows; ledgerPatience how
// long the ledger may take to list them.
const (
	recentRuns     = 10
	ledgerPatience = 2 * time.Second
)

// Status gathers it. It waits for nobody but the ledger, and for that only
// shortly.
func (m *Manager) Status(ctx context.Context) Status {
	now := time.Now()
	health, ready := "ok", "ready"
	if err := m.Health(); err != nil {
		health = err.Error()
	}
	if err := m.Ready(); err != nil {
		ready = err.Error()
	}
	s := Status{
		Build: m.cfg.Build, Started: m.started, Home: m.cfg.Home, Health: health, Ready: ready,
		Conditions: m.board.List(), Reads: m.stores.guard.Health(), ConfigAt: m.settings.Load().at,
	}
	for _, n := range m.node.Status() {
		node := NodeStatus{Address: n.Address, Preferred: n.Preferred, Height: n.Height, Latency: n.Latency}
		if n.Err != nil {
			node.Error = n.Err.Error()
		}
		s.Nodes = append(s.Nodes, node)
	}
	if m.host != nil {
		s.Processors, s.Waiting = m.host.Status()
	}
	if n := m.network.Load(); n != nil {
		s.Network = &NetworkStatus{Name: n.name, Genesis: n.clock.Genesis, BlockDelay: n.clock.BlockDelay}
		s.Epoch = n.clock.EpochAt(now)
	}
	s.Stores = m.storeStatus()
	ctx, cancel := context.WithTimeout(ctx, ledgerPatience)
	defer cancel()
	m.miners.each(func(actor uint64, r *minerRun) { s.Miners = append(s.Miners, m.minerStatus(ctx, actor, r)) })
	if s.Network == nil { // none of them was taken up yet
		for _, conf := range m.settings.Load().manager.Miners {
			if m.worksFor(conf) {
				s.Miners = append(s.Miners, MinerStatus{Miner: conf.Actor, Error: "the node has not answered yet"})
			}
		}
	}
	return s
}

func (m *Manager) storeStatus() []StoreStatus {
	var out []StoreStatus
	set := m.stores.current.Load()
	away := set.watch.Away()
	meta := map[string]map[string]string{}
	for _, w := range m.settings.Load().manager.Common.PersistStores {
		meta[w.Name] = w.Meta
	}
	for _, w := range set.configured {
		s := StoreStatus{Name: w.Name, Path: w.Path, Meta: meta[w.Name]}
		for _, err := range []error{set.broken[w.Name], away[w.Name]} {
			if err != nil {
				s.Error = oneLine(err)
			}
		}
		out = append(out, s)
	}
	return out
}

func (m *Manager) minerStatus(ctx context.Context, actor uint64, r *minerRun) MinerStatus {
	s := MinerStatus{Miner: actor}
	j := r.joined.Load()
	if j == nil {
		if why := r.why.Load(); why != nil {
			s.Error = (*why).Error()
		}
		return s
	}
	s.Admitted, s.SectorSize, s.ProofType = true, uint64(j.info.SectorSize), int64(j.info.WindowPoStProofType)
	if j.winning != nil {
		s.Winning = j.winning.Status()
	}
	if j.poster == nil {
		return s
	}
	for _, p := range j.poster.Status() {
		m.fillPoster(&s, p)
	}
	runs, err := m.records.Runs(ctx, ledger.RunQuery{Miner: &actor, Limit: recentRuns})
	if err != nil {
		s.Error = err.Error()
	}
	for _, run := range runs {
		s.Recent = append(s.Recent, runStatus(run))
	}
	return s
}

func (m *Manager) fillPoster(s *MinerStatus, p poster.MinerStatus) {
	s.Head, s.Active = p.Head, len(p.Active)
	if p.Open != nil {
		s.Deadline, s.Open, s.Close = &p.Open.Index, p.Open.Open, p.Open.Close
		if n := m.network.Load(); n != nil {
			s.SecondsTo = int64(time.Until(n.clock.TimeOf(p.Open.Close)).Seconds())
		}
	}
	for _, d := range p.Active {
		running := RunningDeadline{Kind: d.Kind.String(), PeriodStart: d.Info.PeriodStart, Deadline: d.Info.Index, Open: d.Info.Open, Close: d.Info.Close, Phase: d.Phase.String(), Error: d.LastError}
		for _, b := range d.Batches {
			running.Batches = append(running.Batches, BatchStatus{
				Partitions: string(b.ID), Stage: b.Stage.String(), Attempt: b.Attempt, Error: b.LastError,
				Message: b.Seen.Handle.CID, Replaced: b.Steps, Seen: &b.Seen,
			})
		}
		s.Running = append(s.Running, running)
	}
}

func runStatus(r ledger.Run) RunStatus {
	s := RunStatus{Deadline: r.Deadline, PeriodStart: r.PeriodStart, Open: r.Open, Partitions: r.Partitions.String()}
	if r.Ended != nil {
		s.Verdict, s.Reason, s.Proven, s.Skipped = r.Ended.Verdict, r.Ended.Reason, r.Ended.Proven, r.Ended.Skipped
	}
	return s
}

// Effective are the settings in force, defaults included, secrets blotted out.
func (m *Manager) Effective() any {
	s := m.settings.Load()
	cfg := s.manager
	cfg.Common.API.Token = blot(cfg.Common.API.Token)
	cfg.Common.MongoKVStore.DSN = blot(cfg.Common.MongoKVStore.DSN)
	return struct {
		Manager   config.Manager   `json:"sector-manager.cfg"`
		ExtProver config.ExtProver `json:"ext-prover.cfg"`
		Read      time.Time        `json:"read"`
	}{cfg, s.ext, s.at}
}

func blot(secret string) string {
	if secret == "" {
		return ""
	}
	return "***"
}
