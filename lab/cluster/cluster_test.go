package cluster

import (
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"wdpost/internal/config"
	"wdpost/lab/devnet"
)

func TestConfigDefaultsAndRefusals(t *testing.T) {
	c, err := Config{Workdir: t.TempDir()}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	if c.Sectors != 96 || c.Miners != 1 || c.Slaves != 2 || c.FirstOpen != 20 {
		t.Errorf("defaults: %+v", c)
	}
	for name, bad := range map[string]Config{
		"sector size":     {SectorSize: 3000},
		"negative number": {Sectors: -1},
		"wide spread":     {Spread: 49},
		"early opening":   {FirstOpen: 5},
		"tiny window":     {Window: 1},
	} {
		bad.Workdir = t.TempDir()
		if _, err := bad.withDefaults(); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if err := os.Mkdir(filepath.Join(c.Workdir, "storage"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := (Config{Workdir: c.Workdir}).withDefaults(); err == nil || !strings.Contains(err.Error(), c.Workdir) {
		t.Errorf("a used work directory: %v", err)
	}
}

// prepared is a cluster over a chain that listens but does not count.
func prepared(t *testing.T, cfg Config) *Cluster {
	t.Helper()
	cfg.Workdir = t.TempDir()
	c, err := PrepareChain(t.Context(), cfg, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := c.net.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func TestFilesAreWhatTheProgramsRead(t *testing.T) {
	c := prepared(t, Config{Miners: 2, Sectors: 3, PartitionSectors: 1})
	if err := os.Mkdir(c.home(), 0o755); err != nil {
		t.Fatal(err)
	}
	c.masterAddr = "127.0.0.1:4698"
	if err := c.writeManagerFiles(); err != nil {
		t.Fatal(err)
	}
	m, warnings, err := config.LoadManager(filepath.Join(c.home(), "sector-manager.cfg"))
	if err != nil || len(warnings) > 0 {
		t.Fatalf("manager: %v, %v", warnings, err)
	}
	if len(m.Miners) != 2 || len(m.Common.PersistStores) != storages {
		t.Errorf("manager: %d miners, %d stores", len(m.Miners), len(m.Common.PersistStores))
	}
	if _, err := config.LoadExtProver(filepath.Join(c.home(), "ext-prover.cfg")); err != nil {
		t.Errorf("ext-prover: %v", err)
	}
	values := map[string]any{"Listen": c.masterAddr, "URL": "sqlite:///q.db", "Master": c.masterAddr, "Spool": "s", "PartitionSectors": 1}
	if err := render(masterConfig, c.masterConfigPath(), values); err != nil {
		t.Fatal(err)
	}
	if _, warnings, err := config.LoadMaster(c.masterConfigPath()); err != nil || len(warnings) > 0 {
		t.Errorf("master: %v, %v", warnings, err)
	}
	if err := render(slaveConfig, c.slaveConfigPath(0), values); err != nil {
		t.Fatal(err)
	}
	if s, _, err := config.LoadSlave(c.slaveConfigPath(0)); err != nil || s.Slave.PartitionSectors != 1 {
		t.Errorf("slave: %+v, %v", s.Slave, err)
	}
}

func TestAccessFileIsWhole(t *testing.T) {
	c := prepared(t, Config{Sectors: 2})
	if err := c.writeAccess(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(c.cfg.path("access.json"))
	if err != nil {
		t.Fatal(err)
	}
	var a Access
	if err := json.Unmarshal(b, &a); err != nil {
		t.Fatal(err)
	}
	if len(a.Stores) != storages || len(a.Miners) != 1 || !strings.HasSuffix(a.Chain, "/ws") || a.Token == "" {
		t.Errorf("access: %+v", a)
	}
}

func TestMissedWindowsFailTheVerdict(t *testing.T) {
	c := prepared(t, Config{Sectors: 2, Window: 2, Epoch: 2 * time.Millisecond})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := c.WaitDeadlines(ctx, 1); err != nil {
		t.Fatal(err)
	}
	v := c.Judge()
	if v.Deadlines == 0 || len(v.Missed) == 0 || v.Err() == nil || !strings.Contains(v.Err().Error(), "missed") {
		t.Errorf("verdict %s: %v", v, v.Err())
	}
}

func TestSupervisorRestartsAndStops(t *testing.T) {
	s := NewSupervisor(t.TempDir(), slog.New(slog.DiscardHandler))
	ctx, stop := context.WithCancel(t.Context())
	for name, script := range map[string]string{"dies": "exit 3", "lives": "exec sleep 600"} {
		if err := s.Start(ctx, Program{Name: name, Argv: []string{"/bin/sh", "-c", script}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Start(ctx, Program{Name: "absent", Argv: []string{"/nonexistent"}}); err == nil {
		t.Error("a program that does not exist was started")
	}
	state := func(name string) ProcessState {
		for _, st := range s.States() {
			if st.Name == name {
				return st
			}
		}
		t.Fatalf("no state of %s", name)
		return ProcessState{}
	}
	for state("dies").Restarts < 2 {
		time.Sleep(10 * time.Millisecond)
	}
	if st := state("dies"); !strings.Contains(st.LastExit, "3") {
		t.Errorf("dies: %+v", st)
	}
	lives := state("lives")
	if lives.PID == 0 || lives.Restarts != 0 {
		t.Errorf("lives: %+v", lives)
	}
	stop()
	s.Wait()
	if err := syscall.Kill(-lives.PID, 0); err == nil {
		t.Error("a stopped program lives on")
	}
}

func TestFrameFitsTheTerminal(t *testing.T) {
	got := frame("äbcdef\nxy\nbelow the screen\n", 3, 3)
	want := ansiHome + ansiBold + "äbc" + ansiPlain + ansiClearLine + "\n" + "xy" + ansiClearLine + "\n" + ansiClearRest
	if got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestTellIsQuietAboutTicks(t *testing.T) {
	if s := tell(devnet.Event{Kind: devnet.NewTipSet}); s != "" {
		t.Errorf("a tipset is told: %q", s)
	}
	if s := tell(devnet.Event{Kind: devnet.Closed, Miner: 1000, Epoch: 7, Text: "deadline 3"}); !strings.Contains(s, "t01000 deadline 3") {
		t.Errorf("closed: %q", s)
	}
}
