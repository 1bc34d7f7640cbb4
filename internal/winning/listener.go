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

	"wdpost/internal/endpoint"
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

// Pauses between connections, and the longest wait for a confirmation.
const (
	minPause       = time.Second
	maxPause       = 30 * time.Second
	openTimeout    = 20 * time.Second
	confirmTimeout = 20 * time.Second
	answerTimeout  = 10 * time.Second
)

// listener keeps one miner registered at one gateway.
type listener struct {
	svc   *Service
	ep    *endpoint.Endpoint
	miner Miner
	calls gatewayAPI // over HTTP, for answers that the websocket lost
	log   *slog.Logger

	mu    sync.Mutex
	state Registration
}

// run registers again and again until ctx ends.
func (l *listener) run(ctx context.Context) {
	pause := minPause
	for {
		began := time.Now()
		err := l.session(ctx)
		if ctx.Err() != nil {
			l.setRegistered(false, nil)
			return
		}
		if time.Since(began) > 2*maxPause {
			pause = minPause
		}
		l.setRegistered(false, err)
		l.log.Warn("gateway registration ended, registering again", "err", err, "in", pause)
		if !sleep(ctx, pause) {
			return
		}
		pause = min(2*pause, maxPause)
	}
}

var (
	errClosed      = errors.New("the gateway closed the connection")
	errUnconfirmed = errors.New("the gateway did not confirm the registration; does it know the miner, and does the token belong to the miner's owner there?")
)

// session is one registration from connecting to the end of its line. It
// returns why it ended, never nil.
func (l *listener) session(ctx context.Context) error {
	line, hangUp := context.WithCancel(ctx)
	defer hangUp()
	open, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	var api gatewayAPI
	closed, err := l.ep.Stream(open, &api, l.svc.http)
	if err != nil {
		return err
	}
	defer closed()
	events, err := endpoint.Await(open, func(context.Context) (<-chan *requestEvent, error) {
		return api.ListenProofEvent(line, &registerPolicy{MinerAddress: l.miner.Address})
	})
	if err == nil && events == nil {
		err = errors.New("the answer has no channel")
	}
	if err != nil {
		return l.ep.Explain("ListenProofEvent", err)
	}
	return l.listen(ctx, &api, events)
}

// listen takes requests until the channel closes.
func (l *listener) listen(ctx context.Context, api *gatewayAPI, events <-chan *requestEvent) error {
	confirm := time.NewTimer(confirmTimeout)
	defer confirm.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
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
			l.take(ctx, api, ev)
		}
	}
}

// take handles one event without waiting for its proof.
func (l *listener) take(ctx context.Context, api *gatewayAPI, ev *requestEvent) {
	if l.setRegistered(true, nil) {
		l.log.Info("registered for winning post requests")
	}
	switch ev.Method {
	case methodInitConnect:
	case methodComputeProof:
		var req proofRequest
		if err := json.Unmarshal(ev.Payload, &req); err != nil {
			l.refuse(ctx, api, ev.ID, fmt.Errorf("the payload is not a ComputeProof request: %w", err))
			return
		}
		l.submit(ctx, api, ev.ID, req)
	default:
		l.refuse(ctx, api, ev.ID, fmt.Errorf("method %q is not supported", ev.Method))
	}
}

func (l *listener) refuse(ctx context.Context, api *gatewayAPI, id string, err error) {
	arrived := time.Now()
	l.svc.desk.aside(func() { l.answer(ctx, api, id, outcome{err: err, arrived: arrived}) })
}

func (l *listener) submit(ctx context.Context, api *gatewayAPI, id string, req proofRequest) {
	arrived := time.Now()
	limit := l.svc.limit(req.Height)
	jctx, cancel := context.WithDeadline(ctx, limit)
	finish := func(o outcome) {
		defer cancel()
		o.arrived, o.height = arrived, req.Height
		l.answer(ctx, api, id, o)
	}
	l.svc.desk.submit(&job{
		ctx:    jctx,
		height: req.Height,
		serve: func(ctx context.Context) {
			proofs, err := l.svc.prove(ctx, l.miner, req, limit)
			finish(outcome{proofs: proofs, err: err})
		},
		drop: func(err error) { finish(outcome{err: err}) },
	})
}

// outcome is what a request came to.
type outcome struct {
	proofs  []postProof
	err     error
	arrived time.Time
	height  abi.ChainEpoch
}

// answer tells the gateway. It tries the websocket the request came by and then
// a plain call, and it does so even while the service stops: somebody waits.
func (l *listener) answer(ctx context.Context, api *gatewayAPI, id string, o outcome) {
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
		return struct{}{}, api.ResponseProofEvent(ctx, resp)
	})
	if sendErr != nil {
		sendErr = l.calls.ResponseProofEvent(ctx, resp)
	}
	l.count(o, l.ep.Explain("ResponseProofEvent", sendErr))
}

// count records and logs a finished request.
func (l *listener) count(o outcome, sendErr error) {
	took := time.Since(o.arrived)
	l.mu.Lock()
	l.state.LastHeight, l.state.LastTook = o.height, took
	switch {
	case sendErr != nil:
		l.state.Unheard++
	case o.err != nil:
		l.state.Failed++
	default:
		l.state.Answered++
	}
	l.mu.Unlock()
	log := l.log.With("height", o.height, "took", took)
	switch {
	case sendErr != nil:
		log.Error("winning post answer could not be delivered", "err", sendErr, "proof_err", o.err)
	case o.err != nil:
		log.Error("winning post request failed", "err", o.err)
	default:
		log.Info("winning post request answered")
	}
}

// setRegistered records the state of the registration and reports a change.
func (l *listener) setRegistered(up bool, why error) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	changed := l.state.Registered != up || l.state.Since.IsZero()
	if changed {
		l.state.Since = time.Now()
	}
	l.state.Registered, l.state.Err = up, why
	return changed
}

func (l *listener) status() Registration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.state
}

// sleep waits d and reports whether ctx still lasts.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
