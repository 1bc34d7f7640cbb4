package winning

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/filecoin-project/go-state-types/abi"

	"wdpost/internal/patience"
)

// deskLog records what became of jobs, in order. Jobs run one at a time in
// these tests, and synctest orders the rest.
type deskLog struct {
	served, dropped []abi.ChainEpoch
	reason          error
}

func (l *deskLog) job(ctx context.Context, height abi.ChainEpoch, takes time.Duration) *job {
	return &job{
		ctx:    ctx,
		height: height,
		serve: func(ctx context.Context) {
			l.served = append(l.served, height)
			_ = patience.Sleep(ctx, takes)
		},
		drop: func(err error) { l.dropped, l.reason = append(l.dropped, height), err },
	}
}

func TestDeskServesNewestFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, l := newDesk(1), &deskLog{}
		for _, h := range []abi.ChainEpoch{10, 11, 13, 12} {
			d.submit(l.job(t.Context(), h, time.Second))
		}
		d.drain()
		if want := []abi.ChainEpoch{10, 13, 12, 11}; !slices.Equal(l.served, want) {
			t.Errorf("served %v, want %v", l.served, want)
		}
	})
}

func TestDeskDropsWhatIsLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, l := newDesk(1), &deskLog{}
		short, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		d.submit(l.job(t.Context(), 10, 10*time.Second))
		d.submit(l.job(short, 11, time.Second))
		start := time.Now()
		time.Sleep(6 * time.Second)
		synctest.Wait()
		if !slices.Equal(l.dropped, []abi.ChainEpoch{11}) || !errors.Is(l.reason, errLate) {
			t.Errorf("dropped %v because %v after %v", l.dropped, l.reason, time.Since(start))
		}
		d.drain()
		if !slices.Equal(l.served, []abi.ChainEpoch{10}) {
			t.Errorf("served %v", l.served)
		}
	})
}

func TestDeskEndsWithItsService(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, l := newDesk(1), &deskLog{}
		ctx, stop := context.WithCancel(t.Context())
		d.submit(l.job(ctx, 10, time.Hour))
		d.submit(l.job(ctx, 11, time.Hour))
		synctest.Wait()
		stop()
		d.drain()
		if !slices.Equal(l.dropped, []abi.ChainEpoch{11}) || !errors.Is(l.reason, errStopping) {
			t.Errorf("dropped %v because %v", l.dropped, l.reason)
		}
	})
}

func TestDeskUsesAllSlots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(2)
		start := time.Now()
		for range 4 {
			d.submit(&job{ctx: t.Context(), serve: func(ctx context.Context) { _ = patience.Sleep(ctx, time.Second) }, drop: func(error) { t.Error("dropped") }})
		}
		d.drain()
		if took := time.Since(start); took != 2*time.Second {
			t.Errorf("four jobs of a second in two slots took %v", took)
		}
	})
}
