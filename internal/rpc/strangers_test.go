package rpc_test

import (
	"context"
	"crypto/x509"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/test/bufconn"

	"wdpost/internal/rpc"
	"wdpost/internal/task"
)

// namedConns gives each connection of a bufconn an address of its own.
type namedConns struct {
	*bufconn.Listener
	n int
}

type namedConn struct {
	net.Conn
	name string
}

type name string

func (n name) Network() string { return "test" }
func (n name) String() string  { return string(n) }

func (c namedConn) RemoteAddr() net.Addr { return name(c.name) }

func (l *namedConns) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.n++
	return namedConn{c, strings.Repeat("x", l.n) + ":1"}, nil
}

// Connections that have not shown the token do not count against the limit, are
// closed after a few seconds, and keep no slave out (storage and queue, F13).
func TestStrangersTakeNoPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lis := bufconn.Listen(1 << 20)
		log := &syncBuffer{}
		server := rpc.NewServer(rpc.ServerConfig{Queue: newFakeQueue(), Log: slog.New(slog.NewTextHandler(log, nil)), Token: "secret", MaxConnections: 1})
		ctx, cancel := context.WithCancel(t.Context())
		served := make(chan error, 1)
		go func() { served <- server.Serve(ctx, &namedConns{Listener: lis}) }()
		ends := make(chan struct{}, 1000)
		for range 400 {
			c, err := lis.DialContext(ctx)
			if err != nil {
				t.Fatal(err)
			}
			go func() {
				_, _ = io.Copy(io.Discard, c) // until the server hangs up
				ends <- struct{}{}
			}()
		}
		honest, err := rpc.NewClient(rpc.ClientConfig{
			Addresses: []string{"master:1"}, Name: "slave-1", Token: "secret",
			Dial: func(ctx context.Context, _ string) (net.Conn, error) { return lis.DialContext(ctx) },
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := honest.Hello(ctx); err != nil {
			t.Errorf("the slave with the token was kept out: %v", err)
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if len(ends) != 400 {
			t.Errorf("%d of 400 connections of strangers were closed", len(ends))
		}
		if _, err := honest.Hello(ctx); err != nil {
			t.Errorf("the slave lost its connection: %v", err)
		}
		if lines := strings.Count(log.String(), "connection closed"); lines == 0 || lines > 10 {
			t.Errorf("%d lines about strangers", lines)
		}
		_ = honest.Close()
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
}

// What a slave tells of itself arrives, within its bounds.
func TestReportTravels(t *testing.T) {
	q := newFakeQueue()
	address, _ := start(t, q, nil)
	told := task.Report{
		State: task.SlaveWaiting, Why: "no parameters", SectorSizes: []uint64{2048}, Roles: []task.Role{task.RoleRead}, Cores: 16, Memory: 1 << 34,
		Unseen: []string{"/mnt/存储"}, LastError: "disk\x07",
	}
	c := dial(t, func(c *rpc.ClientConfig) { c.ID = "process-1"; c.Report = func() task.Report { return told } }, address)
	if _, err := c.Hello(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := q.seen[0]
	if got.ID != "process-1" || got.Report == nil || got.Report.Why != "no parameters" || got.Report.Unseen[0] != "/mnt/存储" ||
		got.Report.LastError != "disk " || got.Report.Cores != 16 || got.Report.Memory != 1<<34 || got.Report.Roles[0] != task.RoleRead {
		t.Fatalf("seen %+v, report %+v", got, got.Report)
	}
	if _, err := dial(t, nil, address).Hello(t.Context()); err != nil {
		t.Fatal(err)
	}
	if second := q.seen[1]; second.ID == "" || second.ID == got.ID || second.Report != nil {
		t.Fatalf("a slave without a report: %+v", second)
	}
}

// Certificates that are replaced hold for new connections, without a restart;
// ones that cannot be used change nothing.
func TestCertificatesAreReadAgain(t *testing.T) {
	a := newAuthority(t)
	master := func() {
		a.issue("master", &x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	}
	master()
	log := &syncBuffer{}
	serverTLS, err := rpc.ServerTLS(a.path("master.pem"), a.path("master.key"), "", slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	address, _ := start(t, newFakeQueue(), func(c *rpc.ServerConfig) { c.TLS = serverTLS })
	hello := func() error {
		cfg, err := rpc.ClientTLS(a.path("ca.pem"), "", "", "")
		if err != nil {
			t.Fatal(err)
		}
		_, err = dial(t, func(c *rpc.ClientConfig) { c.TLS = cfg }, address).Hello(t.Context())
		return err
	}
	if err := hello(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(a.path("master.key"), []byte("half a k"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := hello(); err != nil {
		t.Fatalf("a broken file took the old certificate away: %v", err)
	}
	a.cert = nil // another authority, the old one is not trusted any more
	a.cert, a.key = a.issue("ca", &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	master()
	if err := hello(); err != nil {
		t.Fatalf("the new certificate is not in force: %v", err)
	}
	for _, want := range []string{"cannot be used", "read again"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log lacks %q: %s", want, log)
		}
	}
}
