package winning

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"

	"wdpost/internal/attr"
	"wdpost/internal/endpoint"
	"wdpost/internal/patience"
)

// gatewayAPI is the part of the gateway that is used; names are wire names.
type gatewayAPI struct {
	ListenProofEvent   func(context.Context, *registerPolicy) (<-chan *requestEvent, error)
	ResponseProofEvent func(context.Context, *responseEvent) error
}

type registerPolicy struct {
	MinerAddress address.Address
}

// requestEvent is what the gateway asks. Payload is JSON, base64 on the wire.
type requestEvent struct {
	ID      string `json:"Id"`
	Method  string
	Payload []byte
}

type responseEvent struct {
	ID      string `json:"Id"`
	Payload []byte
	Error   string
}

// Methods of a requestEvent.
const (
	methodInitConnect  = "InitConnect" // confirms the registration, wants no answer
	methodComputeProof = "ComputeProof"
)

// How long is waited: between two registrations, for a connection, for its
// confirmation, for the delivery of an answer, for anything to come before the
// registration is renewed. The pause does not grow: a
// gateway that is back for an epoch may ask in that epoch.
const (
	pause          = time.Second
	openTimeout    = 10 * time.Second
	confirmTimeout = 20 * time.Second
	answerTimeout  = 10 * time.Second
	quietAfter     = 5 * time.Minute
)

// listener keeps one miner registered at one gateway.
type listener struct {
	svc   *Service
	miner Miner
	log   *slog.Logger
	away  patience.Outage

	mu    sync.Mutex
	ways  []*way // to the gateway, the one to try first in front
	state Registration
}

// way is a path under which a gateway may serve, with its plain calls, for
// answers that the websocket lost.
type way struct {
	ep    *endpoint.Endpoint
	calls gatewayAPI
}

// line is one registration's connection.
type line struct {
	api *gatewayAPI

	mu       sync.Mutex
	open     int           // requests that came by it and are not answered
	yielding bool          // hang up as soon as none is open
	gone     chan struct{} // closed when it is to be hung up
}

// enter notes a request that came by the line.
func (c *line) enter() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open++
}

// leave notes that one is answered, and hangs up where that was asked.
func (c *line) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open--
	c.hangUp()
}

// yield asks to hang up once no request is open.
func (c *line) yield() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.yielding = true
	c.hangUp()
}

func (c *line) hangUp() {
	if c.yielding && c.open == 0 {
		select {
		case <-c.gone:
		default:
			close(c.gone)
		}
	}
}

// registration is one session that runs.
type registration struct {
	line      *line
	confirmed chan struct{} // closed when the gateway has sent something
	quiet     chan struct{} // closed when it has sent nothing for long
	ended     chan error    // gets why it ended
	hangUp    context.CancelFunc
}

// begin registers in the background.
func (l *listener) begin(ctx context.Context) *registration {
	ctx, hangUp := context.WithCancel(ctx)
	r := &registration{
		line: &line{gone: make(chan struct{})}, confirmed: make(chan struct{}), quiet: make(chan struct{}),
		ended: make(chan error, 1), hangUp: hangUp,
	}
	l.svc.desk.aside(func() {
		defer hangUp()
		r.ended <- l.session(ctx, r)
	})
	return r
}

// run registers again and again until ctx ends. A registration on which nothing
// came for long is renewed: a gateway that answers pings and passes nothing on
// cannot be told otherwise from one that has nothing to ask. The old line is
// hung up when the new one is confirmed.
func (l *listener) run(ctx context.Context) {
	b := patience.Backoff{Min: pause, Max: pause}
	defer func() { l.setRegistered(false, nil) }()
	for r := l.begin(ctx); ; {
		var err error
		select {
		case err = <-r.ended:
		case <-r.quiet:
			fresh := l.begin(ctx)
			select {
			case <-fresh.confirmed:
				r.line.yield()
				r = fresh
				continue
			case err := <-fresh.ended:
				l.notRenewed(ctx, err)
				if b.Wait(ctx) == nil {
					continue // the old line is kept: it may yet be heard
				}
			}
			err = <-r.ended
		}
		switch {
		case ctx.Err() != nil:
			return
		case errors.Is(err, errYielded):
			if patience.Sleep(ctx, pause/10) != nil {
				return
			}
		default:
			l.setRegistered(false, err)
			l.away.Failed(l.log, "not registered at the gateway, retrying", err.Error(), attr.Err(err))
			l.svc.raise()
			if b.Wait(ctx) != nil {
				return
			}
		}
		r = l.begin(ctx)
	}
}

