package rpc

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"time"
	"unicode"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"

	"wdpost/internal/attr"
	"wdpost/internal/queue"
	pb "wdpost/internal/rpc/wdpostv1"
	"wdpost/internal/task"
)

// Queue is what the server puts before the network.
type Queue interface {
	// Seen records that the slave is there and how it is.
	Seen(ctx context.Context, slave queue.Slave) error
	// Claim waits for a task until ctx ends; task.ErrNoTask says that none came.
	Claim(ctx context.Context, slave queue.Slave, want task.Want) (task.Assignment, error)
	// HandBack returns a claimed task that did not reach its slave, if no other
	// claim of that slave was given it meanwhile.
	HandBack(ctx context.Context, slave string, l task.Lease, cause error) error
	// Heartbeat records signs of life and returns the leases that are lost and
	// the remaining windows of the others.
	Heartbeat(ctx context.Context, slave queue.Slave, beats []queue.Beat) (task.Pulse, error)
	// Finish verifies and stores an answer. task.ErrLost and task.ErrBadAnswer
	// are final; a nil error means that it is stored for good.
	Finish(ctx context.Context, slave string, l task.Lease, a task.Answer) error
	// Fail ends an attempt without an answer; task.ErrLost is final.
	Fail(ctx context.Context, slave string, l task.Lease, v *task.Verdict) error
	// Draining reports whether a slave is to take no more work.
	Draining(slave string) bool
	// HeartbeatTimeout is the silence after which a task is given to another.
	HeartbeatTimeout() time.Duration
}

// ServerConfig is what NewServer needs.
type ServerConfig struct {
	Queue   Queue
	Parts   Parts // nil: tasks are not spread over several slaves
	Log     *slog.Logger
	Version string // of the program, told to slaves

	Token          string        // slaves must present it; empty asks for none
	TLS            *tls.Config   // nil serves in plain text
	MaxConnections int           // further ones are closed at once; default 200
	MaxWait        time.Duration // longest Claim; default 20 s
	Metrics        *Metrics      // nil counts nothing
}

// Server answers slaves.
type Server struct {
	pb.UnimplementedMasterServer
	cfg  ServerConfig
	grpc *grpc.Server
	// stopping ends when Serve is to return: claims that wait end with it.
	stopping context.Context
	stop     context.CancelFunc
	throttle throttle
	conns    conns
	refusals oncePerSecond
	failures oncePerSecond
}

// NewServer prepares a server.
func NewServer(cfg ServerConfig) *Server {
	cfg.MaxConnections = cmp.Or(cfg.MaxConnections, 200)
	cfg.MaxWait = cmp.Or(cfg.MaxWait, 20*time.Second)
	if cfg.Metrics == nil {
		cfg.Metrics = NewMetrics(nil)
	}
	s := &Server{cfg: cfg, conns: conns{max: cfg.MaxConnections, log: cfg.Log, metrics: cfg.Metrics}}
	s.stopping, s.stop = context.WithCancel(context.Background())
	options := []grpc.ServerOption{
		grpc.MaxRecvMsgSize(maxRequest),
		grpc.MaxSendMsgSize(maxQuestion),
		grpc.MaxConcurrentStreams(256),
		grpc.ConnectionTimeout(10 * time.Second),
		// A slave that went away without a word is noticed within half a minute.
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: 20 * time.Second, Timeout: 10 * time.Second}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 4 * time.Second, PermitWithoutStream: true}),
		grpc.UnaryInterceptor(s.guardUnary),
		grpc.StreamInterceptor(s.guardStream),
		grpc.StatsHandler(tooLarge{s}),
	}
	if cfg.TLS != nil {
		options = append(options, grpc.Creds(credentials.NewTLS(cfg.TLS)))
	}
	s.grpc = grpc.NewServer(options...)
	pb.RegisterMasterServer(s.grpc, s)
	if cfg.Parts != nil {
		pb.RegisterPartsServer(s.grpc, partsServer{Server: s})
	}
	return s
}

// Serve answers on lis until ctx ends, then lets running calls end for at most
// five seconds. It returns nil after an orderly end and closes lis.
func (s *Server) Serve(ctx context.Context, lis net.Listener) error {
	failed := make(chan error, 1)
	go func() { failed <- s.grpc.Serve(listener{lis, &s.conns}) }()
	select {
	case err := <-failed:
		s.stop()
		return fmt.Errorf("serve slaves on %s: %w", lis.Addr(), err)
	case <-ctx.Done():
	}
	s.stop()
	hard := time.AfterFunc(5*time.Second, s.grpc.Stop)
	defer hard.Stop()
	s.grpc.GracefulStop()
	<-failed
	return nil
}

