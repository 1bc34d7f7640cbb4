package endpoint

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/filecoin-project/go-jsonrpc"
	golog "github.com/ipfs/go-log/v2"
)

// go-jsonrpc writes to stderr, in a format of its own, what its callers get as
// errors as well. It is heard only where GOLOG_LOG_LEVEL asks for it.
func init() {
	if os.Getenv("GOLOG_LOG_LEVEL") == "" {
		_ = golog.SetLogLevel("rpc", "fatal") // fails for unknown names only
	}
}

// maxAnswer bounds the body of one answer. The largest known one, all sectors
// of a miner with half a million of them, is about 250 MiB.
const maxAnswer = 1 << 30

// NewHTTPClient returns the client for Calls: connections are kept and
// reused, connecting is bounded, and a call is bounded by its context alone.
func NewHTTPClient() *http.Client {
	return &http.Client{Transport: &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSHandshakeTimeout: 10 * time.Second,
		MaxIdleConnsPerHost: 16,
		IdleConnTimeout:     90 * time.Second,
	}}
}

// Calls fills out, a pointer to a struct of function fields named after the
// service's methods, with functions that call them. Every function must take a
// context, which bounds it.
func (e *Endpoint) Calls(out any, client *http.Client) error {
	post := func(ctx context.Context, body []byte) (io.ReadCloser, error) {
		rc, err := e.post(ctx, client, body)
		if err != nil {
			return nil, &transportError{err}
		}
		return rc, nil
	}
	if _, err := jsonrpc.NewCustomClient(e.svc.Namespace, []any{out}, post); err != nil {
		return fmt.Errorf("%s client for %s: %w", e.svc.Name, e, err)
	}
	return nil
}

func (e *Endpoint) post(ctx context.Context, client *http.Client, body []byte) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, e.url("http"), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header = e.header()
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	answer, err := checkStatus(resp)
	if err != nil {
		_ = resp.Body.Close() // the status is the news
		return nil, err
	}
	return struct {
		io.Reader
		io.Closer
	}{io.LimitReader(answer, maxAnswer), resp.Body}, nil
}

// checkStatus lets pass what may carry a JSON-RPC answer: servers send errors
// with 200, and malformed calls with 400 or 500. The plain text that proxies send
// with these becomes the error.
func checkStatus(resp *http.Response) (io.Reader, error) {
	switch code := resp.StatusCode; {
	case code < 300:
		return resp.Body, nil
	case code == http.StatusUnauthorized, code == http.StatusForbidden:
		return nil, fmt.Errorf("%w: HTTP status %s", ErrToken, resp.Status)
	case code == http.StatusBadRequest, code == http.StatusInternalServerError:
		body := bufio.NewReader(resp.Body)
		if c := firstSign(body); c == '{' || c == '[' {
			return body, nil
		}
		return nil, statusError(resp, body)
	case code == http.StatusTooManyRequests, code == http.StatusServiceUnavailable && resp.Header.Get("Retry-After") != "":
		return nil, &limitError{after: retryAfter(resp.Header.Get("Retry-After"), time.Now()), err: statusError(resp, resp.Body)}
	}
	return nil, statusError(resp, resp.Body)
}

// firstSign returns the first byte that is no space, without taking it; 0 when
// there is none.
func firstSign(r *bufio.Reader) byte {
	for {
		b, err := r.ReadByte()
		if err != nil {
			return 0
		}
		if b != ' ' && b != '\n' && b != '\r' && b != '\t' {
			_ = r.UnreadByte() // never fails after ReadByte
			return b
		}
	}
}

func statusError(resp *http.Response, body io.Reader) error {
	start, _ := io.ReadAll(io.LimitReader(body, 400)) // best effort, for the message
	text := strings.Join(strings.Fields(string(start)), " ")
	if text == "" {
		return fmt.Errorf("HTTP status %s", resp.Status)
	}
	return fmt.Errorf("HTTP status %s: %s", resp.Status, text)
}

// Stream opens a websocket and fills out as Calls does; functions that return
// a channel subscribe. When the line breaks, channels are closed and calls
// fail: reconnecting is the caller's business. ctx bounds the opening only; the
// line lasts until closed, which may be called more than once.
//
// A call over a websocket waits for the server even after its context ended;
// put Await around it.
func (e *Endpoint) Stream(ctx context.Context, out any, client *http.Client) (closed func(), err error) {
	if !e.streams {
		return nil, fmt.Errorf("%s %s: an http address cannot stream; write it with ws or wss", e.svc.Name, e)
	}
	// The line must outlive the opening and end with closed: go-jsonrpc closes
	// the socket on its closer, not on its context.
	open := func(ctx context.Context) (jsonrpc.ClientCloser, error) {
		return jsonrpc.NewMergeClient(context.WithoutCancel(ctx), e.url("ws"), e.svc.Namespace, []any{out}, e.header(), jsonrpc.WithNoReconnect())
	}
	closer, err := await(ctx, open, func(late jsonrpc.ClientCloser) { late() })
	if err != nil {
		return nil, e.Explain("connect", e.dialError(ctx, err, client))
	}
	return sync.OnceFunc(func() { go closer() }), nil // it waits for the connection's goroutine
}

// dialError finds out why a websocket was refused: the dialler hides the HTTP
// status, so a plain call asks for it.
func (e *Endpoint) dialError(ctx context.Context, cause error, client *http.Client) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	body, err := e.post(ctx, client, []byte(`{"jsonrpc":"2.0","id":1,"method":"`+e.svc.Namespace+`.Version","params":[]}`))
	if err == nil {
		_ = body.Close() // only the status was of interest
	}
	if errors.Is(err, ErrToken) {
		return err
	}
	return cause
}

// Await runs f and returns its result, or the cause of ctx's end as soon as
// that comes first; f then ends by itself and its result is dropped.
func Await[T any](ctx context.Context, f func(context.Context) (T, error)) (T, error) {
	return await(ctx, f, func(T) {})
}

// await is Await that hands a result nobody waits for any more to drop.
func await[T any](ctx context.Context, f func(context.Context) (T, error), drop func(T)) (T, error) {
	type result struct {
		v   T
		err error
	}
	done := make(chan result, 1)
	go func() {
		v, err := f(ctx)
		done <- result{v, err}
	}()
	select {
	case r := <-done:
		return r.v, r.err
	case <-ctx.Done():
		go func() {
			if r := <-done; r.err == nil {
				drop(r.v)
			}
		}()
		var none T
		return none, context.Cause(ctx)
	}
}
