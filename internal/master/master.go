package master

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"golang.org/x/sync/errgroup"

	"wdpost/internal/attr"
	"wdpost/internal/condition"
	"wdpost/internal/config"
	"wdpost/internal/extprover"
	"wdpost/internal/parts"
	"wdpost/internal/patience"
	"wdpost/internal/prover"
	"wdpost/internal/queue"
	"wdpost/internal/rpc"
	"wdpost/internal/run"
	"wdpost/internal/task"
)

// Config is what New needs.
type Config struct {
	File   config.Master
	Path   string // of the config file, for messages and what lies beside it by default
	Stdin  *os.File
	Stdout io.Writer // answers to the parent, and nothing else
	Getenv func(string) string
	Log    *slog.Logger
	// Reporter tells the parent how the master is; nil: it does not ask.
	Reporter *extprover.Reporter
}

// Master is one master process.
type Master struct {
	cfg      Config
	plan     plan
	db       Store
	keys     *prover.Keys
	queue    *queue.Queue
	server   *rpc.Server
	board    *condition.Board
	registry *prometheus.Registry
}

// New joins the rooms; nothing runs yet, and the database may be away. Close it
// if Run is not called.
func New(ctx context.Context, cfg Config) (*Master, error) {
	p, err := planOf(cfg.File, cfg.Path)
	if err != nil {
		return nil, err
	}
	m := &Master{cfg: cfg, plan: p, board: condition.NewBoard(), registry: prometheus.NewRegistry()}
	if m.db, err = p.database.open(true, cfg.Log); err != nil {
		return nil, err
	}
	if err := m.join(ctx); err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return m, nil
}

// join makes queue and server.
func (m *Master) join(ctx context.Context) error {
	m.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), queue.NewDepth(m.db))
	keys, err := prover.KeyConfigFromEnv(m.cfg.Getenv)
	if err != nil {
		return err
	}
	keys.Log = m.cfg.Log
	m.keys = prover.NewKeys(keys)

	qc := m.plan.queue
	qc.Verifier, qc.Log, qc.Board, qc.Prepare = prover.NewVerifier(m.keys, m.plan.partitionSectors), m.cfg.Log, m.board, m.prepare
	qc.Metrics = queue.NewMetrics(m.registry)
	if m.queue, err = queue.New(ctx, m.db, qc); err != nil {
		return err
	}

	sc := m.plan.server
	sc.Queue, sc.Log, sc.Version, sc.Metrics = queue.Undecoded{Queue: m.queue}, m.cfg.Log, rpc.BuildVersion(), rpc.NewMetrics(m.registry)
	sc.Parts = parts.NewDesk(parts.DeskConfig{Tasks: m.queue, Log: m.cfg.Log, Silence: m.queue.HeartbeatTimeout()})
	if t := m.plan.tls; t != nil {
		if sc.TLS, err = rpc.ServerTLS(t.Cert, t.Key, t.ClientCA, m.cfg.Log); err != nil {
			return fmt.Errorf("server.tls: %w", err)
		}
	}
	m.server = rpc.NewServer(sc)
	m.board.When(sc.Token != "" && sc.TLS == nil && config.IsPublic(m.plan.listen), condition.Condition{
		Kind: condition.TokenInPlainText, Subject: m.plan.listen, Detail: fmt.Sprintf("%s is reachable from other machines, without TLS", m.plan.listen),
	})
	return nil
}

// Close releases the database and the keys.
func (m *Master) Close() error {
	err := m.db.Close()
	if m.keys != nil {
		err = errors.Join(err, m.keys.Close())
	}
	return err
}

// errHostGone ends the master in good order when its parent has.
var errHostGone = errors.New("the manager has closed the connection")

// Run serves until ctx ends or, as a child, until the parent is gone.
func (m *Master) Run(ctx context.Context) error {
	return errors.Join(m.serve(ctx), m.Close())
}

// serve joins queue, server and the parent's protocol over a database, which
// may be away.
func (m *Master) serve(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	reporting := m.report(ctx)
	defer reporting()
	tended := tend(ctx, m.queue)
	defer tended.stop()
	if err := tended.awaitDatabase(ctx); err != nil {
		m.board.Set(condition.Condition{Kind: condition.DatabaseRefuses, Detail: err.Error(), Remedy: remedyOf(err)})
		return err
	}
	lis, err := m.listen(ctx)
	if err != nil {
		return err
	}
	g.Go(func() error { return tended.wait(ctx) })
	g.Go(func() error { return m.server.Serve(ctx, lis) })
	g.Go(func() error {
		return run.Debug{Addr: m.plan.debug, Registry: m.registry, Health: m.queue.Health}.Serve(ctx)
	})
	if m.isChild() {
		g.Go(func() error { return m.answerParent(ctx) })
	} else {
		m.cfg.Log.Info("no parent on stdin: serving slaves only")
		g.Go(func() error {
			<-ctx.Done()
			return context.Cause(ctx)
		})
	}
	if err := g.Wait(); !errors.Is(err, errHostGone) && !errors.Is(err, run.ErrStopping) {
		return err
	}
	m.cfg.Log.Info("stopped")
	return nil
}

