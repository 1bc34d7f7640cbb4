package manager

import (
	"context"
	"errors"
	"log/slog"

	"github.com/filecoin-project/go-address"

	"wdpost/internal/chain"
	"wdpost/internal/condition"
	"wdpost/internal/config"
	"wdpost/internal/lotus"
	payers "wdpost/internal/message/sender"
	"wdpost/proofs/post"
)

// Outside asks the node and the service of messages as the daemon would, for
// commands beside it. What is wrong stands on its board.
type Outside struct{ m *Manager }

// NewOutside connects; nothing is asked yet.
func NewOutside(cfg config.Manager, parts Parts, log *slog.Logger) (*Outside, error) {
	if err := checkAddresses(cfg.Common.API); err != nil {
		return nil, err
	}
	m := &Manager{cfg: Config{Parts: parts, Log: log}, log: log, board: condition.NewBoard()}
	m.settings.Store(&settings{manager: cfg})
	var err error
	m.node, err = parts.Node(nodeConfig(cfg.Common.API, m.board, log))
	return &Outside{m}, err
}

// Nodes asks every endpoint for its head.
func (o *Outside) Nodes(ctx context.Context) []chain.EndpointStatus {
	o.m.node.Probe(ctx)
	return o.m.node.Status()
}

// Join asks for the network and connects the service of messages; the methods
// below need it.
func (o *Outside) Join(ctx context.Context) (chain.Clock, error) {
	n, err := o.m.askNetwork(ctx)
	if err != nil {
		return chain.Clock{}, err
	}
	o.m.network.Store(n)
	return n.clock, nil
}

// Setups are the circuits that a miner's proofs need.
func (o *Outside) Setups(ctx context.Context, conf config.Miner) ([]post.Setup, error) {
	addr, err := address.NewIDAddress(conf.Actor)
	if err != nil {
		return nil, err
	}
	info, err := o.m.node.StateMinerInfo(ctx, addr, lotus.TipSetKey{})
	if err != nil {
		return nil, err
	}
	if info == nil {
		return nil, errors.New("the node's answer is empty")
	}
	n, err := needOf(Config{Poster: true, Winning: true}, conf, info)
	if err != nil {
		return nil, err
	}
	var setups []post.Setup
	if n.post {
		setup := n.window.Setup()
		if n.odd != 0 {
			setup = setup.WithSectors(n.odd)
		}
		setups = append(setups, setup)
	}
	if n.win {
		setups = append(setups, n.winning.Setup())
	}
	return setups, nil
}

// Payers are the addresses that may pay for a miner's messages, as they are now.
// The error says why none can.
func (o *Outside) Payers(ctx context.Context, conf config.Miner) ([]payers.Account, error) {
	wish, err := wishOf(conf)
	if err != nil {
		return nil, err
	}
	n := o.m.network.Load()
	_, err = n.payers.Senders(ctx, wish)
	return n.payers.Known(), err
}

// Conditions are what is wrong, as the rooms that were asked tell it.
func (o *Outside) Conditions() []condition.Condition { return o.m.board.List() }

// Close ends the connections.
func (o *Outside) Close() { o.m.node.Close() }
