package queue_test

import (
	"testing"

	"wdpost/internal/queue"
)

func TestMark(t *testing.T) {
	for progress, want := range map[string]string{
		"proving 41% 12s": "proving 41%", "proving for 1m3s 63s": "proving for", "": "", "working": "working", "reading sectors 3/10 5s": "reading sectors 3/10",
	} {
		if got := queue.Mark(progress); got != want {
			t.Errorf("%q: %q, want %q", progress, got, want)
		}
	}
}
