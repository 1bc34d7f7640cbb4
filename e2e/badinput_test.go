//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// setConfig replaces pieces of a config file in the manager's home.
func (o *operator) setConfig(name string, oldnew ...string) {
	o.t.Helper()
	path := filepath.Join(o.root, ".venus-sector-manager", name)
	b, err := os.ReadFile(path)
	if err != nil {
		o.t.Fatal(err)
	}
	writeFile(o.t, o.g.replaced(string(b), oldnew...), path)
}

// writeEmbedded configures a master with an embedded database, and a slave of it.
func (o *operator) writeEmbedded() {
	o.t.Helper()
	writeFile(o.t, fmt.Sprintf("[server]\nlisten = '127.0.0.1:%d'\n", o.grpc), o.dist, "wdpost_master.toml")
	writeFile(o.t, fmt.Sprintf("[master]\nserver_addr = '127.0.0.1:%d'\n[slave]\npull_interval = '1s'\n[read]\ntimeout = '3s'\n", o.grpc), o.dist, "slave.toml")
}

// closed counts the windows that the chain has seen close.
func (o *operator) closed() int { return strings.Count(o.chain.log(), " closed: ") }

func (o *operator) waitClosed(n int) {
	o.t.Helper()
	eventually(o.t, 5*time.Minute, fmt.Sprintf("%d windows have closed", n), func() error {
		if have := o.closed(); have < n {
			return fmt.Errorf("%d have", have)
		}
		return nil
	})
}

// script writes an executable shell script.
func (o *operator) script(name, body string) string {
	o.t.Helper()
	path := writeFile(o.t, "#!/bin/sh\n"+body+"\n", o.root, name)
	if err := os.Chmod(path, 0o755); err != nil {
		o.t.Fatal(err)
	}
	return path
}

// exits waits for the end of a process that refuses to run.
func (p *process) exits(code int, words ...string) {
	p.t.Helper()
	select {
	case <-p.done:
	case <-time.After(time.Minute):
		p.t.Errorf("%s goes on:\n%s", p.name, p.log())
		p.stop()
		return
	}
	if got := p.cmd.ProcessState.ExitCode(); got != code {
		p.t.Errorf("%s: exit code %d, want %d:\n%s", p.name, got, code, p.log())
	}
	for _, w := range words {
		if !strings.Contains(p.log(), w) {
			p.t.Errorf("%s does not say %q:\n%s", p.name, w, p.log())
		}
	}
}

// stopsWithin sends SIGTERM and requires an orderly end.
func (p *process) stopsWithin(limit time.Duration) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatal(err)
	}
	select {
	case <-p.done:
	case <-time.After(limit):
		p.t.Fatalf("%s still runs %v after SIGTERM", p.name, limit)
	}
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		p.t.Errorf("%s: exit code %d after SIGTERM", p.name, code)
	}
}

// TestBadSectors damages one sector of each partition, each in its own way.
// Every partition must be proven without it, and its reason be told.
func TestBadSectors(t *testing.T) {
	t.Parallel()
	o := newOperator(t, "--sectors", "12", "--period-deadlines", "6", "--window", "20")
	o.initManager()
	o.setConfig("sector-manager.cfg", "Confidence = 6", "Confidence = 3")
	o.writeEmbedded()

	replicas, err := filepath.Glob(filepath.Join(o.root, "chain", "storage", "*", "sealed", "*"))
	if err != nil || len(replicas) != 12 {
		t.Fatalf("%d replicas, %v", len(replicas), err)
	}
	of := func(number int) (replica, cache string) {
		for _, r := range replicas {
			if strings.HasSuffix(r, fmt.Sprintf("-%d", number)) {
				return r, strings.Replace(r, "/sealed/", "/cache/", 1)
			}
		}
		t.Fatalf("no replica of sector %d", number)
		return "", ""
	}
	edit := func(path string, change func([]byte) []byte) {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		if b = change(b); b != nil {
			writeFile(t, string(b), path)
		}
	}
	tree := func(number int) string { _, c := of(number); return filepath.Join(c, "sc-02-data-tree-r-last.dat") }
	paux := func(number int) string { _, c := of(number); return filepath.Join(c, "p_aux") }
	replica := func(number int) string { r, _ := of(number); return r }
	foreign, err := os.ReadFile(paux(2))
	if err != nil {
		t.Fatal(err)
	}
	edit(replica(1), func(b []byte) []byte { return b[:1000] })
	edit(replica(3), func(b []byte) []byte { return append(b, "tail"...) })
	edit(tree(5), func([]byte) []byte { return []byte{} })
	edit(paux(7), func([]byte) []byte { return foreign })
	edit(paux(9), func([]byte) []byte { return nil })
	edit(replica(11), func([]byte) []byte { return nil })
	if err := syscall.Mkfifo(replica(11), 0o600); err != nil { // whoever opens it hangs
		t.Fatal(err)
	}

	manager := o.startManager()
	slave := o.startSlave("slave")
	o.waitClosed(6)
	// Sizes are seen by the manager's check, wrong data by the slave.
	for _, skipped := range []string{"s-t01000-1 has 1000 bytes", "s-t01000-3 has 2052 bytes", "too short: 0 bytes, a"} {
		if !strings.Contains(manager.log(), skipped) {
			t.Errorf("the manager does not say %q:\n%s", skipped, manager.log())
		}
	}
	if !strings.Contains(slave.log(), "p_aux at byte 32:") {
		t.Errorf("the slave does not name the foreign p_aux:\n%s", slave.log())
	}
	o.judge()
	if !strings.Contains(o.chain.log(), "0 deadlines missed") {
		t.Error(o.chain.log())
	}
}

