package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"wdpost/internal/manager"
)

func TestRehearsalTable(t *testing.T) {
	var b bytes.Buffer
	err := (&app{stdout: &b}).printRehearsal(manager.Rehearsal{
		Miner: 1008, Deadline: 3, Challenge: 77, Chain: time.Second, Took: 5 * time.Minute, Margin: 30 * time.Minute, Left: 28 * time.Minute,
		Batches: []manager.RehearsalBatch{{Partitions: []uint64{0, 1}, Sectors: 9, Skipped: map[uint64]string{5: "gone"}, Check: time.Second, Prove: 4 * time.Minute, Verify: 30 * time.Millisecond}},
	})
	for _, want := range []string{"deadline 3: proven with the challenge of epoch 77, verified, not sent", "[0 1]", "4m0s", "30ms", "skipped 5: gone", "30m0s before the close", "28m0s of the window"} {
		if err != nil || !strings.Contains(b.String(), want) {
			t.Errorf("no %q in %s, %v", want, b.String(), err)
		}
	}
}
