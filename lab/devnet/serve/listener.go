package serve

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/filecoin-project/go-jsonrpc"
	"github.com/filecoin-project/go-jsonrpc/auth"

	"wdpost/internal/attr"
)

// Config describes a listener.
type Config struct {
	Addr      string // host:port; port 0 chooses one
	Namespace string // of the JSON-RPC methods
	API       any    // whose exported methods are served
	Paths     []string
	// Old is an older form of the API, served under OldPaths; nil for none.
	Old      any
	OldPaths []string
	// Tokens maps each bearer token to what it allows. Any other token is
	// refused with 401.
	Tokens map[string][]auth.Permission
	// VenusNamespaces are the accepted values of the header by which Venus
	// services are told apart; a request with another is refused. Requests
	// without the header pass.
	VenusNamespaces []string
	// Faults are the sets whose faults hit HTTP calls before the service.
	Faults []*Faults
	Log    *slog.Logger
}

// venusHeader names the service that a request behind a shared address is for.
const venusHeader = "X-VENUS-API-NAMESPACE"

// Server is a running listener.
type Server struct {
	cfg     Config
	lis     *flakyListener
	http    *http.Server
	stop    context.CancelFunc
	handled sync.WaitGroup
	noAuth  atomic.Bool
	served  chan struct{}
}

// Start listens and serves until Close.
func Start(cfg Config) (*Server, error) {
	lis, err := net.Listen("tcp", cfg.Addr)
	if err != nil {
		return nil, fmt.Errorf("%s listener: %w; choose another address or free the port", cfg.Namespace, err)
	}
	ctx, stop := context.WithCancel(context.Background())
	s := &Server{
		cfg: cfg, stop: stop, served: make(chan struct{}),
		lis: &flakyListener{Listener: lis, conns: map[net.Conn]struct{}{}},
	}
	mux := http.NewServeMux()
	handle := func(api any, paths []string) {
		rpc := jsonrpc.NewServer(jsonrpc.WithServerPingInterval(time.Minute))
		rpc.Register(cfg.Namespace, api)
		guarded := &auth.Handler{Verify: s.verify, Next: rpc.ServeHTTP}
		for _, p := range paths {
			mux.Handle(p, s.count(s.route(door(guarded, cfg.Faults))))
		}
	}
	handle(cfg.API, cfg.Paths)
	if cfg.Old != nil {
		handle(cfg.Old, cfg.OldPaths)
	}
	s.http = &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: 10 * time.Second,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ErrorLog:          slog.NewLogLogger(cfg.Log.Handler(), slog.LevelDebug),
	}
	go func() {
		defer close(s.served)
		if err := s.http.Serve(s.lis); !errors.Is(err, http.ErrServerClosed) {
			cfg.Log.LogAttrs(ctx, slog.LevelError, "listener of "+cfg.Namespace+" ended", attr.Err(err))
		}
	}()
	return s, nil
}

// Addr is the address that is listened on.
func (s *Server) Addr() *net.TCPAddr { return s.lis.Addr().(*net.TCPAddr) }

// Multiaddr is the address in the form of the guide's config: proto is "http" or "ws".
func (s *Server) Multiaddr(proto string) string {
	a := s.Addr()
	kind := "ip4"
	if a.IP.To4() == nil {
		kind = "ip6"
	}
	return fmt.Sprintf("/%s/%s/tcp/%d/%s", kind, a.IP, a.Port, proto)
}

// URL is the address as a URL with the first path; scheme is "http" or "ws".
func (s *Server) URL(scheme string) string {
	return scheme + "://" + s.Addr().String() + s.cfg.Paths[0]
}

// SetDown cuts all connections and refuses new ones, or ends that.
func (s *Server) SetDown(down bool) { s.lis.setDown(down) }

// Close stops listening, cuts all connections and waits for the calls under way.
func (s *Server) Close() error {
	s.stop()
	err := s.http.Close()
	s.lis.cut()
	s.handled.Wait()
	<-s.served
	return err
}

// SetAuthAway plays an auth service that is away, or ends that: every token is
// refused with 401, valid ones too, as Venus services do then.
func (s *Server) SetAuthAway(away bool) { s.noAuth.Store(away) }

func (s *Server) verify(_ context.Context, token string) ([]auth.Permission, error) {
	if s.noAuth.Load() {
		return nil, errors.New("the auth service does not answer")
	}
	if perms, ok := s.cfg.Tokens[token]; ok {
		return perms, nil
	}
	return nil, errors.New("unknown token")
}

// route refuses requests for another Venus service.
func (s *Server) route(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got := r.Header.Get(venusHeader)
		for _, ns := range s.cfg.VenusNamespaces {
			if got == ns {
				got = ""
			}
		}
		if got != "" && len(s.cfg.VenusNamespaces) != 0 {
			http.Error(w, fmt.Sprintf("%s %q is not served here", venusHeader, got), http.StatusNotFound)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// count lets Close wait for the calls under way.
func (s *Server) count(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.handled.Add(1)
		defer s.handled.Done()
		next.ServeHTTP(w, r)
	})
}

// flakyListener can lose its connections.
type flakyListener struct {
	net.Listener

	mu    sync.Mutex
	down  bool
	conns map[net.Conn]struct{}
}

// Accept returns the next connection; while down it closes them at once.
func (l *flakyListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		l.mu.Lock()
		down := l.down
		if !down {
			l.conns[c] = struct{}{}
		}
		l.mu.Unlock()
		if !down {
			return &trackedConn{Conn: c, owner: l}, nil
		}
		_ = c.Close() // the peer sees the connection break, which is the point
	}
}

func (l *flakyListener) setDown(down bool) {
	l.mu.Lock()
	l.down = down
	l.mu.Unlock()
	if down {
		l.cut()
	}
}

// cut closes all connections.
func (l *flakyListener) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.conns {
		_ = c.Close() // broken connections are what is asked for
	}
	clear(l.conns)
}

// trackedConn takes itself off the list when it is closed. Closing it after it
// was cut is no error.
type trackedConn struct {
	net.Conn
	owner *flakyListener
}

func (c *trackedConn) Close() error {
	c.owner.mu.Lock()
	delete(c.owner.conns, c.Conn)
	c.owner.mu.Unlock()
	if err := c.Conn.Close(); !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}
