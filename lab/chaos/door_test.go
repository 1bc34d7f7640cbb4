package chaos

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/filecoin-project/go-jsonrpc"
	"github.com/filecoin-project/go-jsonrpc/auth"

	"wdpost/lab/devnet/fullnode"
	"wdpost/lab/devnet/messager"
	"wdpost/lab/devnet/serve"
	"wdpost/lab/devnet/simchain"
)

// way is what happens to one call on its way to a node.
type way struct {
	hang   bool          // it never comes back
	slow   time.Duration // it takes that long
	refuse int           // it is answered with this HTTP status
	odd    bool          // it is answered with garbage
	lost   bool          // it has its effect, and its answer is lost
	failed string        // it is answered with this JSON-RPC error, without effect
}

// door is the network between the product and the nodes: an http.RoundTripper
// that calls the nodes' JSON-RPC service in this process, so that it runs in a
// bubble of simulated time.
type door struct {
	nodes map[string]http.Handler // by host

	mu   sync.Mutex
	ways []func(host, method string) *way // the first that is not nil counts
}

var errDoor = errors.New("connection reset by peer")

// newDoor serves the nodes of a chain as node0, node1, … and a messager.
func newDoor(chain *simchain.Chain, hosts []string, mail *messager.Messager) *door {
	d := &door{nodes: map[string]http.Handler{}}
	log := slog.New(slog.DiscardHandler)
	open := func(host, namespace string, api any) {
		rpc := jsonrpc.NewServer()
		rpc.Register(namespace, api)
		d.nodes[host] = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			rpc.ServeHTTP(w, r.WithContext(auth.WithPerm(r.Context(), serve.AllPermissions())))
		})
	}
	for i, host := range hosts {
		gate := &serve.Gate{Namespace: "Filecoin", Needs: fullnode.Needs(), Faults: &serve.Faults{}, Log: log}
		open(host, "Filecoin", fullnode.New(chain.NodeAt(i), gate, &fullnode.Streams{}, log))
	}
	gate := &serve.Gate{Namespace: "Message", Needs: messager.Needs(), Faults: &serve.Faults{}, Log: log}
	open("messager", "Message", messager.NewAPI(mail, gate))
	return d
}

// set lays a fault on the way; lift takes it off.
func (d *door) set(f func(host, method string) *way) (lift func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ways = append(d.ways, f)
	at := len(d.ways) - 1
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.ways[at] = func(string, string) *way { return nil }
	}
}

func (d *door) wayOf(host, method string) way {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, f := range d.ways {
		if w := f(host, method); w != nil {
			return *w
		}
	}
	return way{}
}

// RoundTrip implements http.RoundTripper.
func (d *door) RoundTrip(req *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	_ = req.Body.Close() // it is a buffer
	var call struct {
		ID     json.RawMessage `json:"id"`
		Method string          `json:"method"`
	}
	if err := json.Unmarshal(body, &call); err != nil {
		return nil, err
	}
	ctx := req.Context()
	host := req.URL.Hostname()
	_, method, _ := strings.Cut(call.Method, ".")
	w := d.wayOf(host, method)
	switch {
	case w.hang:
		<-ctx.Done()
		return nil, ctx.Err()
	case w.slow > 0:
		if err := wait(ctx, w.slow); err != nil {
			return nil, err
		}
	}
	switch {
	case w.refuse != 0:
		return answer(req, w.refuse, []byte("no")), nil
	case w.odd:
		return answer(req, http.StatusOK, []byte("<html>odd</html>")), nil
	case w.failed != "":
		text, err := json.Marshal(w.failed)
		return answer(req, http.StatusOK, []byte(`{"jsonrpc":"2.0","id":`+string(call.ID)+`,"error":{"code":1,"message":`+string(text)+`}}`)), err
	}
	handler := d.nodes[host]
	if handler == nil {
		return nil, errDoor
	}
	rec := &recorder{status: http.StatusOK, header: http.Header{}}
	inner, err := http.NewRequestWithContext(ctx, http.MethodPost, req.URL.String(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	handler.ServeHTTP(rec, inner)
	if w.lost {
		return nil, errDoor
	}
	return answer(req, rec.status, rec.body.Bytes()), nil
}

func answer(req *http.Request, status int, body []byte) *http.Response {
	return &http.Response{
		Status: http.StatusText(status), StatusCode: status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{}, Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)), Request: req,
	}
}

// recorder is the least http.ResponseWriter.
type recorder struct {
	status int
	header http.Header
	body   bytes.Buffer
}

func (r *recorder) Header() http.Header         { return r.header }
func (r *recorder) WriteHeader(status int)      { r.status = status }
func (r *recorder) Write(b []byte) (int, error) { return r.body.Write(b) }

func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