// notRenewed tells that a quiet registration could not be renewed. One that was
// taken and not confirmed shows that the gateway passes nothing on; any other
// failure says nothing of the line that is there.
func (l *listener) notRenewed(ctx context.Context, err error) {
	if ctx.Err() != nil || errors.Is(err, errYielded) {
		return
	}
	l.away.Failed(l.log, "a quiet registration could not be renewed, retrying", err.Error(), attr.Err(err))
	if errors.Is(err, errUnconfirmed) {
		l.setRegistered(false, err)
		l.svc.raise()
	}
}

var (
	errClosed      = errors.New("the gateway closed the connection")
	errYielded     = errors.New("hung up, so that the gateway asks another manager")
	errUnconfirmed = errors.New("the gateway did not confirm the registration; does it know the miner, and does the token belong to the miner's owner there?")
)

// session is one registration from connecting to the end of its line. It
// returns why it ended, never nil. Gateways up to v1.8 serve /rpc/v1 and
// /rpc/v0 only: a path that is not there leads to the next.
func (l *listener) session(ctx context.Context, r *registration) error {
	open, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	var first error
	for range l.ways {
		w := l.way()
		var api gatewayAPI
		closed, err := w.ep.Stream(open, &api, l.svc.http)
		if err == nil {
			defer closed()
			return l.register(ctx, open, w, &api, r)
		}
		if first == nil {
			first = err
		}
		if errors.Is(err, endpoint.ErrToken) || open.Err() != nil {
			return err
		}
		l.nextWay()
	}
	return first
}

// way is the one that worked last.
func (l *listener) way() *way {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ways[0]
}

func (l *listener) nextWay() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ways = append(l.ways[1:len(l.ways):len(l.ways)], l.ways[0])
}

func (l *listener) register(ctx, open context.Context, w *way, api *gatewayAPI, r *registration) error {
	call, hangUp := context.WithCancel(ctx)
	defer hangUp()
	events, err := endpoint.Await(open, func(context.Context) (<-chan *requestEvent, error) {
		return api.ListenProofEvent(call, &registerPolicy{MinerAddress: l.miner.Address})
	})
	if err == nil && events == nil {
		err = errors.New("the answer has no channel")
	}
	if err != nil {
		return w.ep.Explain("ListenProofEvent", err)
	}
	r.line.api = api
	return l.listen(ctx, r, events)
}

// listen takes requests until the channel closes.
func (l *listener) listen(ctx context.Context, r *registration, events <-chan *requestEvent) error {
	confirm, quiet := time.NewTimer(l.svc.confirmIn), time.NewTimer(l.svc.quietAfter)
	defer confirm.Stop()
	defer quiet.Stop()
	confirmed := sync.OnceFunc(func() { close(r.confirmed) })
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-r.line.gone:
			return errYielded
		case <-quiet.C:
			close(r.quiet) // once: the timer is not set again
		case <-confirm.C:
			return errUnconfirmed
		case ev, ok := <-events:
			if !ok {
				return errClosed
			}
			if ev == nil {
				continue
			}
			confirm.Stop() // whatever it asks, it knows us
			if quiet.Stop() {
				quiet.Reset(l.svc.quietAfter)
			}
			l.take(ctx, r.line, ev)
			confirmed()
		}
	}
}

// take handles one event without waiting for its proof.
func (l *listener) take(ctx context.Context, c *line, ev *requestEvent) {
	if l.setRegistered(true, nil) {
		l.log.Info("registered for winning post requests")
		l.away.Over(l.log, "registered at the gateway again")
		l.svc.raise()
	}
	switch ev.Method {
	case methodInitConnect:
	case methodComputeProof:
		var req proofRequest
		if err := json.Unmarshal(ev.Payload, &req); err != nil {
			l.refuse(ctx, c, ev.ID, fmt.Errorf("the payload is not a ComputeProof request: %w", err))
			return
		}
		l.submit(ctx, c, ev, req)
	default:
		l.refuse(ctx, c, ev.ID, fmt.Errorf("method %q is not supported", ev.Method))
	}
}

// refuse answers a request that no manager could serve.
func (l *listener) refuse(ctx context.Context, c *line, id string, err error) {
	o := outcome{err: err, arrived: time.Now(), limit: time.Now().Add(answerTimeout)}
	c.enter()
	l.svc.desk.aside(func() {
		defer c.leave()
		l.answer(ctx, c, id, o)
	})
}

