package manager

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"wdpost/internal/chain"
	"wdpost/internal/config"
	"wdpost/internal/message"
)

// askedNode keeps whether its endpoints were asked.
type askedNode struct {
	fakeNode
	probed *bool
}

func (n askedNode) Probe(context.Context) { *n.probed = true }
func (n askedNode) Status() []chain.EndpointStatus {
	return []chain.EndpointStatus{{Address: "one", Height: 7}}
}

// TestOutsideAsksAsTheDaemonDoes: beside the daemon node, circuits and senders
// are asked with the same settings.
func TestOutsideAsksAsTheDaemonDoes(t *testing.T) {
	w := build(t, "Miners[].PoSt.Sender", `"`+otherSender+`"`)
	parts, probed := w.parts(), false
	parts.Node = func(c chain.Config) (Node, error) { w.chain = c; return askedNode{probed: &probed}, nil }
	cfg := w.settings.Load().manager
	o, err := NewOutside(cfg, parts, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if list := o.Nodes(t.Context()); !probed || len(list) != 1 || list[0].Height != 7 {
		t.Errorf("nodes %+v, asked %t", list, probed)
	}
	if clock, err := o.Join(t.Context()); err != nil || clock.BlockDelay != 30*time.Second {
		t.Errorf("%+v, %v", clock, err)
	}
	setups, err := o.Setups(t.Context(), cfg.Miners[0])
	if err != nil || len(setups) != 2 || setups[0].SectorSize != 2048 || setups[0].Sectors != 2 {
		t.Errorf("%v, %v", setups, err)
	}
	if _, err := o.Payers(t.Context(), cfg.Miners[0]); !errors.Is(err, message.ErrNoSender) || len(w.wish.Configured) != 1 {
		t.Errorf("%v, asked for %+v", err, w.wish)
	}
	if w.chain.Board == nil || w.chain.Board != w.payers.Board {
		t.Error("what is wrong stands on no board")
	}
	if _, err := NewOutside(config.Manager{}, parts, slog.New(slog.DiscardHandler)); err == nil {
		t.Error("no address of a node is needed")
	}
}
