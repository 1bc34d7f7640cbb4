package daemon

import (
	"cmp"
	"path/filepath"
	"time"

	"wdpost/internal/config"
	"wdpost/internal/extprover"
	"wdpost/internal/parts"
	"wdpost/internal/prover"
	"wdpost/internal/rpc"
	"wdpost/internal/sector"
	"wdpost/internal/slave"
	"wdpost/internal/task"
	"wdpost/proofs/post"
)

// Names beside the config file where none are set.
const (
	defaultSpool = "wdpost-slave-spool"
	paceFile     = "wdpost-slave-pace.json"
)

// abandonTimeout is how long a processor may go on with a task that was taken
// away from this slave: until then its place is not free.
const abandonTimeout = time.Minute

// plan is what the rooms are told, without the parts that join them.
type plan struct {
	client     rpc.ClientConfig
	tls        *config.ClientTLS // files of the client's TLS; nil: plain text
	worker     slave.Config
	paths      slave.Paths
	guard      sector.GuardConfig
	engine     prover.Config
	processors []extprover.Processor // none: the native prover
	readFirst  prover.ReadFirstConfig
	pace       string // file
	spread     parts.SpreaderConfig
	warm       []post.ProofType
	debug      string
}

// planOf reads a slave.toml in the given folder, for a slave whose host has the
// given name.
func planOf(c config.Slave, env environment, dir, host string) (plan, error) {
	var p plan
	p.client = rpc.ClientConfig{
		Addresses: c.Master.ServerAddr, Token: c.Master.Token, ReconnectInterval: c.Master.ReconnectInterval.D(),
		Name: cmp.Or(c.Slave.Name, host), Version: rpc.BuildVersion(), Concurrent: c.Slave.Concurrent,
	}
	p.tls = c.Master.TLS
	p.worker = slave.Config{
		Spool:       cmp.Or(c.Slave.Spool, filepath.Join(dir, defaultSpool)),
		SectorSizes: env.sectorSizes(), AllSizes: post.SectorSizes(),
		Concurrent: c.Slave.Concurrent, HeartbeatInterval: c.Master.HeartbeatInterval.D(),
		PullInterval: c.Slave.PullInterval.D(), ReconnectInterval: c.Master.ReconnectInterval.D(),
	}
	for _, role := range c.Slave.Roles {
		p.worker.Roles = append(p.worker.Roles, task.Role(role))
	}
	var err error
	if p.paths, err = slave.NewPaths(c.Slave.Paths); err != nil {
		return plan{}, err
	}
	p.spread.Mode = parts.Mode(c.Slave.Spread)
	p.guard = sector.GuardConfig{Timeout: c.Read.Timeout.D(), Parallel: c.Read.Parallel, MaxStuck: c.Read.MaxStuck}
	p.engine = prover.Config{Keys: env.keys, Memory: uint64(c.Slave.Memory), PartitionSectors: c.Slave.PartitionSectors}
	p.engine.Keys.MemoryLimit = uint64(c.Slave.Memory) / 2
	for _, x := range c.Slave.Processor {
		p.processors = append(p.processors, extprover.Processor{
			Bin: x.Bin, Args: x.Args, Envs: x.Envs, Concurrent: x.Concurrent, ReadyTimeout: x.ReadyTimeout.D(),
		})
		p.readFirst.Places += x.Concurrent
		p.readFirst.HungAfter = max(p.readFirst.HungAfter, x.HungAfter.D())
	}
	p.pace = filepath.Join(dir, paceFile)
	if env.sectorSize != 0 {
		t, err := post.TypeOf(post.Window, env.sectorSize, post.V1_2_0)
		if err != nil {
			return plan{}, err
		}
		p.warm = []post.ProofType{t}
	}
	p.debug = c.Debug.Listen
	return p, nil
}
