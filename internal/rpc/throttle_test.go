package rpc_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"wdpost/internal/rpc"
	pb "wdpost/internal/rpc/wdpostv1"
)

// crowd is a master in simulated time whose callers have the addresses they want.
type crowd struct {
	t        *testing.T
	lis      *bufconn.Listener
	log      *syncBuffer
	registry *prometheus.Registry

	mu   sync.Mutex
	from string // address of the next caller
	port int
}

// Accept implements net.Listener.
func (c *crowd) Accept() (net.Conn, error) {
	conn, err := c.lis.Accept()
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.port++
	return addressed{conn, &net.TCPAddr{IP: net.ParseIP(c.from), Port: c.port}}, nil
}

func (c *crowd) Addr() net.Addr { return c.lis.Addr() }
func (c *crowd) Close() error   { return c.lis.Close() }

type addressed struct {
	net.Conn
	remote net.Addr
}

func (a addressed) RemoteAddr() net.Addr { return a.remote }

func simulateCrowd(t *testing.T, test func(t *testing.T, c *crowd)) {
	synctest.Test(t, func(t *testing.T) {
		c := &crowd{t: t, lis: bufconn.Listen(1 << 20), log: &syncBuffer{}, registry: prometheus.NewRegistry()}
		server := rpc.NewServer(rpc.ServerConfig{
			Queue: newFakeQueue(), Log: slog.New(slog.NewTextHandler(c.log, nil)), Token: "sesame", Metrics: rpc.NewMetrics(c.registry),
			MaxConnections: 1000,
		})
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- server.Serve(ctx, c) }()
		defer func() {
			cancel()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}()
		test(t, c)
	})
}

// caller connects from a host and returns a way to make calls with a token.
func (c *crowd) caller(host string) (call func(token string) codes.Code, hangUp func()) {
	c.mu.Lock()
	c.from = host
	c.mu.Unlock()
	conn, err := grpc.NewClient("passthrough:///master", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return c.lis.DialContext(ctx) }))
	if err != nil {
		c.t.Fatal(err)
	}
	conn.Connect()
	synctest.Wait() // accepted, with this host's address
	api := pb.NewMasterClient(conn)
	return func(token string) codes.Code {
		ctx := metadata.AppendToOutgoingContext(c.t.Context(), "wdpost-contract", rpc.Contract, "authorization", "Bearer "+token)
		_, err := api.Heartbeat(ctx, &pb.HeartbeatRequest{Slave: &pb.Slave{Name: "s"}})
		return status.Code(err)
	}, func() { _ = conn.Close() }
}

// refused returns what the metric counts for a call and code.
func refused(t *testing.T, registry *prometheus.Registry, call, code string) float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			labels := map[string]string{}
			for _, l := range m.GetLabel() {
				labels[l.GetName()] = l.GetValue()
			}
			if f.GetName() == "wdpost_rpc_refused_total" && labels["call"] == call && labels["code"] == code {
				return m.GetCounter().GetValue()
			}
		}
	}
	return 0
}

// many makes n calls at one moment and counts the replies.
func many(n int, call func(string) codes.Code, token string) map[codes.Code]int {
	out := make(map[codes.Code]int)
	for range n {
		out[call(token)]++
	}
	return out
}

// A caller that asks too often is slowed down, and nobody else.
func TestCallRateOfAConnection(t *testing.T) {
	simulateCrowd(t, func(t *testing.T, c *crowd) {
		call, hangUp := c.caller("10.0.0.1")
		defer hangUp()
		if got := many(2500, call, "sesame"); got[codes.OK] != 2000 || got[codes.ResourceExhausted] != 500 {
			t.Errorf("at one moment: %v", got)
		}
		time.Sleep(time.Second)
		if got := many(1500, call, "sesame"); got[codes.OK] != 1000 || got[codes.ResourceExhausted] != 500 {
			t.Errorf("a second later: %v", got)
		}
		other, hangUp := c.caller("10.0.0.1")
		defer hangUp()
		if got := other("sesame"); got != codes.OK {
			t.Errorf("another slave of the host: %s", got)
		}
		if lines := strings.Count(c.log.String(), "too many calls"); lines != 2 {
			t.Errorf("%d lines in the log in two seconds", lines)
		}
		if got := refused(t, c.registry, "/wdpost.v1.Master/Heartbeat", "ResourceExhausted"); got != 1000 {
			t.Errorf("%v calls counted", got)
		}
		time.Sleep(time.Minute)
		if got := many(2000, call, "sesame"); got[codes.OK] != 2000 {
			t.Errorf("after a pause: %v", got)
		}
	})
}

// Two hundred slaves of one host, all at once, are no frenzy: 500 tasks a
// second with four calls each, for as long as one likes.
func TestHonestSlavesAreNeverSlowedDown(t *testing.T) {
	simulateCrowd(t, func(t *testing.T, c *crowd) {
		var calls []func(string) codes.Code
		for range 200 {
			call, hangUp := c.caller("10.0.0.1")
			defer hangUp()
			calls = append(calls, call)
		}
		for second := range 5 {
			for _, call := range calls {
				if got := many(10, call, "sesame"); got[codes.OK] != 10 {
					t.Fatalf("second %d: %v", second, got)
				}
			}
			time.Sleep(time.Second)
		}
	})
}

// Strangers wear out their connection, then their host's allowance, however
// often they connect, and never another host's.
func TestCallRateOfStrangers(t *testing.T) {
	simulateCrowd(t, func(t *testing.T, c *crowd) {
		for n := range 20 {
			call, hangUp := c.caller("10.0.0.66")
			if got := many(15, call, fmt.Sprint(n)); got[codes.Unauthenticated] != 10 || got[codes.ResourceExhausted] != 5 {
				t.Fatalf("connection %d: %v", n, got)
			}
			hangUp()
		}
		call, hangUp := c.caller("10.0.0.66")
		defer hangUp()
		if got := call("guess"); got != codes.ResourceExhausted {
			t.Errorf("a new connection: %s", got)
		}
		honest, hangUp := c.caller("10.0.0.1")
		defer hangUp()
		if got := honest("sesame"); got != codes.OK {
			t.Errorf("another host: %s", got)
		}
		time.Sleep(time.Second)
		if got := many(10, call, "guess"); got[codes.Unauthenticated] != 10 {
			t.Errorf("a second later: %v", got)
		}
		time.Sleep(time.Second)
		if got := many(10, call, "guess"); got[codes.Unauthenticated] != 5 {
			t.Errorf("the connection is worn out: %v", got)
		}
	})
}

// A stream of an answer ends: by its deadline and by its number of pieces.
func TestStreamsEnd(t *testing.T) {
	address, _ := start(t, newFakeQueue(), nil)
	api := raw(t, address)
	finish := func(ctx context.Context, pieces int) error {
		stream, err := api.Finish(with(ctx, rpc.Contract))
		if err != nil {
			t.Fatal(err)
		}
		for range pieces {
			if stream.Send(&pb.FinishRequest{Slave: &pb.Slave{Name: "s"}, Lease: &pb.Lease{TaskId: "ab", Attempt: 1}}) != nil {
				break
			}
		}
		_, err = stream.CloseAndRecv()
		return err
	}
	wantCode(t, finish(t.Context(), 1), codes.InvalidArgument)
	long, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	wantCode(t, finish(long, 1), codes.InvalidArgument)
	short, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := finish(short, 2000); status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), "pieces") {
		t.Error(err)
	}
}
