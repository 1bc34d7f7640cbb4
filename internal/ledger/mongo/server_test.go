package mongo_test

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"net"
	"reflect"
	"slices"
	"sync"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// server speaks as much of MongoDB's wire protocol as this driver uses, over
// collections in memory. It stands in where no MongoDB is at hand: it executes
// our commands, filters and updates by the documented semantics, and refuses
// what it does not know.
type server struct {
	mu   sync.Mutex
	data map[string]map[string]bson.M // collection -> _id -> document
}

// startServer returns the DSN of a new server.
func startServer(t *testing.T) string {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{data: map[string]map[string]bson.M{}}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := lis.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer conn.Close()
				if err := s.serve(conn); err != nil {
					t.Errorf("wire protocol: %v", err)
				}
			})
		}
	})
	t.Cleanup(func() {
		_ = lis.Close() // Accept's error ends the loop
		wg.Wait()
	})
	return "mongodb://" + lis.Addr().String() + "/?directConnection=true&heartbeatFrequencyMS=60000"
}

// Operation codes of the wire protocol.
const (
	opReply = 1
	opQuery = 2004
	opMsg   = 2013
)

// serve answers requests until the client hangs up.
func (s *server) serve(conn net.Conn) error {
	for {
		var head [16]byte // length, request id, response to, operation; little-endian
		if _, err := io.ReadFull(conn, head[:]); err != nil {
			return nil
		}
		body := make([]byte, binary.LittleEndian.Uint32(head[:])-16)
		if _, err := io.ReadFull(conn, body); err != nil {
			return nil
		}
		id, op := binary.LittleEndian.Uint32(head[4:]), binary.LittleEndian.Uint32(head[12:])
		cmd, err := command(op, body)
		if err != nil {
			return err
		}
		reply, err := bson.Marshal(s.execute(cmd))
		if err != nil {
			return err
		}
		var out []byte
		switch op {
		case opQuery:
			// Flags, cursor and start are zero, one document.
			out = slices.Concat(make([]byte, 16), binary.LittleEndian.AppendUint32(nil, 1), reply)
		case opMsg:
			out = slices.Concat([]byte{0, 0, 0, 0, 0}, reply)
		}
		if err := send(conn, id, op, out); err != nil {
			return nil
		}
	}
}

func send(w io.Writer, id, op uint32, body []byte) error {
	replyOp := uint32(opMsg)
	if op == opQuery {
		replyOp = opReply
	}
	var b []byte
	for _, n := range []uint32{uint32(16 + len(body)), 1, id, replyOp} {
		b = binary.LittleEndian.AppendUint32(b, n)
	}
	_, err := w.Write(append(b, body...))
	return err
}

// command reads the one command document of a request, with the document
// sequences that came beside it as arrays.
func command(op uint32, body []byte) (bson.D, error) {
	switch op {
	case opQuery: // flags, collection name, skip, limit, query
		_, rest, found := bytes.Cut(body[4:], []byte{0})
		if !found || len(rest) < 8 {
			return nil, fmt.Errorf("short query")
		}
		return document(rest[8:])
	case opMsg:
	default:
		return nil, fmt.Errorf("operation %d is not known", op)
	}
	var cmd, sequences bson.D
	for rest := body[4:]; len(rest) > 0; {
		kind, size := rest[0], int(binary.LittleEndian.Uint32(rest[1:]))
		section := rest[1 : 1+size]
		rest = rest[1+size:]
		if kind == 0 {
			var err error
			if cmd, err = document(section); err != nil {
				return nil, err
			}
			continue
		}
		name, docs, _ := bytes.Cut(section[4:], []byte{0})
		var list bson.A
		for len(docs) > 0 {
			n := binary.LittleEndian.Uint32(docs)
			d, err := document(docs[:n])
			if err != nil {
				return nil, err
			}
			list, docs = append(list, d), docs[n:]
		}
		sequences = append(sequences, bson.E{Key: string(name), Value: list})
	}
	return append(cmd, sequences...), nil
}

func document(b []byte) (d bson.D, err error) { return d, bson.Unmarshal(b, &d) }

// asMap turns a document and those within it into maps.
func asMap(v any) bson.M {
	m := bson.M{}
	for _, e := range v.(bson.D) {
		if d, ok := e.Value.(bson.D); ok {
			m[e.Key] = asMap(d)
		} else {
			m[e.Key] = e.Value
		}
	}
	return m
}

