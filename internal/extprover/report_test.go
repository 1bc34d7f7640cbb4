package extprover

import (
	"bufio"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestReports: a child that says why it is not ready is not ended by the ready
// time-out; its reports replace each other.
func TestReports(t *testing.T) {
	start := filepath.Join(t.TempDir(), "go")
	child := processor("reports", start)
	child.ReadyTimeout = 300 * time.Millisecond
	h, log := startHost(t, HostConfig{}, child)
	log.wait(t, "external processor is not ready")
	log.wait(t, "port 4698 is taken")
	got := status(h, 0)
	if got.Ready || got.Deaths != 0 || got.Report == nil || got.Report.Build != "v1" || got.Reported.IsZero() ||
		len(got.Report.Slaves) != 1 || got.Report.Slaves[0] != (SlaveCount{State: "idle", SectorSize: 2048, Count: 3}) {
		t.Errorf("got %+v, report %+v", got, got.Report)
	}
	if err := os.WriteFile(start, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the child to be ready", func() bool { return status(h, 0).Ready })
	if got := status(h, 0); len(got.Report.Conditions) != 0 || got.Deaths != 0 {
		t.Errorf("got %+v", got)
	}
}

// TestSilentSuccessor: what a process reported before its end stands until another
// reports, but does not keep a successor that says nothing from being ended.
func TestSilentSuccessor(t *testing.T) {
	child := processor("lastwords", filepath.Join(t.TempDir(), "once"))
	child.ReadyTimeout = 300 * time.Millisecond
	h, _ := startHost(t, HostConfig{}, child)
	waitFor(t, "the silent successor to be ended", func() bool { return status(h, 0).Deaths > 1 })
	if got := status(h, 0); got.Report == nil || len(got.Report.Conditions) != 1 {
		t.Errorf("got %+v", got.Report)
	}
}

// TestOperatorF8: the last words of a child that ends are logged as an error and
// stand in its status.
func TestOperatorF8(t *testing.T) {
	child := processor("exits", "")
	h, log := startHost(t, HostConfig{}, child)
	waitFor(t, "the child to end", func() bool { return status(h, 0).Deaths > 0 })
	log.wait(t, `level=ERROR msg="Error: no licence"`)
	if got := status(h, 0).LastError; !strings.Contains(got, "exit status 7") || !strings.Contains(got, "no licence") {
		t.Errorf("last error %q", got)
	}
}

// TestChildrenDieWithHost: a host that is killed leaves no child behind, not
// even one that does not look at its stdin.
func TestChildrenDieWithHost(t *testing.T) {
	host := exec.Command(os.Args[0])
	host.Env = append(os.Environ(), childEnv+"=host")
	out, err := host.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := host.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(err)
	}
	if err := host.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = host.Wait() // killed, as it should be
	waitFor(t, "the child to be gone", func() bool { return gone(pid) })
}

// gone reports whether the process has ended, reaped or not.
func gone(pid int) bool {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH)
	}
	return strings.Contains(string(stat), ") Z ")
}

func TestNoReporter(t *testing.T) {
	r, err := OpenReporter()
	if r != nil || err != nil {
		t.Fatal(r, err)
	}
	if err := errors.Join(r.Report(Report{}), r.Close()); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{"", "x", "1", "9999"} {
		t.Setenv(StatusEnv, bad)
		if _, err := OpenReporter(); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}
