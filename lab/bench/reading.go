package bench

import (
	"context"
	"fmt"
	"math"
	"sync/atomic"
	"time"

	"wdpost/internal/prover"
	"wdpost/internal/sector"
	"wdpost/internal/sector/store"
	"wdpost/internal/sectorfile"
	"wdpost/proofs/post"
)

// ReadingJob reads all sectors of a list as the prover does, from a store that
// answers every read late.
type ReadingJob struct {
	List  string        `json:"list"`
	Delay time.Duration `json:"delay"` // added to each read
	// Sectors is how many sectors are read at once; 0 is the default.
	Sectors int `json:"sectors"`
}

// ReadingResult is what reading took, and the ideal to compare it with.
type ReadingResult struct {
	Reads, Bytes uint64
	// InFlight is how many reads may be under way at once; Most is how many
	// were.
	InFlight, Most int
	Took           time.Duration
	// Ideal is the time of the delays alone with InFlight reads always under
	// way.
	Ideal time.Duration
}

// defaultSectorsAtOnce is sector.GuardConfig's default for one store.
const defaultSectorsAtOnce = 32

func (j *ReadingJob) run(ctx context.Context) (Result, error) {
	list, err := sectorfile.ReadList(j.List)
	if err != nil {
		return Result{}, err
	}
	typ, err := post.TypeOf(post.Window, list.SectorSize, post.V1_2_0)
	if err != nil {
		return Result{}, err
	}
	atOnce := j.Sectors
	if atOnce == 0 {
		atOnce = defaultSectorsAtOnce
	}
	slow := &slowStore{delay: j.Delay}
	reader := sector.NewReader(sector.NewGuard(sector.GuardConfig{Parallel: atOnce, Backend: slow}))
	engine, err := prover.New(prover.Config{Reader: reader})
	if err != nil {
		return Result{}, err
	}
	start := time.Now()
	read, err := engine.Read(ctx, questionOf(typ, list, j.List, [32]byte{1}))
	took := time.Since(start)
	if err == nil && len(read.Faults) > 0 {
		err = fmt.Errorf("%d of %d sectors could not be read", len(read.Faults), len(list.Sectors))
	}
	if err != nil {
		return Result{}, err
	}
	r := &ReadingResult{InFlight: min(atOnce, len(list.Sectors)) * sector.ReadsAtOnce, Most: int(slow.most.Load()), Took: took}
	r.Reads, r.Bytes = reader.Counts()
	r.Ideal = time.Duration(math.Ceil(float64(r.Reads)/float64(r.InFlight)) * float64(j.Delay))
	return Result{Reads: r}, engine.Close()
}

// slowStore opens files whose reads take delay longer.
type slowStore struct {
	store.Local
	delay     time.Duration
	now, most atomic.Int64 // reads under way
}

// Open opens a file.
func (s *slowStore) Open(path string) (store.File, error) {
	f, err := s.Local.Open(path)
	if err != nil {
		return nil, err
	}
	return slowFile{f, s}, nil
}

type slowFile struct {
	store.File
	store *slowStore
}

// ReadAt reads and then waits.
func (f slowFile) ReadAt(b []byte, at int64) (int, error) {
	now := f.store.now.Add(1)
	for most := f.store.most.Load(); now > most && !f.store.most.CompareAndSwap(most, now); most = f.store.most.Load() {
	}
	defer f.store.now.Add(-1)
	time.Sleep(f.store.delay)
	return f.File.ReadAt(b, at)
}

// readingSlack is how much longer than the ideal reading may take.
const readingSlack = 1.2

// Reading times the reading of 64 sparse sectors of each of the two large sizes
// with 10 ms added to every read; the fastest of rounds counts.
func Reading(ctx context.Context, place Place, rounds int) ([]Line, error) {
	var lines []Line
	for _, size := range []uint64{32 << 30, 64 << 30} {
		list, err := place.Sectors(ctx, size, 64)
		if err != nil {
			return lines, err
		}
		var best *ReadingResult
		for range max(rounds, 1) {
			result, _, err := place.Spawn.Run(ctx, Job{Reading: &ReadingJob{List: list, Delay: 10 * time.Millisecond}}, 0)
			if err != nil {
				return lines, err
			}
			if best == nil || result.Reads.Took < best.Took {
				best = result.Reads
			}
		}
		lines = append(lines, Line{
			Work: fmt.Sprintf("read 64 sectors of %s, 10 ms a read, %d reads, %d at once; ideal %v",
				post.SizeName(size), best.Reads, best.InFlight, best.Ideal),
			Ours: best.Took.Seconds(), Limit: readingSlack * best.Ideal.Seconds(),
		})
	}
	return lines, nil
}