// TestBadProcessors puts eight processors that fail in their own ways before
// the master. The windows must be proven all the same.
func TestBadProcessors(t *testing.T) {
	t.Parallel()
	o := newOperator(t, "--sectors", "8", "--period-deadlines", "4", "--window", "30")
	o.initManager()
	o.writeEmbedded()
	ready := "echo 'window_post processor ready'\n"
	var ext strings.Builder
	for _, bin := range []string{
		"/no/such/program", o.root,
		o.script("exits", "echo 'fatal: no such device' >&2; exit 3"),
		o.script("never-ready", "exec sleep 1000"),
		o.script("garbage", ready+`while read -r q; do echo '{"id":"x"} ~'; echo null; exit 1; done`),
		o.script("long-line", ready+`while read -r q; do head -c 100000000 /dev/zero | tr '\0' x; echo; done`),
		o.script("other-ids", ready+`while read -r q; do echo '{"id":999999,"err_msg":null,"output":{"proofs":["AAAA"],"faults":[]}}'; done`),
		o.script("wrong-proof", ready+`while read -r q; do id=${q#*:}; id=${id%%,*}
			echo '{"id":'$id',"err_msg":null,"output":{"proofs":["'$(head -c 192 /dev/zero | base64 -w0)'"],"faults":[]}}'; done`),
	} {
		fmt.Fprintf(&ext, "[[WdPost]]\nBin = %q\nConcurrent = 4\n", bin)
	}
	home := filepath.Join(o.root, ".venus-sector-manager")
	master, err := os.ReadFile(filepath.Join(home, "ext-prover.cfg"))
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, ext.String()+string(master), home, "ext-prover.cfg")
	manager := o.startManager()
	o.startSlave("slave")
	o.waitClosed(3)
	for _, w := range []string{
		"/no/such/program: no such file or directory; check Bin", "fatal: no such device", "exit status 3",
		`did not print \"window_post processor ready\" within 5s`, "another external processor is asked too",
		"proof over 2 sectors is wrong",
	} {
		if !strings.Contains(manager.log(), w) {
			t.Errorf("the manager does not say %q", w)
		}
	}
	if n := strings.Count(manager.log(), "/no/such/program: no such file"); n > 8 {
		t.Errorf("the missing program is told %d times", n)
	}
	o.judge()
	manager.stopsWithin(20 * time.Second)
}

// TestBadOperation follows one manager over outages, stops and a second
// manager; what it sends must be neither lost nor doubled.
func TestBadOperation(t *testing.T) {
	t.Parallel()
	o := newOperator(t, "--sectors", "12", "--period-deadlines", "6", "--window", "30")
	o.initManager()
	o.setConfig("sector-manager.cfg", "Confidence = 6", "Confidence = 3")
	o.writeEmbedded()
	manager := o.startManager()
	slave := o.startSlave("slave")

	manager.waitLog(time.Minute, "node connected")
	second := o.start("second manager", o.g.commandLine("./venus-sector-manager daemon run", "0.0.0.0:1789", "127.0.0.1:0"))
	second.exits(1, fmt.Sprintf("another daemon (process %d) runs with the home", manager.cmd.Process.Pid), "--home")

	// Bodies that nobody asked for do no harm.
	url := fmt.Sprintf("http://127.0.0.1:%d/status", o.http)
	if resp, err := http.Post(url, "application/json", strings.NewReader(strings.Repeat("x", 20<<20))); err == nil {
		resp.Body.Close()
	}
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	var status struct{ Health string }
	if err := json.NewDecoder(resp.Body).Decode(&status); err != nil || status.Health == "" {
		t.Errorf("status page: %+v, %v", status, err)
	}
	resp.Body.Close()

	manager.waitLog(2*time.Minute, "Submitted window post:")
	manager.kill9() // in the middle of the window
	manager2 := o.startManager()
	got := strings.Count(slave.log(), "got task:")
	eventually(t, 2*time.Minute, "a proof is under way", func() error {
		if strings.Count(slave.log(), "got task:") > got {
			return nil
		}
		return fmt.Errorf("no task")
	})
	manager2.stopsWithin(15 * time.Second)
	manager3 := o.startManager()
	slave.stopsWithin(60 * time.Second) // it finishes what it has, and hands it in
	o.startSlave("slave 2")
	store := o.access.Stores[1]
	if err := os.Rename(store, store+".away"); err != nil {
		t.Fatal(err)
	}
	o.waitClosed(o.closed() + 1)
	if err := os.Rename(store+".away", store); err != nil {
		t.Fatal(err)
	}
	o.waitClosed(o.closed() + 1)
	o.judge()
	manager3.stopsWithin(15 * time.Second) // with the node gone, too

	messages := regexp.MustCompile(`message=(wdpost-\d+-\d+-\d+-\S+)`).FindAllStringSubmatch(manager.log()+manager2.log()+manager3.log(), -1)
	var submitted []string
	for _, m := range messages {
		submitted = append(submitted, m[1])
	}
	slices.Sort(submitted)
	distinct := len(slices.Compact(submitted))
	if landed := strings.Count(o.chain.log(), " landed "); distinct > landed+1 {
		t.Errorf("%d messages were sent, %d landed:\n%s", distinct, landed, strings.Join(submitted, "\n"))
	}
}

