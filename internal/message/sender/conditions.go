package sender

import (
	"errors"
	"fmt"
	"slices"

	"github.com/filecoin-project/go-state-types/big"

	"wdpost/internal/condition"
	"wdpost/internal/message"
)

// raise sets what is wrong with the candidates that count, and clears what is
// mended. While another candidate can pay, nothing is lost yet.
func (c *Chooser) raise(wish message.Wish, all []examined, usable []message.Candidate) {
	cost := condition.Window
	if slices.ContainsFunc(usable, func(u message.Candidate) bool { return !u.Short }) {
		cost = condition.None
	}
	var now []condition.Condition
	add := func(kind condition.Kind, e examined, detail string) {
		now = append(now, condition.Condition{Kind: kind, Subject: wish.Miner.String() + " " + e.name.String(), Detail: detail, Cost: cost})
	}
	var away error
	for _, e := range all {
		if !allowed(e.Role, wish) || e.Role != "configured" && cost == condition.None {
			continue // nobody counts on it
		}
		if e.unasked != nil {
			away = e.unasked
		}
		who := fmt.Sprintf("sender %s (%s) of %s: ", e.name, e.Role, wish.Miner)
		switch {
		case errors.Is(e.problem, message.ErrNoRight):
			add(condition.SenderNoRight, e, who+e.problem.Error())
		case errors.Is(e.problem, message.ErrNoKey):
			add(condition.SenderNoKey, e, who+e.problem.Error())
		case errors.Is(e.problem, errNotAccepted), errors.Is(e.problem, errSignsNot), errors.Is(e.problem, errEthereum), errors.Is(e.problem, errUnknown):
			add(condition.SenderUnfit, e, who+e.problem.Error())
		case e.problem == nil && short(e, usable):
			add(condition.SenderNoFunds, e, who+fmt.Sprintf("its balance is %s attoFIL, the next messages may need %s", e.Balance, zeroIfNil(wish.Need)))
		}
	}
	if away != nil {
		now = append(now, condition.Condition{Kind: condition.MessagesDelayed, Subject: wish.Miner.String(), Detail: fmt.Sprintf("the service that sends the messages of %s does not answer: %v", wish.Miner, away)})
	}
	if len(usable) == 0 {
		now = append(now, condition.Condition{Kind: condition.NoSender, Subject: wish.Miner.String(), Detail: fmt.Sprintf("no address can send messages for %s", wish.Miner)})
	}
	c.mu.Lock()
	before := c.raised[wish.Miner]
	c.raised[wish.Miner] = now
	c.mu.Unlock()
	for _, n := range now {
		c.cfg.Board.Set(n)
	}
	for _, b := range before {
		if !slices.ContainsFunc(now, func(n condition.Condition) bool { return n.Kind == b.Kind && n.Subject == b.Subject }) {
			c.cfg.Board.Clear(b.Kind, b.Subject)
		}
	}
}

func short(e examined, usable []message.Candidate) bool {
	return slices.ContainsFunc(usable, func(u message.Candidate) bool { return u.Address == e.Address && u.Short })
}

func zeroIfNil(v big.Int) big.Int {
	if v.Nil() {
		return big.Zero()
	}
	return v
}
