package rpc_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"wdpost/internal/queue"
	"wdpost/internal/rpc"
	pb "wdpost/internal/rpc/wdpostv1"
	"wdpost/internal/task"
)

// raw is a client without our manners.
func raw(t *testing.T, address string) pb.MasterClient {
	t.Helper()
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return pb.NewMasterClient(conn)
}

func with(ctx context.Context, contract string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "wdpost-contract", contract)
}

func wantCode(t *testing.T, err error, want codes.Code) {
	t.Helper()
	if status.Code(err) != want {
		t.Errorf("%v, want %s", err, want)
	}
}

func TestOtherContractIsRefused(t *testing.T) {
	address, _ := start(t, newFakeQueue(), nil)
	api := raw(t, address)
	hello := &pb.HelloRequest{Slave: &pb.Slave{Name: "old"}}
	_, err := api.Hello(t.Context(), hello)
	wantCode(t, err, codes.FailedPrecondition)
	_, err = api.Hello(with(t.Context(), "0"), hello)
	wantCode(t, err, codes.FailedPrecondition)
	_, err = api.Hello(with(t.Context(), rpc.Contract), hello)
	wantCode(t, err, codes.OK)
}

func TestMalformedRequests(t *testing.T) {
	q := newFakeQueue()
	registry := prometheus.NewRegistry()
	address, log := start(t, q, func(c *rpc.ServerConfig) { c.Metrics = rpc.NewMetrics(registry) })
	api := raw(t, address)
	ctx, cancel := context.WithTimeout(with(t.Context(), rpc.Contract), time.Minute)
	defer cancel()
	slave, lease := &pb.Slave{Name: "s"}, &pb.Lease{TaskId: "ab", Attempt: 1}

	_, err := api.Hello(ctx, &pb.HelloRequest{})
	wantCode(t, err, codes.InvalidArgument)
	_, err = api.Claim(ctx, &pb.ClaimRequest{Slave: &pb.Slave{Name: string(make([]byte, 101))}})
	wantCode(t, err, codes.InvalidArgument)
	_, err = api.Claim(ctx, &pb.ClaimRequest{Slave: slave, Holding: &pb.Holding{Leases: []*pb.Lease{{}}}})
	wantCode(t, err, codes.InvalidArgument)
	_, err = api.Claim(ctx, &pb.ClaimRequest{Slave: slave, Holding: &pb.Holding{Leases: make([]*pb.Lease, 2000)}})
	wantCode(t, err, codes.InvalidArgument)
	for _, hostile := range []*pb.ClaimRequest{
		{Slave: slave, SectorSizes: make([]uint64, 40_000)}, {Slave: slave, Unseen: make([]string, 1000)}, {Slave: slave, Roles: make([]string, 1000)},
		{Slave: &pb.Slave{Name: "s\x1b[2J"}}, {Slave: &pb.Slave{Name: "s", Id: string(make([]byte, 100))}},
	} {
		_, err = api.Claim(ctx, hostile)
		wantCode(t, err, codes.InvalidArgument)
	}
	_, err = api.Heartbeat(ctx, &pb.HeartbeatRequest{Slave: slave, Beats: make([]*pb.Beat, 2000)})
	wantCode(t, err, codes.InvalidArgument)
	_, err = api.Heartbeat(ctx, &pb.HeartbeatRequest{Slave: slave, Beats: []*pb.Beat{{}}})
	wantCode(t, err, codes.InvalidArgument)
	_, err = api.Fail(ctx, &pb.FailRequest{Slave: slave, Lease: lease})
	wantCode(t, err, codes.InvalidArgument)
	_, err = api.Fail(ctx, &pb.FailRequest{Slave: slave, Lease: &pb.Lease{TaskId: "ab", Attempt: 1 << 31}, Verdict: pb.Verdict_VERDICT_RETRY})
	wantCode(t, err, codes.InvalidArgument)
	_, err = api.Fail(ctx, &pb.FailRequest{Slave: slave, Lease: lease, Verdict: pb.Verdict_VERDICT_RETRY, Reason: string(make([]byte, 2<<20))})
	wantCode(t, err, codes.ResourceExhausted)

	finish := func(requests ...*pb.FinishRequest) error {
		stream, err := api.Finish(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range requests {
			if stream.Send(r) != nil {
				break // the verdict comes with the reply
			}
		}
		_, err = stream.CloseAndRecv()
		return err
	}
	if err := finish(); err == nil {
		t.Error("an empty delivery was taken")
	}
	wantCode(t, finish(&pb.FinishRequest{Slave: slave}), codes.InvalidArgument)
	wantCode(t, finish(&pb.FinishRequest{Slave: slave, Lease: lease, Part: []byte("{not json")}), codes.InvalidArgument)
	flood := make([]*pb.FinishRequest, 40)
	for i := range flood {
		flood[i] = &pb.FinishRequest{Slave: slave, Lease: lease, Part: make([]byte, 900<<10)}
	}
	wantCode(t, finish(flood...), codes.InvalidArgument)
	if len(q.answers)+len(q.failures)+len(q.beats) > 0 {
		t.Error("a malformed request reached the queue")
	}
	if !strings.Contains(log.String(), "the slave's name must have") {
		t.Errorf("log: %s", log)
	}
	if got := refused(t, registry, "/wdpost.v1.Master/Fail", "ResourceExhausted"); got != 1 {
		t.Errorf("a message over the limit was counted %v times", got)
	}
	for call, want := range map[string]float64{"Hello": 1, "Claim": 8, "Heartbeat": 2, "Fail": 2, "Finish": 3} {
		if got := refused(t, registry, "/wdpost.v1.Master/"+call, "InvalidArgument"); got != want {
			t.Errorf("%s: %v refusals counted, want %v", call, got, want)
		}
	}
}

// An old or forged attempt is refused, logged and counted.
func TestForgedAttemptIsSeen(t *testing.T) {
	q := newFakeQueue()
	q.err = fmt.Errorf("task 1#7: %w: attempt 3 is the latest", task.ErrLost)
	registry := prometheus.NewRegistry()
	address, log := start(t, q, func(c *rpc.ServerConfig) { c.Metrics = rpc.NewMetrics(registry) })
	if err := dial(t, nil, address).Finish(t.Context(), assignment().Lease, task.Answer{}); !errors.Is(err, task.ErrLost) {
		t.Fatal(err)
	}
	if !strings.Contains(log.String(), "attempt 3 is the latest") || !strings.Contains(log.String(), "slave=slave-1") {
		t.Errorf("log: %s", log)
	}
	if got := refused(t, registry, "/wdpost.v1.Master/Finish", "Aborted"); got != 1 {
		t.Errorf("%v refusals counted", got)
	}
}

// unhurried answers at once, whatever it is asked.
type unhurried struct{ *fakeQueue }

func (unhurried) Claim(context.Context, queue.Slave, task.Want) (task.Assignment, error) {
	return task.Assignment{}, task.ErrNoTask
}

// oneStream is the server's side of a Finish call with one message.
type oneStream struct {
	grpc.ServerStream
	ctx  context.Context
	msgs []*pb.FinishRequest
}

func (s *oneStream) Context() context.Context           { return s.ctx }
func (s *oneStream) SendAndClose(*pb.FinishReply) error { return nil }
func (s *oneStream) Recv() (*pb.FinishRequest, error) {
	if len(s.msgs) == 0 {
		return nil, io.EOF
	}
	m := s.msgs[0]
	s.msgs = s.msgs[1:]
	return m, nil
}

// Whatever bytes arrive as the body of a call, the server answers or refuses.
func FuzzBodies(f *testing.F) {
	seed := func(m proto.Message) {
		b, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	slave, lease := &pb.Slave{Name: "s", Version: "v"}, &pb.Lease{TaskId: "ab", Attempt: 1}
	seed(&pb.HelloRequest{Slave: slave})
	seed(&pb.ClaimRequest{Slave: slave, SectorSizes: []uint64{2048}, WaitMs: 1 << 63, Holding: &pb.Holding{Leases: []*pb.Lease{lease}, Unsure: true}})
	seed(&pb.HeartbeatRequest{Slave: slave, Beats: []*pb.Beat{{Lease: lease, Progress: "p"}}})
	seed(&pb.FinishRequest{Slave: slave, Lease: lease, Part: []byte(`{"proofs":["AA=="],"faults":[1]}`)})
	seed(&pb.FailRequest{Slave: slave, Lease: lease, Verdict: pb.Verdict_VERDICT_RETRY, RetryAfterMs: 1 << 63})
	server := rpc.NewServer(rpc.ServerConfig{Queue: unhurried{newFakeQueue()}, Log: slog.New(slog.DiscardHandler)})
	f.Fuzz(func(_ *testing.T, body []byte) {
		ctx := context.Background()
		if m := new(pb.HelloRequest); proto.Unmarshal(body, m) == nil {
			_, _ = server.Hello(ctx, m)
		}
		if m := new(pb.ClaimRequest); proto.Unmarshal(body, m) == nil {
			_, _ = server.Claim(ctx, m)
		}
		if m := new(pb.HeartbeatRequest); proto.Unmarshal(body, m) == nil {
			_, _ = server.Heartbeat(ctx, m)
		}
		if m := new(pb.FinishRequest); proto.Unmarshal(body, m) == nil {
			_ = server.Finish(&oneStream{ctx: ctx, msgs: []*pb.FinishRequest{m}})
		}
		if m := new(pb.FailRequest); proto.Unmarshal(body, m) == nil {
			_, _ = server.Fail(ctx, m)
		}
	})
}

// authority makes certificates in a directory.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	a := &authority{t: t, dir: t.TempDir()}
	a.cert, a.key = a.issue("ca", &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	return a
}

// issue writes NAME.pem and NAME.key.
func (a *authority) issue(name string, template *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	template.SerialNumber, template.Subject = big.NewInt(time.Now().UnixNano()), pkix.Name{CommonName: name}
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{
		a.path(name + ".pem"): {Type: "CERTIFICATE", Bytes: der}, a.path(name + ".key"): {Type: "EC PRIVATE KEY", Bytes: keyDER},
	} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			a.t.Fatal(err)
		}
	}
	return cert, key
}

