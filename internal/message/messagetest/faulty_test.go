package messagetest_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"wdpost/internal/message"
	"wdpost/internal/message/messagetest"
	"wdpost/internal/message/node"
)

// Each fate shows both halves: what the caller is told and what happened.
func TestFates(t *testing.T) {
	lost := errors.New("the answer was lost")
	for name, c := range map[string]struct {
		fate messagetest.Fate
		want error
		sent int
	}{
		"passes":              {messagetest.Fate{}, nil, 1},
		"fails":               {messagetest.Fate{Err: lost}, lost, 0},
		"fails, but happened": {messagetest.Fate{Err: lost, Happened: true}, lost, 1},
		"hangs":               {messagetest.Fate{Hang: true}, context.DeadlineExceeded, 0},
		"happened and hangs":  {messagetest.Fate{Hang: true, Happened: true}, context.DeadlineExceeded, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := messagetest.NewWorld()
				f := &messagetest.Faulty{Sender: node.New(node.Config{API: w.Node(true)}), Decide: func(op string, n int) messagetest.Fate {
					if op == "push" && n == 1 {
						return c.fate
					}
					return messagetest.Fate{}
				}}
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				if _, err := f.Push(ctx, "a", messagetest.Post(1), message.Spec{}); !errors.Is(err, c.want) {
					t.Errorf("error %v, want %v", err, c.want)
				}
				if w.Sent() != c.sent {
					t.Errorf("%d sent, want %d", w.Sent(), c.sent)
				}
				if _, err := f.Push(t.Context(), "a", messagetest.Post(1), message.Spec{}); err != nil || w.Sent() != 1 || f.Counted("push") != 2 {
					t.Errorf("again: %v, %d sent, %d pushes", err, w.Sent(), f.Counted("push"))
				}
			})
		})
	}
}

// A decorated sender still keeps the contract.
func TestFaultyPasses(t *testing.T) {
	messagetest.Run(t, messagetest.Options{TakesBackSigned: true, Open: func(_ *testing.T, w *messagetest.World) message.Sender {
		return &messagetest.Faulty{Sender: node.New(node.Config{API: w.Node(true)})}
	}})
}
