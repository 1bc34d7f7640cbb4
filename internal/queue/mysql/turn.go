package mysql

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"

	"wdpost/internal/patience"
)

// Masters that start together migrate one after the other. Named locks would
// not do: the nodes of a Galera cluster do not see each other's, and two nodes
// that change tables at once can block each other for good. So whose turn it is
// stands in a row, which is taken by a guarded UPDATE: of two nodes that take it
// at once, one fails at its commit.
const (
	turnTable  = "wdpost_migrating"
	createTurn = `CREATE TABLE IF NOT EXISTS ` + turnTable + ` (
		id TINYINT NOT NULL PRIMARY KEY,
		holder VARCHAR(64) NOT NULL,
		until_at BIGINT NOT NULL
	)`
	beginTurn = `INSERT IGNORE INTO wdpost_migrating (id, holder, until_at) VALUES (1, '', 0)`
	takeTurn  = `UPDATE wdpost_migrating SET holder = ?, until_at = UNIX_TIMESTAMP() + ? WHERE id = 1 AND (holder = ? OR until_at < UNIX_TIMESTAMP())`
	endTurn   = `UPDATE wdpost_migrating SET until_at = 0 WHERE id = 1 AND holder = ?`
)

// A turn lasts turnSeconds unless its holder, which asks again all the while,
// lives longer.
const (
	turnSeconds = 60
	turnRenewal = 10 * time.Second
	turnPoll    = 100 * time.Millisecond
)

// inTurn runs f while no other master does, on whichever node.
func (db *DB) inTurn(ctx context.Context, f func() error) (err error) {
	holder := rand.Text()
	if err := db.awaitTurn(ctx, holder); err != nil {
		return err
	}
	renewing, stop := context.WithCancel(ctx)
	renewed := make(chan struct{})
	go func() {
		defer close(renewed)
		tick := time.NewTicker(turnRenewal)
		defer tick.Stop()
		for {
			select {
			case <-renewing.Done():
				return
			case <-tick.C:
				_, _ = db.takeTurn(renewing, holder) // several may fail before the turn is over
			}
		}
	}()
	defer func() {
		stop()
		<-renewed
		release, cancel := context.WithTimeout(context.WithoutCancel(ctx), turnRenewal)
		defer cancel()
		// If this fails, the turn ends by itself.
		_ = db.retry(release, func() error {
			_, err := db.pool.ExecContext(release, endTurn, holder)
			return err
		})
	}()
	return f()
}

// awaitTurn waits until the holder has the turn.
func (db *DB) awaitTurn(ctx context.Context, holder string) error {
	there, err := db.hasTable(ctx, turnTable)
	if err != nil {
		return err
	}
	if !there { // asked first: even a needless CREATE waits for locks on a cluster
		if _, err := db.pool.ExecContext(ctx, createTurn); err != nil {
			return err
		}
	}
	if err := db.retry(ctx, func() error {
		_, err := db.pool.ExecContext(ctx, beginTurn)
		return err
	}); err != nil {
		return err
	}
	for {
		taken, err := db.takeTurn(ctx, holder)
		if err != nil || taken {
			return err
		}
		if patience.Sleep(ctx, turnPoll) != nil {
			return fmt.Errorf("wait for another master's migration: %w", context.Cause(ctx))
		}
	}
}

// takeTurn takes or keeps the turn, if it is free or the holder's.
func (db *DB) takeTurn(ctx context.Context, holder string) (taken bool, err error) {
	err = db.retry(ctx, func() error {
		result, err := db.pool.ExecContext(ctx, takeTurn, holder, turnSeconds, holder)
		if err != nil {
			return err
		}
		n, err := result.RowsAffected()
		taken = n == 1
		return err
	})
	return taken, err
}
