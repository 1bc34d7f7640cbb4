//go:build soak

package main

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
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

	"wdpost/internal/extprover"
	"wdpost/internal/prover"
	"wdpost/internal/queue/queuetest"
	"wdpost/internal/task"
	"wdpost/lab/golden"
)

// What the soak runs and for how long the faults go on. WDPOST_SOAK overrides
// the duration.
const (
	soakMasters  = 2
	soakSlaves   = 6
	soakAskers   = 8
	soakDuration = 10 * time.Minute
	soakWarmUp   = 15 * time.Second
	soakPatience = 4 * time.Minute // for one answer, whatever happens meanwhile
)

// TestSoak has real proofs made by real processes while every few seconds one
// of them is killed, stopped, cut off from the network, or the database is.
//
// What each process holds (goroutines, sockets, other files; the masters'
// connections as the database sees them) is read twice while nothing is asked:
// after a quarter of a minute's work without faults, when keys are loaded and
// pools were used, and after the faults. The second time it must be what it
// was the first time, but for leakSlack; processes that were killed came up
// with less and are held to the same. The masters are counted together, since
// the slaves move between them. What has not gone down within two minutes is a
// leak.
func TestSoak(t *testing.T) {
	duration := soakDuration
	if v := os.Getenv("WDPOST_SOAK"); v != "" {
		var err error
		if duration, err = time.ParseDuration(v); err != nil {
			t.Fatal(err)
		}
	}
	s := newSoak(t)
	s.work(soakWarmUp, func(ctx context.Context) { <-ctx.Done() })
	early := s.settle(soakCalm, soakCalm, func([]reading) bool { return true })
	s.work(duration, s.fault)
	settled := s.settle(soakCalm, soakCalmMost, func(now []reading) bool { return len(leaks(early, now)) == 0 })
	s.reportLeaks(early, settled)
	s.report()
}

// work has questions asked, and something else done, for the duration; all
// questions are answered when it returns.
func (s *soak) work(duration time.Duration, meanwhile func(context.Context)) {
	ctx, stop := context.WithTimeout(s.t.Context(), duration)
	defer stop()
	var wg sync.WaitGroup
	for range soakAskers {
		wg.Go(func() { s.ask(ctx) })
	}
	meanwhile(ctx)
	s.restore()
	wg.Wait()
}

// soak is the whole installation: a manager (the test), masters as its
// children, slaves behind proxies, one database.
type soak struct {
	t        *testing.T
	dir, bin string
	db       *queuetest.MariaDB
	admin    *sql.DB
	host     *extprover.Host
	verifier *prover.Verifier
	sectors  []task.Replica
	slaves   []*soakSlave
	start    time.Time

	processes []soakProcess

	mu         sync.Mutex
	answers    map[string][]byte // by task id
	tasks      int
	lost       []error
	wrong      []error
	duplicated int
	faults     map[string]int
	peakRSS    map[string]int // MiB by program
}

func newSoak(t *testing.T) *soak {
	s := &soak{t: t, dir: t.TempDir(), answers: map[string][]byte{}, faults: map[string]int{}, peakRSS: map[string]int{}, start: time.Now()}
	s.readSectors()
	s.bin = filepath.Join(s.dir, "bin")
	build := exec.Command("go", "build", "-o", s.bin+"/", "../wdpost-master-daemon", "../wdpost-slave-daemon")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v: %s", err, out)
	}
	params, err := filepath.Abs(filepath.Join(golden.Dir(t), "params"))
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("FIL_PROOFS_PARAMETER_CACHE", params)
	keys := prover.NewKeys(prover.KeyConfig{ParamsDir: params, RawDirs: []string{params}})
	t.Cleanup(func() { _ = keys.Close() })
	s.verifier = prover.NewVerifier(keys, 0)
	s.processes = []soakProcess{{name: "manager", group: "manager", pid: os.Getpid}}
	s.startDatabase()
	addresses := s.startMasters()
	for i := range soakSlaves {
		s.startSlave(i, addresses)
	}
	return s
}

func (s *soak) readSectors() {
	dir := golden.Dir(s.t)
	body, err := os.ReadFile(filepath.Join(dir, "proofs", "window-2KiB-3-partitions-v1_1.json"))
	if err != nil {
		s.t.Fatal(err)
	}
	var doc struct {
		Sectors []struct {
			Number uint64
			CommR  string `json:"comm_r"`
		}
	}
	if err := json.Unmarshal(body, &doc); err != nil {
		s.t.Fatal(err)
	}
	base, err := filepath.Abs(filepath.Join(dir, "sectors", "2KiB"))
	if err != nil {
		s.t.Fatal(err)
	}
	for _, sec := range doc.Sectors {
		r := task.Replica{
			SectorID: sec.Number, CacheDir: fmt.Sprintf("%s/cache/s-t01008-%d", base, sec.Number),
			SealedFile: fmt.Sprintf("%s/sealed/s-t01008-%d", base, sec.Number),
		}
		if _, err := hex.Decode(r.CommR[:], []byte(sec.CommR)); err != nil {
			s.t.Fatal(err)
		}
		s.sectors = append(s.sectors, r)
	}
}

