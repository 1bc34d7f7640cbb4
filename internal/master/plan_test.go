package master

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"wdpost/internal/config"
	"wdpost/internal/queue/mysql"
)

// arrivals has a row for each key of wdpost_master.toml: a value, and where it
// is found in the plan.
var arrivals = map[string]struct {
	value string
	found func(plan) any
	want  any
}{
	"server.listen":             {`'127.0.0.1:4711'`, func(p plan) any { return p.listen }, "127.0.0.1:4711"},
	"server.max_connections":    {`77`, func(p plan) any { return p.server.MaxConnections }, 77},
	"server.token":              {`'sesame'`, func(p plan) any { return p.server.Token }, "sesame"},
	"server.tls.cert":           {`'a.pem'`, func(p plan) any { return p.tls.Cert }, "a.pem"},
	"server.tls.key":            {`'a.key'`, func(p plan) any { return p.tls.Key }, "a.key"},
	"server.tls.client_ca":      {`'ca.pem'`, func(p plan) any { return p.tls.ClientCA }, "ca.pem"},
	"db.url":                    {`'mysql://me:p%40ss@db.example:3307/wd?ssl-mode=REQUIRED'`, func(p plan) any { return address(p.database.server) }, "me p@ss db.example:3307 wd REQUIRED"},
	"db.min_connections":        {`5`, func(p plan) any { return p.database.server.MinConnections }, 5},
	"db.max_connections":        {`55`, func(p plan) any { return p.database.server.MaxConnections }, 55},
	"db.idle_timeout":           {`'7m'`, func(p plan) any { return p.database.server.IdleTimeout }, 7 * time.Minute},
	"task.timeout":              {`'6m'`, func(p plan) any { return p.queue.Timeout }, 6 * time.Minute},
	"task.max_retry":            {`4`, func(p plan) any { return p.queue.MaxRetry }, 4},
	"task.heartbeat_timeout":    {`'16s'`, func(p plan) any { return p.queue.HeartbeatTimeout }, 16 * time.Second},
	"task.retry_job_interval":   {`'11s'`, func(p plan) any { return p.queue.RetryInterval }, 11 * time.Second},
	"task.archive_job_interval": {`'2h'`, func(p plan) any { return p.queue.ArchiveInterval }, 2 * time.Hour},
	"task.should_archive":       {`'3days'`, func(p plan) any { return p.queue.ArchiveAfter }, 72 * time.Hour},
	"task.partition_sectors":    {`2`, func(p plan) any { return p.partitionSectors }, 2},
	"debug.listen":              {`'127.0.0.1:9464'`, func(p plan) any { return p.debug }, "127.0.0.1:9464"},
}

func address(c mysql.Config) string {
	return fmt.Sprintf("%s %s %s %s %s", c.User, c.Password, c.Address, c.Database, c.TLS)
}

// keysOf lists the keys of a configuration struct by its tags.
func keysOf(t reflect.Type, prefix string) []string {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	var out []string
	for i := range t.NumField() {
		f := t.Field(i)
		key := prefix + f.Tag.Get("toml")
		inner := f.Type
		if inner.Kind() == reflect.Pointer {
			inner = inner.Elem()
		}
		if inner.Kind() == reflect.Struct {
			out = append(out, keysOf(inner, key+".")...)
			continue
		}
		out = append(out, key)
	}
	return out
}

// Every key of the file arrives where it works. A key that is added without a
// row above fails here.
func TestEveryKeyArrives(t *testing.T) {
	keys := keysOf(reflect.TypeFor[config.Master](), "")
	sections := make(map[string][]string)
	for _, key := range keys {
		row, ok := arrivals[key]
		if !ok {
			t.Errorf("%s: no row says where it arrives", key)
			continue
		}
		at := strings.LastIndex(key, ".")
		sections[key[:at]] = append(sections[key[:at]], key[at+1:]+" = "+row.value)
	}
	var text strings.Builder
	for _, name := range []string{"server", "server.tls", "db", "task", "debug"} {
		fmt.Fprintf(&text, "[%s]\n%s\n", name, strings.Join(sections[name], "\n"))
		delete(sections, name)
	}
	if len(sections) > 0 {
		t.Fatalf("sections without a place in the file: %v", sections)
	}
	path := filepath.Join(t.TempDir(), "wdpost_master.toml")
	if err := os.WriteFile(path, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	file, _, err := config.LoadMaster(path)
	if err != nil {
		t.Fatal(err)
	}
	p, err := planOf(file, path)
	if err != nil {
		t.Fatal(err)
	}
	for key, row := range arrivals {
		if !slices.Contains(keys, key) {
			t.Errorf("%s: there is no such key", key)
			continue
		}
		if got := row.found(p); !reflect.DeepEqual(got, row.want) {
			t.Errorf("%s: %v arrives, want %v", key, got, row.want)
		}
	}
}

func TestDefaultDatabaseLiesBesideTheFile(t *testing.T) {
	p, err := planOf(config.DefaultMaster(), "/etc/wdpost/wdpost_master.toml")
	if err != nil || p.database.file != "/etc/wdpost/wdpost_master.db" {
		t.Fatalf("%+v, %v", p.database, err)
	}
}
