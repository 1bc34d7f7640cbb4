//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// pids finds the running processes of a program of one cluster, by the work
// directory in their command lines.
func pids(t *testing.T, program, workdir string) []int {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	var found []int
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			continue // it ended meanwhile
		}
		words := strings.Split(string(b), "\x00")
		if filepath.Base(words[0]) == program && strings.Contains(string(b), workdir) {
			pid, err := strconv.Atoi(filepath.Base(filepath.Dir(f)))
			if err != nil {
				t.Fatal(err)
			}
			found = append(found, pid)
		}
	}
	return found
}

// TestKillNine runs a whole cluster and kills one process after another while
// tasks are being proven. Every deadline must still be proven.
func TestKillNine(t *testing.T) {
	work := filepath.Join(t.TempDir(), "work")
	devnet := startProcess(t, "devnet", t.TempDir(), nil, filepath.Join(binDir, "wdpost-devnet"),
		"--workdir", work, "--bin", binDir, "--deadlines", "6", "--lines")
	log := func(name string) string {
		b, err := os.ReadFile(filepath.Join(work, "logs", name+".log"))
		if err != nil {
			return ""
		}
		return string(b)
	}
	// gotTasks counts the claims of all slaves.
	gotTasks := func() int { return strings.Count(log("slave1")+log("slave2"), "got task:") }

	for i, program := range []string{"wdpost-slave-daemon", "wdpost-master-daemon", "venus-sector-manager"} {
		before := gotTasks()
		eventually(t, 3*time.Minute, fmt.Sprintf("claim %d", i+1), func() error {
			if gotTasks() > before {
				return nil
			}
			return fmt.Errorf("no new claim")
		})
		victims := pids(t, program, work)
		if len(victims) == 0 {
			t.Fatalf("no %s is running", program)
		}
		for _, pid := range victims[:1] {
			t.Logf("kill -9 %s (pid %d)", program, pid)
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
		}
	}
	devnet.waitProven()
}

// waitProven waits for a devnet with --deadlines to end and to have proven them all.
func (p *process) waitProven() {
	p.t.Helper()
	select {
	case <-p.done:
	case <-time.After(10 * time.Minute):
		p.t.Fatal("the devnet does not end")
	}
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		p.t.Fatalf("exit code %d:\n%s", code, p.log())
	}
	p.t.Log(p.log())
}

// TestRoughChain runs a cluster on a chain with null rounds and
// reorganisations, several partitions in a message, the last one padded, and
// faults to recover. Every deadline must be proven.
func TestRoughChain(t *testing.T) {
	devnet := startProcess(t, "devnet", t.TempDir(), nil, filepath.Join(binDir, "wdpost-devnet"),
		"--workdir", filepath.Join(t.TempDir(), "work"), "--bin", binDir, "--deadlines", "4", "--lines",
		"--sectors", "7", "--spread", "2", "--period-deadlines", "4", "--faulty", "2", "--null-every", "7", "--reorg-every", "11")
	devnet.waitProven()
}
