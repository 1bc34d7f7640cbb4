package rpc

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"
	"google.golang.org/grpc/status"

	pb "wdpost/internal/rpc/wdpostv1"
	"wdpost/internal/task"
)

// ErrRefused means that the master will not talk to this slave: wrong token or
// another contract. Only an operator can mend it.
var ErrRefused = errors.New("refused by the master")

// ClientConfig is what NewClient needs.
type ClientConfig struct {
	// Addresses are host:port of masters that share one database. One is used;
	// when it is lost, the next.
	Addresses []string
	Token     string
	TLS       *tls.Config // nil connects in plain text

	Name       string // of this slave, the same over restarts
	ID         string // of this process; empty: made at random
	Version    string
	Concurrent int

	// Report tells how the slave is; it travels with every call that introduces
	// the slave. Nil tells nothing.
	Report func() task.Report

	// ReconnectInterval is the wait before a lost connection is tried again; it
	// grows with repeated failure, up to twice this. Default 3 s.
	ReconnectInterval time.Duration
	// Dial connects to an address; nil does so by TCP.
	Dial func(ctx context.Context, address string) (net.Conn, error)
	// CallTimeout bounds every call but the wait of Claim. Default 15 s.
	CallTimeout time.Duration
}

// Client is a slave's connection to its masters. It connects when it is first
// used and reconnects for ever.
type Client struct {
	cfg   ClientConfig
	conn  *grpc.ClientConn
	api   pb.MasterClient
	parts pb.PartsClient
	slave *pb.Slave // without its report
}

// NewClient prepares a client without connecting.
func NewClient(cfg ClientConfig) (*Client, error) {
	cfg.ReconnectInterval = cmp.Or(cfg.ReconnectInterval, 3*time.Second)
	cfg.CallTimeout = cmp.Or(cfg.CallTimeout, 15*time.Second)
	if len(cfg.Addresses) == 0 {
		return nil, errors.New("no address of a master")
	}
	creds := insecure.NewCredentials()
	if cfg.TLS != nil {
		creds = credentials.NewTLS(cfg.TLS)
	}
	addresses := manual.NewBuilderWithScheme("masters")
	var state resolver.State
	for _, a := range cfg.Addresses {
		host, _, err := net.SplitHostPort(a)
		if err != nil {
			return nil, fmt.Errorf("address of the master %q: %w; write host:port", a, err)
		}
		if cfg.TLS != nil && cfg.TLS.ServerName != "" {
			host = cfg.TLS.ServerName
		}
		state.Addresses = append(state.Addresses, resolver.Address{Addr: a, ServerName: host})
	}
	addresses.InitialState(state)
	options := []grpc.DialOption{
		grpc.WithTransportCredentials(creds), grpc.WithResolvers(addresses),
		grpc.WithNoProxy(), // the master is in our network; https_proxy is for fetching parameters
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxQuestion)),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, Timeout: 5 * time.Second, PermitWithoutStream: true}),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: cfg.ReconnectInterval, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 2 * cfg.ReconnectInterval},
			MinConnectTimeout: 5 * time.Second,
		}),
	}
	if cfg.Dial != nil {
		options = append(options, grpc.WithContextDialer(cfg.Dial))
	}
	conn, err := grpc.NewClient("masters:///", options...)
	if err != nil {
		return nil, fmt.Errorf("connection to the master: %w", err)
	}
	return &Client{
		cfg: cfg, conn: conn, api: pb.NewMasterClient(conn), parts: pb.NewPartsClient(conn),
		slave: &pb.Slave{
			Name: clip(cfg.Name, 100), Version: clip(cfg.Version, 100), Concurrent: uint32(cfg.Concurrent),
			Id: clip(cmp.Or(cfg.ID, rand.Text()), 32),
		},
	}, nil
}

