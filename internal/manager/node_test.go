package manager

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"wdpost/internal/condition"
	"wdpost/internal/config"
	"wdpost/internal/run"
	"wdpost/internal/sector"
	"wdpost/lab/devnet"
	"wdpost/lab/devnet/actor"
)

// anyProof believes everything: nothing is proven in these tests.
type anyProof struct{}

func (anyProof) VerifyWindowPoSt(context.Context, actor.WindowPoSt) error   { return nil }
func (anyProof) VerifyWinningPoSt(context.Context, actor.WinningPoSt) error { return nil }

// startNetwork starts a simulated network whose time stands still, with miner
// t01008 and no sectors.
func startNetwork(t *testing.T) *devnet.Network {
	t.Helper()
	n, err := devnet.New(devnet.Config{Miners: []devnet.Miner{{ID: 1008}}, Verifier: anyProof{}, Manual: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	return n
}

// runningManager is a manager on a free port.
type runningManager struct {
	*Manager
	home  string
	log   *logBuffer
	url   string
	stop  context.CancelFunc
	ended chan error
}

// startManager runs a manager for the miners with one attached store.
func startManager(t *testing.T, chain, token string, miners ...int) *runningManager {
	t.Helper()
	d := &runningManager{home: t.TempDir(), log: &logBuffer{}}
	log := run.NewLogger(d.log, "debug")
	store := storeOfOne(t)
	_, err := sector.Attach(t.Context(), sector.AttachConfig{
		Name: "a", Path: store, Pattern: "*", Index: sector.OpenIndex(d.home), Guard: sector.NewGuard(sector.GuardConfig{}), Log: log,
	})
	if err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf("[Common.API]\nChain = %q\nMessager = 'none'\nToken = %q\n[[Common.PersistStores]]\nName = 'a'\nPath = %q\n", chain, token, store)
	for _, miner := range miners {
		text += fmt.Sprintf("[[Miners]]\nActor = %d\n", miner)
	}
	d.write(t, text)
	return startManagerAt(t, d)
}

// startManagerAt runs a manager in the home of another, with its log.
func startManagerAt(t *testing.T, other *runningManager) *runningManager {
	t.Helper()
	d := &runningManager{home: other.home, log: other.log, ended: make(chan error, 1)}
	log := run.NewLogger(d.log, "debug")
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d.url = "http://" + lis.Addr().String()
	d.Manager, err = New(t.Context(), Config{Home: d.home, ConfDir: d.home, Build: "test", Poster: true, Log: log, Parts: Rooms()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	d.stop = stop
	go func() { d.ended <- d.Run(ctx, lis); close(d.ended) }()
	t.Cleanup(func() {
		stop()
		select { // a test may have taken its end
		case err := <-d.ended:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(time.Minute):
			t.Error("the manager does not stop")
		}
		if t.Failed() {
			t.Log(d.log)
		}
	})
	return d
}

// write replaces the config file.
func (d *runningManager) write(t *testing.T, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(d.home, config.ManagerFile), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// config is the config file's text.
func (d *runningManager) config(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(d.home, config.ManagerFile))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// wait waits until ok.
func (d *runningManager) wait(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// stands reports whether a condition of the kind stands about subject.
func (d *runningManager) stands(kind condition.Kind, subject string) bool {
	return slices.ContainsFunc(d.board.List(), func(c condition.Condition) bool { return c.Kind == kind && c.Subject == subject })
}

func (d *runningManager) waitLog(t *testing.T, text string) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !strings.Contains(d.log.String(), text); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %q in\n%s", text, d.log)
		}
	}
}

func (d *runningManager) page(t *testing.T, path string) (int, string) {
	t.Helper()
	resp, err := http.Get(d.url + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func TestNodeUnreachable(t *testing.T) {
	d := startManager(t, "/ip4/127.0.0.1/tcp/1/ws", "", 1008)
	d.waitLog(t, "the node does not answer; nothing can be proven")
	if code, body := d.page(t, "/healthz"); code != http.StatusServiceUnavailable || !strings.Contains(body, "network_unknown") || !strings.Contains(body, "Common.API.Chain") {
		t.Errorf("healthz: %d %s", code, body)
	}
	if code, _ := d.page(t, "/readyz"); code != http.StatusServiceUnavailable {
		t.Errorf("readyz: %d", code)
	}
}

func TestAddresses(t *testing.T) {
	good := config.API{Chain: config.Strings{"/ip4/127.0.0.1/tcp/1/ws"}, Messager: "none", Gateway: config.Strings{"TOKEN:/dns/host/tcp/2/wss"}}
	if err := checkAddresses(good); err != nil {
		t.Error(err)
	}
	for want, bad := range map[string]config.API{
		"no Common.API.Chain":                   {},
		`Common.API.Chain address "127.0.0.1"`:  {Chain: config.Strings{"127.0.0.1"}},
		`Common.API.Messager address "/ip4/x"`:  {Chain: good.Chain, Messager: "/ip4/x"},
		`Common.API.Gateway address "ftp://x/"`: {Chain: good.Chain, Gateway: config.Strings{"ftp://x/"}},
	} {
		if err := checkAddresses(bad); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}

// TestWrongToken: a refused token is a condition that names the key, and is
// tried again: an auth service that is away says the same.
func TestWrongToken(t *testing.T) {
	n := startNetwork(t)
	d := startManager(t, n.Node().Multiaddr("ws"), "wrong", 1008)
	d.wait(t, "the condition", func() bool { return d.stands(condition.NetworkUnknown, "") })
	if code, body := d.page(t, "/healthz"); code != http.StatusServiceUnavailable || !strings.Contains(body, "Common.API.Token") {
		t.Errorf("healthz: %d %s", code, body)
	}
}

// TestFieldF1OneWrongMiner: miners that are unknown or no miners at all are
// conditions; the others are worked for. Also case F3 of the poster's.
func TestFieldF1OneWrongMiner(t *testing.T) {
	n := startNetwork(t)
	d := startManager(t, n.Node().Multiaddr("ws"), n.Token(), 4711, 1008)
	d.wait(t, "the good miner", func() bool { return d.Ready() == nil })
	d.wait(t, "the condition", func() bool { return d.stands(condition.MinerNotAdmitted, subject(4711)) })
	if code, body := d.page(t, "/healthz"); code != http.StatusServiceUnavailable || !strings.Contains(body, "04711") || !strings.Contains(body, "check Actor") {
		t.Errorf("healthz: %d %s", code, body)
	}
	if code, body := d.page(t, "/readyz"); code != http.StatusOK {
		t.Errorf("readyz: %d %s", code, body)
	}
}

// TestPages: a manager that works shows it, tells no secret, and stops when
// asked.
func TestPages(t *testing.T) {
	n := startNetwork(t)
	d := startManager(t, n.Node().Multiaddr("ws"), n.Token(), 1008)
	d.waitLog(t, "following the chain")
	d.wait(t, "health", func() bool { code, _ := d.page(t, "/healthz"); return code == http.StatusOK })
	if _, body := d.page(t, "/status"); !strings.Contains(body, `"miner": 1008`) || !strings.Contains(body, `"build": "test"`) {
		t.Errorf("status: %s", body)
	}
	_, metrics := d.page(t, "/metrics")
	for _, want := range []string{
		`wdpost_build_info{version="test"} 1`, "wdpost_node_up", "wdpost_poster_active_deadlines",
		`wdpost_deadlines_total{miner="` + subject(1008) + `",verdict="missed"} 0`,
		`wdpost_condition{cost="window",kind="miner_not_admitted"} 0`,
		`wdpost_window_partitions{miner="` + subject(1008) + `",stage="sent"} 0`,
		`wdpost_margin_seconds_count{miner="` + subject(1008) + `"} 0`,
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("%q is not among the metrics", want)
		}
	}
	var effective map[string]any
	if err := Ask(t.Context(), d.home, "/config", nil, &effective); err != nil || len(effective) != 3 {
		t.Errorf("effective: %v, %v", effective, err)
	}
	text, err := json.Marshal(effective)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(d.log.String()+string(text)+metrics, n.Token()) {
		t.Error("the token is told")
	}
}

// TestReload: miners come and go, what needs a restart is said, a file that is
// refused changes nothing.
func TestReload(t *testing.T) {
	n := startNetwork(t)
	d := startManager(t, n.Node().Multiaddr("ws"), n.Token(), 1008)
	d.wait(t, "the miner", func() bool { return d.Ready() == nil })
	good := d.config(t)

	reload := func() (r Reloaded, err error) {
		return r, Ask(t.Context(), d.home, "/reload", url.Values{}, &r)
	}
	d.write(t, good+"[[Miners]]\nActor = 4711\n")
	r, err := reload()
	if err != nil || !slices.Equal(r.Changed, []string{"Miners"}) || len(r.NeedsRestart) != 0 {
		t.Fatalf("got %+v, %v", r, err)
	}
	d.wait(t, "the new miner", func() bool { return d.stands(condition.MinerNotAdmitted, subject(4711)) })

	d.write(t, good+"nonsense = 1\n")
	if _, err := reload(); err == nil || !strings.Contains(err.Error(), "nonsense") {
		t.Errorf("got %v", err)
	}
	if !d.stands(condition.ConfigRefused, "") || len(d.Status(t.Context()).Miners) != 2 {
		t.Error("a refused file is no condition, or was put in force")
	}

	d.write(t, strings.Replace(good, "Messager = 'none'", "Messager = 'none'\nChainEventInterval = '2m'", 1))
	if r, err = reload(); err != nil || !slices.Equal(r.NeedsRestart, []string{"Common.API.ChainEventInterval"}) {
		t.Errorf("got %+v, %v", r, err)
	}
	d.wait(t, "the end of the removed miner", func() bool { return !d.stands(condition.MinerNotAdmitted, subject(4711)) })
	if d.stands(condition.ConfigRefused, "") || !d.stands(condition.RestartNeeded, "") || len(d.Status(t.Context()).Miners) != 1 {
		t.Errorf("conditions %+v", d.board.List())
	}
	d.write(t, good)
	if _, err := reload(); err != nil || d.stands(condition.RestartNeeded, "") {
		t.Error("taken back, a restart is still needed")
	}
}

// TestFieldF4NoStoreForMiner: lists that leave a miner out everywhere are told
// before any window.
func TestFieldF4NoStoreForMiner(t *testing.T) {
	n := startNetwork(t)
	d := startManager(t, n.Node().Multiaddr("ws"), n.Token(), 1008)
	d.wait(t, "the miner", func() bool { return d.Ready() == nil })
	good := d.config(t)
	d.write(t, strings.Replace(good, "Name = 'a'", "Name = 'a'\nAllowMiners = [1447]", 1))
	var r Reloaded
	if err := Ask(t.Context(), d.home, "/reload", url.Values{}, &r); err != nil {
		t.Fatal(err)
	}
	if _, body := d.page(t, "/healthz"); !strings.Contains(body, "miner_no_store "+subject(1008)) || !strings.Contains(body, `the store "a"`) {
		t.Errorf("healthz: %s", body)
	}
	d.write(t, good)
	if err := Ask(t.Context(), d.home, "/reload", url.Values{}, &r); err != nil {
		t.Fatal(err)
	}
	d.wait(t, "its end", func() bool { d.fold(time.Now()); return !d.stands(condition.MinerNoStore, subject(1008)) })
}

// TestFieldF18DamagedIndex: a store whose record is damaged stops nobody; it is
// scanned, and the record made anew.
func TestFieldF18DamagedIndex(t *testing.T) {
	n := startNetwork(t)
	d := startManager(t, n.Node().Multiaddr("ws"), n.Token(), 1008)
	d.wait(t, "the miner", func() bool { return d.Ready() == nil })
	store := storeOfOne(t)
	index := sector.OpenIndex(d.home)
	_, err := sector.Attach(t.Context(), sector.AttachConfig{
		Name: "b", Path: store, Pattern: "*", Index: index, Guard: sector.NewGuard(sector.GuardConfig{}), Log: run.NewLogger(d.log, "debug"),
	})
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(d.home, "index", "b*"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	if err := os.Truncate(files[0], 10); err != nil {
		t.Fatal(err)
	}
	d.write(t, d.config(t)+fmt.Sprintf("[[Common.PersistStores]]\nName = 'b'\nPath = %q\n", store))
	if err := Ask(t.Context(), d.home, "/reload", url.Values{}, &Reloaded{}); err != nil {
		t.Fatal(err)
	}
	if len(d.stores.current.Load().locator.Stores()) != 2 {
		t.Errorf("conditions %+v", d.board.List())
	}
	d.wait(t, "the record made anew", func() bool { _, err := index.Get("b"); return err == nil })
	d.wait(t, "the end of the condition", func() bool { return !d.stands(condition.StoreNotIndexed, "b") })
}

// storeOfOne is a store with the files of one sector of 2 KiB, all zeros.
func storeOfOne(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, size := range map[string]int{"sealed/s-t01008-1": 2048, "cache/s-t01008-1/p_aux": 64, "cache/s-t01008-1/sc-02-data-tree-r-last.dat": 32} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, make([]byte, size), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestMissingStore: a store whose folder is gone is told by /healthz, and its
// return too.
func TestMissingStore(t *testing.T) {
	n := startNetwork(t)
	d := startManager(t, n.Node().Multiaddr("ws"), n.Token(), 1008)
	d.wait(t, "health", func() bool { code, _ := d.page(t, "/healthz"); return code == http.StatusOK })
	set := d.stores.current.Load()
	path := set.locator.Stores()[0].Path
	if err := os.Rename(path, path+".away"); err != nil {
		t.Fatal(err)
	}
	if err := set.watch.Look(t.Context()); err != nil {
		t.Fatal(err)
	}
	if code, body := d.page(t, "/healthz"); code != http.StatusServiceUnavailable || !strings.Contains(body, "store_missing a") {
		t.Errorf("healthz: %d %s", code, body)
	}
	if err := os.Rename(path+".away", path); err != nil {
		t.Fatal(err)
	}
	if err := set.watch.Look(t.Context()); err != nil {
		t.Fatal(err)
	}
	if code, body := d.page(t, "/healthz"); code != http.StatusOK {
		t.Errorf("healthz: %d %s", code, body)
	}
}

// TestDamagedLedger: a ledger that cannot be opened stops no miner, and is taken
// up as soon as it can be.
func TestDamagedLedger(t *testing.T) {
	n := startNetwork(t)
	d := startManager(t, n.Node().Multiaddr("ws"), n.Token(), 1008)
	d.wait(t, "the ledger", func() bool { return d.records.ledger.Load() != nil })
	d.stop()
	<-d.ended
	path := filepath.Join(d.home, "ledger.db")
	if err := errors.Join(os.Rename(path, path+".old"), os.Mkdir(path, 0o700)); err != nil {
		t.Fatal(err)
	}
	again := startManagerAt(t, d)
	again.wait(t, "the miner", func() bool { return again.Ready() == nil })
	again.wait(t, "the condition", func() bool { return again.stands(condition.LedgerUnusable, "") })
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	again.wait(t, "its end", func() bool { return !again.stands(condition.LedgerUnusable, "") })
}

// TestPosterX18bDamagedLedger: a ledger that is damaged at the start is moved
// aside, and a new one is begun at once.
func TestPosterX18bDamagedLedger(t *testing.T) {
	n := startNetwork(t)
	d := startManager(t, n.Node().Multiaddr("ws"), n.Token(), 1008)
	d.wait(t, "the ledger", func() bool { return d.records.ledger.Load() != nil })
	d.stop()
	<-d.ended
	path := filepath.Join(d.home, "ledger.db")
	if err := os.WriteFile(path, bytes.Repeat([]byte("no database "), 1000), 0o600); err != nil {
		t.Fatal(err)
	}
	again := startManagerAt(t, d)
	again.wait(t, "the ledger", func() bool { return again.records.ledger.Load() != nil })
	if !again.stands(condition.LedgerDamaged, path) {
		t.Error("nobody is told that the ledger was damaged")
	}
}

// logBuffer gathers log lines.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