// Hello implements the contract.
func (s *Server) Hello(ctx context.Context, r *pb.HelloRequest) (*pb.HelloReply, error) {
	slave, err := slaveOf(ctx, r.GetSlave())
	if err != nil {
		return nil, err
	}
	if err := s.cfg.Queue.Seen(ctx, slave); err != nil && !errors.Is(err, queue.ErrUnavailable) {
		return nil, s.status("hello", slave.Name, err)
	}
	return &pb.HelloReply{
		Version:            s.cfg.Version,
		HeartbeatTimeoutMs: uint64(s.cfg.Queue.HeartbeatTimeout().Milliseconds()),
		MaxWaitMs:          uint64(s.cfg.MaxWait.Milliseconds()),
	}, nil
}

// Claim implements the contract.
func (s *Server) Claim(ctx context.Context, r *pb.ClaimRequest) (*pb.ClaimReply, error) {
	slave, err := slaveOf(ctx, r.GetSlave())
	if err != nil {
		return nil, err
	}
	if len(r.GetSectorSizes()) > task.MaxSectorSizes || len(r.GetUnseen()) > task.MaxUnseen || len(r.GetRoles()) > maxRoles {
		return nil, malformed("a claim names at most %d sector sizes, %d stores and %d roles", task.MaxSectorSizes, task.MaxUnseen, maxRoles)
	}
	want := task.Want{SectorSizes: r.GetSectorSizes(), Unseen: task.BoundedStores(r.GetUnseen()), Roles: rolesOf(r.GetRoles())}
	if want.Holding, err = holdingOf(r.GetHolding()); err != nil {
		return nil, err
	}
	wait := s.cfg.MaxWait
	if ms := r.GetWaitMs(); ms < uint64(wait.Milliseconds()) {
		wait = time.Duration(ms) * time.Millisecond
	}
	claim, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	defer context.AfterFunc(s.stopping, cancel)()
	a, err := s.claim(claim, slave, want)
	if errors.Is(err, task.ErrNoTask) {
		return &pb.ClaimReply{}, nil
	}
	if err != nil {
		return nil, s.status("claim", slave.Name, err)
	}
	question := a.Stored
	if question == nil {
		if question, err = json.Marshal(a.Question); err != nil {
			return nil, s.status("claim", slave.Name, err)
		}
	}
	if ctx.Err() != nil {
		if a.Part != nil {
			_ = s.cfg.Parts.Finish(slave.Name, a.Part.ID, task.Answer{}, errors.New("the slave left before it had the part")) // lost: as wanted
			return nil, status.FromContextError(ctx.Err()).Err()
		}
		s.handBack(slave.Name, a.Lease)
		return nil, status.FromContextError(ctx.Err()).Err()
	}
	if a.Part != nil {
		return &pb.ClaimReply{
			Part:        &pb.Part{Id: a.Part.ID, Question: question, DataLen: uint64(a.Part.DataLen)},
			RemainingMs: uint64(a.Remaining.Milliseconds()), HeartbeatTimeoutMs: uint64(a.HeartbeatTimeout.Milliseconds()),
		}, nil
	}
	return &pb.ClaimReply{
		Lease:              toLease(a.Lease),
		Question:           question,
		RemainingMs:        uint64(a.Remaining.Milliseconds()),
		HeartbeatTimeoutMs: uint64(a.HeartbeatTimeout.Milliseconds()),
	}, nil
}

// handBack returns a task whose slave left before the reply.
func (s *Server) handBack(slave string, l task.Lease) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := s.cfg.Queue.HandBack(ctx, slave, l, errors.New("the slave left before it had the task")); err != nil {
		s.cfg.Log.Warn("task not handed back; it is rescued after the heartbeat time-out", attr.Task(l.ID), attr.Slave(slave), attr.Err(err))
	}
}

