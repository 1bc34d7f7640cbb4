package extprover

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"

	"wdpost/internal/task"
)

// talk runs a server over pipes; lines sends and expects one line each.
type talk struct {
	t   *testing.T
	in  *io.PipeWriter
	out *bufio.Scanner
	end chan error
	log *logBuffer
}

func startTalk(t *testing.T, ctx context.Context, handle Handler) *talk {
	inR, inW := io.Pipe()
	outR, outW := io.Pipe()
	k := &talk{t: t, in: inW, out: bufio.NewScanner(outR), end: make(chan error, 1), log: &logBuffer{}}
	s := Server{Stage: StageWindowPoSt, Handle: handle, Log: slog.New(slog.NewTextHandler(k.log, nil)), MaxRequests: 2}
	go func() {
		k.end <- s.Serve(ctx, inR, outW)
		outW.Close()
	}()
	t.Cleanup(func() { inW.Close(); outR.Close() })
	k.expect("window_post processor ready")
	return k
}

func (k *talk) send(line string) {
	k.t.Helper()
	if _, err := io.WriteString(k.in, line+"\n"); err != nil {
		k.t.Fatal(err)
	}
}

func (k *talk) expect(parts ...string) {
	k.t.Helper()
	if !k.out.Scan() {
		k.t.Fatalf("stream ended, want %q", parts)
	}
	for _, p := range parts {
		if !strings.Contains(k.out.Text(), p) {
			k.t.Fatalf("got %s, want %q in it", k.out.Text(), p)
		}
	}
}

func TestServe(t *testing.T) {
	blocked := make(chan error, 2)
	k := startTalk(t, t.Context(), func(ctx context.Context, q task.Question) (task.Answer, error) {
		switch q.MinerID {
		case doBlock:
			<-ctx.Done()
			blocked <- context.Cause(ctx)
			return task.Answer{}, context.Cause(ctx)
		case doPanic:
			panic("oh")
		}
		return task.Answer{Faults: q.Partitions}, nil
	})
	k.send(`{"id":1,"task":{"miner_id":1,"replicas":[],"seed":[` + strings.TrimSuffix(strings.Repeat("7,", 32), ",") + `],"partitions":[4]}}`)
	k.expect(`"id":1,`, `"err_msg":null`, `"proofs":[]`, `"faults":[4]`)
	k.send(`garbage`)
	k.send(``)
	k.send(`{"id":2}`)
	k.expect(`"id":2,`, "no task")
	k.send(`{"id":3,"task":{"seed":[1]}}`)
	k.expect(`"id":3,`, "malformed", `"output":null`)
	k.send(`{"id":4,"task":{"miner_id":6}}`)
	k.expect(`"id":4,`, "panic", "oh")

	// A withdrawn request ends with its cause; the others go on.
	k.send(`{"id":5,"task":{"miner_id":3}}`)
	k.send(`{"id":5,"task":{"miner_id":1}}`) // the id is taken: ignored
	k.send(`{"id":6,"task":{"miner_id":1}}`)
	k.expect(`"id":6,`)
	k.send(`{"id":5,"cancel":true}`)
	k.expect(`"id":5,`, "withdrawn")
	if cause := <-blocked; !errors.Is(cause, ErrCancelled) {
		t.Errorf("cause %v", cause)
	}
	k.send(`{"id":77,"cancel":true}`) // long answered: nothing happens

	// The end of stdin means the host is gone.
	k.send(`{"id":8,"task":{"miner_id":3}}`)
	k.in.Close()
	if cause := <-blocked; !errors.Is(cause, ErrHostGone) {
		t.Errorf("cause %v", cause)
	}
	k.expect(`"id":8,`)
	if err := <-k.end; err != nil {
		t.Errorf("serve: %v", err)
	}
	if !strings.Contains(k.log.String(), "garbage") || !strings.Contains(k.log.String(), "already being worked on") {
		t.Errorf("log %s", k.log)
	}
}

func TestServeStops(t *testing.T) {
	why := errors.New("stopping")
	ctx, stop := context.WithCancelCause(t.Context())
	started := make(chan struct{})
	k := startTalk(t, ctx, func(ctx context.Context, _ task.Question) (task.Answer, error) {
		close(started)
		<-ctx.Done()
		return task.Answer{}, context.Cause(ctx)
	})
	k.send(`{"id":1,"task":{}}`)
	<-started
	stop(why)
	k.expect(`"id":1,`, "stopping")
	if err := <-k.end; !errors.Is(err, why) {
		t.Errorf("serve: %v", err)
	}
}

func TestServeHostStopsReading(t *testing.T) {
	outR, outW := io.Pipe()
	inR, inW := io.Pipe()
	defer inW.Close()
	s := Server{Stage: StageWindowPoSt, Log: slog.New(slog.DiscardHandler), Handle: func(context.Context, task.Question) (task.Answer, error) {
		outR.Close()
		return task.Answer{}, nil
	}}
	end := make(chan error)
	go func() { end <- s.Serve(t.Context(), inR, outW) }()
	bufio.NewReader(outR).ReadString('\n')
	io.WriteString(inW, `{"id":1,"task":{}}`+"\n")
	if err := <-end; err != nil {
		t.Errorf("serve: %v", err)
	}
}

func TestLineReader(t *testing.T) {
	long := strings.Repeat("x", 200_000)
	r := newLineReader(strings.NewReader("a\r\n\n"+long+"\n"+strings.Repeat("y", 100)+"\nb"), 100)
	var got []string
	for {
		line, err := r.next()
		if errors.Is(err, errLongLine) {
			got = append(got, "LONG")
			continue
		}
		if err != nil {
			if !errors.Is(err, io.EOF) {
				t.Fatal(err)
			}
			break
		}
		got = append(got, string(line))
	}
	want := []string{"a", "", "LONG", strings.Repeat("y", 100), "b"}
	if strings.Join(got, "|") != strings.Join(want, "|") {
		t.Errorf("got %q", got)
	}
}

func FuzzDecodeRequest(f *testing.F) {
	f.Add([]byte(`{"id":1,"task":{"miner_id":1008,"proof_type":"x","replicas":[{"sector_id":1}],"seed":[1]}}`))
	f.Add([]byte(`{"id":1,"cancel":true}`))
	f.Add([]byte(`{"id":-1}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		req, ok, err := decodeRequest(line)
		switch {
		case err == nil && !ok:
			t.Fatal("accepted without an id")
		case err == nil && req.Task == nil && !req.Cancel:
			t.Fatal("accepted with nothing to do")
		}
	})
}

func FuzzDecodeResponse(f *testing.F) {
	f.Add([]byte(`{"id":1,"err_msg":null,"output":{"proofs":["cGVlcg=="],"faults":[1]}}`))
	f.Add([]byte(`{"id":1,"err_msg":"x"}`))
	f.Add([]byte(`{"hello":{"cancel":true}}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		resp, ok, err := decodeResponse(line)
		switch {
		case err == nil && !ok:
			t.Fatal("accepted without an id")
		case err == nil && resp.Output == nil && resp.ErrMsg == nil && resp.Hello == nil:
			t.Fatal("accepted with nothing in it")
		case err == nil && resp.Output != nil && resp.ErrMsg == nil:
			if _, err := encodeAnswer(resp.ID, *resp.Output); err != nil {
				t.Fatal(err)
			}
		}
	})
}