// introduction is the slave as it is now.
func (c *Client) introduction() *pb.Slave {
	if c.cfg.Report == nil {
		return c.slave
	}
	return &pb.Slave{
		Name: c.slave.Name, Version: c.slave.Version, Concurrent: c.slave.Concurrent, Id: c.slave.Id, Report: toReport(c.cfg.Report()),
	}
}

// Close ends the connection.
func (c *Client) Close() error { return c.conn.Close() }

// outgoing adds what every call carries, and the time-out.
func (c *Client) outgoing(ctx context.Context, timeout time.Duration) (context.Context, context.CancelFunc) {
	ctx = metadata.AppendToOutgoingContext(ctx, keyContract, Contract)
	if c.cfg.Token != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, keyToken, bearer+c.cfg.Token)
	}
	return context.WithTimeout(ctx, timeout)
}

// Limits are what a master tells a slave at the beginning.
type Limits struct {
	Version          string
	HeartbeatTimeout time.Duration
	MaxWait          time.Duration
}

// Hello introduces the slave.
func (c *Client) Hello(ctx context.Context) (Limits, error) {
	ctx, cancel := c.outgoing(ctx, c.cfg.CallTimeout)
	defer cancel()
	r, err := c.api.Hello(ctx, &pb.HelloRequest{Slave: c.introduction()})
	if err != nil {
		return Limits{}, failure("hello", err)
	}
	return Limits{
		Version:          r.GetVersion(),
		HeartbeatTimeout: millis(r.GetHeartbeatTimeoutMs()),
		MaxWait:          millis(r.GetMaxWaitMs()),
	}, nil
}

// Claim waits for a task for at most the given time; task.ErrNoTask says that
// none came.
func (c *Client) Claim(ctx context.Context, want task.Want, wait time.Duration) (task.Assignment, error) {
	ctx, cancel := c.outgoing(ctx, wait+c.cfg.CallTimeout)
	defer cancel()
	req := &pb.ClaimRequest{Slave: c.introduction(), SectorSizes: want.SectorSizes, WaitMs: uint64(max(wait.Milliseconds(), 0))}
	req.Unseen = task.BoundedStores(want.Unseen)
	for _, role := range want.Roles {
		req.Roles = append(req.Roles, string(role))
	}
	if want.Holding != nil {
		req.Holding = &pb.Holding{Unsure: want.Holding.Unsure}
		for _, l := range want.Holding.Leases {
			if l.Attempt == 0 { // a part
				continue
			}
			req.Holding.Leases = append(req.Holding.Leases, toLease(l))
		}
	}
	r, err := c.api.Claim(ctx, req)
	if err != nil {
		return task.Assignment{}, failure("claim", err)
	}
	if r.GetPart() != nil {
		return partOf(r)
	}
	if r.GetLease() == nil {
		return task.Assignment{}, task.ErrNoTask
	}
	a := task.Assignment{
		Lease:            fromLease(r.GetLease()),
		Remaining:        millis(r.GetRemainingMs()),
		HeartbeatTimeout: millis(r.GetHeartbeatTimeoutMs()),
	}
	if err := json.Unmarshal(r.GetQuestion(), &a.Question); err != nil {
		return a, fmt.Errorf("question of task %s: %w: %w", a.Lease, task.ErrBadQuestion, err)
	}
	return a, nil
}

// Heartbeat tells that the slave works on the tasks, with a word on progress
// for each.
func (c *Client) Heartbeat(ctx context.Context, progress map[task.Lease]string) (task.Pulse, error) {
	ctx, cancel := c.outgoing(ctx, c.cfg.CallTimeout)
	defer cancel()
	req := &pb.HeartbeatRequest{Slave: c.introduction()}
	for l, p := range progress {
		if l.Attempt == 0 { // a part
			req.Parts = append(req.Parts, l.ID)
			continue
		}
		req.Beats = append(req.Beats, &pb.Beat{Lease: toLease(l), Progress: clip(p, 100)})
	}
	r, err := c.api.Heartbeat(ctx, req)
	if err != nil {
		return task.Pulse{}, failure("heartbeat", err)
	}
	pulse := task.Pulse{Remaining: make(map[task.Lease]time.Duration)}
	for _, l := range r.GetLost() {
		pulse.Lost = append(pulse.Lost, fromLease(l))
	}
	for _, id := range r.GetLostParts() {
		pulse.Lost = append(pulse.Lost, task.Lease{ID: id})
	}
	for _, w := range r.GetWindows() {
		pulse.Remaining[fromLease(w.GetLease())] = millis(w.GetRemainingMs())
	}
	return pulse, nil
}

