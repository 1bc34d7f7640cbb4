package bench

import (
	"testing"
	"testing/synctest"
	"time"

	"wdpost/proofs/post"
)

// TestReadingKeepsStoreBusy reads from a slow store in simulated time, in which
// hashing takes none: what is left is how well the reads follow each other.
func TestReadingKeepsStoreBusy(t *testing.T) {
	place := Place{Dir: t.TempDir()}
	for _, size := range []uint64{32 << 30, 64 << 30} {
		t.Run(post.SizeName(size), func(t *testing.T) {
			list, err := place.Sectors(t.Context(), size, 64)
			if err != nil {
				t.Fatal(err)
			}
			synctest.Test(t, func(t *testing.T) {
				job := ReadingJob{List: list, Delay: 10 * time.Millisecond}
				result, err := job.run(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				r := result.Reads
				t.Logf("%d reads, %d at once: %v, ideal %v, ratio %.3f", r.Reads, r.InFlight, r.Took, r.Ideal, float64(r.Took)/float64(r.Ideal))
				if r.Most != r.InFlight {
					t.Errorf("at most %d reads were under way, want %d", r.Most, r.InFlight)
				}
				if float64(r.Took) > readingSlack*float64(r.Ideal) {
					t.Errorf("reading took %v, the ideal is %v", r.Took, r.Ideal)
				}
			})
		})
	}
}
