package extprover

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// process is one running child process and its streams.
type process struct {
	cmd            *exec.Cmd
	stdin          *os.File // written only by writeStdin
	stdout, stderr *os.File
	reports        *os.File // what the child writes on the descriptor of StatusEnv
	out            *outbox
	exited         chan struct{} // closed when the process is gone
	waitErr        error         // set before exited is closed
	hung           chan error    // at most one

	takesCancel, takesVanilla bool // guarded by pool.mu
	reported                  bool // likewise: the latest report is of this process
}

// startProcess starts the program. Its streams are plain pipes, so that waiting
// for the process does not wait for whoever inherited them.
func startProcess(proc Processor) (*process, error) {
	cmd := newCommand(proc)
	var ours, theirs []*os.File
	closeAll := func(files []*os.File) {
		for _, f := range files {
			_ = f.Close() // pipe ends nobody has used
		}
	}
	for range 4 {
		r, w, err := os.Pipe()
		if err != nil {
			closeAll(append(ours, theirs...))
			return nil, fmt.Errorf("pipe to the external processor: %w", err)
		}
		if len(ours) == 0 { // stdin: the child reads
			r, w = w, r
		}
		ours, theirs = append(ours, r), append(theirs, w)
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = theirs[0], theirs[1], theirs[2]
	cmd.ExtraFiles = theirs[3:] // descriptor 3, as newCommand says in StatusEnv
	p := &process{
		cmd:     cmd,
		stdin:   ours[0],
		stdout:  ours[1],
		stderr:  ours[2],
		reports: ours[3],
		out:     newOutbox(),
		exited:  make(chan struct{}),
		hung:    make(chan error, 1),
	}
	started := make(chan error)
	go p.live(started)
	err := <-started
	closeAll(theirs)
	if err != nil {
		closeAll(ours)
		return nil, fmt.Errorf("start %s: %w; check Bin in the configuration", proc.Bin, err)
	}
	return p, nil
}

// live starts the process and waits for its end, on a thread of its own: the
// kernel ends the process when the thread that started it is gone, which must
// be when the manager is and not before.
func (p *process) live(started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := p.cmd.Start()
	started <- err
	if err != nil {
		return
	}
	p.waitErr = p.cmd.Wait()
	close(p.exited)
}

// exitError says how the process ended; it must have.
func (p *process) exitError() error {
	if p.waitErr == nil {
		return errors.New("exit status 0")
	}
	return p.waitErr
}

// writeStdin writes queued lines until the outbox is closed, then closes stdin,
// which tells the process that the host is done.
func (p *process) writeStdin() {
	defer p.stdin.Close()
	for {
		line, ok := p.out.pop()
		if !ok {
			return
		}
		if _, err := p.stdin.Write(line); err != nil {
			return // the process no longer reads: its end is noticed elsewhere
		}
	}
}

// stopGently closes stdin, sends SIGTERM after half of the grace, and returns
// when the process is gone or the grace is over.
func (p *process) stopGently(grace time.Duration) {
	p.out.close()
	select {
	case <-p.exited:
		return
	case <-time.After(grace / 2):
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // gone meanwhile: as wanted
	select {
	case <-p.exited:
	case <-time.After(grace / 2):
	}
}

// kill ends whatever is left of the process group.
func (p *process) kill() {
	p.out.close()
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) // no such process: as wanted
	_ = p.stdin.SetWriteDeadline(time.Now())              // frees a writer of a full pipe
}

// closeOutputs gives the readers of a dead process a moment to reach the end,
// then closes the streams under them: a grandchild may hold the other ends.
func (p *process) closeOutputs(readers ...<-chan struct{}) {
	patience := time.NewTimer(2 * time.Second)
	defer patience.Stop()
	for _, done := range readers {
		select {
		case <-done:
		case <-patience.C:
			patience.Reset(0)
		}
	}
	for _, s := range []io.Closer{p.stdout, p.stderr, p.reports} {
		_ = s.Close()
	}
	for _, done := range readers {
		<-done
	}
}

// declareHung has the process ended for the reason given.
func (p *process) declareHung(reason error) {
	select {
	case p.hung <- reason:
	default: // already being ended for that
	}
}

// outbox is a queue of lines without bound of its own: a child has at most its
// Concurrent requests and one withdrawal of each.
type outbox struct {
	mu     sync.Mutex
	wake   chan struct{} // buffered 1
	lines  [][]byte
	closed bool
}

func newOutbox() *outbox { return &outbox{wake: make(chan struct{}, 1)} }

func (o *outbox) push(line []byte) {
	o.mu.Lock()
	if !o.closed {
		o.lines = append(o.lines, line)
	}
	o.mu.Unlock()
	o.signal()
}

// close drops what is queued and makes pop return false.
func (o *outbox) close() {
	o.mu.Lock()
	o.closed, o.lines = true, nil
	o.mu.Unlock()
	o.signal()
}

func (o *outbox) signal() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// pop waits for a line; false means closed. For one reader.
func (o *outbox) pop() ([]byte, bool) {
	for {
		o.mu.Lock()
		if o.closed {
			o.mu.Unlock()
			return nil, false
		}
		if len(o.lines) > 0 {
			line := o.lines[0]
			o.lines = o.lines[1:]
			o.mu.Unlock()
			return line, true
		}
		o.mu.Unlock()
		<-o.wake
	}
}
