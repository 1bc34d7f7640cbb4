//go:build soak

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
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
	"wdpost/internal/extprover"
	"wdpost/internal/queue/queuetest"
)

// soakSlave is a slave process that is started again when it ends.
type soakSlave struct {
	proxies []*proxy
	mu      sync.Mutex
	cmd     *exec.Cmd
}

func (s *soak) startDatabase() {
	var err error
	if s.db, err = queuetest.StartMariaDB(s.dir); err != nil {
		if errors.Is(err, queuetest.ErrNoMariaDB) {
			s.t.Skip(err)
		}
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = s.db.Kill() })
	s.admin = queuetest.Database(s.t, s.db.URL(""), "wdpost_soak")
	s.admin.SetMaxOpenConns(1)
}

func (s *soak) write(name, body string) string {
	path := filepath.Join(s.dir, name)
	if err := os.WriteFile(path, []byte(body), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return path
}

func soakPort(t *testing.T) string {
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer lis.Close()
	return lis.Addr().String()
}

func (s *soak) startMasters() []string {
	var addresses []string
	var processors []extprover.Processor
	for i := range soakMasters {
		address, debug := soakPort(s.t), soakPort(s.t)
		addresses = append(addresses, address)
		conf := s.write(fmt.Sprintf("master%d.toml", i), fmt.Sprintf(`
[server]
listen = '%s'
token = 'soak'
[db]
url = '%s'
idle_timeout = '5s'
[task]
timeout = '1m'
max_retry = 20
heartbeat_timeout = '6s'
retry_job_interval = '1s'
archive_job_interval = '20s'
should_archive = '90s'
[debug]
listen = '%s'
`, address, s.db.URL("wdpost_soak"), debug))
		s.processes = append(s.processes, soakProcess{
			name: fmt.Sprintf("master%d", i), group: "masters", debug: debug, pid: func() int { return s.child(conf) },
		})
		processors = append(processors, extprover.Processor{
			Name: fmt.Sprintf("master%d", i), Bin: s.bin + "/wdpost-master-daemon", Args: []string{"-c", conf},
			Concurrent: 50, ReadyTimeout: 20 * time.Second,
		})
	}
	log, err := os.Create(filepath.Join(s.dir, "manager.log"))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = log.Close() })
	s.host, err = extprover.NewHost(extprover.HostConfig{
		WindowPoSt: processors, Log: slog.New(slog.NewTextHandler(log, nil)), RestartMin: 200 * time.Millisecond, RestartMax: 2 * time.Second,
	})
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.host.Run(ctx)
	}()
	s.t.Cleanup(func() {
		cancel()
		<-done
	})
	return addresses
}

func (s *soak) startSlave(i int, addresses []string) {
	v := &soakSlave{}
	var through []string
	for _, a := range addresses {
		p := newProxy(s.t, a)
		v.proxies = append(v.proxies, p)
		through = append(through, fmt.Sprintf("'%s'", p.lis.Addr()))
	}
	if i%2 == 1 {
		slices.Reverse(through)
	}
	debug := soakPort(s.t)
	conf := s.write(fmt.Sprintf("slave%d.toml", i), fmt.Sprintf(`
[master]
server_addr = [%s]
token = 'soak'
reconnect_interval = '500ms'
heartbeat_interval = '1s'
[slave]
name = 'slave%d'
pull_interval = '1s'
spool = '%s'
[debug]
listen = '%s'
`, strings.Join(through, ", "), i, filepath.Join(s.dir, fmt.Sprintf("spool%d", i)), debug))
	name := fmt.Sprintf("slave%d", i)
	s.processes = append(s.processes, soakProcess{name: name, group: name, debug: debug, pid: func() int { return s.child(conf) }})
	log, err := os.Create(filepath.Join(s.dir, fmt.Sprintf("slave%d.log", i)))
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			cmd := exec.Command(s.bin+"/wdpost-slave-daemon", "-c", conf)
			cmd.Env = append(os.Environ(), "FORCE_SECTOR_SIZE=2048", "GOMAXPROCS=2")
			cmd.Stderr = log
			cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
			if err := cmd.Start(); err != nil {
				s.t.Error(err)
				return
			}
			v.mu.Lock()
			v.cmd = cmd
			v.mu.Unlock()
			_ = cmd.Wait() // killed: always an error
		}
	}()
	s.t.Cleanup(func() {
		cancel()
		v.signal(syscall.SIGKILL)
		<-done
		_ = log.Close()
	})
	s.slaves = append(s.slaves, v)
}

func (v *soakSlave) signal(sig syscall.Signal) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.cmd != nil {
		_ = v.cmd.Process.Signal(sig) // it may have just ended
	}
}

// masterPIDs finds the masters among our children.
func (s *soak) masterPIDs() []int { return s.children("wdpost-master-daemon") }

// child finds the child that runs with a config file; 0 if none does.
func (s *soak) child(conf string) int {
	for _, pid := range s.children("wdpost-") {
		cmdline, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if bytes.Contains(cmdline, []byte(conf)) {
			return pid
		}
	}
	return 0
}

func (s *soak) children(program string) []int {
	var out []int
	entries, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, e := range entries {
		stat, err := os.ReadFile(e)
		if err != nil {
			continue // it ended
		}
		_, rest, _ := bytes.Cut(stat, []byte(") "))
		fields := strings.Fields(string(rest))
		cmdline, _ := os.ReadFile(filepath.Join(filepath.Dir(e), "cmdline"))
		if len(fields) > 1 && fields[1] == strconv.Itoa(os.Getpid()) && strings.Contains(string(cmdline), s.bin+"/"+program) {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(e)))
			out = append(out, pid)
		}
	}
	return out
}
