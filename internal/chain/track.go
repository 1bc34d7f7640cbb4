package chain

import (
	"context"
	"errors"
	"fmt"

	"wdpost/internal/lotus"
)

const (
	// historyLimit is how many recent tipsets are remembered to find the way
	// back to a common ancestor.
	historyLimit = 200
	// gapLimit is how many unknown tipsets are fetched to fill a gap; a longer
	// one is reported as a Reset. Two hours of the main network.
	gapLimit = 240
)

// errNoPath says that two heads have no common ancestor within the limits.
var errNoPath = errors.New("no common ancestor within reach")

// track is the chain as this process followed it: recent tipsets, each the
// parent of the next, the head last. It turns head changes, complete or with
// gaps, into HeadEvents.
type track struct {
	tipset func(context.Context, lotus.TipSetKey) (*lotus.TipSet, error)
	path   []*lotus.TipSet
}

func (t *track) head() *lotus.TipSet {
	if len(t.path) == 0 {
		return nil
	}
	return t.path[len(t.path)-1]
}

// absorb follows one batch of the node's head stream. Changes that do not fit
// to the known head, because some were missed or the node starts over, are
// bridged. The event may be empty.
func (t *track) absorb(ctx context.Context, changes []*lotus.HeadChange) (HeadEvent, error) {
	event := HeadEvent{Head: t.head()}
	for _, c := range changes {
		if c == nil || checkTipSet(c.Val, nil) != nil {
			return event, errors.New("the head stream brought an empty change")
		}
		var step HeadEvent
		switch {
		case c.Type == lotus.HCRevert:
			step = t.revert(ctx, c.Val)
		case c.Type == lotus.HCApply && t.head() != nil && c.Val.Parents().Equals(t.head().Key()):
			step = t.apply(c.Val)
		case c.Type == lotus.HCApply || c.Type == lotus.HCCurrent:
			step = t.moveTo(ctx, c.Val)
		default:
			return event, fmt.Errorf("the head stream brought a change of unknown type %q", c.Type)
		}
		event = event.then(step)
	}
	return event, nil
}

func (t *track) apply(ts *lotus.TipSet) HeadEvent {
	t.path = append(t.path, ts)
	if over := len(t.path) - historyLimit; over > historyLimit {
		t.path = append([]*lotus.TipSet(nil), t.path[over:]...)
	}
	return HeadEvent{Head: ts, Apply: []*lotus.TipSet{ts}}
}

// revert goes back one tipset. When the reverted one is not the head, or what
// lies below cannot be learned, it does nothing: the apply that always follows
// a revert is then bridged.
func (t *track) revert(ctx context.Context, ts *lotus.TipSet) HeadEvent {
	if t.head() == nil || !t.head().Key().Equals(ts.Key()) || len(t.path) == 1 && t.deepen(ctx) != nil {
		return HeadEvent{Head: t.head()}
	}
	t.path = t.path[:len(t.path)-1]
	return HeadEvent{Head: t.head(), Revert: []*lotus.TipSet{ts}}
}

// deepen adds the parent of the lowest tipset of the path.
func (t *track) deepen(ctx context.Context) error {
	ts, err := t.tipset(ctx, t.path[0].Parents())
	if err = checkTipSet(ts, err); err != nil {
		return err
	}
	t.path = append([]*lotus.TipSet{ts}, t.path...)
	return nil
}

// moveTo makes target the head, whatever lies between.
func (t *track) moveTo(ctx context.Context, target *lotus.TipSet) HeadEvent {
	if t.head() == nil {
		t.path = []*lotus.TipSet{target}
		return reset(target)
	}
	at, fresh, err := t.bridge(ctx, target)
	if err != nil {
		t.path = []*lotus.TipSet{target}
		return reset(target)
	}
	event := HeadEvent{Head: target}
	for i := len(t.path) - 1; i > at; i-- {
		event.Revert = append(event.Revert, t.path[i])
	}
	t.path = t.path[:at+1]
	for i := len(fresh) - 1; i >= 0; i-- {
		event.Apply = append(event.Apply, fresh[i])
		t.apply(fresh[i])
	}
	return event
}

// bridge walks from target and from the head down their parents to a common
// tipset. It returns that tipset's index in the path and the tipsets above it
// on target's side, target first.
func (t *track) bridge(ctx context.Context, target *lotus.TipSet) (at int, fresh []*lotus.TipSet, err error) {
	at = len(t.path) - 1
	for ts, fetched := target, 0; ; fetched++ {
		for at > 0 && t.path[at].Height > ts.Height {
			at--
		}
		switch below := t.path[at].Height > ts.Height; {
		case fetched > gapLimit:
			return 0, nil, errNoPath
		case !below && t.path[at].Key().Equals(ts.Key()):
			return at, fresh, nil
		case below: // the path does not reach as deep, and at is 0
			err = t.deepen(ctx)
		default:
			fresh = append(fresh, ts)
			ts, err = t.tipset(ctx, ts.Parents())
			err = checkTipSet(ts, err)
		}
		if err != nil {
			return 0, nil, err
		}
	}
}
