// Package mongo keeps the ledger in a MongoDB database, the store that
// [Common.MongoKVStore] names.
//
// Writes are acknowledged by a majority of the replica set and journaled, so
// what was acknowledged survives the loss of a server. No transactions are
// used, and a standalone server will do. The database is tied to one network;
// opening it for another is refused.
package mongo

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/readconcern"
	"go.mongodb.org/mongo-driver/v2/mongo/writeconcern"

	"wdpost/internal/ledger"
)

// Config is [Common.MongoKVStore].
type Config struct {
	DSN          string // mongodb://…
	DatabaseName string
	Network      string // name of the network, as StateNetworkName gives it
}

// Ledger is a ledger.Ledger in a MongoDB database.
type Ledger struct {
	client                       *mongo.Client
	name                         string // of the database, for errors
	meta, runs, proofs, messages *mongo.Collection
}

var _ ledger.Ledger = (*Ledger)(nil)

// Open connects, makes the indexes and ties the database to the network. It
// fails with ledger.ErrForeign if the database is another network's.
func Open(ctx context.Context, cfg Config) (*Ledger, error) {
	if cfg.DSN == "" || cfg.DatabaseName == "" {
		return nil, errors.New("open the ledger: Common.MongoKVStore needs both DSN and DatabaseName")
	}
	wc := writeconcern.Majority()
	journal := true
	wc.Journal = &journal
	client, err := mongo.Connect(options.Client().ApplyURI(cfg.DSN).
		SetWriteConcern(wc).SetReadConcern(readconcern.Local()).SetRetryWrites(false))
	if err != nil {
		return nil, fmt.Errorf("open the ledger: Common.MongoKVStore.DSN: %w", err)
	}
	db := client.Database(cfg.DatabaseName)
	l := &Ledger{
		client: client, name: cfg.DatabaseName,
		meta: db.Collection("ledger_meta"), runs: db.Collection("ledger_runs"),
		proofs: db.Collection("ledger_proofs"), messages: db.Collection("ledger_messages"),
	}
	if err := l.prepare(ctx, cfg.Network); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// prepare makes the indexes and checks the network.
func (l *Ledger) prepare(ctx context.Context, network string) error {
	for _, c := range []*mongo.Collection{l.proofs, l.messages} {
		if _, err := c.Indexes().CreateOne(ctx, mongo.IndexModel{Keys: bson.D{{Key: "run", Value: 1}}}); err != nil {
			return l.explain("make its indexes", err)
		}
	}
	if _, err := l.runs.Indexes().CreateOne(ctx, mongo.IndexModel{Keys: bson.D{{Key: "open", Value: -1}}}); err != nil {
		return l.explain("make its indexes", err)
	}
	_, err := l.meta.UpdateOne(ctx, bson.M{"_id": "network"}, bson.M{"$setOnInsert": bson.M{"value": network}}, options.UpdateOne().SetUpsert(true))
	if err != nil {
		return l.explain("tie it to the network", err)
	}
	var stored struct{ Value string }
	if err := l.meta.FindOne(ctx, bson.M{"_id": "network"}).Decode(&stored); err != nil {
		return l.explain("read its network", err)
	}
	if stored.Value != network {
		return fmt.Errorf("open the ledger %s: %w: it was made on %q, the node is on %q; connect the right node or use another DatabaseName",
			l.name, ledger.ErrForeign, stored.Value, network)
	}
	return nil
}

// Close disconnects.
func (l *Ledger) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := l.client.Disconnect(ctx); err != nil && !errors.Is(err, mongo.ErrClientDisconnected) {
		return l.explain("disconnect", err)
	}
	return nil
}

// Check writes and reads a document.
func (l *Ledger) Check(ctx context.Context) error {
	return l.upsert(ctx, "check it", l.meta, "checked", bson.M{"value": ""}, nil)
}

// explain says what failed in which database and, where it is known, what to do.
func (l *Ledger) explain(what string, err error) error {
	hint := ""
	if mongo.IsNetworkError(err) || mongo.IsTimeout(err) {
		hint = " (is the MongoDB of Common.MongoKVStore.DSN up and reachable?)"
	}
	return fmt.Errorf("ledger in MongoDB database %s: %s: %w%s", l.name, what, err, hint)
}

// upsert sets fields of the document id; fixed ones only when it is new.
func (l *Ledger) upsert(ctx context.Context, what string, c *mongo.Collection, id string, fields, fixed bson.M) error {
	update := bson.M{"$set": fields}
	if len(fixed) > 0 {
		update["$setOnInsert"] = fixed
	}
	if _, err := c.UpdateOne(ctx, bson.M{"_id": id}, update, options.UpdateOne().SetUpsert(true)); err != nil {
		return l.explain(what, err)
	}
	return nil
}

// find decodes all documents that match into out, a pointer to a slice.
func (l *Ledger) find(ctx context.Context, what string, c *mongo.Collection, filter any, opts *options.FindOptionsBuilder, out any) error {
	cur, err := c.Find(ctx, filter, opts)
	if err != nil {
		return l.explain(what, err)
	}
	if err := cur.All(ctx, out); err != nil {
		return l.explain(what, err)
	}
	return nil
}
