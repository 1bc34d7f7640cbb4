package rpc

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/status"

	"wdpost/internal/attr"
)

// Metrics counts what the server refuses.
type Metrics struct {
	refused     *prometheus.CounterVec // by call and code
	connections prometheus.Gauge
}

// NewMetrics registers the metrics; a nil registry leaves them unseen.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := &Metrics{
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "wdpost", Subsystem: "rpc", Name: "refused_total", Help: "Calls of slaves that ended in an error."}, []string{"call", "code"}),
		connections: prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: "wdpost", Subsystem: "rpc", Name: "connections", Help: "Connections of slaves."}),
	}
	if r != nil {
		r.MustRegister(m.refused, m.connections)
	}
	return m
}

// admit checks rate, token and contract of a call.
func (s *Server) admit(ctx context.Context, method string) error {
	md, _ := metadata.FromIncomingContext(ctx)
	first := func(key string) string {
		if v := md.Get(key); len(v) > 0 {
			return v[0]
		}
		return ""
	}
	spent := status.Error(codes.ResourceExhausted, "too many calls; slow down")
	if !s.throttle.take(ctx, 1) {
		return s.refuse(ctx, method, spent)
	}
	var err error
	token, _ := strings.CutPrefix(first(keyToken), bearer)
	switch contract := first(keyContract); {
	case s.cfg.Token != "" && subtle.ConstantTimeCompare([]byte(token), []byte(s.cfg.Token)) != 1:
		err = status.Error(codes.Unauthenticated, "wrong or missing token: set [master] token of the slave to [server] token of the master")
	case contract != Contract:
		err = status.Errorf(codes.FailedPrecondition, "the slave speaks contract %q, this master %q: install the same version on both", contract, Contract)
	default:
		if err = s.conns.admit(callerOf(ctx)); err == nil {
			return nil
		}
		return s.refuse(ctx, method, err)
	}
	if !s.throttle.take(ctx, refusedCost-1) {
		err = spent
	}
	return s.refuse(ctx, method, err)
}

// refuse counts and logs a call that is not served.
func (s *Server) refuse(ctx context.Context, method string, err error) error {
	s.cfg.Metrics.refused.WithLabelValues(method, status.Code(err).String()).Inc()
	if more, ok := s.refusals.allow(time.Now()); ok {
		s.cfg.Log.Warn("call refused", attr.Call(method), attr.Address(callerOf(ctx)), attr.Err(errors.New(status.Convert(err).Message())), attr.Unlogged(more))
	}
	return err
}

// oncePerSecond lets one line a second through, so that neither strangers nor
// an outage can fill the log.
type oncePerSecond struct {
	mu     sync.Mutex
	last   time.Time
	missed int
}

// allow reports whether to log now, and how many lines were left out before.
func (o *oncePerSecond) allow(now time.Time) (missed int, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if now.Sub(o.last) < time.Second {
		o.missed++
		return 0, false
	}
	missed, o.last, o.missed = o.missed, now, 0
	return missed, true
}

// guardUnary admits a call and keeps a panic of one from ending the others.
func (s *Server) guardUnary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (reply any, err error) {
	if err := s.admit(ctx, info.FullMethod); err != nil {
		return nil, err
	}
	defer func() { s.ended(ctx, info.FullMethod, err) }()
	defer s.recovered(info.FullMethod, &err)
	return handle(ctx, req)
}

// guardStream is guardUnary for streams.
func (s *Server) guardStream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handle grpc.StreamHandler) (err error) {
	if err := s.admit(stream.Context(), info.FullMethod); err != nil {
		return err
	}
	if end, ok := stream.Context().Deadline(); !ok || time.Until(end) > maxStream {
		return s.refuse(stream.Context(), info.FullMethod, status.Errorf(codes.InvalidArgument, "a stream needs a deadline within %s", maxStream))
	}
	defer func() { s.ended(stream.Context(), info.FullMethod, err) }()
	defer s.recovered(info.FullMethod, &err)
	return handle(srv, stream)
}

// malformedError refuses a message that no slave of ours sends.
type malformedError struct{ text string }

func malformed(format string, args ...any) error {
	return malformedError{fmt.Sprintf(format, args...)}
}

func (e malformedError) Error() string { return e.text }

// GRPCStatus is how the refusal travels.
func (e malformedError) GRPCStatus() *status.Status { return status.New(codes.InvalidArgument, e.text) }

// ended counts a call that was served and failed, and logs one that was
// malformed; other failures are logged where they come from.
func (s *Server) ended(ctx context.Context, method string, err error) {
	var m malformedError
	switch {
	case err == nil:
	case errors.As(err, &m):
		_ = s.refuse(ctx, method, err) // to count and log it
	default:
		s.cfg.Metrics.refused.WithLabelValues(method, status.Code(err).String()).Inc()
	}
}

// recovered turns a panic into the call's error.
func (s *Server) recovered(method string, err *error) {
	if p := recover(); p != nil {
		s.cfg.Log.Error("panic in a call of a slave", attr.Call(method), attr.Panic(p), attr.Stack(debug.Stack()))
		*err = status.Error(codes.Internal, fmt.Sprintf("panic in the master: %v", p))
	}
}

// tooLarge counts and logs messages over the limit, which are refused before a
// call has begun and so pass by the interceptors.
type tooLarge struct{ s *Server }

type methodKey struct{}

// TagRPC implements stats.Handler.
func (tooLarge) TagRPC(ctx context.Context, info *stats.RPCTagInfo) context.Context {
	return context.WithValue(ctx, methodKey{}, info.FullMethodName)
}

// HandleRPC implements stats.Handler.
func (t tooLarge) HandleRPC(ctx context.Context, s stats.RPCStats) {
	end, ok := s.(*stats.End)
	if !ok || status.Code(end.Error) != codes.ResourceExhausted || !strings.Contains(end.Error.Error(), "larger than max") {
		return
	}
	method, _ := ctx.Value(methodKey{}).(string)
	_ = t.s.refuse(ctx, method, end.Error)
}

// TagConn implements stats.Handler.
func (tooLarge) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }

// HandleConn implements stats.Handler.
func (tooLarge) HandleConn(context.Context, stats.ConnStats) {}
