package extprover

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"time"

	"wdpost/internal/attr"
	"wdpost/internal/patience"
)

// child is one configured processor: a place in which processes follow each
// other. Fields below pool are guarded by pool.mu.
type child struct {
	proc Processor
	cfg  *HostConfig
	log  *slog.Logger

	pool     *pool
	status   ChildStatus // Ready, Pid and the counters
	inflight map[uint64]*pending
	credit   int      // of the weighted choice
	process  *process // nil when none runs
}

func newChild(p *pool, proc Processor, cfg *HostConfig) *child {
	return &child{
		proc:     proc,
		cfg:      cfg,
		log:      cfg.Log.With(attr.Process(proc.Name)),
		pool:     p,
		inflight: map[uint64]*pending{},
	}
}

// notReadyReminder is how often the log is told that a process which reports
// why it is not ready still is not.
const notReadyReminder = 10 * time.Minute

// steadyAfter is how long a process must have been ready for its death to
// start a new series.
const steadyAfter = time.Minute

// supervise starts a process, and another whenever one is gone, until ctx ends.
func (c *child) supervise(ctx context.Context) {
	wait, deaths := c.cfg.RestartMin, 0
	for {
		ready, err := c.runOnce(ctx)
		if ctx.Err() != nil {
			return
		}
		if ready > steadyAfter {
			wait, deaths = c.cfg.RestartMin, 0
		}
		deaths++
		c.log.Log(ctx, levelOfDeath(deaths), "external processor is down; it is started again", attr.Err(err), attr.In(wait), attr.Failures(deaths))
		if patience.Sleep(ctx, wait) != nil {
			return
		}
		wait = min(2*wait, c.cfg.RestartMax)
	}
}

// levelOfDeath is the level at which a death in a series is logged: an error for
// the first and then at every doubling, so that a processor that can never
// start does not fill the log.
func levelOfDeath(n int) slog.Level {
	if n&(n-1) == 0 {
		return slog.LevelError
	}
	return slog.LevelDebug
}

// runOnce runs one process from start to end and says how long it was ready
// and why it ended.
func (c *child) runOnce(ctx context.Context) (ready time.Duration, err error) {
	p, err := startProcess(c.proc)
	if err != nil {
		return 0, err
	}
	c.pool.mu.Lock()
	c.process = p
	c.status.Pid = p.cmd.Process.Pid
	c.pool.mu.Unlock()
	log := c.log.With(attr.PID(p.cmd.Process.Pid))
	log.Info("external processor started", attr.Program(c.proc.Bin))

	stderrDone, stdoutDone, reportsDone := make(chan struct{}), make(chan struct{}), make(chan struct{})
	isReady := make(chan struct{})
	go func() { defer close(stderrDone); c.passStderr(log, p.stderr) }()
	go func() { defer close(stdoutDone); c.readStdout(log, p, isReady) }()
	go func() { defer close(reportsDone); c.readReports(log, p) }()
	go p.writeStdin()

	since, err := c.watch(ctx, p, isReady, stdoutDone)
	c.pool.childClosing(c)
	p.kill()
	<-p.exited
	p.closeOutputs(stdoutDone, stderrDone, reportsDone)
	c.pool.mu.Lock()
	c.process = nil
	if words := c.status.LastError; words != "" && since.IsZero() {
		err = fmt.Errorf("%w: its last words: %s", err, words)
	}
	c.pool.mu.Unlock()
	c.pool.childDown(c, err, ctx.Err() != nil)
	if since.IsZero() {
		return 0, err
	}
	return time.Since(since), err
}

// watch waits for the process to become ready and then for a reason to end it:
// the end of ctx (after which the process gets its grace), its own end, or the
// end of its stdout.
func (c *child) watch(ctx context.Context, p *process, isReady, stdoutDone <-chan struct{}) (since time.Time, err error) {
	deadline := time.NewTimer(c.proc.ReadyTimeout)
	defer deadline.Stop()
	for {
		select {
		case <-isReady:
			isReady = nil
			deadline.Stop()
			since = time.Now()
			c.log.Info("external processor ready", attr.PID(p.cmd.Process.Pid), attr.Concurrent(c.proc.Concurrent))
			c.pool.childUp(c)
		case <-deadline.C:
			if reason := c.reason(p); reason != "" { // it lives, and says itself what keeps it
				c.log.Error("external processor is not ready", attr.Reason(reason), attr.PID(p.cmd.Process.Pid))
				deadline.Reset(notReadyReminder)
				continue
			}
			return since, fmt.Errorf("it did not print %q within %s", readyLine(c.pool.stage), c.proc.ReadyTimeout)
		case <-p.exited:
			return since, fmt.Errorf("it ended by itself: %w", p.exitError())
		case <-stdoutDone:
			select {
			case <-p.exited: // the usual order: the process ends, its stdout with it
				return since, fmt.Errorf("it ended by itself: %w", p.exitError())
			case <-time.After(time.Second):
				return since, errors.New("it closed its stdout")
			}
		case err := <-p.hung:
			return since, err
		case <-ctx.Done():
			p.stopGently(c.cfg.StopGrace)
			return since, context.Cause(ctx)
		}
	}
}

