package rpc

import (
	"context"
	"net"
	"sync"
	"time"

	"golang.org/x/time/rate"
	"google.golang.org/grpc/peer"
)

// Calls that a connection and a host may make, in calls a second, and at once
// after a pause. A task takes a slave about four calls; the slaves of one host,
// or behind one address translator, share the host's.
const (
	connRate, connBurst = 1000, 2000
	hostRate, hostBurst = 20000, 40000
)

// refusedCost is what a call without the right token or contract counts for: a
// connection may make five such calls a second, a host a hundred.
const refusedCost = 200

// throttleKept is for how long an address is remembered that makes no calls: by
// then its buckets are full again.
const throttleKept = 10 * time.Second

// throttle bounds the calls of each connection and each host.
type throttle struct {
	mu     sync.Mutex
	conns  map[string]*bucket
	hosts  map[string]*bucket
	pruned time.Time
}

type bucket struct {
	*rate.Limiter
	used time.Time
}

// take takes n calls from the caller's allowance, or reports that it is spent.
// A call that is refused costs nothing: who makes too many gets as many as allowed.
func (t *throttle) take(ctx context.Context, n int) bool {
	address, host := callerOf(ctx), ""
	if h, _, err := net.SplitHostPort(address); err == nil {
		host = h
	}
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.conns == nil {
		t.conns, t.hosts = make(map[string]*bucket), make(map[string]*bucket)
	}
	if now.Sub(t.pruned) > throttleKept {
		t.pruned = now
		prune(t.conns, now)
		prune(t.hosts, now)
	}
	conn := bucketOf(t.conns, address, now, connRate, connBurst)
	all := bucketOf(t.hosts, host, now, hostRate, hostBurst)
	if conn.TokensAt(now) < float64(n) {
		return false
	}
	return all.AllowN(now, n) && conn.AllowN(now, n)
}

// bucketOf returns the bucket of an address, a full one if it is new.
func bucketOf(of map[string]*bucket, address string, now time.Time, perSecond rate.Limit, burst int) *bucket {
	b := of[address]
	if b == nil {
		b = &bucket{Limiter: rate.NewLimiter(perSecond, burst)}
		of[address] = b
	}
	b.used = now
	return b
}

// prune forgets addresses that were not used for long.
func prune(of map[string]*bucket, now time.Time) {
	for address, b := range of {
		if now.Sub(b.used) > throttleKept {
			delete(of, address)
		}
	}
}

// callerOf is the address at the other end.
func callerOf(ctx context.Context) string {
	if p, ok := peer.FromContext(ctx); ok {
		return p.Addr.String()
	}
	return "unknown"
}
