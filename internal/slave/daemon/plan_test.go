package daemon

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"wdpost/internal/config"
	"wdpost/internal/task"
	"wdpost/proofs/post"
)

// keysOf lists the keys of a config struct, by their toml names.
func keysOf(t reflect.Type, prefix string) []string {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Struct {
		t = t.Elem()
	}
	var out []string
	for i := range t.NumField() {
		f := t.Field(i)
		name, ok := f.Tag.Lookup("toml")
		if !ok {
			continue
		}
		inner := f.Type
		if inner.Kind() == reflect.Pointer || inner.Kind() == reflect.Slice && inner.Elem().Kind() == reflect.Struct {
			inner = inner.Elem()
		}
		if inner.Kind() == reflect.Struct {
			out = append(out, keysOf(inner, prefix+name+".")...)
			continue
		}
		out = append(out, prefix+name)
	}
	return out
}

// arrival is a key of slave.toml: how a value is set, and where it works.
type arrival struct {
	set  func(*config.Slave)
	got  func(plan) any
	want any
}

// tls gives the file a TLS section.
func withTLS(edit func(*config.ClientTLS)) func(*config.Slave) {
	return func(s *config.Slave) {
		s.Master.TLS = &config.ClientTLS{}
		edit(s.Master.TLS)
	}
}

// withProcessor gives the file a processor.
func withProcessor(edit func(*config.Processor)) func(*config.Slave) {
	return func(s *config.Slave) {
		s.Slave.Processor = []config.Processor{{}}
		edit(&s.Slave.Processor[0])
	}
}

var arrivals = map[string]arrival{
	"master.server_addr": {func(s *config.Slave) { s.Master.ServerAddr = config.Strings{"a:1", "b:2"} },
		func(p plan) any { return p.client.Addresses }, []string{"a:1", "b:2"}},
	"master.reconnect_interval": {func(s *config.Slave) { s.Master.ReconnectInterval = config.Duration(7 * time.Second) },
		func(p plan) any { return []time.Duration{p.client.ReconnectInterval, p.worker.ReconnectInterval} }, []time.Duration{7 * time.Second, 7 * time.Second}},
	"master.heartbeat_interval": {func(s *config.Slave) { s.Master.HeartbeatInterval = config.Duration(3 * time.Second) },
		func(p plan) any { return p.worker.HeartbeatInterval }, 3 * time.Second},
	"master.token":           {func(s *config.Slave) { s.Master.Token = "secret" }, func(p plan) any { return p.client.Token }, "secret"},
	"master.tls.ca":          {withTLS(func(c *config.ClientTLS) { c.CA = "ca.pem" }), func(p plan) any { return p.tls.CA }, "ca.pem"},
	"master.tls.cert":        {withTLS(func(c *config.ClientTLS) { c.Cert = "c.pem" }), func(p plan) any { return p.tls.Cert }, "c.pem"},
	"master.tls.key":         {withTLS(func(c *config.ClientTLS) { c.Key = "k.pem" }), func(p plan) any { return p.tls.Key }, "k.pem"},
	"master.tls.server_name": {withTLS(func(c *config.ClientTLS) { c.ServerName = "m" }), func(p plan) any { return p.tls.ServerName }, "m"},
	"slave.name":             {func(s *config.Slave) { s.Slave.Name = "gpu" }, func(p plan) any { return p.client.Name }, "gpu"},
	"slave.concurrent": {func(s *config.Slave) { s.Slave.Concurrent = 3 },
		func(p plan) any { return []int{p.client.Concurrent, p.worker.Concurrent} }, []int{3, 3}},
	"slave.roles": {func(s *config.Slave) { s.Slave.Roles = config.Strings{"prove"} },
		func(p plan) any { return p.worker.Roles }, []task.Role{task.RoleProve}},
	"slave.spread": {func(s *config.Slave) { s.Slave.Spread = "always" }, func(p plan) any { return p.spread.Mode }, "always"},
	"slave.paths": {func(s *config.Slave) { s.Slave.Paths = map[string]string{"/mnt/a": "/b"} },
		func(p plan) any { return p.paths.Local("/mnt/a/sealed/x") }, "/b/sealed/x"},
	"slave.pull_interval": {func(s *config.Slave) { s.Slave.PullInterval = config.Duration(9 * time.Second) },
		func(p plan) any { return p.worker.PullInterval }, 9 * time.Second},
	"slave.memory": {func(s *config.Slave) { s.Slave.Memory = 20 << 30 },
		func(p plan) any { return []uint64{p.engine.Memory, p.engine.Keys.MemoryLimit} }, []uint64{20 << 30, 10 << 30}},
	"slave.spool": {func(s *config.Slave) { s.Slave.Spool = "/spool" }, func(p plan) any { return p.worker.Spool }, "/spool"},
	"slave.partition_sectors": {func(s *config.Slave) { s.Slave.PartitionSectors = 2 },
		func(p plan) any { return p.engine.PartitionSectors }, 2},
	"slave.processor.bin":  {withProcessor(func(p *config.Processor) { p.Bin = "/x" }), func(p plan) any { return p.processors[0].Bin }, "/x"},
	"slave.processor.args": {withProcessor(func(p *config.Processor) { p.Args = []string{"-v"} }), func(p plan) any { return p.processors[0].Args }, []string{"-v"}},
	"slave.processor.envs": {withProcessor(func(p *config.Processor) { p.Envs = map[string]string{"A": "1"} }),
		func(p plan) any { return p.processors[0].Envs }, map[string]string{"A": "1"}},
	"slave.processor.concurrent": {withProcessor(func(p *config.Processor) { p.Concurrent = 4 }),
		func(p plan) any { return []int{p.processors[0].Concurrent, p.readFirst.Places} }, []int{4, 4}},
	"slave.processor.ready_timeout": {withProcessor(func(p *config.Processor) { p.ReadyTimeout = config.Duration(time.Hour) }),
		func(p plan) any { return p.processors[0].ReadyTimeout }, time.Hour},
	"slave.processor.hung_after": {withProcessor(func(p *config.Processor) { p.HungAfter = config.Duration(time.Hour) }),
		func(p plan) any { return p.readFirst.HungAfter }, time.Hour},
	"read.timeout":   {func(s *config.Slave) { s.Read.Timeout = config.Duration(5 * time.Second) }, func(p plan) any { return p.guard.Timeout }, 5 * time.Second},
	"read.parallel":  {func(s *config.Slave) { s.Read.Parallel = 5 }, func(p plan) any { return p.guard.Parallel }, 5},
	"read.max_stuck": {func(s *config.Slave) { s.Read.MaxStuck = 5 }, func(p plan) any { return p.guard.MaxStuck }, 5},
	"debug.listen":   {func(s *config.Slave) { s.Debug.Listen = "127.0.0.1:9" }, func(p plan) any { return p.debug }, "127.0.0.1:9"},
}

