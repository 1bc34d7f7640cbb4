package config

import (
	"fmt"
	"path/filepath"
	"slices"
	"time"
)

// Slave is slave.toml.
type Slave struct {
	Master SlaveMaster `toml:"master"`
	Slave  SlaveWork   `toml:"slave"`
	Read   Read        `toml:"read"`
	Debug  Debug       `toml:"debug"`
}

// SlaveMaster says where tasks come from.
type SlaveMaster struct {
	// ServerAddr is host:port of the master, or a list of several masters that
	// share one database. Required.
	ServerAddr Strings `toml:"server_addr" is:"host:port or list"`
	// ReconnectInterval is the wait before a lost connection is tried again; it
	// grows with repeated failure, up to twice this. Default 3s.
	ReconnectInterval Duration `toml:"reconnect_interval"`
	// HeartbeatInterval is the time between two signs of life of a running
	// task; the master's heartbeat_timeout must be at least three times this.
	// Default 5s.
	HeartbeatInterval Duration `toml:"heartbeat_interval"`
	// Token is the master's [server] token.
	Token string `toml:"token"`
	// TLS, when set, encrypts the connection.
	TLS *ClientTLS `toml:"tls"`
}

// ClientTLS names PEM files.
type ClientTLS struct {
	CA         string `toml:"ca" is:"file"`   // authority of the master's certificate; empty: the system's
	Cert       string `toml:"cert" is:"file"` // certificate of this slave, where the master asks for one
	Key        string `toml:"key" is:"file"`  // its private key
	ServerName string `toml:"server_name"`    // name in the master's certificate; empty: the host of server_addr
}

// SlaveWork says how much this machine does.
type SlaveWork struct {
	// Name is how the master shows this slave. Default: the host's name.
	Name string `toml:"name"`
	// Concurrent is how many tasks are worked on at once. Default 1.
	Concurrent int `toml:"concurrent"`
	// Roles are what this machine does: 'read' makes vanilla proofs of the stores
	// it mounts, 'prove' makes the SNARK proofs of partitions, its own or those
	// that others have read. Default: both.
	Roles Strings `toml:"roles" is:"list of texts"`
	// Spread says when partitions of a task are proven by other slaves too:
	// 'auto', while some are idle and alone it would take half of the time left;
	// 'always', while some are idle; 'never'. A slave that does not prove always
	// does. Default 'auto'.
	Spread string `toml:"spread"`
	// Paths says where the manager's folders are mounted on this machine:
	// '/manager/folder' = '/folder/here'. The longest that fits decides. Default:
	// everywhere the same.
	Paths map[string]string `toml:"paths" is:"table of texts"`
	// PullInterval is the wait between two requests for a task where the master
	// cannot hold the request open. Default 5s.
	PullInterval Duration `toml:"pull_interval"`
	// Memory is what native proving may use, e.g. "20GiB"; 0 (the default):
	// what the machine has free, less a reserve.
	Memory Bytes `toml:"memory"`
	// Spool is the folder that keeps finished answers until the master has
	// them. Default: wdpost-slave-spool beside the config file.
	Spool string `toml:"spool"`
	// PartitionSectors is how many sectors a window partition has on a
	// development network that differs from the real ones. 0 (the default): as
	// on the real networks.
	PartitionSectors int `toml:"partition_sectors"`
	// Processor, when given, are external processors that prove instead of the
	// native prover, e.g. one for each GPU.
	Processor []Processor `toml:"processor"`
}

// Processor is one external processor under a slave: it speaks the
// external-processor protocol on stdin and stdout.
type Processor struct {
	// Bin is the program. Required.
	Bin string `toml:"bin"`
	// Args are its arguments.
	Args []string `toml:"args"`
	// Envs are set in its environment, on top of the slave's own.
	Envs map[string]string `toml:"envs"`
	// Concurrent is how many tasks it works on at once. Default 1.
	Concurrent int `toml:"concurrent"`
	// ReadyTimeout is how long it may take to print that it is ready.
	// Default 30s.
	ReadyTimeout Duration `toml:"ready_timeout"`
	// HungAfter is how long the proof of one partition may take before the
	// processor counts as hanging and is started again. 0 (the default): three
	// times what its proofs take, or half of the window while it made none.
	HungAfter Duration `toml:"hung_after"`
}

