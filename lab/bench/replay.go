package bench

import (
	"container/heap"
	"runtime"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Run is one run of pieces of a proof: all of them depend on the runs before
// and on nothing else, and are begun in their order.
type Run struct {
	Before float64   `json:"before"` // seconds of one core between the run before and this one
	Pieces []float64 `json:"pieces"` // CPU seconds of each
}

// recorder is a groth16.Observer that keeps the CPU time of every piece. It
// counts the time of the thread, so that neither other programs nor too few
// cores disturb it.
type recorder struct {
	mu    sync.Mutex
	runs  []Run
	began map[[2]int]time.Duration
	last  time.Duration // CPU time of the proving goroutine's thread at the end of a run
}

// newRecorder is for the goroutine that is going to prove, which stays on its
// thread from now on.
func newRecorder() *recorder {
	runtime.LockOSThread()
	return &recorder{began: make(map[[2]int]time.Duration), last: threadTime()}
}

// threadTime is the CPU time of this thread.
func threadTime() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
		panic("bench: no clock of threads: " + err.Error())
	}
	return time.Duration(t.Nano())
}

// BeginRun is that of groth16.Observer.
func (r *recorder) BeginRun(_, pieces int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.runs = append(r.runs, Run{Before: (threadTime() - r.last).Seconds(), Pieces: make([]float64, pieces)})
}

// EndRun is that of groth16.Observer.
func (r *recorder) EndRun(int) { r.last = threadTime() }

// BeginPiece is that of groth16.Observer.
func (r *recorder) BeginPiece(run, piece int) {
	runtime.LockOSThread()
	now := threadTime()
	r.mu.Lock()
	r.began[[2]int{run, piece}] = now
	r.mu.Unlock()
}

// EndPiece is that of groth16.Observer.
func (r *recorder) EndPiece(run, piece int) {
	now := threadTime()
	runtime.UnlockOSThread()
	r.mu.Lock()
	defer r.mu.Unlock()
	key := [2]int{run, piece}
	r.runs[run].Pieces[piece] = (now - r.began[key]).Seconds()
	delete(r.began, key)
}

// end returns the runs; what came after the last one is a run without pieces.
// It returns nothing for no recorder.
func (r *recorder) end() []Run {
	if r == nil {
		return nil
	}
	defer runtime.UnlockOSThread()
	return append(r.runs, Run{Before: (threadTime() - r.last).Seconds()})
}

// Replay is what runs take on a number of workers, were they alone.
type Replay struct {
	Workers  int
	Makespan float64 // seconds
	Work     float64 // CPU seconds of all pieces and of what is between them
	Serial   float64 // of that, what one worker does while the others wait
	Chain    float64 // longest chain of dependent pieces: no number of workers is faster
}

// Busy is the share of the workers' time that is work.
func (r Replay) Busy() float64 { return r.Work / (r.Makespan * float64(r.Workers)) }

// Idle is the time that workers wait, all together.
func (r Replay) Idle() float64 { return r.Makespan*float64(r.Workers) - r.Work }

// replay lets n workers take the pieces of every run in their order.
func replay(runs []Run, n int) Replay {
	r := Replay{Workers: n}
	for _, run := range runs {
		free := make(times, min(n, len(run.Pieces))) // when each worker is
		end, longest := 0.0, 0.0
		for _, took := range run.Pieces {
			r.Work += took
			longest = max(longest, took)
			free[0] += took
			end = max(end, free[0])
			heap.Fix(&free, 0)
		}
		r.Work, r.Serial = r.Work+run.Before, r.Serial+run.Before
		r.Makespan += run.Before + end
		r.Chain += run.Before + longest
	}
	return r
}

// slowest lists the runs in which n workers wait most, by the time waited.
func slowest(runs []Run, n, most int) []int {
	idle := make([]float64, len(runs))
	order := make([]int, len(runs))
	for i, run := range runs {
		order[i] = i
		idle[i] = replay([]Run{run}, n).Idle()
	}
	slices.SortFunc(order, func(a, b int) int {
		if idle[a] > idle[b] {
			return -1
		}
		return 1
	})
	return order[:min(most, len(order))]
}

// times is a heap, the earliest first.
type times []float64

func (t times) Len() int           { return len(t) }
func (t times) Less(i, j int) bool { return t[i] < t[j] }
func (t times) Swap(i, j int)      { t[i], t[j] = t[j], t[i] }

// Push and Pop complete heap.Interface; the heap keeps its size.
func (t *times) Push(any) { panic("bench: a worker more") }

// Pop is not used.
func (t *times) Pop() any { panic("bench: a worker less") }
