package manager

import "wdpost/internal/winning"

// What a miner's registrations at gateways say of its winning proofs.
var (
	winRegistered = desc("winning_registered", "1 while the miner is registered at the gateway", "miner", "gateway")
	winRequests   = desc("winning_requests_total", "Requests for winning proofs by what they came to; late ones are among the others", "miner", "gateway", "outcome")
	winMargin     = desc("winning_margin_seconds", "What was left of the time of the last request; negative when it was late", "miner", "gateway")
	winTook       = desc("winning_seconds", "Time that the last request took, from arrival to answer", "miner", "gateway")
)

func (c collector) winnings(s sink, name string, list []winning.Registration) {
	for _, r := range list {
		s.gauge(winRegistered, truth(r.Registered), name, r.Gateway)
		for outcome, n := range map[string]int{"proven": r.Answered, "failed": r.Failed, "undelivered": r.Unheard, "late": r.Late} {
			s.counter(winRequests, uint64(n), name, r.Gateway, outcome)
		}
		s.gauge(winMargin, r.LastMargin.Seconds(), name, r.Gateway)
		s.gauge(winTook, r.LastTook.Seconds(), name, r.Gateway)
	}
}
