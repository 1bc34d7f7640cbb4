package manager

import (
	"math/big"

	"wdpost/internal/winning"
)

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

// Who pays for the miners' messages.
var (
	senderBalance = desc("sender_balance_fil", "Balance of an address that may pay for the miner's messages, when it was last asked for, in FIL", "miner", "sender", "role")
	senderUsable  = desc("sender_usable", "1 while the address can send: permitted, with its key at the message service", "miner", "sender", "role")
)

func (c collector) senders(s sink) {
	n := c.m.network.Load()
	if n == nil {
		return
	}
	for _, a := range n.payers.Known() {
		fil, _ := new(big.Rat).SetFrac(a.Balance.Int, big.NewInt(1e18)).Float64()
		s.gauge(senderBalance, fil, a.Miner.String(), a.Name.String(), a.Role)
		s.gauge(senderUsable, truth(a.Problem == ""), a.Miner.String(), a.Name.String(), a.Role)
	}
}