// Heartbeat implements the contract.
func (s *Server) Heartbeat(ctx context.Context, r *pb.HeartbeatRequest) (*pb.HeartbeatReply, error) {
	slave, err := slaveOf(ctx, r.GetSlave())
	if err != nil {
		return nil, err
	}
	if len(r.GetBeats()) > maxLeases || len(r.GetParts()) > maxLeases {
		return nil, malformed("more than %d tasks in one heartbeat", maxLeases)
	}
	beats := make([]queue.Beat, len(r.GetBeats()))
	for i, b := range r.GetBeats() {
		l, err := leaseOf(b.GetLease())
		if err != nil {
			return nil, err
		}
		beats[i] = queue.Beat{Lease: l, Slave: slave.Name, Progress: b.GetProgress()}
	}
	pulse, err := s.cfg.Queue.Heartbeat(ctx, slave, beats)
	if err != nil {
		return nil, s.status("heartbeat", slave.Name, err)
	}
	reply := &pb.HeartbeatReply{LostParts: r.GetParts()}
	if s.cfg.Parts != nil {
		reply.LostParts = s.cfg.Parts.Beat(slave.Name, r.GetParts())
	}
	for _, l := range pulse.Lost {
		reply.Lost = append(reply.Lost, toLease(l))
	}
	for l, d := range pulse.Remaining {
		reply.Windows = append(reply.Windows, &pb.Window{Lease: toLease(l), RemainingMs: uint64(d.Milliseconds())})
	}
	return reply, nil
}

// Finish implements the contract.
func (s *Server) Finish(stream grpc.ClientStreamingServer[pb.FinishRequest, pb.FinishReply]) error {
	var (
		slave  queue.Slave
		lease  task.Lease
		answer []byte
	)
	for pieces := 0; ; pieces++ {
		first := pieces == 0
		r, err := stream.Recv()
		if errors.Is(err, io.EOF) && !first {
			break
		}
		if err != nil {
			return err
		}
		if pieces == maxPieces {
			return malformed("the answer of task %s comes in more than %d pieces", lease, maxPieces)
		}
		if first {
			if slave, err = slaveOf(stream.Context(), r.GetSlave()); err != nil {
				return err
			}
			if lease, err = leaseOf(r.GetLease()); err != nil {
				return err
			}
		}
		if answer = append(answer, r.GetPart()...); len(answer) > maxAnswer {
			return malformed("the answer of task %s is larger than %d bytes", lease, maxAnswer)
		}
	}
	var a task.Answer
	if err := json.Unmarshal(answer, &a); err != nil {
		return malformed("the answer of task %s is not JSON of the contract: %v", lease, err)
	}
	if err := s.cfg.Queue.Finish(stream.Context(), slave.Name, lease, a); err != nil {
		return s.status("finish", slave.Name, err)
	}
	return stream.SendAndClose(&pb.FinishReply{})
}

// Fail implements the contract.
func (s *Server) Fail(ctx context.Context, r *pb.FailRequest) (*pb.FailReply, error) {
	slave, err := slaveOf(ctx, r.GetSlave())
	if err != nil {
		return nil, err
	}
	l, err := leaseOf(r.GetLease())
	if err != nil {
		return nil, err
	}
	kinds := map[pb.Verdict]task.VerdictKind{
		pb.Verdict_VERDICT_PERMANENT: task.KindPermanent,
		pb.Verdict_VERDICT_RETRY:     task.KindRetry,
		pb.Verdict_VERDICT_ABORTED:   task.KindAborted,
	}
	v := &task.Verdict{Kind: kinds[r.GetVerdict()], Err: errors.New(r.GetReason())}
	if v.Kind == "" {
		return nil, malformed("unknown verdict %d", r.GetVerdict())
	}
	v.After = min(time.Duration(min(r.GetRetryAfterMs(), 1<<40))*time.Millisecond, time.Hour)
	if err := s.cfg.Queue.Fail(ctx, slave.Name, l, v); err != nil {
		return nil, s.status("fail", slave.Name, err)
	}
	return &pb.FailReply{}, nil
}

