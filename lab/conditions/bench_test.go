//go:build conditions

package conditions

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"wdpost/internal/condition"
	"wdpost/internal/manager"
	"wdpost/lab/devnet"
	"wdpost/lab/devnet/actor"
	"wdpost/lab/golden"
)

// within is how soon the operator must be told, of a beginning and of an end.
const within = 30 * time.Second

// programs is the folder of the built programs.
var programs string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "conditions")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	cmd := exec.Command("go", "build", "-o", dir+string(os.PathSeparator),
		"../../cmd/venus-sector-manager", "../../cmd/wdpost-master-daemon", "../../cmd/wdpost-slave-daemon")
	if out, err := cmd.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build the programs: %v\n%s", err, out)
		os.Exit(1)
	}
	programs = dir
	code := m.Run()
	_ = os.RemoveAll(dir) // a temporary folder
	os.Exit(code)
}

// anyProof believes everything: nothing is proven here.
type anyProof struct{}

func (anyProof) VerifyWindowPoSt(context.Context, actor.WindowPoSt) error   { return nil }
func (anyProof) VerifyWinningPoSt(context.Context, actor.WinningPoSt) error { return nil }

// bench is a small network with a manager, its master and a slave, all of them
// real processes, and a webhook receiver.
type bench struct {
	t       *testing.T // of the fault that is planted
	root    *testing.T // of the bench: its processes last as long
	net     *devnet.Network
	dir     string // home, config files, stores
	home    string
	stores  []string
	listen  string // of the manager
	slaves  string // address of the master for slaves
	manager *process
	slave   *process

	mu     sync.Mutex
	firing map[string]bool // alertname and subject, as the webhook receiver knows
	client http.Client
}

// settings change what a bench is made of.
type settings struct {
	chain    func(b *bench) string // Common.API.Chain; default the network's node
	master   func(b *bench) string // wdpost_master.toml
	native   bool                  // prove in the manager, without master and slave
	params   string                // FIL_PROOFS_PARAMETER_CACHE
	noSlave  bool
	nodes    int
	winning  bool
	prepared func(b *bench) // before the manager starts
}

func newBench(t *testing.T, s settings) *bench {
	t.Helper()
	b := &bench{t: t, root: t, dir: t.TempDir(), firing: map[string]bool{}, client: http.Client{Timeout: 5 * time.Second}}
	b.home = filepath.Join(b.dir, "home")
	b.startNetwork(max(1, s.nodes))
	b.listen, b.slaves = freeAddress(t), freeAddress(t)
	for _, name := range []string{"one", "two"} {
		path := filepath.Join(b.dir, name)
		if err := os.CopyFS(path, os.DirFS("../../internal/sector/testdata/2KiB")); err != nil {
			t.Fatal(err)
		}
		b.stores = append(b.stores, path)
		b.tool("util", "storage", "attach", "--name", name, path)
	}
	b.writeConfig(s)
	if s.prepared != nil {
		s.prepared(b)
	}
	params := s.params
	if params == "" {
		params = filepath.Join(golden.Dir(t), "params")
	}
	env := []string{"FIL_PROOFS_PARAMETER_CACHE=" + params}
	args := []string{"--home", b.home, "daemon", "run", "--poster", "--listen", b.listen}
	if !s.native {
		args = append(args, "--ext-prover")
	}
	if s.winning {
		args = append(args, "--miner")
	}
	b.manager = start(t, b.dir, env, append([]string{filepath.Join(programs, "venus-sector-manager")}, args...)...)
	if !s.native && !s.noSlave {
		b.startSlave()
	}
	return b
}

func (b *bench) startNetwork(nodes int) {
	b.t.Helper()
	var err error
	b.net, err = devnet.New(devnet.Config{Miners: []devnet.Miner{{ID: 1008}}, Verifier: anyProof{}, Nodes: nodes})
	if err != nil {
		b.t.Fatal(err)
	}
	if err := b.net.Start(); err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() {
		if err := b.net.Close(); err != nil {
			b.t.Error(err)
		}
	})
}

