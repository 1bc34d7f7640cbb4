package message_test

import (
	"testing"

	"github.com/filecoin-project/go-state-types/abi"

	"wdpost/internal/message"
)

func TestPace(t *testing.T) {
	for name, tt := range map[string]struct {
		seen [][2]abi.ChainEpoch // epoch by the clock, height of the head
		now  abi.ChainEpoch      // by the clock
		want abi.ChainEpoch
	}{
		"nothing seen":              {nil, 500, 0},
		"all is well":               {[][2]abi.ChainEpoch{{100, 100}, {101, 100}, {102, 102}}, 103, 103},
		"the clock is an hour fast": {[][2]abi.ChainEpoch{{220, 100}, {221, 101}}, 223, 103},
		"the clock is behind":       {[][2]abi.ChainEpoch{{90, 100}, {91, 101}}, 93, 103},
		"the node stands still":     {[][2]abi.ChainEpoch{{100, 100}, {101, 101}}, 164, 164},
		"the node catches up":       {[][2]abi.ChainEpoch{{100, 40}, {100, 60}, {101, 101}}, 102, 102},
	} {
		t.Run(name, func(t *testing.T) {
			now := abi.ChainEpoch(0)
			p := message.NewPace(func() abi.ChainEpoch { return now })
			for _, s := range tt.seen {
				now = s[0]
				p.Saw(s[1])
			}
			if now = tt.now; p.Epoch() != tt.want {
				t.Errorf("epoch %d, want %d", p.Epoch(), tt.want)
			}
		})
	}
}
