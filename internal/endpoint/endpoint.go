// Package endpoint knows where the services around the chain live and how to
// talk to them: it reads the addresses of the config file (multiaddr or URL,
// with an own or the common token), opens JSON-RPC clients to them, and turns
// what goes wrong into errors that name the service, the method and the remedy.
//
// Single calls travel as HTTP POST even where the address says ws: the same
// path answers both, a POST can be cancelled and its HTTP status tells a
// refused token from a broken line. Streams travel over websocket.
package endpoint

import (
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/multiformats/go-multiaddr"
)

// Service is one kind of server behind an address.
type Service struct {
	Name      string // for messages: "node", "messager", "gateway"
	Path      string // where it listens unless the address has a path: "/rpc/v1"
	Namespace string // prefix of its method names: "Filecoin"
	Header    string // value of X-VENUS-API-NAMESPACE, which tells services behind one address apart
}

// namespaceHeader routes a request to one of several Venus services behind one
// address; a Lotus node ignores it.
const namespaceHeader = "X-VENUS-API-NAMESPACE"

// Endpoint is one reachable address of a service. It is immutable.
type Endpoint struct {
	svc     Service
	host    string // host:port
	path    string
	tls     bool
	streams bool
	token   string
}

// Parse reads one address of the config file:
//
//	/ip4/127.0.0.1/tcp/1234/ws     /dns/host/tcp/82/wss     also /http and /https
//	ws://host:82  https://host/rpc/v1     an explicit path wins over the service's own
//	TOKEN:ADDRESS                  a token for this address alone
//
// commonToken is used where the address has none. A multiaddr without a
// protocol after tcp means plain ws. An http or https address cannot stream.
func Parse(address, commonToken string, svc Service) (*Endpoint, error) {
	token, addr := splitToken(strings.TrimSpace(address))
	if token == "" {
		token = strings.TrimSpace(commonToken)
	}
	if strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return nil, fmt.Errorf("the token for the %s has spaces, line breaks or other signs that no token has: write it in one line, as it was given", svc.Name)
	}
	e := &Endpoint{svc: svc, path: svc.Path, token: token}
	var err error
	switch {
	case addr == "":
		return nil, fmt.Errorf("%s address is empty: write it like /ip4/127.0.0.1/tcp/1234/ws or ws://127.0.0.1:1234", svc.Name)
	case strings.HasPrefix(addr, "/"):
		err = e.fromMultiaddr(addr)
	case strings.Contains(addr, "://"):
		err = e.fromURL(addr)
	default:
		err = fmt.Errorf("it is neither a multiaddr nor a URL")
	}
	if err != nil {
		return nil, fmt.Errorf("%s address %q: %w; write it like /ip4/127.0.0.1/tcp/1234/ws or ws://127.0.0.1:1234", svc.Name, addr, err)
	}
	return e, nil
}

// splitToken cuts TOKEN: off an address. A token has neither slash nor colon.
func splitToken(s string) (token, addr string) {
	head, tail, ok := strings.Cut(s, ":")
	if !ok || strings.Contains(head, "/") || strings.HasPrefix(tail, "//") {
		return "", s
	}
	return head, tail
}

func (e *Endpoint) setScheme(scheme string) error {
	switch scheme {
	case "ws", "wss":
		e.streams = true
	case "http", "https":
	default:
		return fmt.Errorf("scheme %q is not one of ws, wss, http, https", scheme)
	}
	e.tls = scheme == "wss" || scheme == "https"
	return nil
}

func (e *Endpoint) fromURL(addr string) error {
	u, err := url.Parse(addr)
	if err != nil {
		return fmt.Errorf("not a URL: %w", err)
	}
	if err := e.setScheme(u.Scheme); err != nil {
		return err
	}
	if u.Hostname() == "" {
		return fmt.Errorf("it has no host")
	}
	e.host = u.Host
	if u.Path != "" && u.Path != "/" {
		e.path = u.Path
	}
	return nil
}

func (e *Endpoint) fromMultiaddr(addr string) error {
	m, err := multiaddr.NewMultiaddr(addr)
	if err != nil {
		return fmt.Errorf("not a multiaddr: %w", err)
	}
	var host, port string
	scheme, secure := "ws", false
	for _, c := range m {
		switch name := c.Protocol().Name; name {
		case "ip4", "ip6", "dns", "dns4", "dns6":
			host = c.Value()
		case "tcp":
			port = c.Value()
		case "ws", "wss", "http", "https":
			scheme = name
		case "tls":
			secure = true
		default:
			return fmt.Errorf("part /%s has no meaning here", name)
		}
	}
	if host == "" || port == "" {
		return fmt.Errorf("it needs a host and a tcp port")
	}
	if err := e.setScheme(scheme); err != nil {
		return err
	}
	e.tls = e.tls || secure
	e.host = net.JoinHostPort(host, port)
	return nil
}

// String is the address without its token, fit for logs and messages.
func (e *Endpoint) String() string {
	if e.streams {
		return e.url("ws")
	}
	return e.url("http")
}

// Service names the kind of server: "node", "messager", "gateway".
func (e *Endpoint) Service() string { return e.svc.Name }

// Streams reports whether the address allows subscriptions (ws or wss).
func (e *Endpoint) Streams() bool { return e.streams }

func (e *Endpoint) url(scheme string) string {
	if e.tls {
		scheme += "s"
	}
	return scheme + "://" + e.host + e.path
}

func (e *Endpoint) header() http.Header {
	h := http.Header{}
	if e.token != "" {
		h.Set("Authorization", "Bearer "+e.token)
	}
	if e.svc.Header != "" {
		h.Set(namespaceHeader, e.svc.Header)
	}
	return h
}

// Path is the path of the address, the service's own unless it names another.
func (e *Endpoint) Path() string { return e.path }

// WithPath is the address with another path, for messages that say what to write
// instead.
func (e *Endpoint) WithPath(path string) string {
	o := *e
	o.path = path
	return o.String()
}
