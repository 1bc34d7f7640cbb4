package work

import (
	"errors"
	"sync"
	"testing"
)

func TestRun(t *testing.T) {
	for _, workers := range []int{-1, 1, 3, 100} {
		const n = 20
		var mu sync.Mutex
		seen := make(map[int]int)
		err := Run(n, workers, nil, func(worker, i int) error {
			mu.Lock()
			defer mu.Unlock()
			seen[i]++
			if worker < 0 || worker >= max(1, workers) {
				t.Errorf("%d workers: one is called %d", workers, worker)
			}
			return nil
		})
		if err != nil || len(seen) != n {
			t.Errorf("%d workers: %v, %d pieces of %d", workers, err, len(seen), n)
		}
	}
	if err := Run(0, 4, nil, nil); err != nil {
		t.Error(err)
	}
}

func TestRunEnds(t *testing.T) {
	bad := errors.New("bad")
	ran := 0
	if err := Run(10, 1, nil, func(_, i int) error {
		ran++
		if i == 3 {
			return bad
		}
		return nil
	}); err != bad || ran != 4 {
		t.Errorf("%v after %d pieces, want the error of the fourth", err, ran)
	}
	done := make(chan struct{})
	ran = 0
	if err := Run(10, 1, done, func(_, i int) error {
		if ran++; i == 5 {
			close(done)
		}
		return nil
	}); !errors.Is(err, ErrCanceled) || ran != 6 {
		t.Errorf("%v after %d pieces, want ErrCanceled after six", err, ran)
	}
}