// writeConfig writes all config files.
func (b *bench) writeConfig(s settings) {
	b.t.Helper()
	hook := httptest.NewServer(http.HandlerFunc(b.receive))
	b.t.Cleanup(hook.Close)
	chain := b.net.Node().Multiaddr("ws")
	if s.chain != nil {
		chain = s.chain(b)
	}
	gateway := ""
	if s.winning {
		gateway = fmt.Sprintf("Gateway = [%q]\n", b.net.Gateway().Multiaddr("ws"))
	}
	text := fmt.Sprintf("[Common.API]\nChain = [%q]\nMessager = 'none'\nToken = %q\n%s", chain, b.net.Token(), gateway)
	text = strings.ReplaceAll(text, `["`+chain+`"]`, `["`+strings.ReplaceAll(chain, " ", `", "`)+`"]`) // several, apart by spaces
	for i, path := range b.stores {
		text += fmt.Sprintf("[[Common.PersistStores]]\nName = %q\nPath = %q\n", []string{"one", "two"}[i], path)
	}
	text += fmt.Sprintf("[[Common.Notify]]\nKind = 'webhook'\nURL = %q\nLeast = 'none'\n", hook.URL)
	text += "[[Miners]]\nActor = 1008\n"
	if s.winning {
		text += "[Miners.Proof]\nEnabled = true\n"
	}
	b.write("home/sector-manager.cfg", text)
	b.write("home/ext-prover.cfg", fmt.Sprintf("[[WdPost]]\nBin = %q\nArgs = ['-c', %q]\n", filepath.Join(programs, "wdpost-master-daemon"), filepath.Join(b.dir, "master.toml")))
	master := fmt.Sprintf("[server]\nlisten = %q\n[db]\nurl = 'sqlite://%s'\n", b.slaves, filepath.Join(b.dir, "tasks.db"))
	if s.master != nil {
		master = s.master(b)
	}
	b.write("master.toml", master)
	b.write("slave.toml", fmt.Sprintf("[master]\nserver_addr = '%s'\n[slave]\nname = 'slave'\n", b.slaves))
}

func (b *bench) write(name, text string) {
	b.t.Helper()
	path := filepath.Join(b.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) read(name string) string {
	b.t.Helper()
	text, err := os.ReadFile(filepath.Join(b.dir, name))
	if err != nil {
		b.t.Fatal(err)
	}
	return string(text)
}

// tool runs the manager's program as a command.
func (b *bench) tool(args ...string) {
	b.t.Helper()
	out, err := exec.Command(filepath.Join(programs, "venus-sector-manager"), append([]string{"--home", b.home}, args...)...).CombinedOutput()
	if err != nil {
		b.t.Fatalf("%v: %v\n%s", args, err, out)
	}
}

func (b *bench) startSlave() {
	b.slave = start(b.root, b.dir, []string{"FIL_PROOFS_PARAMETER_CACHE=" + filepath.Join(golden.Dir(b.t), "params")},
		filepath.Join(programs, "wdpost-slave-daemon"), "-c", filepath.Join(b.dir, "slave.toml"))
}

// reload edits sector-manager.cfg and has it read; what is refused is returned.
func (b *bench) reload(edit func(text string) string) error {
	b.t.Helper()
	b.write("home/sector-manager.cfg", edit(b.read("home/sector-manager.cfg")))
	var done manager.Reloaded
	return manager.Ask(b.t.Context(), b.home, "/reload", url.Values{}, &done)
}

// receive is the webhook receiver.
func (b *bench) receive(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Alerts []struct {
			Status string
			Labels map[string]string
		}
	}
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, a := range body.Alerts {
		b.firing[a.Labels["alertname"]] = a.Status == "firing"
	}
}

func (b *bench) page(path string) (int, string, error) {
	res, err := b.client.Get("http://" + b.listen + path)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return res.StatusCode, string(body), err
}

// status lists what stands.
func (b *bench) status() ([]condition.Condition, error) {
	_, body, err := b.page("/status")
	if err != nil {
		return nil, err
	}
	var s struct{ Conditions []condition.Condition }
	return s.Conditions, json.Unmarshal([]byte(body), &s)
}

// kinds are conditions in short.
func kinds(list []condition.Condition) string {
	var words []string
	for _, c := range list {
		words = append(words, fmt.Sprintf("%s %s (%s)", c.Kind, c.Subject, c.Detail))
	}
	return strings.Join(words, "\n")
}

// quiet waits until nothing stands.
func (b *bench) quiet() {
	b.t.Helper()
	b.await("nothing to stand", func() error {
		list, err := b.status()
		if err == nil && len(list) > 0 {
			err = fmt.Errorf("stands: %s", kinds(list))
		}
		return err
	})
}

// told waits until a condition is told everywhere: with subject and remedy in
// /healthz, in the metric and at the webhook receiver.
func (b *bench) told(kind condition.Kind, about string) {
	b.t.Helper()
	b.await(string(kind)+" to be told", func() error {
		list, err := b.status()
		if err != nil {
			return err
		}
		for _, c := range list {
			if c.Kind == kind && strings.Contains(c.Subject+" "+c.Detail+" "+c.Remedy, about) {
				if c.Remedy == "" {
					return fmt.Errorf("%s stands without a remedy", kind)
				}
				return b.everywhere(c)
			}
		}
		return fmt.Errorf("stands: %s", kinds(list))
	})
}