// Every key of slave.toml arrives where it works: a key that is added without a
// row here fails.
func TestEveryKeyArrives(t *testing.T) {
	keys := keysOf(reflect.TypeFor[config.Slave](), "")
	for _, key := range keys {
		a, ok := arrivals[key]
		if !ok {
			t.Errorf("%s has no row: show where its value works", key)
			continue
		}
		file := config.DefaultSlave()
		before, err := planOf(file, environment{}, "/dir", "host")
		if err != nil {
			t.Fatal(err)
		}
		a.set(&file)
		p, err := planOf(file, environment{}, "/dir", "host")
		if err != nil {
			t.Errorf("%s: %v", key, err)
			continue
		}
		got := a.got(p)
		if fmt.Sprint(got) != fmt.Sprint(a.want) {
			t.Errorf("%s: %v arrives, want %v", key, got, a.want)
		}
		if !strings.Contains(key, ".tls.") && !strings.Contains(key, ".processor.") && reflect.DeepEqual(got, a.got(before)) {
			t.Errorf("%s: the test sets the default, which shows nothing", key)
		}
	}
	for key := range maps.Keys(arrivals) {
		if !slices.Contains(keys, key) {
			t.Errorf("%s is no key of slave.toml", key)
		}
	}
}

// What the environment says arrives too, and what lies beside the file.
func TestEnvironmentArrives(t *testing.T) {
	env, err := readEnvironment([]string{"FORCE_SECTOR_SIZE=2048"})
	if err != nil {
		t.Fatal(err)
	}
	p, err := planOf(config.DefaultSlave(), env, "/dir", "host")
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(p.worker.SectorSizes, []uint64{2048}) || len(p.warm) != 1 || p.warm[0] != post.Window2KiBV1_1 {
		t.Errorf("%v, %v", p.worker.SectorSizes, p.warm)
	}
	if p.client.Name != "host" || p.worker.Spool != "/dir/wdpost-slave-spool" || p.pace != "/dir/wdpost-slave-pace.json" {
		t.Errorf("%q, %q, %q", p.client.Name, p.worker.Spool, p.pace)
	}
}
