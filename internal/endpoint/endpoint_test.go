package endpoint

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/filecoin-project/go-jsonrpc"
	"go.uber.org/goleak"
)

// go-jsonrpc brings a background worker of opencensus, and a line that is
// closed while a frame arrives leaves its reader behind.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		goleak.IgnoreTopFunction("go.opencensus.io/stats/view.(*worker).start"),
		goleak.IgnoreTopFunction("github.com/filecoin-project/go-jsonrpc.(*wsConn).nextMessage"))
}

var node = Service{Name: "node", Path: "/rpc/v1", Namespace: "Filecoin", Header: "v1.FullNode"}

func TestParse(t *testing.T) {
	const jwt = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.example.token"
	cases := []struct {
		in, call, stream, token string
	}{
		{"/ip4/127.0.0.1/tcp/1234/ws", "http://127.0.0.1:1234/rpc/v1", "ws://127.0.0.1:1234/rpc/v1", "common"},
		{"/ip4/127.0.0.1/tcp/41235", "http://127.0.0.1:41235/rpc/v1", "ws://127.0.0.1:41235/rpc/v1", "common"},
		{"/ip4/127.0.0.1/tcp/1234/http", "http://127.0.0.1:1234/rpc/v1", "", "common"},
		{"/dns/cali-messager.example.com/tcp/82/wss", "https://cali-messager.example.com:82/rpc/v1", "wss://cali-messager.example.com:82/rpc/v1", "common"},
		{"/dns4/h/tcp/443/https", "https://h:443/rpc/v1", "", "common"},
		{"/dns/h/tcp/443/tls/ws", "https://h:443/rpc/v1", "wss://h:443/rpc/v1", "common"},
		{"/ip6/::1/tcp/1234/ws", "http://[::1]:1234/rpc/v1", "ws://[::1]:1234/rpc/v1", "common"},
		{jwt + ":/ip4/127.0.0.1/tcp/1234/ws", "http://127.0.0.1:1234/rpc/v1", "ws://127.0.0.1:1234/rpc/v1", jwt},
		{"ws://127.0.0.1:1234", "http://127.0.0.1:1234/rpc/v1", "ws://127.0.0.1:1234/rpc/v1", "common"},
		{"ws://127.0.0.1:1234/", "http://127.0.0.1:1234/rpc/v1", "ws://127.0.0.1:1234/rpc/v1", "common"},
		{"https://h/rpc/v0", "https://h/rpc/v0", "", "common"},
		{jwt + ":https://h/rpc/v0", "https://h/rpc/v0", "", jwt},
		{" wss://h:8 ", "https://h:8/rpc/v1", "wss://h:8/rpc/v1", "common"},
	}
	for _, c := range cases {
		e, err := Parse(c.in, "common", node)
		if err != nil {
			t.Errorf("%s: %v", c.in, err)
			continue
		}
		if got := e.url("http"); got != c.call {
			t.Errorf("%s: calls go to %s, want %s", c.in, got, c.call)
		}
		if e.Streams() != (c.stream != "") || e.Streams() && e.url("ws") != c.stream {
			t.Errorf("%s: streams %v from %s, want %q", c.in, e.Streams(), e.url("ws"), c.stream)
		}
		if e.token != c.token || strings.Contains(e.String(), c.token) {
			t.Errorf("%s: token %q, want %q, and not in %q", c.in, e.token, c.token, e)
		}
		if h := e.header(); h.Get("Authorization") != "Bearer "+c.token || h.Get("X-VENUS-API-NAMESPACE") != "v1.FullNode" {
			t.Errorf("%s: header %v", c.in, h)
		}
	}
}