// readStdout takes the ready line and then the answers.
func (c *child) readStdout(log *slog.Logger, p *process, isReady chan<- struct{}) {
	lines := newLineReader(p.stdout, maxResponseLine)
	ready := false
	for {
		line, err := lines.next()
		switch {
		case errors.Is(err, errLongLine):
			log.Warn("line on stdout ignored: too long", attr.Limit(maxResponseLine))
		case err != nil:
			return
		case len(line) == 0:
		case ready:
			c.take(log, p, line)
		case string(line) == readyLine(c.pool.stage):
			ready = true
			close(isReady)
		default:
			log.Warn("line on stdout before the ready line ignored", attr.Line(excerpt(line)), attr.Wanted(readyLine(c.pool.stage)))
		}
	}
}

// take handles one line of a ready child.
func (c *child) take(log *slog.Logger, p *process, line []byte) {
	resp, ok, err := decodeResponse(line)
	switch {
	case !ok:
		log.Warn("line on stdout ignored", attr.Err(err), attr.Line(excerpt(line)))
		return
	case resp.Hello != nil:
		c.pool.mu.Lock()
		p.takesCancel, p.takesVanilla = resp.Hello.Cancel, resp.Hello.Vanilla
		c.pool.mu.Unlock()
		return
	}
	var res result
	switch {
	case err != nil:
		res.err = &ProcessorError{Child: c.proc.Name, Msg: err.Error()}
	case resp.ErrMsg != nil:
		res.err = &ProcessorError{Child: c.proc.Name, Msg: *resp.ErrMsg}
	default:
		res.answer = *resp.Output
	}
	if !c.pool.settle(c, resp.ID, res) {
		log.Warn("answer ignored: this process has no such request", attr.Request(resp.ID))
	}
}

// give hands a request to the process. pool.mu is held.
func (c *child) give(r *pending) {
	r.children = append(r.children, c)
	c.inflight[r.id] = r
	if c.process == nil {
		return
	}
	if c.process.takesVanilla && r.rich != nil {
		c.process.out.push(r.rich)
		return
	}
	c.process.out.push(r.line)
}

// owes reports whether the child has a request that nobody waits for any more.
// pool.mu is held.
func (c *child) owes() bool {
	for _, r := range c.inflight {
		if r.settled {
			return true
		}
	}
	return false
}

// drop forgets a request. pool.mu is held.
func (c *child) drop(r *pending) {
	delete(c.inflight, r.id)
	r.children = slices.DeleteFunc(r.children, func(other *child) bool { return other == c })
}

// withdrawn tells the process that nobody wants an answer any more, and watches
// that it does answer some day. pool.mu is held.
func (c *child) withdrawn(r *pending) {
	p := c.process
	if p == nil {
		return
	}
	if p.takesCancel {
		if line, err := encodeLine(request{ID: r.id, Cancel: true}); err == nil {
			p.out.push(line)
		}
	}
	time.AfterFunc(c.cfg.AbandonTimeout, func() {
		c.pool.mu.Lock()
		stuck := c.process == p && c.inflight[r.id] == r
		c.pool.mu.Unlock()
		if stuck {
			p.declareHung(fmt.Errorf("it has not answered the withdrawn request %d for %s", r.id, c.cfg.AbandonTimeout))
		}
	})
}

// environment is the host's own with the processor's settings on top.
func environment(proc Processor) []string {
	env := append(os.Environ(), cancelEnv+"=1", StatusEnv+"=3")
	for k, v := range proc.Envs {
		env = append(env, k+"="+v)
	}
	return env
}

// newCommand prepares the process in a process group of its own, so that a
// signal from the terminal reaches only the host, and the whole group can be
// ended. It is told to end when the host dies, however that dies.
func newCommand(proc Processor) *exec.Cmd {
	cmd := exec.Command(proc.Bin, proc.Args...)
	cmd.Env = environment(proc)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	return cmd
}