// Finish delivers an answer. task.ErrLost and task.ErrBadAnswer are final; a
// nil error means that the master has verified and stored it.
func (c *Client) Finish(ctx context.Context, l task.Lease, a task.Answer) error {
	body, err := json.Marshal(a)
	if err != nil {
		return fmt.Errorf("answer of task %s: %w", l, err)
	}
	ctx, cancel := c.outgoing(ctx, 4*c.cfg.CallTimeout) // the master verifies meanwhile
	defer cancel()
	stream, err := c.api.Finish(ctx)
	if err != nil {
		return failure("finish", err)
	}
	req := &pb.FinishRequest{Slave: c.slave, Lease: toLease(l)}
	for first := true; first || len(body) > 0; first = false {
		n := min(len(body), answerPart)
		req.Part, body = body[:n], body[n:]
		if err := stream.Send(req); err != nil {
			break // io.EOF: the master's word comes with the reply
		}
		req = &pb.FinishRequest{}
	}
	if _, err := stream.CloseAndRecv(); err != nil {
		return failure("finish", err)
	}
	return nil
}

// Fail ends an attempt without an answer; task.ErrLost is final.
func (c *Client) Fail(ctx context.Context, l task.Lease, v *task.Verdict) error {
	ctx, cancel := c.outgoing(ctx, c.cfg.CallTimeout)
	defer cancel()
	verdict := map[task.VerdictKind]pb.Verdict{
		task.KindPermanent: pb.Verdict_VERDICT_PERMANENT,
		task.KindRetry:     pb.Verdict_VERDICT_RETRY,
		task.KindAborted:   pb.Verdict_VERDICT_ABORTED,
	}[v.Kind]
	_, err := c.api.Fail(ctx, &pb.FailRequest{
		Slave: c.slave, Lease: toLease(l), Verdict: verdict, Reason: clip(v.Err.Error(), 4000), RetryAfterMs: uint64(v.After.Milliseconds()),
	})
	if err != nil {
		return failure("fail", err)
	}
	return nil
}

// failure translates a status into the errors that slaves act upon.
func failure(call string, err error) error {
	st := status.Convert(err)
	switch st.Code() {
	case codes.Aborted:
		return fmt.Errorf("%s: %w: %s", call, task.ErrLost, st.Message())
	case codes.InvalidArgument:
		return fmt.Errorf("%s: %w: %s", call, task.ErrBadAnswer, st.Message())
	case codes.Unauthenticated, codes.FailedPrecondition, codes.PermissionDenied, codes.Unimplemented:
		return fmt.Errorf("%s: %w: %s", call, ErrRefused, st.Message())
	case codes.Canceled:
		return fmt.Errorf("%s: %w", call, context.Canceled)
	}
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("%s: connection to the master lost", call)
	}
	return fmt.Errorf("%s: %s: %s", call, st.Code(), st.Message())
}

// fromLease reads a lease that a master sent.
func fromLease(l *pb.Lease) task.Lease {
	return task.Lease{ID: l.GetTaskId(), Attempt: int(l.GetAttempt())}
}

func millis(ms uint64) time.Duration {
	return time.Duration(min(ms, 1<<40)) * time.Millisecond
}

// clip cuts s to n bytes of valid UTF-8: other text cannot travel.
func clip(s string, n int) string {
	if len(s) > n {
		s = s[:n]
	}
	return strings.ToValidUTF8(s, "") // also drops what the cut left of a rune
}