func TestParseRefusesTokens(t *testing.T) {
	for _, token := range []string{"not a token", "abc\ndef", "配置"} {
		if _, err := Parse("ws://h:1", token, node); err == nil || !strings.Contains(err.Error(), "the token for the node") || strings.Contains(err.Error(), token) {
			t.Errorf("token %q: %v", token, err)
		}
	}
	e, err := Parse("ws://h:1", " abc\n", node)
	if err != nil || e.token != "abc" {
		t.Errorf("got %+v, %v", e, err)
	}
	e.token = ""
	for _, kind := range []error{ErrToken, errors.New("missing permission to invoke 'X' (need 'read')")} {
		if text := e.Explain("X", &CallError{Service: "node", Kind: ErrToken, Err: kind, NoToken: true}).Error(); !strings.Contains(text, "none is set") {
			t.Errorf("%s", text)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, in := range []string{
		"", " ", "127.0.0.1:1234", "node", "/ip4/127.0.0.1", "/tcp/1234", "/ip4/127.0.0.1/udp/1234",
		"/ip4/999.0.0.1/tcp/1234/ws", "/unix/a/b", "ftp://h", "ws://", "ws:// h", "tok:", "a.b.c:node",
	} {
		e, err := Parse(in, "", node)
		if err == nil {
			t.Errorf("%q was read as %s", in, e)
		} else if !strings.Contains(err.Error(), "node address") || !strings.Contains(err.Error(), "/ip4/127.0.0.1/tcp/1234/ws") {
			t.Errorf("%q: error names neither the service nor the remedy: %v", in, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"/ip4/127.0.0.1/tcp/1234/ws", "a.b.c:/dns/h/tcp/1/wss", "ws://h:1/p", "::", "/"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if e, err := Parse(s, "", node); err == nil && e.host == "" {
			t.Errorf("%q: accepted without a host", s)
		}
	})
}

// echo is a small service behind a token.
type echo struct{}

func (echo) Echo(_ context.Context, s string) (string, error) {
	switch s {
	case "denied":
		return "", errors.New("missing permission to invoke 'Echo' (need 'write')")
	case "bad":
		return "", errors.New("that is bad")
	}
	return s, nil
}

func (echo) Hang(ctx context.Context) (string, error) { <-ctx.Done(); return "", ctx.Err() }

func (echo) Count(ctx context.Context) (<-chan int, error) {
	ch := make(chan int)
	go func() {
		defer close(ch)
		for i := range 3 {
			select {
			case ch <- i:
			case <-ctx.Done():
				return
			}
		}
	}()
	return ch, nil
}

type echoClient struct {
	Echo    func(context.Context, string) (string, error)
	Hang    func(context.Context) (string, error)
	Count   func(context.Context) (<-chan int, error)
	Missing func(context.Context) (string, error)
}

func serve(t *testing.T, token string) (addr string, seen chan http.Header) {
	t.Helper()
	rpc := jsonrpc.NewServer()
	rpc.Register("Filecoin", echo{})
	seen = make(chan http.Header, 16)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen <- r.Header
		switch {
		case r.URL.Path != "/rpc/v1":
			http.NotFound(w, r)
		case r.Header.Get("Authorization") != "Bearer "+token:
			w.WriteHeader(http.StatusUnauthorized)
		default:
			rpc.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(srv.Close)
	return "ws" + strings.TrimPrefix(srv.URL, "http"), seen
}

func dial(t *testing.T, addr, token string) (*Endpoint, echoClient, *http.Client) {
	t.Helper()
	e, err := Parse(addr, token, node)
	if err != nil {
		t.Fatal(err)
	}
	hc := NewHTTPClient()
	t.Cleanup(hc.CloseIdleConnections)
	var c echoClient
	if err := e.Calls(&c, hc); err != nil {
		t.Fatal(err)
	}
	return e, c, hc
}

func TestCalls(t *testing.T) {
	addr, seen := serve(t, "good")
	e, c, _ := dial(t, addr, "good")
	if got, err := c.Echo(t.Context(), "hello"); got != "hello" || err != nil {
		t.Fatalf("Echo = %q, %v", got, err)
	}
	if h := <-seen; h.Get("X-Venus-Api-Namespace") != "v1.FullNode" {
		t.Errorf("header %v lacks the namespace", h)
	}
	_, denied := c.Echo(t.Context(), "denied")
	_, bad := c.Echo(t.Context(), "bad")
	_, missing := c.Missing(t.Context())
	hung, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, late := c.Hang(hung)
	_, refusing, _ := dial(t, addr, "wrong")
	_, refused := refusing.Echo(t.Context(), "hello")
	_, lost, _ := dial(t, addr+"/elsewhere", "good")
	_, elsewhere := lost.Echo(t.Context(), "hello")
	_, nobody, _ := dial(t, "/ip4/127.0.0.1/tcp/1/ws", "")
	_, unreachable := nobody.Echo(t.Context(), "hello")

	for _, want := range []struct {
		err   error
		kind  error
		words string
	}{
		{denied, ErrPermission, "permission"},
		{bad, ErrAnswered, "that is bad"},
		{missing, ErrNoMethod, "does not know this method"},
		{late, ErrUnreachable, "deadline exceeded"},
		{refused, ErrToken, "the node refused the token"},
		{elsewhere, ErrUnreachable, "404"},
		{unreachable, ErrUnreachable, "refused"},
	} {
		err := e.Explain("Echo", want.err)
		if !errors.Is(err, want.kind) || !strings.Contains(err.Error(), want.words) {
			t.Errorf("got %v, want kind %q and %q", err, want.kind, want.words)
			continue
		}
		for _, part := range []string{"Filecoin.Echo", e.String()} {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%v does not name %s", err, part)
			}
		}
		for _, noise := range []string{"RPC client error", "sendRequest failed", "good"} {
			if strings.Contains(err.Error(), noise) {
				t.Errorf("%v contains %q", err, noise)
			}
		}
	}
	if !errors.Is(e.Explain("Hang", late), context.DeadlineExceeded) {
		t.Error("the cause of a time-out is hidden")
	}
	if again := e.Explain("Other", e.Explain("Echo", bad)); strings.Contains(again.Error(), "Other") {
		t.Errorf("explained twice: %v", again)
	}
}

func TestStream(t *testing.T) {
	addr, _ := serve(t, "good")
	e, _, hc := dial(t, addr, "good")
	var c echoClient
	closed, err := e.Stream(t.Context(), &c, hc)
	if err != nil {
		t.Fatal(err)
	}
	defer closed()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ch, err := c.Count(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var got []int
	for v := range ch {
		got = append(got, v)
	}
	if len(got) != 3 {
		t.Errorf("received %v, want three numbers", got)
	}
	closed()
	if _, err := Await(t.Context(), func(ctx context.Context) (string, error) { return c.Echo(ctx, "hello") }); err == nil {
		t.Error("a closed line still answers")
	}
}

func TestStreamRefused(t *testing.T) {
	addr, _ := serve(t, "good")
	e, _, hc := dial(t, addr, "wrong")
	if _, err := e.Stream(t.Context(), &echoClient{}, hc); !errors.Is(err, ErrToken) {
		t.Errorf("wrong token: %v", err)
	}
	h, _, hc := dial(t, "http"+strings.TrimPrefix(addr, "ws"), "good")
	if _, err := h.Stream(t.Context(), &echoClient{}, hc); err == nil {
		t.Error("an http address streamed")
	}
}

// A server that accepts the connection and says nothing must not hold the
// opening longer than its context.
func TestStreamOpeningIsBounded(t *testing.T) {
	release := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		<-release
	}))
	defer srv.Close()
	defer close(release)
	e, _, hc := dial(t, "ws"+strings.TrimPrefix(srv.URL, "http"), "")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := e.Stream(ctx, &echoClient{}, hc); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("opening ended with %v", err)
	}
}
