package cluster

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"
)

// Timings of the supervisor, those of a usual systemd unit.
const (
	restartWait  = time.Second      // between the end of a process and its next start
	stopPatience = 15 * time.Second // between SIGTERM and SIGKILL
)

// Program is one process to keep alive.
type Program struct {
	Name string   // for the view and the log file
	Argv []string // absolute path first
	Env  []string // added to our own environment
	Dir  string
}

// Supervisor keeps programs alive until it is stopped, like systemd with
// Restart=always. Each program writes stdout and stderr to its own log file.
type Supervisor struct {
	logDir string
	log    *slog.Logger

	mu    sync.Mutex
	state []*ProcessState // in order of Start
	wg    sync.WaitGroup
}

// ProcessState is what the view shows of a program.
type ProcessState struct {
	Name     string
	PID      int // 0 while not running
	Restarts int
	LastExit string // how it ended the last time
	LogFile  string
}

// NewSupervisor returns a supervisor that writes log files into logDir.
func NewSupervisor(logDir string, log *slog.Logger) *Supervisor {
	return &Supervisor{logDir: logDir, log: log}
}

// Start runs the program until ctx ends, restarting it whenever it ends by
// itself. It fails only if the first start fails.
func (s *Supervisor) Start(ctx context.Context, p Program) error {
	logFile := filepath.Join(s.logDir, p.Name+".log")
	out, err := os.OpenFile(logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("log of %s: %w", p.Name, err)
	}
	st := &ProcessState{Name: p.Name, LogFile: logFile}
	cmd, err := s.launch(p, st, out)
	if err != nil {
		_ = out.Close() // nothing was written
		return fmt.Errorf("start %s: %w", p.Name, err)
	}
	s.mu.Lock()
	s.state = append(s.state, st)
	s.mu.Unlock()
	s.wg.Go(func() {
		defer out.Close()
		s.keepAlive(ctx, p, st, out, cmd)
	})
	return nil
}

// Wait returns when all programs have ended after their contexts did.
func (s *Supervisor) Wait() { s.wg.Wait() }

// States returns a copy of what is known about each program.
func (s *Supervisor) States() []ProcessState {
	s.mu.Lock()
	defer s.mu.Unlock()
	states := make([]ProcessState, len(s.state))
	for i, st := range s.state {
		states[i] = *st
	}
	return slices.Clip(states)
}

func (s *Supervisor) launch(p Program, st *ProcessState, out *os.File) (*exec.Cmd, error) {
	cmd := exec.Command(p.Argv[0], p.Argv[1:]...)
	cmd.Dir, cmd.Env = p.Dir, append(os.Environ(), p.Env...)
	cmd.Stdout, cmd.Stderr = out, out
	// A group of its own: an interrupt typed at the terminal reaches only us,
	// and we stop the programs in order. However we die, they end with us.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	st.PID = cmd.Process.Pid
	s.mu.Unlock()
	return cmd, nil
}

// keepAlive waits for the running process and starts it again until ctx ends.
func (s *Supervisor) keepAlive(ctx context.Context, p Program, st *ProcessState, out *os.File, cmd *exec.Cmd) {
	for {
		if cmd != nil {
			exit := waitOrStop(ctx, cmd)
			s.mu.Lock()
			st.PID, st.LastExit = 0, exit
			s.mu.Unlock()
		}
		if ctx.Err() != nil {
			return
		}
		s.log.Warn("a process ended and is started again", "process", p.Name, "exit", st.LastExit, "log", st.LogFile)
		select {
		case <-ctx.Done():
			return
		case <-time.After(restartWait):
		}
		next, err := s.launch(p, st, out)
		s.mu.Lock()
		st.Restarts++
		if err != nil {
			st.LastExit = err.Error()
		}
		s.mu.Unlock()
		cmd = next
	}
}

// waitOrStop waits for the process; when ctx ends it asks the process group to
// stop and kills it after stopPatience. It returns how the process ended.
func waitOrStop(ctx context.Context, cmd *exec.Cmd) string {
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait() // read from ProcessState below
		close(ended)
	}()
	select {
	case <-ended:
		return cmd.ProcessState.String()
	case <-ctx.Done():
	}
	_ = syscall.Kill(cmd.Process.Pid, syscall.SIGTERM) // it may have ended already
	select {
	case <-ended:
	case <-time.After(stopPatience):
	}
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // what is left of the group
	<-ended
	return cmd.ProcessState.String()
}
