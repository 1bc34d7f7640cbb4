package bench

import (
	"math"
	"testing"
)

// TestReplay replays runs whose times are known.
func TestReplay(t *testing.T) {
	runs := []Run{
		{Before: 1, Pieces: []float64{4, 1, 1, 1, 1}}, // two workers: 4 beside 1+1+1+1
		{Pieces: []float64{1, 1, 4}},                  // 1, then 4: in their order
		{Before: 0.5},
	}
	for _, tt := range []struct {
		workers               int
		makespan, work, chain float64
	}{
		{1, 15.5, 15.5, 9.5}, {2, 1 + 4 + 5 + 0.5, 15.5, 9.5}, {9, 9.5, 15.5, 9.5},
	} {
		r := replay(runs, tt.workers)
		if r.Makespan != tt.makespan || r.Work != tt.work || r.Chain != tt.chain || r.Serial != 1.5 {
			t.Errorf("%d workers: %+v, want %+v", tt.workers, r, tt)
		}
		if busy := tt.work / tt.makespan / float64(tt.workers); math.Abs(r.Busy()-busy) > 1e-12 {
			t.Errorf("%d workers: busy %v, want %v", tt.workers, r.Busy(), busy)
		}
	}
	if got := slowest(runs, 9, 1); got[0] != 0 {
		t.Errorf("most is waited in run %d, want the first", got[0])
	}
}

// TestRecorder records runs as a proof makes them.
func TestRecorder(t *testing.T) {
	r := newRecorder()
	for run, pieces := range []int{3, 1} {
		r.BeginRun(run, pieces)
		for i := range pieces {
			r.BeginPiece(run, i)
			spin()
			r.EndPiece(run, i)
		}
		r.EndRun(run)
	}
	runs := r.end()
	if len(runs) != 3 || len(runs[0].Pieces) != 3 || len(runs[1].Pieces) != 1 || len(runs[2].Pieces) != 0 {
		t.Fatalf("recorded %+v", runs)
	}
	for _, run := range runs[:2] {
		for _, took := range run.Pieces {
			if took <= 0 {
				t.Errorf("a piece took %v", took)
			}
		}
	}
}

func spin() {
	x := 1.0
	for range 1 << 18 {
		x = math.Sqrt(x + 1)
	}
	if x < 0 {
		panic(x)
	}
}
