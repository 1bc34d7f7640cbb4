package config

import (
	"net"
	"strconv"
	"time"
)

// Master is wdpost_master.toml.
type Master struct {
	Server Server   `toml:"server"`
	DB     Database `toml:"db"`
	Task   Tasks    `toml:"task"`
	Debug  Debug    `toml:"debug"`
}

// Server is the gRPC service for slaves.
type Server struct {
	// Listen is the address slaves connect to. Default 0.0.0.0:4698.
	Listen string `toml:"listen" is:"host:port"`
	// MaxConnections is how many slaves may be connected at once; more are
	// refused. Default 200.
	MaxConnections int `toml:"max_connections"`
	// Token, when set, must be presented by every slave ([master] token there).
	Token string `toml:"token"`
	// TLS, when set, encrypts the connections; with client_ca slaves must
	// present a certificate of that authority.
	TLS *ServerTLS `toml:"tls"`
}

// ServerTLS names PEM files.
type ServerTLS struct {
	Cert     string `toml:"cert" is:"file"`      // certificate chain of the server
	Key      string `toml:"key" is:"file"`       // its private key
	ClientCA string `toml:"client_ca" is:"file"` // authority of the slaves' certificates; empty: slaves need none
}

// Database is where tasks are stored.
type Database struct {
	// URL is mysql://user:password@host[:port]/name[?ssl-mode=DISABLED],
	// sqlite://path, or empty for a SQLite file beside the config file.
	URL string `toml:"url"`
	// MinConnections are kept open when idle. Default 3.
	MinConnections int `toml:"min_connections"`
	// MaxConnections may be open at once. Default 20.
	MaxConnections int `toml:"max_connections"`
	// IdleTimeout closes connections that were idle for longer. Default 10m.
	IdleTimeout Duration `toml:"idle_timeout"`
}

// Tasks are the rules by which tasks are handed out and put away.
type Tasks struct {
	// Timeout is how long an attempt may go on without coming nearer to its end
	// before others may have the task. Default 5m.
	Timeout Duration `toml:"timeout"`
	// MaxRetry is how often a failed task is tried again. Default 2.
	MaxRetry int `toml:"max_retry"`
	// HeartbeatTimeout is the silence after which a slave is taken for dead and
	// its task given to another; at least three heartbeat intervals of the
	// slaves. Default 15s.
	HeartbeatTimeout Duration `toml:"heartbeat_timeout"`
	// RetryJobInterval is the time between two looks for tasks to try again.
	// Default 10s.
	RetryJobInterval Duration `toml:"retry_job_interval"`
	// ArchiveJobInterval is the time between two looks for tasks to archive.
	// Default 1h.
	ArchiveJobInterval Duration `toml:"archive_job_interval"`
	// ShouldArchive is the age at which a finished task moves to
	// tasks_archived. Default 2days.
	ShouldArchive Duration `toml:"should_archive"`
	// PartitionSectors is how many sectors a window partition has on a
	// development network that differs from the real ones; it is needed to
	// verify proofs. 0 (the default): as on the real networks.
	PartitionSectors int `toml:"partition_sectors"`
}

// Debug is the local service for /healthz and /metrics.
type Debug struct {
	// Listen is its address, e.g. 127.0.0.1:9464; empty for none (the default).
	Listen string `toml:"listen" is:"host:port"`
}

// DefaultMaster returns the settings of an empty wdpost_master.toml.
func DefaultMaster() Master {
	return Master{
		Server: Server{Listen: "0.0.0.0:4698", MaxConnections: 200},
		DB: Database{
			MinConnections: 3,
			MaxConnections: 20,
			IdleTimeout:    Duration(10 * time.Minute),
		},
		Task: Tasks{
			Timeout:            Duration(5 * time.Minute),
			MaxRetry:           2,
			HeartbeatTimeout:   Duration(15 * time.Second),
			RetryJobInterval:   Duration(10 * time.Second),
			ArchiveJobInterval: Duration(time.Hour),
			ShouldArchive:      Duration(48 * time.Hour),
		},
	}
}

