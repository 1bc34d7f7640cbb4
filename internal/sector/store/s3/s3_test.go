package s3

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"

	"wdpost/internal/sector/store"
)

// server is an S3 server with faults.
type server struct {
	*httptest.Server
	requests atomic.Int64
	refuse   atomic.Int64 // so many requests are answered 503
	cut      atomic.Int64 // so many answers to ranges break off
	forbid   atomic.Bool
	keys     atomic.Pointer[string] // the last Authorization
}

func newServer(t *testing.T) *server {
	t.Setenv("AWS_ACCESS_KEY_ID", "the-key-id")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "the-secret")
	t.Setenv("AWS_REGION", "us-east-1")
	backend := s3mem.New()
	inner := gofakes3.New(backend).Server()
	s := &server{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.requests.Add(1)
		authorization := r.Header.Get("Authorization")
		s.keys.Store(&authorization)
		switch {
		case s.forbid.Load():
			w.WriteHeader(http.StatusForbidden)
			return
		case s.refuse.Add(-1) >= 0:
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		case r.Header.Get("Range") != "" && s.cut.Add(-1) >= 0:
			w.Header().Set("Content-Length", "1000")
			w.WriteHeader(http.StatusPartialContent)
			_, _ = w.Write([]byte("some"))
			return
		}
		inner.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	if err := backend.CreateBucket("sectors"); err != nil {
		t.Fatal(err)
	}
	put := func(key string, content []byte) {
		if _, err := backend.PutObject("sectors", key, map[string]string{"Last-Modified": "Mon, 2 Jan 2006 15:04:05 GMT"}, bytes.NewReader(content), int64(len(content)), nil); err != nil {
			t.Fatal(err)
		}
	}
	put("a/扇区/sealed/s-t01-1", content(100_000))
	put("a/扇区/sealed/s-t01-2", nil)
	for i := range 12 {
		put(fmt.Sprintf("a/扇区/cache/s-t01-1/tree-%d", i), content(100+i))
	}
	s.refuse.Store(0)
	s.cut.Store(0)
	return s
}

func content(n int) []byte {
	out := make([]byte, n)
	for i := range out {
		out[i] = byte(i * 7 / 3)
	}
	return out
}

func (s *server) root() string { return Prefix + s.URL + "/sectors/a/扇区" }

func newBackend(t *testing.T) *Backend {
	b := New(t.Context())
	t.Cleanup(func() { _ = b.Close() })
	return b
}

func TestReadsRanges(t *testing.T) {
	s, b := newServer(t), newBackend(t)
	f, err := b.Open(s.root() + "/sealed/s-t01-1")
	if err != nil || f.Size() != 100_000 {
		t.Fatalf("%v, %v", f, err)
	}
	all := content(100_000)
	before := s.requests.Load()
	for _, at := range []int64{0, 1, 99_990, 100_000, 200_000, -1} {
		for _, n := range []int{0, 1, 32, 50_000} {
			got := make([]byte, n)
			read, err := f.ReadAt(got, at)
			want := bytes.NewReader(all)
			expect := make([]byte, n)
			wantRead, wantErr := want.ReadAt(expect, at)
			if at < 0 {
				if err == nil {
					t.Error("read before the begin")
				}
				continue
			}
			if n == 0 {
				wantErr = err
			}
			if read != wantRead || !bytes.Equal(got[:read], expect[:wantRead]) || !errors.Is(err, wantErr) {
				t.Errorf("%d at %d: %d, %v, want %d, %v", n, at, read, err, wantRead, wantErr)
			}
		}
	}
	if n := s.requests.Load() - before; n != 9 {
		t.Errorf("%d requests for 9 ranges inside the file", n)
	}
	if key := s.keys.Load(); !strings.Contains(*key, "the-key-id") || strings.Contains(*key, "the-secret") {
		t.Errorf("authorization %s", *key)
	}
}

