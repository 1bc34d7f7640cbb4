package mongo

import (
	"context"
	"fmt"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"wdpost/internal/ledger"
)

// keyDoc is the part of each document that names its run. Run is the RunKey's
// text; moments are Unix milliseconds.
type keyDoc struct {
	Run         string `bson:"run"`
	Miner       int64  `bson:"miner"`
	PeriodStart int64  `bson:"period_start"`
	Deadline    int64  `bson:"deadline"`
}

func (d keyDoc) runKey() ledger.RunKey {
	return ledger.RunKey{Miner: uint64(d.Miner), PeriodStart: d.PeriodStart, Deadline: uint64(d.Deadline)}
}

func withKey(k ledger.RunKey, fields bson.M) bson.M {
	fields["run"], fields["miner"] = k.String(), int64(k.Miner)
	fields["period_start"], fields["deadline"] = k.PeriodStart, int64(k.Deadline)
	return fields
}

type runDoc struct {
	Key        keyDoc  `bson:",inline"`
	Open       int64   `bson:"open"`
	Close      int64   `bson:"close"`
	ClosesAt   int64   `bson:"closes_at"`
	Partitions string  `bson:"partitions"`
	StartedAt  int64   `bson:"started_at"`
	Ended      *endDoc `bson:"ended"`
}

type endDoc struct {
	Verdict string `bson:"verdict"`
	Reason  string `bson:"reason"`
	Proven  int    `bson:"proven"`
	Skipped int    `bson:"skipped"`
	At      int64  `bson:"at"`
}

// OpenRun implements ledger.Ledger.
func (l *Ledger) OpenRun(ctx context.Context, r ledger.Run) error {
	return l.upsert(ctx, "open run "+r.RunKey.String(), l.runs, r.RunKey.String(),
		withKey(r.RunKey, bson.M{
			"open": r.Open, "close": r.Close, "closes_at": r.ClosesAt.UnixMilli(), "partitions": r.Partitions.String(), "ended": nil,
		}),
		bson.M{"started_at": r.StartedAt.UnixMilli()})
}

// EndRun implements ledger.Ledger.
func (l *Ledger) EndRun(ctx context.Context, key ledger.RunKey, end ledger.RunEnd) error {
	doc := endDoc{Verdict: end.Verdict, Reason: end.Reason, Proven: end.Proven, Skipped: end.Skipped, At: end.At.UnixMilli()}
	res, err := l.runs.UpdateOne(ctx, bson.M{"_id": key.String()}, bson.M{"$set": bson.M{"ended": doc}})
	if err != nil {
		return l.explain("end run "+key.String(), err)
	}
	if res.MatchedCount == 0 {
		return l.explain("end run "+key.String(), ledger.ErrNotFound)
	}
	return nil
}

// Runs implements ledger.Ledger.
func (l *Ledger) Runs(ctx context.Context, q ledger.RunQuery) ([]ledger.Run, error) {
	filter := bson.M{}
	if q.Miner != nil {
		filter["miner"] = int64(*q.Miner)
	}
	if q.Unfinished {
		filter["ended"] = nil
	}
	opts := options.Find().SetSort(bson.D{{Key: "open", Value: -1}, {Key: "miner", Value: 1}}).SetLimit(int64(max(q.Limit, 0)))
	var docs []runDoc
	if err := l.find(ctx, "list runs", l.runs, filter, opts, &docs); err != nil {
		return nil, err
	}
	var out []ledger.Run
	for _, d := range docs {
		r := ledger.Run{RunKey: d.Key.runKey(), Open: d.Open, Close: d.Close, ClosesAt: moment(d.ClosesAt), StartedAt: moment(d.StartedAt)}
		var err error
		if r.Partitions, err = ledger.ParsePartitions(d.Partitions); err != nil {
			return nil, l.explain("list runs", err)
		}
		if e := d.Ended; e != nil {
			r.Ended = &ledger.RunEnd{Verdict: e.Verdict, Reason: e.Reason, Proven: e.Proven, Skipped: e.Skipped, At: moment(e.At)}
		}
		out = append(out, r)
	}
	return out, nil
}

type proofDoc struct {
	Key        keyDoc `bson:",inline"`
	Partitions string `bson:"partitions"`
	ProofType  int64  `bson:"proof_type"`
	Randomness []byte `bson:"randomness"`
	Sectors    string `bson:"sectors"`
	Skipped    string `bson:"skipped"`
	Proof      []byte `bson:"proof"`
	CreatedAt  int64  `bson:"created_at"`
}

func proofID(key ledger.RunKey, partitions ledger.Partitions) string {
	return key.String() + "/" + partitions.String()
}

// PutProof implements ledger.Ledger.
func (l *Ledger) PutProof(ctx context.Context, p ledger.Proof) error {
	id := proofID(p.RunKey, p.Partitions)
	return l.upsert(ctx, "keep the proof of "+id, l.proofs, id, withKey(p.RunKey, bson.M{
		"partitions": p.Partitions.String(), "proof_type": p.ProofType, "randomness": p.Randomness[:],
		"sectors": ledger.EncodeNumbers(p.Sectors), "skipped": ledger.EncodeNumbers(p.Skipped),
		"proof": p.Proof, "created_at": p.CreatedAt.UnixMilli(),
	}), nil)
}

