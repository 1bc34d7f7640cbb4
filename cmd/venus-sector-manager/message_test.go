package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"wdpost/internal/manager"
)

func TestMessageTable(t *testing.T) {
	now, nonce := time.Unix(5000, 0), uint64(0)
	list := []manager.Message{
		{ID: "a-2", Kind: "post", Miner: 1008, Deadline: 3, Partitions: "0,1", Attempt: 2, State: "pending", CreatedAt: now.Add(-time.Minute), Nonce: &nonce, FeeCap: "1500000000", Reason: "one\ntwo"},
		{ID: "a-1", State: "landed"},
	}
	var b bytes.Buffer
	if err := (&app{stdout: &b}).printMessages(list, now); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(b.String(), "\n")
	if len(lines) != 4 || !strings.Contains(lines[1], "1m0s") || !strings.Contains(lines[1], " 0 ") || !strings.Contains(lines[1], "1.5 nanoFIL") || !strings.HasSuffix(lines[1], "one; two") {
		t.Errorf("%s", b.String())
	}
	if ended(list[0]) || !ended(list[1]) {
		t.Error("pending is not its end, landed is")
	}
	for atto, want := range map[string]string{"": "", "1": "0.000000001 nanoFIL", "100000000000": "100 nanoFIL", "x": "x"} {
		if got := nano(atto); got != want {
			t.Errorf("%q: %q", atto, got)
		}
	}
	rows := messageRows(manager.Message{Epoch: 7, GasUsed: 9, Replaced: 2}, now)
	text := ""
	for _, r := range rows {
		text += r[0] + "=" + r[1] + "\n"
	}
	if !strings.Contains(text, "Executed=at epoch 7, exit code 0, 9 gas") || !strings.Contains(text, "Price raised=2 times") || !strings.Contains(text, "Nonce=\n") {
		t.Error(text)
	}
}