func TestLooksAndLists(t *testing.T) {
	s, b := newServer(t), newBackend(t)
	root := s.root()
	paths := []string{root + "/sealed/s-t01-1", root + "/sealed/s-t01-2"}
	for i := range 13 {
		paths = append(paths, fmt.Sprintf("%s/cache/s-t01-1/tree-%d", root, i))
	}
	before := s.requests.Load()
	for i, info := range b.Stat(paths, true) {
		switch {
		case i == 14:
			if !errors.Is(info.Err, fs.ErrNotExist) || store.TroubleOf(info.Err) != store.OfFile {
				t.Errorf("%s: %+v", paths[i], info)
			}
		case info.Err != nil || !info.Regular || info.Dir || info.Real != paths[i]:
			t.Errorf("%s: %+v", paths[i], info)
		case i >= 2 && info.Size != int64(100+i-2):
			t.Errorf("%s: %+v", paths[i], info)
		}
	}
	if n := s.requests.Load() - before; n != 3 {
		t.Errorf("%d requests for two files and a folder", n)
	}
	for path, dir := range map[string]bool{root: true, Prefix + s.URL + "/sectors": true, root + "/cache": true, root + "/none": false} {
		if info := b.Stat([]string{path}, false)[0]; info.Dir != dir || (info.Err == nil) != dir {
			t.Errorf("%s: %+v", path, info)
		}
	}
	for dir, want := range map[string]string{root: "[cache sealed]", root + "/sealed": "[s-t01-1 s-t01-2]", root + "/cache": "[s-t01-1]"} {
		got, err := b.List(dir)
		slices.Sort(got)
		if err != nil || fmt.Sprint(got) != want {
			t.Errorf("%s: %v, %v", dir, got, err)
		}
	}
	if _, err := b.List(root + "/update"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	if _, err := b.Open(root + "/sealed/s-t01-9"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

// TestFaults: what is refused for now or breaks off is asked for again; what
// stays away is the store's trouble, what is closed the file's; no error holds
// the secret.
func TestFaults(t *testing.T) {
	s, b := newServer(t), newBackend(t)
	path := s.root() + "/sealed/s-t01-1"
	f, err := b.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	read := func() error {
		got := make([]byte, 1000)
		_, err := f.ReadAt(got, 500)
		if err == nil && !bytes.Equal(got, content(1500)[500:]) {
			return errors.New("wrong data")
		}
		return err
	}
	s.refuse.Store(1)
	if err := read(); err != nil {
		t.Errorf("refused once: %v", err)
	}
	s.refuse.Store(0)
	s.cut.Store(2)
	if err := read(); err != nil {
		t.Errorf("broke off twice: %v", err)
	}
	s.cut.Store(100)
	errCut := read()
	s.cut.Store(0)
	s.forbid.Store(true)
	errForbidden := read()
	s.forbid.Store(false)
	s.CloseClientConnections()
	s.Server.Close()
	errGone := read()
	for name, c := range map[string]struct {
		err  error
		want store.Trouble
	}{"broke off": {errCut, store.OfStore}, "forbidden": {errForbidden, store.OfFile}, "gone": {errGone, store.OfStore}} {
		if c.err == nil || store.TroubleOf(c.err) != c.want || strings.Contains(c.err.Error(), "the-secret") {
			t.Errorf("%s: %v", name, c.err)
		}
	}
	if !errors.Is(errForbidden, fs.ErrPermission) {
		t.Errorf("got %v", errForbidden)
	}
}

func TestWrongAddresses(t *testing.T) {
	b := newBackend(t)
	for address, want := range map[string]string{
		"s3+ftp://host/bucket":            "is no URL",
		"s3+https:///bucket":              "is no URL",
		"s3+https://host":                 "names no bucket",
		"s3+https://host/":                "names no bucket",
		"s3+https://id:geheim@host/b":     "must not hold credentials",
		"s3+https://host/bucket?region=x": "without ?",
		"/a/folder":                       "is no URL",
	} {
		err := Check(address)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "geheim") {
			t.Errorf("%s: %v", address, err)
		}
		if _, err := b.List(address); err == nil {
			t.Errorf("%s: listed", address)
		}
	}
	if err := Check("s3+https://host:9000/bucket/some/prefix"); err != nil {
		t.Error(err)
	}
}

// TestNoSuchBucket is trouble of the store.
func TestNoSuchBucket(t *testing.T) {
	s, b := newServer(t), newBackend(t)
	_, err := b.List(Prefix + s.URL + "/other/prefix")
	if err == nil || store.TroubleOf(err) != store.OfStore || errors.Is(err, io.EOF) {
		t.Errorf("got %v", err)
	}
}
