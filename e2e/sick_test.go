//go:build sick

package e2e

import (
	"context"
	"flag"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"wdpost/lab/cluster"
	"wdpost/lab/devnet/actor"
	"wdpost/lab/hangfs"
)

var sickDeadlines = flag.Int("deadlines", 20, "windows with sectors until the verdict")

// Shape of the sick cluster: every deadline has one sector of each class.
const (
	sickPeriod     = 5  // deadlines
	sickWindow     = 40 // epochs of a second
	sickPartition  = 2  // sectors
	sickFirstOpen  = 75 // epochs until the first window opens
	sickFirstMiner = 1000
	sickExempt     = 2 // windows that close before the first is open
)

// class is where a sector's copies lie, and whether a good one can be read.
type class struct {
	name     string
	store    string // of the first copy
	copied   bool   // a good copy in the store "duplicate"
	provable bool
}

var classes = []class{
	{"healthy", "healthy", false, true},
	{"healthy too", "healthy", false, true},
	{"in a store that hangs", "hung", false, false},
	{"in a store that hangs, with a copy", "hung", true, true},
	{"in a store that goes, with a copy", "gone", true, true},
	{"with flipped bits", "flipped", false, false},
	{"with flipped bits, with a copy", "flipped", true, true},
}

// The stores in the order of the manager's file: the sick ones first.
var sickStores = []string{"hung", "gone", "flipped", "duplicate", "healthy"}

// sick is a cluster of which a part is sick.
type sick struct {
	t       *testing.T
	root    string
	params  string
	chain   *cluster.Cluster
	sup     *cluster.Supervisor
	masters []string // addresses
	http    string   // of the manager
	db      *mariadb
	hang    func(bool) // the store that hangs
	self    string     // this test program
}

// class tells the class of a sector: they were given out by deadline, then class.
func (*sick) class(number uint64) class { return classes[(number-1)/sickPeriod%uint64(len(classes))] }

func (s *sick) store(name string) string { return filepath.Join(s.root, "stores", name) }

// TestSick runs a manager, two masters on MariaDB and four slaves of which one is
// healthy, on five stores of which two are, kills a process every few seconds,
// and wants every sector of which one good copy exists proven in its window.
func TestSick(t *testing.T) {
	s := &sick{t: t, root: t.TempDir(), sup: nil}
	var err error
	if s.self, err = os.Executable(); err != nil {
		t.Fatal(err)
	}
	s.params = filepath.Join(s.root, "params")
	runEnv(t, s.root, nil, filepath.Join(binDir, "gen_cache_and_param_blst"), "wdpost-param", "--size", "2KiB",
		"--params-dir", s.params, "--out", s.params, "--generate", "--partition-sectors", strconv.Itoa(sickPartition))
	s.db = startMariaDB(t, s.root)
	s.db.exec("", "CREATE DATABASE wdpost")
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	s.startChain(ctx)
	s.arrangeStores()
	s.sup = cluster.NewSupervisor(s.root, slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})))
	programs, stop := context.WithCancel(ctx)
	t.Cleanup(func() {
		s.hang(false)
		stop()
		s.sup.Wait()
		if t.Failed() {
			s.showLogs()
		}
	})
	s.startPrograms(programs)
	s.hang(true)
	var hurting sync.WaitGroup
	hurt, enough := context.WithCancel(ctx)
	hurting.Go(func() { s.hurt(hurt) })
	err = s.chain.WaitDeadlines(ctx, sickExempt+*sickDeadlines)
	enough()
	hurting.Wait()
	if err != nil {
		t.Fatal(err)
	}
	s.checkThreads()
	s.judge()
}

// startChain makes sectors and runs the chain in this process.
func (s *sick) startChain(ctx context.Context) {
	s.t.Helper()
	var err error
	s.chain, err = cluster.PrepareChain(ctx, cluster.Config{
		Workdir: filepath.Join(s.root, "chain"), Sectors: sickPeriod * len(classes), Spread: sickPeriod,
		PartitionSectors: sickPartition, PeriodDeadlines: sickPeriod, Window: sickWindow, Epoch: time.Second, FirstOpen: sickFirstOpen,
	}, s.params)
	if err != nil {
		s.t.Fatal(err)
	}
	done := make(chan error, 1)
	running, stop := context.WithCancel(ctx)
	go func() { done <- s.chain.RunChain(running) }()
	s.t.Cleanup(func() {
		stop()
		<-done
		if err := s.chain.Close(); err != nil {
			s.t.Error(err)
		}
	})
	eventually(s.t, time.Minute, "the chain listens", func() error {
		_, err := os.Stat(filepath.Join(s.root, "chain", "access.json"))
		return err
	})
}

