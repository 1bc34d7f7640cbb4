package manager

import (
	"context"
	"errors"
	"time"

	"github.com/filecoin-project/go-state-types/abi"

	"wdpost/internal/attr"
	"wdpost/internal/chain"
	"wdpost/internal/condition"
	"wdpost/internal/config"
	"wdpost/internal/endpoint"
	"wdpost/internal/lotus"
	"wdpost/internal/message"
	"wdpost/internal/message/messager"
	"wdpost/internal/message/node"
	payers "wdpost/internal/message/sender"
	"wdpost/internal/patience"
)

// network is what the node tells once and for all, and what is made of it.
type network struct {
	name     string
	clock    chain.Clock
	pace     *message.Pace // the epoch, also where the clock is wrong
	messages message.Sender
	payers   Payers
}

// joinNetwork asks the node until it answers; false when ctx ended first. No
// answer is final: a node that has just been set up, an auth service that is
// away and a wrong token cannot be told apart from here.
func (m *Manager) joinNetwork(ctx context.Context) bool {
	pause := patience.Backoff{Min: time.Second, Max: 5 * time.Second}
	var outage patience.Outage
	for {
		n, err := m.askNetwork(ctx)
		if err == nil {
			outage.Over(m.log, "the node answers")
			m.board.Clear(condition.NetworkUnknown, "")
			m.network.Store(n)
			m.log.Info("node connected", attr.Network(n.name), attr.BlockDelay(n.clock.BlockDelay))
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		m.board.Set(condition.Condition{Kind: condition.NetworkUnknown, Detail: err.Error(), Remedy: accessRemedy(err)})
		outage.Failed(m.log, "the node does not answer; nothing can be proven before it does", err.Error(), attr.Err(err))
		if pause.Wait(ctx) != nil {
			return false
		}
	}
}

// accessRemedy is what to do about a refused token; empty for other errors.
func accessRemedy(err error) string {
	if errors.Is(err, endpoint.ErrToken) || errors.Is(err, endpoint.ErrPermission) {
		return "check Common.API.Token: it must be one of that service, with the rights read, write and sign; a service whose auth service is away refuses valid tokens too, so it is asked again"
	}
	return ""
}

func (m *Manager) askNetwork(ctx context.Context) (*network, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	var n network
	err := m.guarded(ctx, "network", func(ctx context.Context) (err error) {
		if n.name, err = m.node.StateNetworkName(ctx); err != nil {
			return err
		}
		lotus.UseNetwork(n.name)
		if n.clock, err = m.node.Clock(ctx); err != nil {
			return err
		}
		n.pace = message.NewPace(func() abi.ChainEpoch { return n.clock.EpochAt(time.Now()) })
		if n.messages, err = m.newSender(m.settings.Load().manager.Common.API, &n); err != nil {
			return err
		}
		n.payers = m.cfg.Parts.Payers(payers.Config{
			State: m.node, Service: n.messages, Keep: n.clock.BlockDelay / 2, Board: m.board, Log: m.log,
		})
		return nil
	})
	return &n, err
}

// newSender sends through the messager, or through the node when the config
// says "none".
func (m *Manager) newSender(api config.API, n *network) (message.Sender, error) {
	addr := api.Messager
	if addr == "" && len(api.Gateway) > 0 {
		addr = api.Gateway[0]
	}
	poll := n.clock.BlockDelay / 2
	if addr == "" || addr == "none" {
		return m.cfg.Parts.NodeSender(node.Config{API: m.node, PollInterval: poll, Epoch: n.pace.Epoch}), nil
	}
	return m.cfg.Parts.Messager(messager.Config{Address: addr, Token: api.Token, PollInterval: poll, Epoch: n.pace.Epoch})
}
