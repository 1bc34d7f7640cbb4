package process

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"wdpost/internal/durable"
	"wdpost/internal/sector/store"
	"wdpost/lab/hangfs"
)

// daemonMode makes the test program the daemon of TestStorageF14.
const daemonMode = "WDPOST_TEST_DAEMON"

func TestMain(m *testing.M) {
	ServeIfAsked()
	if os.Getenv(daemonMode) != "" {
		daemon(os.Getenv(daemonMode), os.Args[1], os.Args[2])
	}
	goleak.VerifyTestMain(m)
}

func newClient(t *testing.T) *Client {
	c := New(slog.New(slog.DiscardHandler))
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// TestAnswersAsLocal: whatever is asked, the process answers as the file system.
func TestAnswersAsLocal(t *testing.T) {
	dir := t.TempDir()
	odd := filepath.Join(dir, "扇区 存储/with space")
	for path, size := range map[string]int{"plain": 100000, "empty": 0, "扇区 存储/with space/s-t01-1": 32} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, path)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, path), bytes.Repeat([]byte("abcdefg"), size/7+1)[:size], 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for name, target := range map[string]string{"link": "plain", "loop": "loop", "dangling": "nowhere"} {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
	c, local := newClient(t), store.Local{}
	paths := []string{
		dir + "/plain", dir + "/empty", odd + "/s-t01-1", dir + "/link", dir + "/loop", dir + "/dangling", dir + "/none", dir,
		dir + "/plain/below", dir + "/" + strings.Repeat("x", 300), "plain",
	}
	for _, resolve := range []bool{false, true} {
		got, want := c.Stat(paths, resolve), local.Stat(paths, resolve)
		for i, path := range paths {
			g, w := got[i], want[i]
			if path == "plain" { // relative: the process stands elsewhere
				w.Real, g.Real = "", ""
			}
			if !sameError(g.Err, w.Err) {
				t.Errorf("%s: %v, want %v", path, g.Err, w.Err)
			}
			if g.Err, w.Err = nil, nil; g != w {
				t.Errorf("%s: %+v, want %+v", path, g, w)
			}
		}
	}
	for _, path := range paths {
		gotFile, gotErr := c.Open(path)
		wantFile, wantErr := local.Open(path)
		if !sameError(gotErr, wantErr) {
			t.Errorf("open %s: %v, want %v", path, gotErr, wantErr)
		}
		if wantErr != nil {
			continue
		}
		if gotFile.Size() != wantFile.Size() {
			t.Errorf("%s: %d bytes", path, gotFile.Size())
		}
		for _, at := range []int64{0, 1, 50000, 99990, 100000, 200000} {
			for _, n := range []int{0, 1, 32, 5000, 99999} {
				got, want := make([]byte, n), make([]byte, n)
				gn, gerr := gotFile.ReadAt(got, at)
				wn, werr := wantFile.ReadAt(want, at)
				if gn != wn || !bytes.Equal(got, want) || !errors.Is(gerr, werr) || (gerr == nil) != (werr == nil) {
					t.Errorf("%s: %d bytes at %d: %d, %v, want %d, %v", path, n, at, gn, gerr, wn, werr)
				}
			}
		}
		if _, err := gotFile.ReadAt(make([]byte, 1), -1); err == nil {
			t.Errorf("%s: read before the begin", path)
		}
		if err := errors.Join(gotFile.Close(), wantFile.Close()); err != nil {
			t.Error(err)
		}
		if _, err := gotFile.ReadAt(make([]byte, 1), 0); err == nil {
			t.Errorf("%s: read after close", path)
		}
	}
	for _, path := range paths {
		got, gotErr := c.List(path)
		want, wantErr := local.List(path)
		slices.Sort(got)
		slices.Sort(want)
		if path == "plain" && gotErr != nil { // relative: the error has the whole path
			gotErr = wantErr
		}
		if !slices.Equal(got, want) || !sameError(gotErr, wantErr) {
			t.Errorf("list %s: %q, %v, want %q, %v", path, got, gotErr, want, wantErr)
		}
	}
	space, err := c.Space(dir)
	if err != nil || space.Total == 0 || space.Free > space.Total || space.ReadOnly {
		t.Errorf("%+v, %v", space, err)
	}
	if _, err := c.Space(dir + "/none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

// sameError holds text and system error of two errors against each other.
func sameError(a, b error) bool {
	if a == nil || b == nil {
		return a == b
	}
	var x, y syscall.Errno
	return errors.As(a, &x) == errors.As(b, &y) && x == y && a.Error() == b.Error()
}

// TestReaderDies: a reader that is killed is replaced; its open files fail, new
// ones are read.
func TestReaderDies(t *testing.T) {
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, []byte("content"), 0o644); err != nil {
		t.Fatal(err)
	}
	c := newClient(t)
	f, err := c.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	first := c.PID()
	if err := syscall.Kill(first, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for until := time.Now().Add(10 * time.Second); err == nil && time.Now().Before(until); {
		_, err = f.ReadAt(make([]byte, 1), 0)
	}
	if store.TroubleOf(err) != store.OfHere {
		t.Errorf("got %v", err)
	}
	if info := c.Stat([]string{name}, false)[0]; info.Err != nil || info.Size != 7 {
		t.Errorf("%+v", info)
	}
	if second := c.PID(); second == 0 || second == first {
		t.Errorf("first %d, second %d", first, second)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if info := c.Stat([]string{name}, false)[0]; store.TroubleOf(info.Err) != store.OfHere || c.PID() != 0 {
		t.Errorf("%+v", info)
	}
}

// TestReaderThatIsNotUnderstoodEnds: a reader whose answers make no sense is
// replaced, and does not live on beside its successor.
func TestReaderThatIsNotUnderstoodEnds(t *testing.T) {
	dir := t.TempDir()
	c := newClient(t)
	c.Stat([]string{dir}, false)
	first := c.PID()
	c.mu.Lock()
	_, err := c.now.in.Write(seal(append(newFrame(1<<40, opList, 64), putText(nil, dir)...)))
	c.mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	for until := time.Now().Add(10 * time.Second); syscall.Kill(first, 0) == nil; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatal("it is still there")
		}
	}
	if info := c.Stat([]string{dir}, false)[0]; info.Err != nil || c.PID() == first {
		t.Errorf("%+v", info)
	}
}

// TestReaderThatDoesNotAnswer: a reader that is there and does nothing, as one that
// was killed while a read hangs in the kernel, is replaced.
func TestReaderThatDoesNotAnswer(t *testing.T) {
	dir := t.TempDir()
	c := newClient(t)
	c.patience = 400 * time.Millisecond
	c.Stat([]string{dir}, false)
	first := c.PID()
	if err := syscall.Kill(first, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	answer := make(chan store.Info, 1)
	go func() { answer <- c.Stat([]string{dir}, false)[0] }()
	select {
	case info := <-answer:
		if info.Err != nil || c.PID() == first {
			t.Errorf("%+v", info)
		}
	case <-time.After(10 * time.Second):
		t.Error("no answer")
		_ = syscall.Kill(first, syscall.SIGKILL)
	}
}

// TestReaderIgnoresStops: a stop of the whole service leaves the reader to the
// daemon, which may still need it.
func TestReaderIgnoresStops(t *testing.T) {
	dir := t.TempDir()
	c := newClient(t)
	c.Stat([]string{dir}, false)
	pid := c.PID()
	for range 3 {
		if err := errors.Join(syscall.Kill(pid, syscall.SIGTERM), syscall.Kill(pid, syscall.SIGINT)); err != nil {
			t.Fatal(err)
		}
		if info := c.Stat([]string{dir}, false)[0]; info.Err != nil || c.PID() != pid {
			t.Fatalf("%+v, process %d, was %d", info, c.PID(), pid)
		}
	}
}

// daemon holds a lock, a port and a pipe, and reads file with the given backend.
func daemon(kind, dir, file string) {
	lock, err := durable.Lock(filepath.Join(dir, "lock"))
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	defer lock.Close()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	child := exec.Command("cat") // like a master, it ends when its input does
	input, _ := child.StdinPipe()
	child.Stdout = os.Stdout
	if err := child.Start(); err != nil {
		os.Exit(1)
	}
	defer input.Close()
	var backend store.Backend = store.Local{}
	if kind == "process" {
		c := New(slog.New(slog.DiscardHandler))
		backend = c
		c.Stat([]string{dir}, false)
	}
	fmt.Println("listens", lis.Addr())
	go backend.Open(file)
	select {}
}

// TestStorageF14KilledWhileItHangs: a daemon is killed while a read of a file
// system hangs that nobody can interrupt. Its lock, its port and the pipe of its
// child are free at once, and a new daemon starts; the reader alone stays until
// the store answers. A daemon that reads by itself keeps all three.
func TestStorageF14KilledWhileItHangs(t *testing.T) {
	file, hung, release := hangingFile(t)
	killed := func(kind string) (freed bool) {
		dir := t.TempDir()
		cmd := exec.Command("/proc/self/exe", dir, file)
		cmd.Env = append(os.Environ(), daemonMode+"="+kind)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		var address string
		lines := bufio.NewReader(out)
		for address == "" {
			line, err := lines.ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			_, _ = fmt.Sscanf(line, "listens %s", &address)
		}
		hung()
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		// The child's copy of our pipe closes when its input does.
		ended := make(chan struct{})
		go func() { _, _ = io.Copy(io.Discard, lines); close(ended) }()
		wait := 10 * time.Second
		if kind == "local" {
			wait = 2 * time.Second
		}
		select {
		case <-ended:
			// The kernel closes the pipe of a dying process a moment before its lock.
			lock, err := durable.Lock(filepath.Join(dir, "lock"))
			for end := time.Now().Add(wait); err != nil && time.Now().Before(end); lock, err = durable.Lock(filepath.Join(dir, "lock")) {
				time.Sleep(10 * time.Millisecond)
			}
			if err != nil {
				t.Errorf("%s: the lock: %v", kind, err)
				break
			}
			lis, err := net.Listen("tcp", address)
			if err != nil {
				t.Errorf("%s: the port: %v", kind, err)
				break
			}
			freed = true
			if err := errors.Join(lis.Close(), lock.Close()); err != nil {
				t.Error(err)
			}
		case <-time.After(wait):
		}
		t.Cleanup(func() { <-ended; _ = cmd.Wait() })
		return freed
	}
	if !killed("process") {
		t.Error("the killed daemon keeps its lock, port or child")
	}
	if hangfs.Available() == nil && killed("local") {
		t.Error("a daemon that reads by itself lets go as well: this test shows nothing")
	}
	release()
}

// hangingFile is a file of which opening hangs: on a file system of our own where
// one can be mounted, otherwise a FIFO. hung waits until one more does.
func hangingFile(t *testing.T) (file string, hung func(), release func()) {
	dir := t.TempDir()
	if err := hangfs.Available(); err != nil {
		t.Logf("no FUSE here (%v): a FIFO hangs in its place", err)
		fifo := filepath.Join(dir, "fifo")
		if err := syscall.Mkfifo(fifo, 0o644); err != nil {
			t.Fatal(err)
		}
		return fifo, func() {}, func() {}
	}
	source := t.TempDir()
	if err := os.WriteFile(filepath.Join(source, "file"), []byte("content"), 0o644); err != nil {
		t.Fatal(err)
	}
	hang, err := hangfs.Mount(source, dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for range 100 {
			if hang.Close() == nil {
				return
			}
			time.Sleep(50 * time.Millisecond) // a killed process is on its way out
		}
		t.Error("the file system cannot be unmounted")
	})
	hang.Hang(hangfs.Reads)
	return filepath.Join(dir, "file"), hang.AwaitWaiting, func() { hang.Hang(hangfs.Nothing) }
}

// BenchmarkRead measures what the boundary of the process costs a read of a node
// in a file that is in memory.
func BenchmarkRead(b *testing.B) {
	name := filepath.Join(b.TempDir(), "file")
	if err := os.WriteFile(name, make([]byte, 1<<20), 0o644); err != nil {
		b.Fatal(err)
	}
	c := New(slog.New(slog.DiscardHandler))
	defer c.Close()
	for kind, backend := range map[string]store.Backend{"local": store.Local{}, "process": c} {
		for _, size := range []int{32, 4096, 65536} {
			b.Run(fmt.Sprintf("%s/%d", kind, size), func(b *testing.B) {
				f, err := backend.Open(name)
				if err != nil {
					b.Fatal(err)
				}
				defer f.Close()
				b.SetBytes(int64(size))
				b.RunParallel(func(pb *testing.PB) {
					buf := make([]byte, size)
					for at := int64(0); pb.Next(); at = (at + 4096) % (1 << 19) {
						if _, err := f.ReadAt(buf, at); err != nil {
							b.Error(err)
						}
					}
				})
			})
		}
	}
}