// arrangeStores moves the sectors into the stores of their classes.
func (s *sick) arrangeStores() {
	s.t.Helper()
	for n := uint64(1); n <= sickPeriod*uint64(len(classes)); n++ {
		c := s.class(n)
		name := fmt.Sprintf("s-t0%d-%d", sickFirstMiner, n)
		for _, from := range s.chain.Access().Stores {
			for _, kind := range []string{"sealed", "cache"} {
				s.place(c, filepath.Join(from, kind, name), kind, name)
			}
		}
	}
	s.mountHanging()
}

// place puts a replica or cache where its class has it.
func (s *sick) place(c class, from, kind, name string) {
	s.t.Helper()
	if _, err := os.Stat(from); err != nil {
		return // in the other storage folder
	}
	first := c.store
	if first == "hung" {
		first = "hung.source"
	}
	if c.copied {
		s.copyAll(from, filepath.Join(s.store("duplicate"), kind, name))
	}
	to := filepath.Join(s.store(first), kind, name)
	s.copyAll(from, to)
	if c.store == "flipped" && kind == "sealed" {
		s.flip(to)
	}
}

// copyAll copies a file or folder.
func (s *sick) copyAll(from, to string) {
	s.t.Helper()
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.MkdirAll(filepath.Join(to, rel), 0o755)
		}
		if err := os.MkdirAll(filepath.Dir(filepath.Join(to, rel)), 0o755); err != nil {
			return err
		}
		body, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, rel), body, 0o644)
	})
	if err != nil {
		s.t.Fatal(err)
	}
}

// flip flips one bit in every leaf of a replica.
func (s *sick) flip(path string) {
	s.t.Helper()
	body, err := os.ReadFile(path)
	if err != nil {
		s.t.Fatal(err)
	}
	for i := 0; i < len(body); i += 32 {
		body[i] ^= 1
	}
	if err := os.WriteFile(path, body, 0o644); err != nil {
		s.t.Fatal(err)
	}
}

// mountHanging shows the store that hangs: by FUSE where the machine allows it,
// else its replicas become FIFOs that nobody writes, while it hangs.
func (s *sick) mountHanging() {
	s.t.Helper()
	source, dir := s.store("hung.source"), s.store("hung")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		s.t.Fatal(err)
	}
	if err := hangfs.Available(); err == nil {
		m, err := hangfs.Mount(source, dir)
		if err != nil {
			s.t.Fatal(err)
		}
		s.t.Cleanup(func() {
			if err := m.Close(); err != nil {
				s.t.Errorf("unmount: %v", err)
			}
		})
		s.hang = func(on bool) {
			if on {
				m.Hang(hangfs.Reads)
			} else {
				m.Hang(hangfs.Nothing)
			}
		}
		return
	}
	s.t.Log("no FUSE here: the store that hangs has FIFOs for replicas")
	s.copyAll(source, dir)
	s.hang = func(on bool) {
		if !on {
			return // the processes are killed at the end
		}
		replicas, err := filepath.Glob(filepath.Join(dir, "sealed", "*"))
		if err != nil {
			s.t.Error(err)
		}
		for _, path := range replicas {
			if err := os.Remove(path); err != nil {
				s.t.Error(err)
			}
			if err := syscall.Mkfifo(path, 0o644); err != nil {
				s.t.Error(err)
			}
		}
	}
}

