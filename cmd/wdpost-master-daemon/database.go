package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"wdpost/internal/config"
	"wdpost/internal/queue"
)

// prepare migrates the database. A host that does not exist is a mistake in the
// url, not a server that is away.
func (a *app) prepare(db store, url config.DatabaseURL) func(context.Context) error {
	return func(ctx context.Context) error {
		version, err := db.Migrate(ctx)
		var dns *net.DNSError
		switch {
		case errors.As(err, &dns) && dns.IsNotFound:
			return fmt.Errorf("%s: db.url: %w; correct the host", a.configPath, dns)
		case err != nil:
			return err
		}
		a.log.Info("database ready", "database", url.String(), "version", version)
		return nil
	}
}

// databasePatience is how long the start waits for the database. After that the
// daemon serves without: a parent waits for a few seconds only.
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