// isChild reports whether another process talks to us through stdin. A
// terminal, a file or /dev/null, as service managers give it, does not.
func (m *Master) isChild() bool {
	info, err := m.cfg.Stdin.Stat()
	return err == nil && info.Mode()&(fs.ModeNamedPipe|fs.ModeSocket) != 0
}

// answerParent speaks the external-processor protocol until the parent is gone.
func (m *Master) answerParent(ctx context.Context) error {
	err := extprover.Server{
		Stage: extprover.StageWindowPoSt,
		Log:   m.cfg.Log,
		Handle: func(ctx context.Context, question task.Question) (task.Answer, error) {
			return m.queue.Ask(withdrawable(ctx), question)
		},
	}.Serve(ctx, m.cfg.Stdin, m.cfg.Stdout)
	if err == nil {
		m.cfg.Log.Info("the manager has closed stdin: stopping; tasks stay in the database")
		return errHostGone
	}
	return err
}

// withdrawable turns the parent's withdrawal of a request into the queue's. The
// protocol ends each request's context, so this one ends too.
func withdrawable(parent context.Context) context.Context {
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(parent))
	context.AfterFunc(parent, func() {
		if errors.Is(context.Cause(parent), extprover.ErrCancelled) {
			cancel(queue.ErrWithdrawn)
			return
		}
		cancel(context.Cause(parent))
	})
	return ctx
}

// listenPatience is how long a port may be taken by our predecessor, which is
// still leaving.
const listenPatience = 10 * time.Second

// listen opens the port for slaves. One that is taken is told at once: a parent
// waits for a few seconds only, and would not hear of it otherwise.
func (m *Master) listen(ctx context.Context) (net.Listener, error) {
	address := m.plan.listen
	for begin, told := time.Now(), false; ; {
		lis, err := net.Listen("tcp", address)
		if err == nil {
			m.board.Clear(condition.MasterPortTaken, address)
			m.cfg.Log.Info("listening for slaves", attr.Address(lis.Addr().String()))
			return lis, nil
		}
		err = fmt.Errorf("server.listen: %w; choose another address or end the program that has it", err)
		if !errors.Is(err, syscall.EADDRINUSE) || time.Since(begin) > listenPatience {
			return nil, err
		}
		if !told {
			told = true
			m.cfg.Log.Warn("the address for slaves is taken; retrying", attr.Address(address), attr.Err(err))
			m.board.Set(condition.Condition{Kind: condition.MasterPortTaken, Subject: address, Detail: err.Error()})
		}
		if patience.Sleep(ctx, 100*time.Millisecond) != nil {
			return nil, context.Cause(ctx)
		}
	}
}

// databasePatience is how long the start waits for the database. After that the
// master serves without: a parent waits for a few seconds only.
const databasePatience = 2 * time.Second

// tended is a queue at work. It outlives the server and the protocol, which end
// through it.
type tended struct {
	queue *queue.Queue
	end   context.CancelFunc
	over  chan struct{} // closed when the queue has ended …
	err   error         // … with this error
}

// tend runs the queue until it is stopped.
func tend(ctx context.Context, q *queue.Queue) *tended {
	ctx, end := context.WithCancel(context.WithoutCancel(ctx))
	t := &tended{queue: q, end: end, over: make(chan struct{})}
	go func() {
		defer close(t.over)
		t.err = q.Run(ctx)
	}()
	return t
}

func (t *tended) stop() {
	t.end()
	<-t.over
}

// awaitDatabase waits until the queue has its database, or for a while. Its
// error says that the database is not usable.
func (t *tended) awaitDatabase(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, databasePatience)
	defer cancel()
	select {
	case <-t.queue.Opened():
		return nil
	case <-t.over:
		return t.err
	case <-ctx.Done():
		return nil
	}
}

// wait returns the error with which the queue ends by itself, or nil when ctx
// ends.
func (t *tended) wait(ctx context.Context) error {
	select {
	case <-t.over:
		return t.err
	case <-ctx.Done():
		return nil
	}
}
