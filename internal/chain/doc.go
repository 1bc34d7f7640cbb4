// Package chain is this system's view of the Filecoin chain: JSON-RPC calls to
// one or several Lotus-compatible nodes, the stream of heads, and the clock
// that ties epochs to wall time.
//
// # Endpoints
//
// Node is the client. An endpoint is used once it has shown that it is a full
// node of the right API and of the same network as the others (admit.go); another
// network is never used. Then they are asked in the order of pool.go:
//
//	healthy ─▶ method refused here lately, or too many calls ─▶ behind, standing
//	still or ahead of the clock ─▶ gone, token refused
//
// and among equals the one in use, then the heaviest head, then the fastest. What
// keeps endpoints from being used stands as conditions, a window's cost where no
// other endpoint is left.
//
// # Calls
//
// A caller gives the deadline, the room divides it (call.go). A try is bounded by
// its share of the time left; where the first endpoint is slow the next is asked
// beside it. A read that one endpoint refuses is asked of the next, and the
// refusal is remembered by method. Only the call that failed is repeated, with a
// backoff within the call, or after the time that a limited service asked for.
// What the chain says for good (actor not found, a message whose execution fails)
// is not asked twice. Answers are checked where they are decoded (valid.go): an
// answer that cannot be true is a failure of its endpoint, and lists with single
// bad entries are used without them.
//
// # Messages
//
// Messages are signed by an endpoint that has the key, the same one as long as it
// is healthy, and a signed message is given to all (push.go). A push whose answer
// was lost is not repeated elsewhere: it may have taken effect. ForKey returns
// handles that go to one endpoint each, for callers that want to choose.
//
// # Heads
//
// Follow delivers moves of the head from a stream, from polling while the stream
// is silent, or both (follow.go). The head it knows is also the least that
// ChainHead answers, and while the stream is alive ChainHead and the deadlines of
// miners between two changes of their grid (grid.go) cost no call.
package chain