// startPrograms writes the files and starts manager, masters and slaves.
func (s *sick) startPrograms(ctx context.Context) {
	s.t.Helper()
	home := filepath.Join(s.root, "manager")
	manager := filepath.Join(binDir, "venus-sector-manager")
	env := []string{"FIL_PROOFS_PARAMETER_CACHE=" + s.params, "RUST_LOG=info"}
	runEnv(s.t, s.root, env, manager, "--home", home, "daemon", "init")
	for i := range 2 {
		s.masters = append(s.masters, net.JoinHostPort("127.0.0.1", strconv.Itoa(freePort(s.t))))
		writeFile(s.t, s.masterFile(i), s.root, fmt.Sprintf("master%d.toml", i+1))
	}
	writeFile(s.t, s.managerFile(), home, "sector-manager.cfg")
	writeFile(s.t, fmt.Sprintf("[[WdPost]]\nBin = %q\nArgs = [\"-c\", %q]\nConcurrent = 50\nWeight = 1\nReadyTimeoutSecs = 30\n",
		filepath.Join(binDir, "wdpost-master-daemon"), filepath.Join(s.root, "master1.toml")), home, "ext-prover.cfg")
	for _, name := range sickStores {
		runEnv(s.t, s.root, env, manager, "--home", home, "util", "storage", "attach", "--name="+name, s.store(name))
	}
	s.http = net.JoinHostPort("127.0.0.1", strconv.Itoa(freePort(s.t)))
	start := func(name string, argv ...string) {
		p := cluster.Program{Name: name, Dir: s.root, Env: append(env, "FORCE_SECTOR_SIZE=2048"), Argv: argv}
		if err := s.sup.Start(ctx, p); err != nil {
			s.t.Fatal(err)
		}
	}
	start("manager", manager, "--home", home, "daemon", "run", "--poster", "--miner", "--listen", s.http, "--ext-prover")
	start("master2", filepath.Join(binDir, "wdpost-master-daemon"), "-c", filepath.Join(s.root, "master2.toml"))
	for name, more := range map[string]string{
		"nomount": fmt.Sprintf("[slave.paths]\n'%s' = '%s'\n", s.store("healthy"), s.store("nowhere")),
		"hangs":   s.processor("hangs"),
		"lies":    s.processor("lies"),
		"healthy": "",
	} {
		writeFile(s.t, s.slaveFile(name)+more, s.root, "slave-"+name+".toml")
		start("slave-"+name, filepath.Join(binDir, "wdpost-slave-daemon"), "-c="+filepath.Join(s.root, "slave-"+name+".toml"))
	}
}

func (s *sick) processor(mode string) string {
	return fmt.Sprintf("[[slave.processor]]\nbin = '%s'\nhung_after = '4s'\n[slave.processor.envs]\n%s = '%s'\n", s.self, processorEnv, mode)
}

func (s *sick) slaveFile(name string) string {
	masters := slices.Clone(s.masters)
	if name == "lies" || name == "nomount" { // half of the slaves at each master
		slices.Reverse(masters)
	}
	return fmt.Sprintf(`[master]
server_addr = ['%s']
reconnect_interval = '1s'
heartbeat_interval = '1s'
[read]
timeout = '3s'
[slave]
name = '%s'
pull_interval = '1s'
spool = '%s'
partition_sectors = %d
`, strings.Join(masters, "', '"), name, filepath.Join(s.root, "spool-"+name), sickPartition)
}

func (s *sick) masterFile(i int) string {
	return fmt.Sprintf(`[server]
listen = '%s'
[db]
url = '%s'
[task]
timeout = '20s'
max_retry = 2
heartbeat_timeout = '5s'
retry_job_interval = '1s'
partition_sectors = %d
`, s.masters[i], s.db.url("wdpost"), sickPartition)
}

func (s *sick) managerFile() string {
	a := s.chain.Access()
	text := fmt.Sprintf("[Common]\n[Common.Proving]\nSingleCheckTimeout = \"3s\"\n[Common.API]\nChain = %q\nMessager = %q\nGateway = [%q]\nToken = %q\n", a.Chain, a.Messager, a.Gateway, a.Token)
	for _, name := range sickStores {
		text += fmt.Sprintf("[[Common.PersistStores]]\nName = %q\nPath = %q\nStrict = false\nReadOnly = false\nWeight = 0\n", name, s.store(name))
	}
	scaled := func(n int) int { return max(1, n*sickWindow/60) }
	return text + fmt.Sprintf("[[Miners]]\nActor = %d\n[Miners.PoSt]\nSender = %q\nEnabled = true\nStrictCheck = false\nParallel = true\n"+
		"Confidence = %d\nSubmitConfidence = %d\nChallengeConfidence = %d\n[Miners.Proof]\nEnabled = false\n",
		a.Miners[0].Actor, a.Miners[0].Sender, scaled(10), scaled(4), scaled(10))
}

