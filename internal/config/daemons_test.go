package config

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestGuideMaster(t *testing.T) {
	got, warnings, err := LoadMaster("testdata/guide/wdpost_master.toml")
	if err != nil {
		t.Fatal(err)
	}
	want := DefaultMaster()
	want.DB.URL = "mysql://root:password@localhost/wdpost"
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
	if len(warnings) != 1 || !strings.Contains(warnings[0], "without token or TLS") {
		t.Errorf("warnings %q, want the one about the open listener", warnings)
	}
}

func TestGuideSlave(t *testing.T) {
	got, warnings, err := LoadSlave("testdata/guide/slave.toml")
	if err != nil {
		t.Fatal(err)
	}
	want := DefaultSlave()
	want.Master.ServerAddr = Strings{"192.168.200.113:4698"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
	if len(warnings) != 0 {
		t.Errorf("unexpected warnings %q", warnings)
	}
}

func TestSlaveAdditions(t *testing.T) {
	path := write(t, "slave.toml", `
[master]
server_addr = ['a:4698', 'b:4698']
token = 'secret'
[master.tls]
ca = 'ca.pem'
[slave]
concurrent = 2
memory = '20GiB'
[[slave.processor]]
bin = '/opt/prover'
args = ['window_post', '-v']
[slave.processor.envs]
CUDA_VISIBLE_DEVICES = '0'
[[slave.processor]]
bin = '/opt/prover'
concurrent = 3
ready_timeout = '2min'
[debug]
listen = '127.0.0.1:9464'
`)
	got, _, err := LoadSlave(path)
	if err != nil {
		t.Fatal(err)
	}
	want := []Processor{
		{Bin: "/opt/prover", Args: []string{"window_post", "-v"}, Envs: map[string]string{"CUDA_VISIBLE_DEVICES": "0"}, Concurrent: 1, ReadyTimeout: Duration(30 * time.Second)},
		{Bin: "/opt/prover", Concurrent: 3, ReadyTimeout: Duration(2 * time.Minute)},
	}
	if !reflect.DeepEqual(got.Slave.Processor, want) {
		t.Errorf("processors %+v", got.Slave.Processor)
	}
	if got.Slave.Memory != 20<<30 || got.Master.TLS.CA != "ca.pem" || len(got.Master.ServerAddr) != 2 {
		t.Errorf("got %+v", got)
	}
}

// TestComplaints holds the faults an operator makes and what the message must say.
func TestComplaints(t *testing.T) {
	master := func(path string) error { _, _, err := LoadMaster(path); return err }
	slave := func(path string) error { _, _, err := LoadSlave(path); return err }
	const addr = "[master]\nserver_addr = 'a:1'\n"
	tests := []struct {
		name string
		load func(string) error
		text string
		want []string
	}{
		{"typo", master, "[task]\nmax_retries = 2\n", []string{"cfg.toml:2: task.max_retries: unknown key", "did you mean max_retry?"}},
		{"wrong section", master, "[db]\n\nlisten = 'x:1'\n", []string{":3: db.listen: unknown key here", "under [server]"}},
		{"nothing near", master, "[db]\nzzzzzzzz = 1\n", []string{"db.zzzzzzzz: unknown key; remove it", "idle_timeout"}},
		{"unknown section", master, "[tsak]\ntimeout = '5m'\n", []string{":1: tsak: unknown key", "did you mean task?"}},
		{"bare number", master, "[task]\ntimeout = 300\n", []string{":2: task.timeout", "300 has no unit", `"300s"`}},
		{"bad unit", master, "[task]\n# a comment\ntimeout = '5 moons'\n", []string{":3: task.timeout", `"moons" is no unit`}},
		{"empty duration", master, "[task]\ntimeout = ''\n", []string{":2: task.timeout", "it is empty"}},
		{"zero duration", master, "[task]\ntimeout = '0s'\n", []string{":2: task.timeout", "longer than 0"}},
		{"type", master, "[server]\nmax_connections = '200'\n", []string{":2: server.max_connections", "whole number", `the text "200"`}},
		{"negative", master, "[task]\nmax_retry = -1\n", []string{":2: task.max_retry", "0 or more"}},
		{"section as value", master, "task = 5\n", []string{":1: task", "expected a section [task]"}},
		{"syntax", master, "[server]\nlisten = = 1\n", []string{"cfg.toml:2"}},
		{"relation", master, "[task]\ntimeout = '10s'\n", []string{"heartbeat_timeout", "longer than task.timeout"}},
		{"connections", master, "[db]\nmin_connections = 30\n", []string{":2: db.min_connections", "between 0 and max_connections (20)"}},
		{"url kind", master, "[db]\nurl = 'postgres://x/y'\n", []string{":2: db.url", `"postgres" is not known`}},
		{"url without name", master, "[db]\nurl = 'mysql://root@localhost'\n", []string{":2: db.url", "no database"}},
		{"listen", master, "[server]\nlisten = '4698'\n", []string{":2: server.listen", "not host:port"}},
		{"several at once", master, "[server]\nlitsen = ':1'\n[task]\ntimeout = 3\n", []string{":2: server.litsen", ":4: task.timeout"}},
		{"no master", slave, "", []string{"master.server_addr", "is missing"}},
		{"concurrent", slave, addr + "[slave]\nconcurrent = 0\n", []string{":4: slave.concurrent", "1 or more"}},
		{"memory", slave, addr + "[slave]\nmemory = '20 giga'\n", []string{":4: slave.memory", "not a size"}},
		{"second processor", slave, addr + "[[slave.processor]]\nbin = 'x'\n[[slave.processor]]\nbim = 'x'\n", []string{":6: slave.processor[1].bim", "did you mean bin?"}},
		{"processor without bin", slave, addr + "[[slave.processor]]\nargs = []\n", []string{":3: slave.processor[0].bin", "is missing"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := tt.load(write(t, "cfg.toml", tt.text))
			if err == nil {
				t.Fatal("no complaint")
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("complaint %q\nlacks %q", err, want)
				}
			}
		})
	}
}