// Proofs implements ledger.Ledger.
func (l *Ledger) Proofs(ctx context.Context, key ledger.RunKey) ([]ledger.Proof, error) {
	what := "list the proofs of " + key.String()
	var docs []proofDoc
	opts := options.Find().SetSort(bson.D{{Key: "partitions", Value: 1}})
	if err := l.find(ctx, what, l.proofs, bson.M{"run": key.String()}, opts, &docs); err != nil {
		return nil, err
	}
	var out []ledger.Proof
	for _, d := range docs {
		p, err := d.proof()
		if err != nil {
			return nil, l.explain(what, err)
		}
		out = append(out, p)
	}
	return out, nil
}

func (d proofDoc) proof() (p ledger.Proof, err error) {
	p = ledger.Proof{RunKey: d.Key.runKey(), ProofType: d.ProofType, Proof: d.Proof, CreatedAt: moment(d.CreatedAt)}
	if copy(p.Randomness[:], d.Randomness) != 32 || len(d.Randomness) != 32 {
		return p, fmt.Errorf("the randomness of partitions %s has %d bytes", d.Partitions, len(d.Randomness))
	}
	if p.Partitions, err = ledger.ParsePartitions(d.Partitions); err != nil {
		return p, err
	}
	if p.Sectors, err = ledger.DecodeNumbers(d.Sectors); err != nil {
		return p, err
	}
	p.Skipped, err = ledger.DecodeNumbers(d.Skipped)
	return p, err
}

// DropProof implements ledger.Ledger.
func (l *Ledger) DropProof(ctx context.Context, key ledger.RunKey, partitions ledger.Partitions) error {
	id := proofID(key, partitions)
	if _, err := l.proofs.DeleteOne(ctx, bson.M{"_id": id}); err != nil {
		return l.explain("drop the proof of "+id, err)
	}
	return nil
}

type messageDoc struct {
	ID         string `bson:"_id"`
	Key        keyDoc `bson:",inline"`
	Kind       string `bson:"kind"`
	Partitions string `bson:"partitions"`
	Sectors    string `bson:"sectors"`
	Attempt    int    `bson:"attempt"`
	State      string `bson:"state"`
	Handle     string `bson:"handle"`
	Epoch      int64  `bson:"epoch"`
	ExitCode   int64  `bson:"exit_code"`
	Error      string `bson:"error"`
	CreatedAt  int64  `bson:"created_at"`
	UpdatedAt  int64  `bson:"updated_at"`
}

// PutMessage implements ledger.Ledger.
func (l *Ledger) PutMessage(ctx context.Context, m ledger.Message) error {
	return l.upsert(ctx, "keep message "+m.ID, l.messages, m.ID,
		bson.M{
			"state": m.State, "handle": m.Handle, "epoch": m.Epoch, "exit_code": m.ExitCode,
			"error": m.Error, "updated_at": m.UpdatedAt.UnixMilli(),
		},
		withKey(m.RunKey, bson.M{
			"kind": m.Kind, "partitions": m.Partitions.String(), "sectors": ledger.EncodeNumbers(m.Sectors),
			"attempt": m.Attempt, "created_at": m.CreatedAt.UnixMilli(),
		}))
}

// Messages implements ledger.Ledger.
func (l *Ledger) Messages(ctx context.Context, key ledger.RunKey) ([]ledger.Message, error) {
	what := "list the messages of " + key.String()
	var docs []messageDoc
	opts := options.Find().SetSort(bson.D{{Key: "created_at", Value: 1}, {Key: "_id", Value: 1}})
	if err := l.find(ctx, what, l.messages, bson.M{"run": key.String()}, opts, &docs); err != nil {
		return nil, err
	}
	var out []ledger.Message
	for _, d := range docs {
		m := ledger.Message{
			ID: d.ID, RunKey: d.Key.runKey(), Kind: d.Kind, Attempt: d.Attempt, State: d.State, Handle: d.Handle, Epoch: d.Epoch,
			ExitCode: d.ExitCode, Error: d.Error, CreatedAt: moment(d.CreatedAt), UpdatedAt: moment(d.UpdatedAt),
		}
		var err error
		if m.Partitions, err = ledger.ParsePartitions(d.Partitions); err != nil {
			return nil, l.explain(what, err)
		}
		if m.Sectors, err = ledger.DecodeNumbers(d.Sectors); err != nil {
			return nil, l.explain(what, err)
		}
		out = append(out, m)
	}
	return out, nil
}

// Prune implements ledger.Ledger. A run goes after its proofs and messages, so
// that what an interruption leaves is found again.
func (l *Ledger) Prune(ctx context.Context, before time.Time) (int, error) {
	filter := bson.M{"ended": bson.M{"$ne": nil}, "closes_at": bson.M{"$lt": before.UnixMilli()}}
	var docs []runDoc
	if err := l.find(ctx, "prune", l.runs, filter, options.Find(), &docs); err != nil {
		return 0, err
	}
	for i, d := range docs {
		if _, err := l.proofs.DeleteMany(ctx, bson.M{"run": d.Key.Run}); err != nil {
			return i, l.explain("prune proofs", err)
		}
		if _, err := l.messages.DeleteMany(ctx, bson.M{"run": d.Key.Run}); err != nil {
			return i, l.explain("prune messages", err)
		}
		if _, err := l.runs.DeleteOne(ctx, bson.M{"_id": d.Key.Run}); err != nil {
			return i, l.explain("prune runs", err)
		}
	}
	return len(docs), nil
}

func moment(ms int64) time.Time { return time.UnixMilli(ms).UTC() }