// execute performs one command.
func (s *server) execute(cmd bson.D) bson.M {
	s.mu.Lock()
	defer s.mu.Unlock()
	name, args := cmd[0].Key, asMap(cmd)
	coll, _ := cmd[0].Value.(string)
	switch name {
	case "hello", "ismaster", "isMaster":
		return bson.M{"ok": 1, "isWritablePrimary": true, "ismaster": true, "helloOk": true, "minWireVersion": 0, "maxWireVersion": 21,
			"maxBsonObjectSize": 16 << 20, "maxMessageSizeBytes": 48 << 20, "maxWriteBatchSize": 1000}
	case "ping", "endSessions", "createIndexes":
		return bson.M{"ok": 1}
	case "dropDatabase":
		s.data = map[string]map[string]bson.M{}
		return bson.M{"ok": 1}
	case "find":
		return s.find(coll, args)
	case "update":
		return s.update(coll, args["updates"].(bson.A))
	case "delete":
		n := 0
		for _, d := range args["deletes"].(bson.A) {
			for _, doc := range s.matching(coll, asMap(d)["q"].(bson.M)) {
				delete(s.data[coll], doc["_id"].(string))
				n++
			}
		}
		return bson.M{"ok": 1, "n": n}
	}
	return bson.M{"ok": 0, "code": 59, "codeName": "CommandNotFound", "errmsg": "no such command: " + name}
}

func (s *server) update(coll string, updates bson.A) bson.M {
	if s.data[coll] == nil {
		s.data[coll] = map[string]bson.M{}
	}
	matched, upserted := 0, bson.A{}
	for i, u := range updates {
		m := asMap(u)
		filter, change := m["q"].(bson.M), m["u"].(bson.M)
		docs := s.matching(coll, filter)
		if len(docs) == 0 && m["upsert"] == true {
			doc := bson.M{"_id": filter["_id"]}
			if fixed, ok := change["$setOnInsert"].(bson.M); ok {
				maps.Copy(doc, fixed)
			}
			s.data[coll][doc["_id"].(string)] = doc
			docs = []bson.M{doc}
			upserted = append(upserted, bson.M{"index": i, "_id": doc["_id"]})
		}
		matched += len(docs)
		for _, doc := range docs {
			if set, ok := change["$set"].(bson.M); ok {
				maps.Copy(doc, set)
			}
		}
	}
	out := bson.M{"ok": 1, "n": matched, "nModified": matched - len(upserted)}
	if len(upserted) > 0 {
		out["upserted"] = upserted
	}
	return out
}

func (s *server) find(coll string, args bson.M) bson.M {
	filter, _ := args["filter"].(bson.M)
	docs := s.matching(coll, filter)
	if order, ok := args["sort"].(bson.M); ok {
		slices.SortFunc(docs, func(a, b bson.M) int {
			for _, key := range []string{"open", "miner", "created_at", "partitions", "_id"} { // the order of our sorts
				if dir, ok := order[key]; ok {
					if c := compare(a[key], b[key]) * int(dir.(int32)); c != 0 {
						return c
					}
				}
			}
			return 0
		})
	}
	if limit, ok := args["limit"].(int64); ok && limit > 0 && int(limit) < len(docs) {
		docs = docs[:limit]
	}
	return bson.M{"ok": 1, "cursor": bson.M{"id": int64(0), "ns": "db." + coll, "firstBatch": docs}}
}

// matching returns the documents of a collection that a filter selects.
func (s *server) matching(coll string, filter bson.M) []bson.M {
	out := []bson.M{}
	for _, id := range slices.Sorted(maps.Keys(s.data[coll])) {
		doc := s.data[coll][id]
		ok := true
		for field, want := range filter {
			ok = ok && matches(doc[field], want)
		}
		if ok {
			out = append(out, doc)
		}
	}
	return out
}

// matches holds a value against a condition; null also matches what is absent.
func matches(have, want any) bool {
	cond, ok := want.(bson.M)
	if !ok {
		return reflect.DeepEqual(have, want)
	}
	for op, v := range cond {
		switch op {
		case "$ne":
			if reflect.DeepEqual(have, v) {
				return false
			}
		case "$lt":
			if have == nil || compare(have, v) >= 0 {
				return false
			}
		default:
			panic("no such operator: " + op)
		}
	}
	return true
}

func compare(a, b any) int {
	if x, ok := a.(string); ok {
		return cmp.Compare(x, b.(string))
	}
	return cmp.Compare(a.(int64), b.(int64))
}