// status translates the queue's errors for the wire and logs lost leases, which
// may be forged, and those that the slave can do nothing about.
func (s *Server) status(call, slave string, err error) error {
	code := codes.Internal
	switch {
	case errors.Is(err, task.ErrLost):
		code = codes.Aborted
	case errors.Is(err, task.ErrBadAnswer), errors.Is(err, task.ErrBadQuestion):
		code = codes.InvalidArgument
	case errors.Is(err, context.Canceled):
		code = codes.Canceled
	case errors.Is(err, context.DeadlineExceeded):
		code = codes.DeadlineExceeded
	case errors.Is(err, queue.ErrUnavailable):
		code = codes.Unavailable
	}
	if code == codes.Aborted {
		if more, ok := s.refusals.allow(time.Now()); ok {
			s.cfg.Log.Warn("call of a slave refused", attr.Call(call), attr.Slave(slave), attr.Err(err), attr.Unlogged(more))
		}
	}
	if code == codes.Internal || code == codes.Unavailable && !queue.IsNotOpen(err) {
		if more, ok := s.failures.allow(time.Now()); ok {
			s.cfg.Log.Warn("call of a slave failed", attr.Call(call), attr.Slave(slave), attr.Err(err), attr.Unlogged(more))
		}
	}
	return status.Error(code, err.Error())
}

// slaveOf reads who calls.
func slaveOf(ctx context.Context, s *pb.Slave) (queue.Slave, error) {
	name := s.GetName()
	if name == "" || len(name) > 100 || len(s.GetVersion()) > 100 || len(s.GetId()) > 32 {
		return queue.Slave{}, malformed("the slave's name must have 1 to 100 bytes, its version at most 100, its id at most 32")
	}
	if hasControls(name) || hasControls(s.GetVersion()) || hasControls(s.GetId()) {
		return queue.Slave{}, malformed("the slave's name, version and id must not have control characters")
	}
	return queue.Slave{
		Name: name, ID: s.GetId(), Version: s.GetVersion(), Concurrent: int(min(s.GetConcurrent(), 1<<20)), Address: callerOf(ctx),
		Report: reportOf(s.GetReport()),
	}, nil
}

// hasControls reports whether s has characters that would change how a line of
// text looks.
func hasControls(s string) bool {
	return strings.ContainsFunc(s, unicode.IsControl)
}

// reportOf reads what a slave tells of itself; nil if it does not.
func reportOf(r *pb.Report) *task.Report {
	if r == nil {
		return nil
	}
	out := task.Report{
		State: task.SlaveState(r.GetState()), Why: r.GetWhy(), SectorSizes: r.GetSectorSizes(), Roles: rolesOf(r.GetRoles()),
		Cores: int(min(r.GetCores(), 1<<20)), Memory: r.GetMemory(), Unseen: r.GetUnseen(), LastError: r.GetLastError(),
	}.Bounded()
	return &out
}

// toReport is the inverse of reportOf.
func toReport(r task.Report) *pb.Report {
	r = r.Bounded()
	out := &pb.Report{
		State: string(r.State), Why: r.Why, SectorSizes: r.SectorSizes, Cores: uint32(max(r.Cores, 0)), Memory: r.Memory,
		Unseen: r.Unseen, LastError: r.LastError,
	}
	for _, role := range r.Roles {
		out.Roles = append(out.Roles, string(role))
	}
	return out
}

// rolesOf reads the roles that a slave names.
func rolesOf(names []string) []task.Role {
	var out []task.Role
	for _, n := range names {
		out = append(out, task.Role(clip(n, 16)))
	}
	return out
}

// leaseOf reads a lease.
func leaseOf(l *pb.Lease) (task.Lease, error) {
	if len(l.GetTaskId()) == 0 || len(l.GetTaskId()) > task.IDLen || l.GetAttempt() == 0 || l.GetAttempt() > 1<<30 {
		return task.Lease{}, malformed("malformed lease: task id of %d bytes, attempt %d", len(l.GetTaskId()), l.GetAttempt())
	}
	return task.Lease{ID: l.GetTaskId(), Attempt: int(l.GetAttempt())}, nil
}

// holdingOf reads what a slave says that it has; nil if it does not say.
func holdingOf(h *pb.Holding) (*task.Holding, error) {
	if h == nil {
		return nil, nil
	}
	if len(h.GetLeases()) > maxLeases {
		return nil, malformed("more than %d leases held", maxLeases)
	}
	out := &task.Holding{Unsure: h.GetUnsure()}
	for _, l := range h.GetLeases() {
		lease, err := leaseOf(l)
		if err != nil {
			return nil, err
		}
		out.Leases = append(out.Leases, lease)
	}
	return out, nil
}

// toLease writes a lease.
func toLease(l task.Lease) *pb.Lease {
	return &pb.Lease{TaskId: l.ID, Attempt: uint32(l.Attempt)}
}