// TestBadStart gives the manager what an operator may get wrong. Each must be
// told with the thing's name and the remedy. It ends the manager where nothing
// could ever be proven; what may pass, or leaves something whole, does not.
func TestBadStart(t *testing.T) {
	t.Parallel()
	o := newOperator(t, "--sectors", "2", "--period-deadlines", "4")
	o.initManager()
	o.writeEmbedded()
	home := filepath.Join(o.root, ".venus-sector-manager")
	cfg, err := os.ReadFile(filepath.Join(home, "sector-manager.cfg"))
	if err != nil {
		t.Fatal(err)
	}
	good := string(cfg)
	token := fmt.Sprintf("Token = %q", o.access.Token)
	actor := fmt.Sprintf("Actor = %d", o.access.Miners[0].Actor)
	store := o.access.Stores[0] + "/"
	file := writeFile(t, "no folder", o.root, "file")
	stays := map[string]bool{"no token": true, "wrong token": true, "unknown miner": true, "another path": true, "another name": true, "no folder": true}
	for _, c := range []struct {
		name  string
		cfg   string
		words []string
	}{
		{"a slip in a key", strings.Replace(good, "[Miners.PoSt]", "[Miners.PoStt]", 1), []string{"sector-manager.cfg:", "did you mean PoSt?"}},
		{"full-width quotes", strings.Replace(good, token, "Token = “abc”", 1), []string{"Common.API.Token", `write plain "`}},
		{"no token", strings.Replace(good, token, `Token = ""`, 1), []string{"wants a token and none is set", "Common.API.Token"}},
		{"wrong token", strings.Replace(good, token, `Token = "abc.def.ghi"`, 1), []string{"refused the token", "Common.API.Token"}},
		{"broken token", strings.Replace(good, token, `Token = "abc def"`, 1), []string{"the token for", "in one line"}},
		{"unknown miner", strings.Replace(good, actor, "Actor = 7777", 1), []string{"miner=t07777", "actor not found", "check Actor"}},
		{"wrong messager", strings.Replace(good, o.access.Messager, "nonsense", 1), []string{`Common.API.Messager address "nonsense"`, "/ip4/"}},
		{"two stores of one name", strings.Replace(good, `"storage2"`, `"storage1"`, 1), []string{`the name "storage1" is already that of`}},
		{"another path", strings.Replace(good, store, "/tmp/", 1), []string{"is configured with the path /tmp", "util storage attach"}},
		{"another name", strings.Replace(good, `"storage1"`, `"storageX"`, 1), []string{"storageX", "util storage attach --verbose --name=storageX"}},
		{"no folder", strings.Replace(good, store, file, 1), []string{file, "util storage attach"}},
	} {
		if c.cfg == good {
			t.Fatalf("%s: nothing was replaced", c.name)
		}
		writeFile(t, c.cfg, home, "sector-manager.cfg")
		p := o.startManager()
		p.name = c.name
		if stays[c.name] {
			for _, w := range c.words {
				p.waitLog(time.Minute, w)
			}
			p.stopsWithin(15 * time.Second)
			continue
		}
		p.exits(1, c.words...)
		if n := strings.Count(p.log(), c.words[0]); n > 2 {
			t.Errorf("%s is told %d times:\n%s", c.name, n, p.log())
		}
	}
	// Back to what is right, in the form an editor on Windows leaves it.
	writeFile(t, "\ufeff"+strings.ReplaceAll(good, "\n", "\r\n"), home, "sector-manager.cfg")
	manager := o.startManager()
	manager.waitLog(time.Minute, "node connected")
	manager.stopsWithin(15 * time.Second)
}
