package doctor

import (
	"fmt"
	"time"

	"wdpost/internal/chain"
	"wdpost/internal/message/sender"
)

// Epochs between head and clock: a few without a block are usual.
const (
	lagDoubt = 3
	lagBad   = 20
)

// Nodes holds the heads of the endpoints against the clock of this machine.
// One endpoint that is fine is enough. A clock without a block delay is one that
// no node has told.
func Nodes(list []chain.EndpointStatus, clock chain.Clock, now time.Time) []Line {
	var lines []Line
	whole := false
	for _, n := range list {
		l := ofNode(n, clock, now)
		whole = whole || l.Mark == Fine
		lines = append(lines, l)
	}
	for i := range lines {
		if whole && lines[i].Mark == Bad {
			lines[i].Mark = Doubt // another one serves
		}
	}
	return lines
}

func ofNode(n chain.EndpointStatus, clock chain.Clock, now time.Time) Line {
	about := "node " + n.Address
	switch {
	case n.Err != nil:
		return bad(about, n.Err.Error(), "see that it runs and can be reached from here; check Common.API.Chain and Token")
	case n.Height < 0:
		return bad(about, "it has told no head", "see that it runs and is in sync")
	case clock.BlockDelay == 0:
		return doubt(about, fmt.Sprintf("its head is %d, but it does not tell the network's clock", n.Height), "update it")
	}
	lag := clock.EpochAt(now) - n.Height
	switch {
	case lag > lagBad:
		return bad(about, fmt.Sprintf("its head %d is %d epochs (%s) behind the clock of this machine", n.Height, lag, time.Duration(lag)*clock.BlockDelay), "let it sync (`lotus sync wait`), or name another one first")
	case lag < -1:
		return bad(about, fmt.Sprintf("its head %d is %d epochs ahead of the clock of this machine", n.Height, -lag), "set the clock of this machine: run chrony or ntpd")
	case lag > lagDoubt:
		return doubt(about, fmt.Sprintf("its head %d is %d epochs behind the clock of this machine", n.Height, lag), "look whether it still syncs; run this again in a minute")
	}
	return fine(about, "head %d, %d epochs behind the clock, answers in %s", n.Height, max(lag, 0), n.Latency.Round(time.Millisecond))
}

// Payers are the addresses that may pay for a miner's messages. One that is
// fine is enough; what is wrong with those that count stands as a condition of
// the board that chose among them.
func Payers(miner string, list []sender.Account, err error) []Line {
	about := "sender of " + miner
	if err != nil {
		return []Line{bad(about, err.Error(), "set Miners.PoSt.Sender to the worker or a control address whose key the message service has, and see that it answers")}
	}
	var lines []Line
	for _, a := range list {
		if a.Problem == "" && a.Miner.String() == miner {
			lines = append(lines, fine(about, "%s (%s) can sign; its balance is %s attoFIL", a.Name, a.Role, a.Balance))
		}
	}
	return lines
}