func (a *authority) path(file string) string { return filepath.Join(a.dir, file) }

func TestMutualTLS(t *testing.T) {
	a := newAuthority(t)
	a.issue("master", &x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"master.example"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	a.issue("slave", &x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	serverTLS, err := rpc.ServerTLS(a.path("master.pem"), a.path("master.key"), a.path("ca.pem"), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	address, _ := start(t, newFakeQueue(), func(c *rpc.ServerConfig) { c.TLS = serverTLS })
	hello := func(ca, cert, name string) error {
		key := ""
		if cert != "" {
			key, cert = a.path(cert+".key"), a.path(cert+".pem")
		}
		if ca != "" {
			ca = a.path(ca)
		}
		cfg, err := rpc.ClientTLS(ca, cert, key, name)
		if err != nil {
			t.Fatal(err)
		}
		_, err = dial(t, func(c *rpc.ClientConfig) { c.TLS = cfg }, address).Hello(t.Context())
		return err
	}
	if err := hello("ca.pem", "slave", ""); err != nil {
		t.Errorf("both certificates right: %v", err)
	}
	if err := hello("ca.pem", "slave", "master.example"); err != nil {
		t.Errorf("by name: %v", err)
	}
	for what, err := range map[string]error{
		"no certificate of the slave":      hello("ca.pem", "", ""),
		"unknown authority of the master":  hello("", "slave", ""),
		"the master has another name":      hello("ca.pem", "slave", "other.example"),
		"plain text against an encryption": func() error { _, err := dial(t, nil, address).Hello(t.Context()); return err }(),
	} {
		if err == nil {
			t.Errorf("%s: connected", what)
		}
	}
	if _, err := rpc.ServerTLS(a.path("none.pem"), a.path("master.key"), "", slog.New(slog.DiscardHandler)); err == nil {
		t.Error("a missing certificate was accepted")
	}
	if _, err := rpc.ClientTLS(a.path("slave.key"), "", "", ""); err == nil {
		t.Error("a key was accepted as authority")
	}
}