// ask puts questions and checks the answers until ctx ends.
func (s *soak) ask(ctx context.Context) {
	for ctx.Err() == nil {
		q := task.Question{MinerID: 1008, ProofType: "StackedDrgWindow2KiBV1_2", AllowSkip: true}
		for _, i := range rand.Perm(len(s.sectors))[:1+rand.IntN(2)] {
			q.Replicas = append(q.Replicas, s.sectors[i])
		}
		for i := range q.Seed {
			q.Seed[i] = byte(rand.Uint32())
		}
		q.Seed[31] &= 0x3f
		limit := time.Now().Add(soakPatience)
		q.NotAfter = limit.Unix()
		patience, cancel := context.WithDeadline(context.Background(), limit)
		copies := 1 + rand.IntN(2) // some questions are asked twice at once
		var wg sync.WaitGroup
		for range copies {
			wg.Go(func() { s.one(patience, q) })
		}
		wg.Wait()
		cancel()
		s.mu.Lock()
		s.tasks++
		s.mu.Unlock()
	}
}

// one asks until there is an answer, as the poster does.
func (s *soak) one(ctx context.Context, q task.Question) {
	for {
		a, err := s.host.ProveWindowPoSt(ctx, q)
		if err != nil && ctx.Err() == nil {
			time.Sleep(time.Second)
			continue
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if err != nil {
			s.lost = append(s.lost, fmt.Errorf("task %s: %w", q.ID(), err))
			return
		}
		if err := s.verifier.VerifyWindowPoSt(ctx, q, a); err != nil || len(a.Proofs) != 1 || len(a.Faults) > 0 {
			s.wrong = append(s.wrong, fmt.Errorf("task %s: %+v: %w", q.ID(), a.Faults, err))
			return
		}
		if first, ok := s.answers[q.ID()]; ok && !bytes.Equal(first, a.Proofs[0]) {
			s.duplicated++
		}
		s.answers[q.ID()] = a.Proofs[0]
		return
	}
}

// fault hurts something every few seconds until ctx ends.
func (s *soak) fault(ctx context.Context) {
	var deck []int // every fault comes once before any comes again
	for {
		if len(deck) == 0 {
			deck = rand.Perm(6)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Duration(5+rand.IntN(11)) * time.Second):
		}
		s.measure()
		v := s.slaves[rand.IntN(len(s.slaves))]
		masters := s.masterPIDs()
		pause := time.Duration(2+rand.IntN(15)) * time.Second
		what := ""
		next := deck[0]
		deck = deck[1:]
		switch next {
		case 0:
			what = "slave killed"
			v.signal(syscall.SIGKILL)
		case 1:
			what = "slave stopped"
			v.signal(syscall.SIGSTOP)
			time.AfterFunc(pause, func() { v.signal(syscall.SIGCONT) })
		case 2:
			what = "slave cut off"
			for _, p := range v.proxies {
				p.cut(pause)
			}
		case 3:
			if len(masters) > 0 {
				what = "master killed"
				_ = syscall.Kill(masters[rand.IntN(len(masters))], syscall.SIGKILL)
			}
		case 4:
			if len(masters) > 0 {
				what = "master stopped"
				pid := masters[rand.IntN(len(masters))]
				_ = syscall.Kill(pid, syscall.SIGSTOP)
				time.AfterFunc(pause, func() { _ = syscall.Kill(pid, syscall.SIGCONT) })
			}
		case 5:
			what = "database restarted"
			_ = s.db.Kill()
			time.Sleep(time.Duration(rand.IntN(5000)) * time.Millisecond)
			if err := s.db.Restart(); err != nil {
				s.t.Error(err)
				return
			}
		}
		s.mu.Lock()
		s.faults[what]++
		fmt.Printf("%6.0fs %-20s tasks %d, lost %d, wrong %d, duplicated answers %d\n",
			time.Since(s.start).Seconds(), what, s.tasks, len(s.lost), len(s.wrong), s.duplicated)
		s.mu.Unlock()
	}
}

// restore lets everything live again.
func (s *soak) restore() {
	for _, v := range s.slaves {
		v.signal(syscall.SIGCONT)
	}
	for _, pid := range s.masterPIDs() {
		_ = syscall.Kill(pid, syscall.SIGCONT)
	}
}

// measure notes the largest memory of each program.
func (s *soak) measure() {
	for _, program := range []string{"wdpost-master-daemon", "wdpost-slave-daemon"} {
		for _, pid := range s.children(program) {
			status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
			if err != nil {
				continue
			}
			_, rest, _ := strings.Cut(string(status), "VmRSS:")
			if f := strings.Fields(rest); len(f) > 0 {
				kib, _ := strconv.Atoi(f[0])
				s.mu.Lock()
				s.peakRSS[program] = max(s.peakRSS[program], kib>>10)
				s.mu.Unlock()
			}
		}
	}
}

func (s *soak) report() {
	s.measure()
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Printf("faults %v\npeak memory in MiB %v\n", s.faults, s.peakRSS)
	fmt.Printf("tasks %d, lost %d, wrong %d, duplicated answers %d\n", s.tasks, len(s.lost), len(s.wrong), s.duplicated)
	for _, err := range slices.Concat(s.lost, s.wrong) {
		s.t.Error(err)
	}
	if s.duplicated > 0 || s.tasks == 0 {
		s.t.Errorf("%d tasks, %d duplicated answers", s.tasks, s.duplicated)
	}
	if s.peakRSS["wdpost-master-daemon"] > 300 {
		s.t.Errorf("a master had %d MiB", s.peakRSS["wdpost-master-daemon"])
	}
	if s.t.Failed() {
		kept := filepath.Join(os.TempDir(), fmt.Sprintf("wdpost-soak-%d", os.Getpid()))
		if err := os.CopyFS(kept, os.DirFS(s.dir)); err != nil {
			s.t.Logf("logs not kept whole: %v", err)
		}
		s.t.Logf("logs are kept in %s", kept)
	}
}