func (b *bench) everywhere(c condition.Condition) error {
	code, body, err := b.page("/healthz")
	bad := c.Cost == condition.Window || c.Cost == condition.Sectors
	switch {
	case err != nil:
		return err
	case bad != (code == http.StatusServiceUnavailable) && bad:
		return fmt.Errorf("/healthz is %d", code)
	case !strings.Contains(body, string(c.Kind)) || !strings.Contains(body, strings.ReplaceAll(c.Remedy, "\n", "; ")):
		return fmt.Errorf("/healthz lacks it or its remedy: %s", body)
	}
	if n, err := b.metric(c.Kind); err != nil || n == "0" {
		return fmt.Errorf("metric of %s is %s, %v", c.Kind, n, err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if c.Kind != condition.NotificationsFail && !b.firing[string(c.Kind)] {
		return fmt.Errorf("the webhook receiver knows nothing of %s", c.Kind)
	}
	return nil
}

// metric is the value of wdpost_condition for a kind, summed as text: "0" where
// no cost of it stands.
func (b *bench) metric(kind condition.Kind) (string, error) {
	_, body, err := b.page("/metrics")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(body) {
		if strings.HasPrefix(line, "wdpost_condition{") && strings.Contains(line, `kind="`+string(kind)+`"`) && !strings.HasSuffix(line, " 0\n") {
			return strings.TrimSpace(line[strings.LastIndex(line, " "):]), nil
		}
	}
	return "0", nil
}

// over waits until the end of a condition is told everywhere.
func (b *bench) over(kind condition.Kind) {
	b.t.Helper()
	b.await(string(kind)+" to be over", func() error {
		list, err := b.status()
		if err != nil {
			return err
		}
		for _, c := range list {
			if c.Kind == kind {
				return fmt.Errorf("it stands: %s", c.Detail)
			}
		}
		if n, err := b.metric(kind); err != nil || n != "0" {
			return fmt.Errorf("its metric is %s, %v", n, err)
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.firing[string(kind)] {
			return fmt.Errorf("the webhook receiver takes it for firing")
		}
		return nil
	})
}

func (b *bench) await(what string, ok func() error) {
	b.t.Helper()
	begin := time.Now()
	for {
		err := ok()
		if err == nil {
			return
		}
		if time.Since(begin) > within {
			b.t.Fatalf("waited %s for %s: %v\n%s", within, what, err, b.manager.tail()+"\n-- slave\n"+b.slave.tail())
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// masterPID is the process number of the master.
func (b *bench) masterPID() int {
	b.t.Helper()
	pid := 0
	b.await("a master", func() error {
		_, body, err := b.page("/status")
		if err != nil {
			return err
		}
		var s struct{ Processors []struct{ Pid int } }
		if err := json.Unmarshal([]byte(body), &s); err != nil {
			return err
		}
		if len(s.Processors) == 0 || s.Processors[0].Pid == 0 {
			return fmt.Errorf("no master runs")
		}
		pid = s.Processors[0].Pid
		return nil
	})
	return pid
}

func (b *bench) signalMaster(sig syscall.Signal) {
	b.t.Helper()
	if err := syscall.Kill(b.masterPID(), sig); err != nil {
		b.t.Fatal(err)
	}
}

// process is one running program.
type process struct {
	cmd  *exec.Cmd
	done chan struct{}
	mu   sync.Mutex
	out  bytes.Buffer
}

func (p *process) Write(text []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out.Write(text)
}

// tail is the end of what the process wrote.
func (p *process) tail() string {
	if p == nil {
		return ""
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	lines := strings.Split(p.out.String(), "\n")
	return strings.Join(lines[max(0, len(lines)-25):], "\n")
}

func start(t *testing.T, dir string, env []string, argv ...string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(argv[0], argv[1:]...), done: make(chan struct{})}
	p.cmd.Dir, p.cmd.Env = dir, append(os.Environ(), env...)
	p.cmd.Stdout, p.cmd.Stderr = p, p
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = p.cmd.Wait() // how it ends is no matter here
		close(p.done)
	}()
	t.Cleanup(p.stop)
	return p
}

// stop ends the process in order, or kills it after ten seconds.
func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // gone already: as wanted
	select {
	case <-p.done:
	case <-time.After(10 * time.Second):
		_ = p.cmd.Process.Kill()
		<-p.done
	}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer lis.Close()
	return lis.Addr().String()
}
