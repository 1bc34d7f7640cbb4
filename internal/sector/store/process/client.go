package process

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"wdpost/internal/attr"
	"wdpost/internal/sector/store"
)

// errEnded: the reader process ended before it answered.
var errEnded = fmt.Errorf("%w: the process that reads stores has ended", store.ErrHere)

// A reader that ended is started again at once, but where several have ended
// within restartAfter of their start, only that long after.
const (
	restartAfter = time.Second
	quickEnds    = 3
)

// Client is a store.Backend whose calls are carried out by a reader process,
// which is started at the first call.
type Client struct {
	log      *slog.Logger
	patience time.Duration // for an answer that needs no store

	mu     sync.Mutex
	now    *session
	begun  time.Time
	quick  int // readers in a row that ended soon after their start
	closed bool
}

// New returns a client whose process is not started yet; a nil log discards.
func New(log *slog.Logger) *Client {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Client{log: log, patience: 20 * time.Second}
}

// Close ends the reader process without waiting for what hangs in it. Calls
// under way fail.
func (c *Client) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	if c.now != nil {
		c.now.kill()
	}
	return nil
}

// PID is the process that reads now, 0 if none does.
func (c *Client) PID() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.now == nil || c.now.over() {
		return 0
	}
	return c.now.cmd.Process.Pid
}

// session returns the running reader, or starts one.
func (c *Client) session() (*session, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.now != nil && !c.now.over() {
		return c.now, nil
	}
	if time.Since(c.begun) > restartAfter {
		c.quick = 0
	}
	if c.closed || c.quick >= quickEnds {
		return nil, errEnded
	}
	c.quick++
	c.begun = time.Now()
	s, err := start(c.log)
	if err != nil {
		return nil, fmt.Errorf("%w: start the process that reads stores: %w", store.ErrHere, err)
	}
	c.now = s
	go s.heed(c.patience, c.log)
	return s, nil
}

// call sends a request and waits for its answer; a reader that ended meanwhile
// is replaced once.
func (c *Client) call(op byte, content []byte) (*session, *reply, error) {
	for again := false; ; again = true {
		s, err := c.session()
		if err != nil {
			return nil, nil, err
		}
		r, err := s.call(op, content, nil)
		if !errors.Is(err, errEnded) || again {
			return s, r, err
		}
	}
}

// absolute makes a path independent of the folder a process stands in.
func absolute(path string) (string, error) {
	if filepath.IsAbs(path) {
		return path, nil
	}
	return filepath.Abs(path)
}

// Open implements store.Backend.
func (c *Client) Open(path string) (store.File, error) {
	path, err := absolute(path)
	if err != nil {
		return nil, err
	}
	s, r, err := c.call(opOpen, putText(nil, path))
	if err != nil {
		return nil, err
	}
	f := &file{client: c, session: s, path: path, handle: r.uint(), size: int64(r.uint())}
	return f, r.err
}

// Stat implements store.Backend.
func (c *Client) Stat(paths []string, resolve bool) []store.Info {
	out := make([]store.Info, len(paths))
	fail := func(err error) []store.Info {
		for i := range out {
			out[i] = store.Info{Err: err}
		}
		return out
	}
	request := putUint([]byte{truth(resolve)}, uint64(len(paths)))
	for _, path := range paths {
		path, err := absolute(path)
		if err != nil {
			return fail(err)
		}
		request = putText(request, path)
	}
	_, r, err := c.call(opStat, request)
	if err != nil {
		return fail(err)
	}
	for i := range out {
		out[i] = r.info()
	}
	if r.err != nil {
		return fail(r.err)
	}
	return out
}

// List implements store.Backend.
func (c *Client) List(dir string) ([]string, error) {
	dir, err := absolute(dir)
	if err != nil {
		return nil, err
	}
	_, r, err := c.call(opList, putText(nil, dir))
	if err != nil {
		return nil, err
	}
	names := r.texts()
	return names, r.err
}

// Space implements store.Backend.
func (c *Client) Space(path string) (store.Space, error) {
	path, err := absolute(path)
	if err != nil {
		return store.Space{}, err
	}
	_, r, err := c.call(opSpace, putText(nil, path))
	if err != nil {
		return store.Space{}, err
	}
	out := store.Space{Total: r.uint(), Free: r.uint(), ReadOnly: r.bool()}
	return out, r.err
}

// file is a file that the reader has open. Its handle is worth something in its
// own session only.
type file struct {
	client  *Client
	session *session
	path    string
	handle  uint64
	size    int64
}

// Size implements store.File.
func (f *file) Size() int64 { return f.size }

// ReadAt implements store.File.
func (f *file) ReadAt(b []byte, at int64) (int, error) {
	request := putUint(putUint(putUint(make([]byte, 0, 24), f.handle), uint64(at)), uint64(len(b)))
	r, err := f.session.call(opRead, request, b)
	if r == nil {
		var at *fs.PathError
		if err != nil && !errors.As(err, &at) {
			err = fmt.Errorf("read %s: %w", f.path, err)
		}
		return 0, err
	}
	return r.got, err
}

// Close implements store.File. Nobody waits for the answer.
func (f *file) Close() error {
	_, err := f.session.call(opClose, putUint(nil, f.handle), nil)
	if errors.Is(err, errEnded) {
		return nil // the process has closed it
	}
	return err
}

// reply is the content of an answer.
type reply struct {
	parser
	got int // bytes read into the buffer of the call
}

