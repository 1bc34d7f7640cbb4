package extprover

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"

	"wdpost/internal/attr"
	"wdpost/internal/task"
)

// Causes with which a Handler's context ends.
var (
	// ErrCancelled: the host withdrew the request; nobody wants the answer.
	ErrCancelled = errors.New("request withdrawn by the host")
	// ErrHostGone: the host closed the stream or died. It may come back and ask
	// the same again, so lasting work need not be given up.
	ErrHostGone = errors.New("host gone")
)

// Handler answers one question. Its context ends with the cause ErrCancelled,
// ErrHostGone, or that of the context given to Serve.
type Handler func(ctx context.Context, q task.Question) (task.Answer, error)

// Server is the child side of the protocol.
type Server struct {
	Stage  string // StageWindowPoSt or StageWinningPoSt
	Handle Handler
	Log    *slog.Logger // must not write to the stream of answers
	// MaxRequests is how many requests are worked on at once; further ones wait
	// unread. Default 1024.
	MaxRequests int
	// Vanilla says that Handle takes the vanilla proofs that come with replicas,
	// and needs no files then.
	Vanilla bool
}

// Serve says that it is ready and answers requests from in on out until in
// ends (nil is returned), out fails, or ctx ends. Requests still running then
// are cancelled and waited for. A malformed line is answered where its id can
// be told, logged otherwise, and never ends the service.
//
// A read of in that is under way when Serve returns is not interrupted.
func (s Server) Serve(ctx context.Context, in io.Reader, out io.Writer) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	if s.MaxRequests <= 0 {
		s.MaxRequests = 1024
	}
	c := conversation{
		Server:  s,
		out:     out,
		stop:    stop,
		slots:   make(chan struct{}, s.MaxRequests),
		running: map[uint64]context.CancelCauseFunc{},
	}
	if err := c.greet(); err != nil {
		return fmt.Errorf("announce readiness to the host: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- c.readAll(ctx, in) }()

	var err error
	select {
	case err = <-ended:
		stop(ErrHostGone)
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	c.work.Wait()
	if errors.Is(err, io.EOF) || errors.Is(err, ErrHostGone) {
		return nil
	}
	return err
}

// conversation is one run of Serve.
type conversation struct {
	Server
	stop  context.CancelCauseFunc
	slots chan struct{}
	work  sync.WaitGroup

	writing sync.Mutex // one line at a time
	out     io.Writer

	mu      sync.Mutex
	running map[uint64]context.CancelCauseFunc
}

func (c *conversation) greet() error {
	text := readyLine(c.Stage) + "\n"
	if os.Getenv(cancelEnv) != "" {
		line, err := encodeLine(struct {
			Hello hello `json:"hello"`
		}{hello{Cancel: true, Vanilla: c.Vanilla}})
		if err != nil {
			return err
		}
		text += string(line)
	}
	_, err := io.WriteString(c.out, text)
	return err
}

// readAll starts the work of each request until in ends.
func (c *conversation) readAll(ctx context.Context, in io.Reader) error {
	lines := newLineReader(in, maxRequestLine)
	for {
		line, err := lines.next()
		if errors.Is(err, errLongLine) {
			c.Log.Warn("request skipped: the line is too long", attr.Limit(maxRequestLine))
			continue
		}
		if err != nil {
			return err
		}
		if len(line) == 0 {
			continue
		}
		req, ok, err := decodeRequest(line)
		switch {
		case !ok:
			c.Log.Warn("line on stdin ignored", attr.Err(err), attr.Line(excerpt(line)))
		case err != nil:
			c.Log.Warn("request refused", attr.Request(req.ID), attr.Err(err))
			c.answer(encodeFailure(req.ID, err))
		case req.Cancel:
			c.cancel(req.ID)
		default:
			select {
			case c.slots <- struct{}{}:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
			c.begin(ctx, req)
		}
	}
}

// begin works on a request in a goroutine of its own.
func (c *conversation) begin(ctx context.Context, req request) {
	ctx, cancel := context.WithCancelCause(ctx)
	c.mu.Lock()
	_, taken := c.running[req.ID]
	if !taken {
		c.running[req.ID] = cancel
	}
	c.mu.Unlock()
	if taken {
		<-c.slots
		cancel(nil)
		c.Log.Warn("request ignored: its id is already being worked on", attr.Request(req.ID))
		return
	}
	c.work.Go(func() {
		defer func() { <-c.slots }()
		answer, err := c.handle(ctx, *req.Task)
		c.mu.Lock()
		delete(c.running, req.ID)
		c.mu.Unlock()
		cancel(nil)
		if err != nil {
			c.answer(encodeFailure(req.ID, err))
			return
		}
		c.answer(encodeAnswer(req.ID, answer))
	})
}

// handle keeps a panic of one request from ending the others.
func (c *conversation) handle(ctx context.Context, q task.Question) (a task.Answer, err error) {
	defer func() {
		if p := recover(); p != nil {
			a, err = task.Answer{}, fmt.Errorf("panic while working on the request: %v", p)
		}
	}()
	return c.Handle(ctx, q)
}

func (c *conversation) cancel(id uint64) {
	c.mu.Lock()
	cancel := c.running[id]
	c.mu.Unlock()
	if cancel != nil {
		cancel(ErrCancelled)
	}
}

// answer writes one line; when that fails the host is gone.
func (c *conversation) answer(line []byte, err error) {
	if err != nil {
		c.Log.Error("answer lost: it cannot be encoded", attr.Err(err))
		return
	}
	c.writing.Lock()
	defer c.writing.Unlock()
	if _, err := c.out.Write(line); err != nil {
		c.stop(fmt.Errorf("%w: write the answer: %w", ErrHostGone, err))
	}
}

// excerpt is the beginning of a line, for the log.
func excerpt(line []byte) string {
	const most = 200
	if len(line) > most {
		return string(line[:most]) + "…"
	}
	return string(line)
}
