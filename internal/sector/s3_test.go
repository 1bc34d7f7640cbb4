package sector

import (
	"bytes"
	"errors"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"

	"wdpost/internal/sector/store"
	"wdpost/internal/sector/store/s3"
)

// objectStore serves a folder as a bucket: the keys below p are its files.
func objectStore(t testing.TB, folder string) (root string, hang *atomic.Pointer[chan struct{}], requests *atomic.Int64) {
	t.Helper()
	t.Setenv("AWS_ACCESS_KEY_ID", "id")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	t.Setenv("AWS_REGION", "us-east-1")
	backend := s3mem.New()
	if err := backend.CreateBucket("sectors"); err != nil {
		t.Fatal(err)
	}
	inner := gofakes3.New(backend).Server()
	hang, requests = &atomic.Pointer[chan struct{}]{}, &atomic.Int64{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		if gate := hang.Load(); gate != nil {
			<-*gate
		}
		inner.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		key := "p" + strings.TrimPrefix(path, folder)
		_, err = backend.PutObject("sectors", key, map[string]string{"Last-Modified": "Mon, 2 Jan 2006 15:04:05 GMT"}, bytes.NewReader(content), int64(len(content)), nil)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return s3.Prefix + server.URL + "/sectors/p", hang, requests
}

// TestObjectStore: a store in S3 is attached, found, checked, read and given up
// like a folder.
func TestObjectStore(t *testing.T) {
	folder := t.TempDir()
	for n := uint64(1); n <= 3; n++ {
		copySector(t, folder, n)
	}
	updated(t, folder, 3)
	remove(t, filepath.Join(folder, cacheDir, "s-t01008-2", "p_aux"))
	root, hang, _ := objectStore(t, folder)
	objects := s3.New(t.Context())
	backend := store.By{"": store.Local{}, s3.Prefix: objects}
	guard := NewGuard(GuardConfig{Backend: backend, Timeout: 2 * time.Second, Cooldown: 10 * time.Millisecond})
	index := OpenIndex(t.TempDir())
	report, err := Attach(t.Context(), AttachConfig{Name: "far", Path: root + "/", Index: index, Guard: guard, Log: discard()})
	if err != nil || report.Sectors != 2 || report.Updated != 1 || report.Skipped != 1 {
		t.Fatalf("%+v, %v", report, err)
	}
	l, err := NewLocator(index, []Store{{Name: "far", Path: root}}, discard())
	if err != nil {
		t.Fatal(err)
	}
	c := NewChecker(l, guard)
	wanted := []Wanted{
		{Number: 1, SectorSize: size, CommR: commR(t, 1)}, {Number: 3, SectorSize: size, CommR: commR(t, 3)},
		{Number: 3, SectorSize: size, CommR: commR(t, 3), Updated: true},
	}
	for _, strict := range []bool{false, true} {
		for _, got := range c.Check(t.Context(), miner, wanted, strict) {
			if got.Err != nil || !strings.HasPrefix(got.SealedFile, root+"/") {
				t.Errorf("strict %v: %+v", strict, got)
			}
		}
	}
	if state := LookAt(t.Context(), guard, root); state.Err != nil {
		t.Error(state.Err)
	}
	if _, err := Attach(t.Context(), AttachConfig{Name: "empty", Path: root + "/none", Index: index, Guard: guard, Log: discard()}); err == nil {
		t.Error("a prefix without objects was attached")
	}
	// The server stops answering: the store is set aside, and taken back.
	gate := make(chan struct{})
	hang.Store(&gate)
	if got := c.Check(t.Context(), miner, wanted, true); !errors.Is(got[0].Err, ErrTimeout) || !health(guard, root).SetAside {
		t.Errorf("%v, %+v", got[0].Err, health(guard, root))
	}
	hang.Store(nil)
	close(gate)
	for until := time.Now().Add(20 * time.Second); health(guard, root).SetAside && time.Now().Before(until); {
		time.Sleep(5 * time.Millisecond)
	}
	if got := c.Check(t.Context(), miner, wanted, true); got[0].Err != nil {
		t.Error(got[0].Err)
	}
	if err := objects.Close(); err != nil {
		t.Error(err)
	}
	http.DefaultClient.CloseIdleConnections()
}
