package devnet

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/builtin"
	minertypes "github.com/filecoin-project/go-state-types/builtin/v18/miner"

	"wdpost/internal/attr"
	"wdpost/internal/lotus"
)

// Kind says what an event is about.
type Kind string

// The kinds of events.
const (
	NewTipSet    Kind = "tipset"
	NullRound    Kind = "null"
	Reorged      Kind = "reorg"
	Landed       Kind = "landed" // a message was executed, exit code 0
	Failed       Kind = "failed" // a message was executed and refused
	Closed       Kind = "closed" // a window with sectors ended
	WinningAsked Kind = "winning"

	TroubleBegins Kind = "trouble"
	TroubleEnds   Kind = "trouble over"
)

// Event is something that happened, for a live view.
type Event struct {
	Time     time.Time
	Epoch    abi.ChainEpoch
	Kind     Kind
	Miner    abi.ActorID // 0 for none
	Deadline uint64      // of Closed
	Message  string      // CID, of Landed and Failed
	Text     string
}

// eventBuffer is how many events a reader may be behind before it misses some.
const eventBuffer = 1024

// Events returns what happens from now on. A reader that does not keep up misses
// events and delays nobody. The stream ends with cancel and with Close.
func (n *Network) Events() (events <-chan Event, cancel func()) {
	ch := make(chan Event, eventBuffer)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.subs[ch] = struct{}{}
	return ch, func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		if _, open := n.subs[ch]; open {
			delete(n.subs, ch)
			close(ch)
		}
	}
}

// emit sends an event to whoever listens and has room.
func (n *Network) emit(e Event) {
	e.Time, e.Epoch = time.Now(), n.chain.Epoch()
	n.cfg.Log.LogAttrs(context.Background(), slog.LevelDebug, "devnet event: "+string(e.Kind), attr.Epoch(e.Epoch), attr.Miner(e.Miner), attr.Reason(e.Text))
	n.mu.Lock()
	defer n.mu.Unlock()
	for ch := range n.subs {
		select {
		case ch <- e:
		default:
		}
	}
}

// minerOf is the receiver of a message, 0 if it is no ID address.
func minerOf(m *lotus.Message) abi.ActorID {
	id, err := address.IDFromAddress(m.To)
	if err != nil {
		return 0
	}
	return abi.ActorID(id)
}

// posted reads the parameters of a SubmitWindowedPoSt; nil for other messages.
func posted(m *lotus.Message) *minertypes.SubmitWindowedPoStParams {
	if m.Method != builtin.MethodsMiner.SubmitWindowedPoSt {
		return nil
	}
	var p minertypes.SubmitWindowedPoStParams
	if p.UnmarshalCBOR(bytes.NewReader(m.Params)) != nil {
		return nil
	}
	return &p
}

// describe says in a few words what a message does.
func describe(m *lotus.Message) string {
	switch m.Method {
	case builtin.MethodSend:
		return fmt.Sprintf("send %s", m.Value)
	case builtin.MethodsMiner.SubmitWindowedPoSt:
		if p := posted(m); p != nil {
			var partitions []uint64
			for _, part := range p.Partitions {
				partitions = append(partitions, part.Index)
			}
			return fmt.Sprintf("window PoSt of deadline %d partitions %v", p.Deadline, partitions)
		}
		return "window PoSt with unreadable parameters"
	case builtin.MethodsMiner.DeclareFaultsRecovered:
		return "recovery declaration"
	case builtin.MethodsMiner.DisputeWindowedPoSt:
		return "dispute of a window PoSt"
	}
	return fmt.Sprintf("method %d", m.Method)
}
