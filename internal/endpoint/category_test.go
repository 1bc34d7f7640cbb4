package endpoint

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestWordsOfProxiesAreShown: plain text in HTTP 400 and 500 is the error, JSON
// is an answer.
func TestWordsOfProxiesAreShown(t *testing.T) {
	var status int
	var text string
	header := http.Header{}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var q struct{ ID int }
		_ = json.NewDecoder(r.Body).Decode(&q)
		for k, v := range header {
			w.Header()[k] = v
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, strings.ReplaceAll(text, "ID", strconv.Itoa(q.ID)))
	}))
	defer srv.Close()
	e, c, _ := dial(t, "ws"+strings.TrimPrefix(srv.URL, "http"), "tok")
	for _, tc := range []struct {
		status   int
		text     string
		after    string
		kind     error
		category Category
		words    string
	}{
		{500, "host key(VENUS) : no reverse proxy registered\n", "", ErrUnreachable, Transient, "500 Internal Server Error: host key(VENUS) : no reverse proxy registered"},
		{400, "<html>\n <b>bad gateway</b></html>", "", ErrUnreachable, Transient, "<b>bad gateway</b>"},
		{500, "", "", ErrUnreachable, Transient, "HTTP status 500"},
		{500, ` {"jsonrpc":"2.0","id":ID,"error":{"code":1,"message":"that is bad"}}`, "", ErrAnswered, Refused, "that is bad"},
		{429, "slow down", "7", ErrLimited, Limited, "slow down"},
		{503, "later", "7", ErrLimited, Limited, "later"},
		{503, "later", "", ErrUnreachable, Transient, "later"},
		{401, "", "", ErrToken, Auth, "it is not valid, or the auth service behind the node is away"},
	} {
		status, text, header = tc.status, tc.text, http.Header{}
		if tc.after != "" {
			header.Set("Retry-After", tc.after)
		}
		_, err := c.Echo(t.Context(), "x")
		err = e.Explain("Echo", err)
		if !errors.Is(err, tc.kind) || CategoryOf(err) != tc.category || !strings.Contains(err.Error(), tc.words) {
			t.Errorf("%d %q: %v, category %q", tc.status, tc.text, err, CategoryOf(err))
		}
		if after, limited := RetryAfter(err); limited != (tc.kind == ErrLimited) || limited && after != 7*time.Second {
			t.Errorf("%d: retry after %v, %v", tc.status, after, limited)
		}
	}
}

func TestRetryAfterForms(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for header, want := range map[string]time.Duration{
		"": 0, "0": 0, "12": 12 * time.Second, "soon": 0, "-1": 0,
		"Fri, 02 Jan 2026 03:05:05 GMT": time.Minute, "Fri, 02 Jan 2026 03:04:00 GMT": 0,
	} {
		if got := retryAfter(header, now); got != want {
			t.Errorf("%q: %v, want %v", header, got, want)
		}
	}
}

func TestCategories(t *testing.T) {
	dial := &net.OpError{Op: "dial", Err: errors.New("connection refused")}
	read := &net.OpError{Op: "read", Err: errors.New("connection reset")}
	e := &Endpoint{svc: node, host: "h"}
	for _, c := range []struct {
		err      error
		category Category
		nothing  bool // it certainly had no effect
	}{
		{nil, "", false},
		{e.Explain("X", dial), Transient, true},
		{e.Explain("X", read), Transient, false},
		{e.Explain("X", io.EOF), Transient, false},
		{e.Explain("X", context.DeadlineExceeded), Transient, false},
		{e.Explain("X", context.Canceled), Canceled, false},
		{e.Explain("X", fmt.Errorf("%w: a list with null", ErrNonsense)), Nonsense, false},
		{e.Explain("X", fmt.Errorf("%w: network y", ErrForeign)), Foreign, true},
		{&CallError{Kind: ErrPermission, Err: io.EOF}, Auth, true},
		{&CallError{Kind: ErrNoMethod, Err: io.EOF}, NoMethod, true},
		{&CallError{Kind: ErrAnswered, Err: io.EOF}, Refused, false},
	} {
		if got := CategoryOf(c.err); got != c.category {
			t.Errorf("%v: category %q, want %q", c.err, got, c.category)
		}
		if got := WithoutEffect(c.err); got != c.nothing {
			t.Errorf("%v: without effect %v", c.err, got)
		}
	}
}
