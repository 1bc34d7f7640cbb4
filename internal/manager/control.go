package manager

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"wdpost/internal/attr"
	"wdpost/internal/run"
)

// controlSocket lies in the home. Whoever may open it, which is the daemon's
// user, may ask for everything and change what can be changed at run time.
const controlSocket = "manager.sock"

// serveControl answers the commands of this machine on the socket in the home.
// The manager works without it where it cannot be made.
func (m *Manager) serveControl(ctx context.Context) error {
	path := filepath.Join(m.cfg.Home, controlSocket)
	_ = os.Remove(path) // of a daemon that is gone: the home is locked by us
	old := syscall.Umask(0o077)
	lis, err := net.Listen("unix", path)
	syscall.Umask(old)
	if err != nil {
		m.log.Warn("no control socket; `util config` and others cannot reach this daemon", attr.Err(err))
		return nil
	}
	return run.ServeHTTP(ctx, lis, m.control())
}

// control are the pages of the socket: those of pages, and what changes
// something.
func (m *Manager) control() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", m.pages())
	mux.HandleFunc("POST /reload", func(w http.ResponseWriter, r *http.Request) {
		done, err := m.Reload(r.Context())
		m.answer(w, done, err)
	})
	mux.HandleFunc("POST /loglevel", func(w http.ResponseWriter, r *http.Request) {
		level, err := m.SetLevel(r.FormValue("level"))
		m.answer(w, map[string]string{"level": level.String()}, err)
	})
	mux.HandleFunc("GET /messages", m.serveMessages)
	mux.HandleFunc("POST /rehearse", m.serveRehearsal)
	mux.HandleFunc("GET /config", func(w http.ResponseWriter, r *http.Request) {
		m.answer(w, m.Effective(), nil)
	})
	return mux
}

// answer writes v as JSON, or the error as text with status 400.
func (m *Manager) answer(w http.ResponseWriter, v any, err error) {
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		m.log.Debug("page not delivered", attr.Err(err))
	}
}

// ErrNotRunning is wrapped by Ask when no daemon answers in the home.
var ErrNotRunning = errors.New("no daemon runs with this home")

// Ask calls a running daemon through the socket in its home: GET, or POST where
// form is given, and decodes the JSON answer into v.
func Ask(ctx context.Context, home, page string, form url.Values, v any) error {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(home, controlSocket))
	}
	transport := &http.Transport{DialContext: dial}
	defer transport.CloseIdleConnections()
	method, body := http.MethodGet, io.Reader(nil)
	if form != nil {
		method, body = http.MethodPost, strings.NewReader(form.Encode())
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://manager"+page, body)
	if err != nil {
		return err
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	res, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return fmt.Errorf("%w (%s): %w", ErrNotRunning, home, err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return fmt.Errorf("answer of the daemon: %w", err)
	}
	if res.StatusCode == http.StatusBadRequest {
		return errors.New(strings.TrimSpace(string(text)))
	}
	if err := json.Unmarshal(text, v); err != nil {
		return fmt.Errorf("answer of the daemon (%s): %w", res.Status, err)
	}
	return nil
}
