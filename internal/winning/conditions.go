package winning

import (
	"fmt"

	"github.com/filecoin-project/go-address"

	"wdpost/internal/condition"
)

// raise tells the board what stands: gateways at which a miner is not
// registered, and miners whose last request failed. While a miner is registered
// somewhere, a gateway that is away is only a reserve that is gone.
func (s *Service) raise() {
	if s.cfg.Board == nil {
		return
	}
	s.raising.Lock()
	defer s.raising.Unlock()
	all := s.Status()
	up := map[address.Address]bool{}
	for _, r := range all {
		up[r.Miner] = up[r.Miner] || r.Registered
	}
	for _, r := range all {
		cost := condition.Money
		if up[r.Miner] {
			cost = condition.None
		}
		subject := r.Gateway + " " + r.Miner.String()
		s.cfg.Board.When(!r.Registered && r.Reason != "", condition.Condition{
			Kind: condition.GatewayAway, Subject: subject, Cost: cost,
			Detail: fmt.Sprintf("%s is not registered at gateway %s: %s", r.Miner, r.Gateway, r.Reason),
		})
		s.cfg.Board.When(r.LastError != "", condition.Condition{
			Kind: condition.WinningFailed, Subject: subject,
			Detail: fmt.Sprintf("the last request for a winning proof of %s, height %d, failed after %v: %s", r.Miner, r.LastHeight, r.LastTook, r.LastError),
		})
	}
}

// clear ends what stands about a service that does not run any more.
func (s *Service) clear() {
	s.raising.Lock()
	defer s.raising.Unlock()
	for _, r := range s.Status() {
		subject := r.Gateway + " " + r.Miner.String()
		s.cfg.Board.Clear(condition.GatewayAway, subject)
		s.cfg.Board.Clear(condition.WinningFailed, subject)
	}
}