// submit gives a request to the desk, or joins it to the same request of
// another gateway.
func (l *listener) submit(ctx context.Context, c *line, ev *requestEvent, req proofRequest) {
	arrived, limit := time.Now(), l.svc.limit(req.Height)
	c.enter()
	finish := func(o outcome) {
		o.arrived, o.height, o.limit = arrived, req.Height, limit
		l.finish(ctx, c, ev.ID, o)
	}
	key := flightKey(l.miner, ev.Payload)
	if !l.svc.flights.join(key, limit, finish) {
		return
	}
	jctx, cancel := context.WithDeadline(ctx, limit)
	land := func(o outcome) {
		defer cancel()
		l.svc.flights.land(key, o)
	}
	l.svc.desk.submit(&job{
		ctx:    jctx,
		height: req.Height,
		serve: func(ctx context.Context) {
			proofs, err := l.svc.prove(ctx, l.miner, req, limit)
			land(outcome{proofs: proofs, err: err})
		},
		drop: func(err error) { land(outcome{err: err}) },
	})
}

// finish ends a request. A gateway takes the first answer for final, an error
// too, and never asks another connection after it; but it asks all others when
// the line breaks. So what this manager cannot prove is not answered: the line
// is hung up, as soon as nothing else is open on it, or the error is told when
// the time is up.
func (l *listener) finish(ctx context.Context, c *line, id string, o outcome) {
	l.svc.desk.aside(func() {
		if o.err == nil || errors.Is(o.err, errMalformed) {
			defer c.leave()
			l.answer(ctx, c, id, o)
			return
		}
		c.leave()
		c.yield()
		timeUp := time.NewTimer(time.Until(o.limit))
		defer timeUp.Stop()
		select {
		case <-c.gone:
			l.count(o, nil)
		case <-ctx.Done(): // the service stops, and with it the line
			l.count(o, nil)
		case <-timeUp.C:
			l.answer(ctx, c, id, o)
		}
	})
}

// outcome is what a request came to.
type outcome struct {
	proofs  []postProof
	err     error
	arrived time.Time
	limit   time.Time
	height  abi.ChainEpoch
}

// answer tells the gateway. It tries the websocket the request came by and then
// a plain call, and it does so even while the service stops: somebody waits.
func (l *listener) answer(ctx context.Context, c *line, id string, o outcome) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), answerTimeout)
	defer cancel()
	resp := &responseEvent{ID: id}
	if o.err == nil {
		resp.Payload, o.err = json.Marshal(o.proofs)
	}
	if o.err != nil {
		resp.Error = o.err.Error()
	}
	half, halfDone := context.WithTimeout(ctx, answerTimeout/2)
	defer halfDone()
	_, sendErr := endpoint.Await(half, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, c.api.ResponseProofEvent(ctx, resp)
	})
	w := l.way()
	if sendErr != nil {
		sendErr = w.calls.ResponseProofEvent(ctx, resp)
	}
	l.count(o, w.ep.Explain("ResponseProofEvent", sendErr))
}

// count records and logs a finished request.
func (l *listener) count(o outcome, sendErr error) {
	took, margin := time.Since(o.arrived), time.Until(o.limit)
	l.mu.Lock()
	l.state.LastHeight, l.state.LastTook, l.state.LastMargin = o.height, took, margin
	switch {
	case sendErr != nil:
		l.state.Unheard++
	case o.err != nil:
		l.state.Failed++
		l.state.LastError = o.err.Error()
	default:
		l.state.Answered++
		l.state.LastError = ""
	}
	if margin < 0 {
		l.state.Late++
	}
	l.mu.Unlock()
	log := l.log.With(attr.Height(o.height), attr.Took(took), attr.Margin(margin))
	switch {
	case sendErr != nil:
		log.Error("winning post answer could not be delivered", attr.Err(errors.Join(sendErr, o.err)))
	case o.err != nil:
		log.Error("winning post request failed", attr.Err(o.err))
	default:
		log.Info("winning post request answered")
	}
	l.svc.raise()
}

// setRegistered records the state of the registration and reports a change.
func (l *listener) setRegistered(up bool, why error) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	changed := l.state.Registered != up || l.state.Since.IsZero()
	if changed {
		l.state.Since = time.Now()
	}
	if l.state.Registered, l.state.Reason = up, ""; why != nil {
		l.state.Reason = why.Error()
	}
	return changed
}

func (l *listener) status() Registration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.state
}