// LoadMaster reads wdpost_master.toml. The warnings are legal but suspicious
// settings, one sentence each.
func LoadMaster(path string) (m Master, warnings []string, err error) {
	m = DefaultMaster()
	doc, err := load(path, &m)
	if err != nil {
		return Master{}, nil, err
	}
	c := checker{doc: doc}
	m.check(&c)
	return m, c.warnings, c.err()
}

func (m *Master) check(c *checker) {
	c.address("server.listen", m.Server.Listen, true)
	c.address("debug.listen", m.Debug.Listen, false)
	c.require(m.Server.MaxConnections > 0, "server.max_connections", "must be 1 or more, is %d", m.Server.MaxConnections)
	if t := m.Server.TLS; t != nil {
		c.require(t.Cert != "" && t.Key != "", "server.tls", "needs both cert and key")
	}
	switch {
	case m.Server.TLS != nil || !IsPublic(m.Server.Listen):
	case m.Server.Token != "":
		c.warn("server.listen", "%s is reachable from other machines without TLS: token and tasks travel in plain text; set [server.tls] unless the network is your own", m.Server.Listen)
	default:
		c.warn("server.listen", "%s is reachable from other machines without token or TLS: anyone who can connect can take tasks; set [server] token or [server.tls]", m.Server.Listen)
	}

	if _, err := ParseDatabaseURL(m.DB.URL); err != nil {
		c.fail("db.url", "%s", err)
	}
	c.require(m.DB.MaxConnections > 0, "db.max_connections", "must be 1 or more, is %d", m.DB.MaxConnections)
	c.require(m.DB.MinConnections >= 0 && m.DB.MinConnections <= m.DB.MaxConnections,
		"db.min_connections", "is %d, must be between 0 and max_connections (%d)", m.DB.MinConnections, m.DB.MaxConnections)
	c.positive("db.idle_timeout", m.DB.IdleTimeout)

	t := m.Task
	c.positive("task.timeout", t.Timeout)
	c.positive("task.heartbeat_timeout", t.HeartbeatTimeout)
	c.positive("task.retry_job_interval", t.RetryJobInterval)
	c.positive("task.archive_job_interval", t.ArchiveJobInterval)
	c.positive("task.should_archive", t.ShouldArchive)
	c.require(t.PartitionSectors >= 0, "task.partition_sectors", "must be 0 or more, is %d", t.PartitionSectors)
	c.require(t.MaxRetry >= 0, "task.max_retry", "must be 0 or more, is %d", t.MaxRetry)
	c.require(t.HeartbeatTimeout <= t.Timeout, "task.heartbeat_timeout",
		"%s is longer than task.timeout (%s): a dead slave would never be noticed first", t.HeartbeatTimeout, t.Timeout)
	c.require(t.ShouldArchive > t.Timeout, "task.should_archive",
		"%s must be longer than task.timeout (%s)", t.ShouldArchive, t.Timeout)
}

// positive requires a duration above zero.
func (c *checker) positive(key string, d Duration) {
	c.require(d > 0, key, "must be longer than 0")
}

// address requires host:port (or :port); empty is legal unless required.
func (c *checker) address(key, addr string, required bool) {
	if addr == "" {
		c.require(!required, key, `is empty: write it like "192.168.200.113:4698"`)
		return
	}
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		c.fail(key, `%q is not host:port: write it like "192.168.200.113:4698"`, addr)
		return
	}
	_, err = strconv.ParseUint(port, 10, 16)
	c.require(err == nil, key, "%q: the port must be a number from 0 to 65535", addr)
}

// IsPublic reports whether a listener on addr is reachable from other machines.
func IsPublic(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host != "localhost" && (ip == nil || !ip.IsLoopback())
}