func (p *Processor) setDefaults() {
	p.Concurrent = 1
	p.ReadyTimeout = Duration(30 * time.Second)
}

// Read bounds the reading of sector files, which may hang for ever on a dead
// network mount.
type Read struct {
	// Timeout is how long the reads of one sector may take before the sector is
	// skipped. Default 60s.
	Timeout Duration `toml:"timeout"`
	// Parallel is how many sectors are read at once. Default 32.
	Parallel int `toml:"parallel"`
	// MaxStuck is how many reads may be stuck in one store before the store is
	// set aside. Default 16.
	MaxStuck int `toml:"max_stuck"`
}

func defaultRead() Read {
	return Read{Timeout: Duration(time.Minute), Parallel: 32, MaxStuck: 16}
}

// DefaultSlave returns the settings of a slave.toml that names only a master.
func DefaultSlave() Slave {
	return Slave{
		Master: SlaveMaster{
			ReconnectInterval: Duration(3 * time.Second),
			HeartbeatInterval: Duration(5 * time.Second),
		},
		Slave: SlaveWork{Concurrent: 1, Spread: "auto", PullInterval: Duration(5 * time.Second)},
		Read:  defaultRead(),
	}
}

// LoadSlave reads slave.toml. The warnings are legal but suspicious settings,
// one sentence each.
func LoadSlave(path string) (s Slave, warnings []string, err error) {
	s = DefaultSlave()
	doc, err := load(path, &s)
	if err != nil {
		return Slave{}, nil, err
	}
	c := checker{doc: doc}
	s.check(&c)
	return s, c.warnings, c.err()
}

func (s *Slave) check(c *checker) {
	m := s.Master
	c.require(len(m.ServerAddr) > 0, "master.server_addr", `is missing: write the master's address like server_addr = '192.168.200.113:4698'`)
	for _, addr := range m.ServerAddr {
		c.address("master.server_addr", addr, true)
	}
	c.positive("master.reconnect_interval", m.ReconnectInterval)
	c.positive("master.heartbeat_interval", m.HeartbeatInterval)
	if t := m.TLS; t != nil {
		c.require((t.Cert == "") == (t.Key == ""), "master.tls", "cert and key go together: give both or neither")
	}
	if d := DefaultMaster().Task.HeartbeatTimeout; 3*m.HeartbeatInterval > d {
		c.warn("master.heartbeat_interval", "%s: the master's heartbeat_timeout must be at least three times this, its default is %s", m.HeartbeatInterval, d)
	}

	c.require(s.Slave.Concurrent > 0, "slave.concurrent", "must be 1 or more, is %d", s.Slave.Concurrent)
	c.require(s.Slave.PartitionSectors >= 0, "slave.partition_sectors", "must be 0 or more, is %d", s.Slave.PartitionSectors)
	for _, role := range s.Slave.Roles {
		c.require(role == "read" || role == "prove", "slave.roles", "%q is no role: use read, prove", role)
	}
	c.require(slices.Contains([]string{"auto", "always", "never"}, s.Slave.Spread), "slave.spread", "%q is unknown: use auto, always or never", s.Slave.Spread)
	for from, to := range s.Slave.Paths {
		c.require(filepath.IsAbs(from) && filepath.IsAbs(to), "slave.paths", "'%s' = '%s': both sides must be absolute folders, the manager's on the left", from, to)
	}
	c.positive("slave.pull_interval", s.Slave.PullInterval)
	for i, p := range s.Slave.Processor {
		key := fmt.Sprintf("slave.processor[%d]", i)
		c.require(p.Bin != "", key+".bin", "is missing: the path of the external processor")
		c.require(p.Concurrent > 0, key+".concurrent", "must be 1 or more, is %d", p.Concurrent)
		c.positive(key+".ready_timeout", p.ReadyTimeout)
		c.require(p.HungAfter >= 0, key+".hung_after", "must not be negative, is %s", p.HungAfter)
	}

	c.positive("read.timeout", s.Read.Timeout)
	c.require(s.Read.Parallel > 0, "read.parallel", "must be 1 or more, is %d", s.Read.Parallel)
	c.require(s.Read.MaxStuck > 0, "read.max_stuck", "must be 1 or more, is %d", s.Read.MaxStuck)
	c.address("debug.listen", s.Debug.Listen, false)
}
