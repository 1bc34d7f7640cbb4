package rpc

import (
	"log/slog"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"wdpost/internal/attr"
)

// strangerTime is how long a connection may last on which nothing was said that
// the server admits: no token, another contract, or no call at all.
const strangerTime = 5 * time.Second

// maxStrangers bounds such connections. Beyond it the oldest is closed, so that
// who opens many cannot keep others from being heard.
const maxStrangers = 256

// conns are the open connections. Only those of slaves, on which a call was
// admitted, count against the limit.
type conns struct {
	max     int
	log     *slog.Logger
	metrics *Metrics

	mu        sync.Mutex
	strangers []*conn // the oldest first
	byAddress map[string][]*conn
	slaves    int
	full      oncePerSecond
	dropped   oncePerSecond
}

// conn is one connection. Its fields are under the mutex of conns.
type conn struct {
	net.Conn
	of      *conns
	address string
	slave   bool
	closed  bool
	patient *time.Timer
}

// listener hands out connections that conns knows.
type listener struct {
	net.Listener
	conns *conns
}

// Accept implements net.Listener.
func (l listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return l.conns.add(c), nil
}

// add takes in a connection of a stranger.
func (s *conns) add(raw net.Conn) net.Conn {
	c := &conn{Conn: raw, of: s, address: raw.RemoteAddr().String()}
	s.mu.Lock()
	if s.byAddress == nil {
		s.byAddress = make(map[string][]*conn)
	}
	s.byAddress[c.address] = append(s.byAddress[c.address], c)
	s.strangers = append(s.strangers, c)
	var oldest *conn
	if len(s.strangers) > maxStrangers {
		oldest = s.strangers[0]
	}
	c.patient = time.AfterFunc(strangerTime, func() { s.drop(c) })
	s.mu.Unlock()
	if oldest != nil {
		s.drop(oldest)
	}
	return c
}

// drop closes a connection that is still a stranger's.
func (s *conns) drop(c *conn) {
	s.mu.Lock()
	stranger := !c.slave && !c.closed
	s.mu.Unlock()
	if !stranger {
		return
	}
	if more, ok := s.dropped.allow(time.Now()); ok {
		s.log.Warn("connection closed: no call with the right token came on it", attr.Address(c.address), attr.Unlogged(more))
	}
	_ = c.Close() // whoever it is
}

// admit makes the connections from an address a slave's, or refuses where there
// are too many.
func (s *conns) admit(address string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.byAddress[address] {
		if c.slave || c.closed {
			continue
		}
		if s.slaves >= s.max {
			if more, ok := s.full.allow(time.Now()); ok {
				s.log.Warn("slave refused: raise [server] max_connections", attr.Address(address), attr.Limit(s.max), attr.Unlogged(more))
			}
			return status.Errorf(codes.Unavailable, "%d slaves are connected, which is [server] max_connections of the master: raise it", s.max)
		}
		c.slave = true
		c.patient.Stop()
		s.slaves++
		s.metrics.connections.Inc()
		s.forget(c)
	}
	return nil
}

// forget takes a connection off the list of strangers.
func (s *conns) forget(c *conn) {
	for i, o := range s.strangers {
		if o == c {
			s.strangers = append(s.strangers[:i], s.strangers[i+1:]...)
			return
		}
	}
}

// Close implements net.Conn and gives the place back.
func (c *conn) Close() error {
	c.of.closed(c)
	return c.Conn.Close()
}

func (s *conns) closed(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.closed {
		return
	}
	c.closed = true
	c.patient.Stop()
	s.forget(c)
	if c.slave {
		s.slaves--
		s.metrics.connections.Dec()
	}
	rest := s.byAddress[c.address]
	for i, o := range rest {
		if o == c {
			rest = append(rest[:i], rest[i+1:]...)
			break
		}
	}
	if s.byAddress[c.address] = rest; len(rest) == 0 {
		delete(s.byAddress, c.address)
	}
}
