package prover

import (
	"runtime/debug"
	"testing"
)

func TestSaveMemory(t *testing.T) {
	current := func() int {
		percent := debug.SetGCPercent(100)
		debug.SetGCPercent(percent)
		return percent
	}
	defer debug.SetGCPercent(current())
	for _, c := range []struct{ before, during int }{{100, thriftyPercent}, {thriftyPercent, thriftyPercent}, {2, 2}, {-1, -1}} {
		debug.SetGCPercent(c.before)
		first := SaveMemory()
		second := SaveMemory()
		first()
		first() // counts once
		if got := current(); got != c.during {
			t.Errorf("target %d: %d while a proof runs, want %d", c.before, got, c.during)
		}
		second()
		if got := current(); got != c.before {
			t.Errorf("target %d: %d after the proofs", c.before, got)
		}
	}
}
