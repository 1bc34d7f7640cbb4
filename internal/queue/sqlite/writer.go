package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"

	"wdpost/internal/queue"
	"wdpost/internal/queue/internal/sqlstore"
)

// maxBatch bounds the calls that share one transaction.
const maxBatch = 64

// job is one call of Write.
type job struct {
	fn   func(context.Context, sqlstore.Querier) error
	ctx  context.Context
	done chan error // buffered: the writer never waits for the caller
}

// writer runs jobs on the one writing connection.
type writer struct {
	pool *sql.DB
	path string
	jobs chan job
	stop chan struct{} // closed by close
	gone chan struct{} // closed when the loop has ended
	once sync.Once     // of close
}

func newWriter(pool *sql.DB, path string) *writer {
	w := &writer{pool: pool, path: path, jobs: make(chan job), stop: make(chan struct{}), gone: make(chan struct{})}
	go w.loop()
	return w
}

// errClosed is the answer to calls after Close.
var errClosed = errors.New("the queue is closed")

// do hands fn to the writer and waits for its commit. Once the writer has it,
// the end of ctx changes nothing: fn shares variables with the caller.
func (w *writer) do(ctx context.Context, fn func(context.Context, sqlstore.Querier) error) error {
	j := job{fn: fn, ctx: ctx, done: make(chan error, 1)}
	ended := func(err error) error {
		return fmt.Errorf("%w: SQLite file %s: %w", queue.ErrUnavailable, w.path, err)
	}
	select {
	case w.jobs <- j:
	case <-ctx.Done():
		return ended(ctx.Err())
	case <-w.stop:
		return ended(errClosed)
	}
	return <-j.done
}

// close lets the running batch end and closes the connection.
func (w *writer) close() error {
	w.once.Do(func() { close(w.stop) })
	<-w.gone
	return w.pool.Close()
}

// loop collects what is waiting and commits it together.
func (w *writer) loop() {
	defer close(w.gone)
	for {
		var batch []job
		select {
		case j := <-w.jobs:
			batch = append(batch, j)
		case <-w.stop:
			return
		}
		for more := true; more && len(batch) < maxBatch; {
			select {
			case j := <-w.jobs:
				batch = append(batch, j)
			default:
				more = false
			}
		}
		w.run(batch)
	}
}

// run executes the jobs in one transaction and answers each of them.
func (w *writer) run(batch []job) {
	ctx := context.Background() // a caller that leaves must not undo the others
	results, err := w.transact(ctx, batch)
	for i, j := range batch {
		if err != nil {
			j.done <- unavailable(err, w.path)
			continue
		}
		j.done <- unavailable(results[i], w.path)
	}
}

// transact returns each job's own error, or the error of the transaction.
func (w *writer) transact(ctx context.Context, batch []job) (results []error, err error) {
	conn, err := w.pool.Conn(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if _, err := conn.ExecContext(ctx, `BEGIN IMMEDIATE`); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			// It fails where SQLite has rolled back by itself, as on a full disk.
			_, _ = conn.ExecContext(ctx, `ROLLBACK`)
		}
	}()
	results = make([]error, len(batch))
	for i, j := range batch {
		if results[i] = j.ctx.Err(); results[i] != nil {
			continue
		}
		if _, err := conn.ExecContext(ctx, `SAVEPOINT job`); err != nil {
			return nil, err
		}
		if results[i] = j.fn(ctx, conn); results[i] != nil {
			if _, err := conn.ExecContext(ctx, `ROLLBACK TO job`); err != nil {
				return nil, errors.Join(results[i], err)
			}
		}
		if _, err := conn.ExecContext(ctx, `RELEASE job`); err != nil {
			return nil, err
		}
	}
	if _, err := conn.ExecContext(ctx, `COMMIT`); err != nil {
		return nil, err
	}
	return results, nil
}
