package poster

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/exitcode"

	"wdpost/internal/condition"
	"wdpost/internal/lotus"
	"wdpost/internal/message"
)

// TestAnotherSenderAfterAFailureOnTheChain: a message that the chain refused
// because of its sender was sent from the same one again and again.
func TestAnotherSenderAfterAFailureOnTheChain(t *testing.T) {
	simulate(t, oneDeadline(1), func(s *sim) {
		s.start()
		s.until(44)
		s.chain.mu.Lock()
		s.chain.pool[0].outcome = exitcode.SysErrSenderStateInvalid
		s.chain.mu.Unlock()
		s.until(110)
		s.chain.mu.Lock()
		defer s.chain.mu.Unlock()
		var from []uint64
		for _, m := range s.chain.pool {
			id, err := address.IDFromAddress(m.msg.From)
			if err != nil {
				t.Fatal(err)
			}
			from = append(from, id)
		}
		if !slices.Equal(from, []uint64{100, 101}) {
			t.Errorf("sent from %v", from)
		}
	})
}

// fickleSender names another sender as the best each time, and its first pushes
// end without an answer.
type fickleSender struct {
	*simSender
	asked int
	from  []address.Address
}

func (s *fickleSender) Senders(ctx context.Context, w message.Wish) ([]message.Candidate, error) {
	list, err := s.simSender.Senders(ctx, w)
	if s.asked++; s.asked%2 == 0 {
		slices.Reverse(list)
	}
	return list, err
}

func (s *fickleSender) Push(ctx context.Context, id string, msg *lotus.Message, spec message.Spec) (message.Handle, error) {
	if s.from = append(s.from, msg.From); len(s.from) <= 3 {
		return message.Handle{}, errors.New("connection reset")
	}
	return s.simSender.Push(ctx, id, msg, spec)
}

// TestAPushWithoutAnswerIsRepeatedFromTheSameSender: it may have been accepted,
// and from another sender it would be a second message.
func TestAPushWithoutAnswerIsRepeatedFromTheSameSender(t *testing.T) {
	simulate(t, oneDeadline(1), func(s *sim) {
		sender := &fickleSender{simSender: s.sender}
		s.adjust = func(cfg *Config) { cfg.Sender = sender }
		s.start()
		s.until(60)
		if len(sender.from) < 4 {
			t.Fatalf("pushed %d times", len(sender.from))
		}
		for _, from := range sender.from[:4] {
			if from != sender.from[0] {
				t.Errorf("pushed from %v", sender.from)
			}
		}
	})
}

// poorSender has one sender, whose balance does not cover a message until it is
// topped up.
type poorSender struct {
	*simSender
	rich atomic.Bool
}

func (s *poorSender) Senders(ctx context.Context, w message.Wish) ([]message.Candidate, error) {
	list, err := s.simSender.Senders(ctx, w)
	list = list[:1]
	if !s.rich.Load() {
		list[0].Balance = big.NewInt(5e9)
	}
	return list, err
}

// TestATopUpIsSeenWhileAMessageWaits: the balances were those of the hand-over
// until the window closed, and the message was never raised.
func TestATopUpIsSeenWhileAMessageWaits(t *testing.T) {
	simulate(t, oneDeadline(1), func(s *sim) {
		sender := &poorSender{simSender: s.sender}
		s.adjust = func(cfg *Config) { cfg.Sender = sender }
		s.start()
		s.until(44)
		s.chain.mu.Lock()
		s.chain.pool[0].held, s.chain.pool[0].cheap = true, true
		s.chain.mu.Unlock()
		s.until(48)
		if s.stood[condition.SenderNoFunds] == "" {
			t.Error("nobody is told")
		}
		sender.rich.Store(true)
		s.until(110)
	})
}