// hurt kills processes in turn, and takes the store "gone" away while a proof is
// being made.
func (s *sick) hurt(ctx context.Context) {
	victims := []string{"slave-healthy", "master2", "manager", "slave-nomount", "slave-hangs", "slave-lies"}
	away := false
	for i := 0; ; i++ {
		select {
		case <-ctx.Done():
			return
		case <-time.After(10 * time.Second):
		}
		if !away && s.proving() {
			s.t.Log("the store gone goes away in mid-proof")
			if err := os.Rename(s.store("gone"), s.store("was.gone")); err != nil {
				s.t.Error(err)
			}
			away = true
		}
		if i%2 == 1 {
			s.kill(victims[i/2%len(victims)])
		}
	}
}

// proving reports whether the healthy slave has taken a task.
func (s *sick) proving() bool { return strings.Contains(s.log("slave-healthy"), "got task:") }

func (s *sick) kill(name string) {
	for _, st := range s.sup.States() {
		if st.Name == name && st.PID != 0 {
			s.t.Logf("kill -9 %s (pid %d)", name, st.PID)
			_ = syscall.Kill(st.PID, syscall.SIGKILL) // gone meanwhile: as wanted
		}
	}
}

func (s *sick) log(name string) string {
	b, err := os.ReadFile(filepath.Join(s.root, name+".log"))
	if err != nil {
		return ""
	}
	return string(b)
}

// checkThreads wants no process to have grown: a thread waits in the kernel for
// each read that hangs, and there are bounds.
func (s *sick) checkThreads() {
	for _, st := range s.sup.States() {
		body, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", st.PID))
		if err != nil {
			continue // just being started again
		}
		for _, line := range strings.Split(string(body), "\n") {
			if text, ok := strings.CutPrefix(line, "Threads:"); ok {
				if n, err := strconv.Atoi(strings.TrimSpace(text)); err != nil || n > 100 {
					s.t.Errorf("%s has %s threads", st.Name, strings.TrimSpace(text))
				}
			}
		}
		out, _ := exec.Command("ps", "-o", "stat=", "-p", strconv.Itoa(st.PID)).Output()
		s.t.Logf("%s: pid %d, %d restarts, %s", st.Name, st.PID, st.Restarts, strings.TrimSpace(string(out)))
	}
}

// judge counts what the chain saw.
func (s *sick) judge() {
	report := s.chain.Network().Report()
	sectors, provable, proven, wrong := 0, 0, 0, 0
	for _, o := range report.Outcomes {
		for _, p := range o.Partitions {
			for n := uint64(1); n <= sickPeriod*uint64(len(classes)); n++ {
				if (n-1)%sickPeriod != o.Deadline || s.partitionOf(n) != p.Index {
					continue
				}
				if p.Verdict == actor.Exempt {
					continue // before the first window
				}
				c := s.class(n)
				sectors++
				has := p.Verdict == actor.Proven && slices.Contains(p.ProvenSectors, n)
				switch {
				case c.provable && has:
					provable, proven = provable+1, proven+1
				case c.provable:
					provable++
					s.t.Errorf("deadline %d at %d: sector %d, %s, was not proven (%s)", o.Deadline, o.Open, n, c.name, p.Verdict)
				case has:
					wrong++
					s.t.Errorf("deadline %d at %d: sector %d, %s, cannot have been proven", o.Deadline, o.Open, n, c.name)
				}
			}
		}
	}
	if err := s.chain.Network().Check(); err != nil {
		wrong++
		s.t.Error(err)
	}
	fmt.Printf("sectors %d, provable %d, proven %d, wrong %d\n", sectors, provable, proven, wrong)
	if proven == 0 || proven != provable || wrong != 0 {
		s.t.Fail()
	}
}

// partitionOf is the partition of a sector in its deadline: the actor fills one
// after the other, in the order of the sectors.
func (*sick) partitionOf(n uint64) uint64 { return (n - 1) / sickPeriod / sickPartition }

func (s *sick) showLogs() {
	for _, st := range s.sup.States() {
		lines := strings.Split(s.log(st.Name), "\n")
		s.t.Logf("---- last lines of %s\n%s", st.Name, strings.Join(lines[max(0, len(lines)-40):], "\n"))
	}
}