// outcome is what ends a call.
type outcome struct {
	reply *reply
	err   error
}

// pending is a call whose answer has not come.
type pending struct {
	into []byte // for the data of a read
	done chan outcome
}

// session is one life of the reader process.
type session struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out io.ReadCloser

	writing sync.Mutex

	mu     sync.Mutex
	calls  map[uint64]*pending
	next   uint64
	ended  bool
	gone   chan struct{} // closed with ended
	killed bool          // by us
}

// start runs this program once more as a reader.
func start(log *slog.Logger) (*session, error) {
	if os.Getenv(marker) != "" { // or each reader would start the next one
		return nil, errors.New("the program's main does not call ServeIfAsked")
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = []string{os.Args[0], "store-reader"}
	cmd.Env = []string{marker + "=1"}
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a Ctrl-C is for the daemon
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, errors.Join(err, in.Close())
	}
	complaints, err := cmd.StderrPipe()
	if err != nil {
		return nil, errors.Join(err, in.Close(), out.Close())
	}
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(err, in.Close(), out.Close(), complaints.Close())
	}
	s := &session{cmd: cmd, in: in, out: out, calls: map[uint64]*pending{}, gone: make(chan struct{})}
	go s.follow(complaints, log)
	return s, nil
}

// follow takes answers until the process ends, and its last words.
func (s *session) follow(complaints io.Reader, log *slog.Logger) {
	words := make(chan string, 1)
	go func() {
		text, _ := io.ReadAll(io.LimitReader(complaints, 16<<10))
		words <- strings.TrimSpace(string(text))
	}()
	err := s.receive(bufio.NewReaderSize(s.out, 64<<10))
	s.end()
	_ = s.cmd.Process.Kill() // it has ended, or answers what nobody can read: another takes its place
	last := <-words
	wait := s.cmd.Wait() // blocks while a killed process hangs in the kernel
	s.mu.Lock()
	wanted := s.killed
	s.mu.Unlock()
	if !wanted {
		log.Warn("the process that reads stores has ended; it is started again", attr.Err(cmp.Or(wait, err)), attr.Reason(last))
	}
}

// receive hands answers to those who wait, until the stream ends.
func (s *session) receive(r io.Reader) error {
	for {
		id, status, length, err := readHead(r)
		if err != nil {
			return err
		}
		s.mu.Lock()
		call := s.calls[id]
		delete(s.calls, id)
		s.mu.Unlock()
		if call == nil {
			return fmt.Errorf("an answer to request %d, which nobody asked", id)
		}
		answer := &reply{}
		if call.into != nil && status != statusError {
			if length > len(call.into) {
				return fmt.Errorf("%d bytes in answer to a read of %d", length, len(call.into))
			}
			answer.got = length
			_, err = io.ReadFull(r, call.into[:length])
		} else {
			answer.b = make([]byte, length)
			_, err = io.ReadFull(r, answer.b)
		}
		switch {
		case err != nil:
			call.done <- outcome{err: errEnded}
			return err
		case status == statusError:
			call.done <- outcome{err: answer.error()}
		case status == statusEOF:
			call.done <- outcome{answer, io.EOF}
		default:
			call.done <- outcome{answer, nil}
		}
	}
}

// end fails every call under way and all later ones.
func (s *session) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ended {
		s.ended = true
		close(s.gone)
	}
	for id, call := range s.calls {
		delete(s.calls, id)
		call.done <- outcome{err: errEnded}
	}
}

func (s *session) over() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ended
}

// kill ends the process; what hangs in the kernel is left to it.
func (s *session) kill() {
	s.mu.Lock()
	s.killed = true
	s.mu.Unlock()
	s.abandon()
}

// abandon is kill for whatever reason.
func (s *session) abandon() {
	s.end()
	_ = s.in.Close()
	_ = s.cmd.Process.Kill()
	_ = s.out.Close()
}

// heed gives a process up that does not answer what needs no store. One that was
// killed while a read hangs in the kernel is such: its pipes stay open.
func (s *session) heed(patience time.Duration, log *slog.Logger) {
	tick := time.NewTicker(patience / 4)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-s.gone:
			return
		}
		s.mu.Lock()
		idle := len(s.calls) == 0
		s.mu.Unlock()
		if idle {
			continue
		}
		answered := make(chan struct{})
		go func() {
			defer close(answered)
			_, _ = s.call(opClose, putUint(nil, 0), nil) // no file has the handle 0: refused at once
		}()
		late := time.NewTimer(patience)
		select {
		case <-answered:
		case <-late.C:
			log.Warn("the process that reads stores does not answer; another takes its place", attr.PID(s.cmd.Process.Pid), attr.SilentFor(patience))
			s.abandon()
		}
		late.Stop()
	}
}

// call sends a request and waits for the answer. into takes the data of a read.
func (s *session) call(op byte, content, into []byte) (*reply, error) {
	call := &pending{into: into, done: make(chan outcome, 1)}
	s.mu.Lock()
	if s.ended {
		s.mu.Unlock()
		return nil, errEnded
	}
	s.next++
	id := s.next
	s.calls[id] = call
	s.mu.Unlock()
	frame := seal(append(newFrame(id, op, len(content)), content...))
	s.writing.Lock()
	_, err := s.in.Write(frame)
	s.writing.Unlock()
	if err != nil {
		s.end()
	}
	got := <-call.done
	return got.reply, got.err
}