func TestMissingFile(t *testing.T) {
	_, _, err := LoadMaster(filepath.Join(t.TempDir(), "none.toml"))
	if err == nil || !strings.Contains(err.Error(), "none.toml does not exist") {
		t.Fatalf("got %v", err)
	}
}

func TestHeartbeatWarning(t *testing.T) {
	_, warnings, err := LoadSlave(write(t, "slave.toml", "[master]\nserver_addr = 'a:1'\nheartbeat_interval = '6s'\n"))
	if err != nil || len(warnings) != 1 || !strings.Contains(warnings[0], "three times") {
		t.Fatalf("warnings %q, error %v", warnings, err)
	}
}

func TestParseDatabaseURL(t *testing.T) {
	tests := []struct {
		in   string
		want DatabaseURL
		text string
	}{
		{"", DatabaseURL{Driver: DriverSQLite}, "sqlite://"},
		{"sqlite:///var/tasks.db", DatabaseURL{Driver: DriverSQLite, Path: "/var/tasks.db"}, "sqlite:///var/tasks.db"},
		{"sqlite:////var/tasks.db", DatabaseURL{Driver: DriverSQLite, Path: "/var/tasks.db"}, "sqlite:///var/tasks.db"}, // as others write it
		{"sqlite://tasks.db", DatabaseURL{Driver: DriverSQLite, Path: "tasks.db"}, "sqlite://tasks.db"},
		{"mysql://root:password@localhost/wdpost", DatabaseURL{Driver: DriverMySQL, User: "root", Password: "password", Host: "localhost:3306", Name: "wdpost", TLS: TLSPreferred}, "mysql://root@localhost:3306/wdpost"},
		{"mysql://u:p%40x@[::1]:3307/w?ssl-mode=disabled", DatabaseURL{Driver: DriverMySQL, User: "u", Password: "p@x", Host: "[::1]:3307", Name: "w", TLS: TLSDisabled}, "mysql://u@[::1]:3307/w"},
	}
	for _, tt := range tests {
		got, err := ParseDatabaseURL(tt.in)
		if err != nil || got != tt.want || got.String() != tt.text {
			t.Errorf("%q: got %+v (%s), %v", tt.in, got, got, err)
		}
	}
	for _, in := range []string{"sqlite://", "mysql://host", "mysql:///name", "mysql://h/a/b", "mysql://h/n?x=1", "mysql://h/n?ssl-mode=maybe", "mysql://root:se cret%@h/n"} {
		_, err := ParseDatabaseURL(in)
		if err == nil {
			t.Errorf("%q accepted", in)
		} else if strings.Contains(err.Error(), "cret") {
			t.Errorf("%q: the complaint %q tells the password", in, err)
		}
	}
}

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
