package daemon

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"wdpost/internal/config"
	"wdpost/internal/prover"
	"wdpost/internal/sector/store/process"
)

func TestMain(m *testing.M) {
	process.ServeIfAsked()
	if mode := os.Getenv(fakeEnv); mode != "" {
		fakeProcessor(mode)
		return
	}
	os.Exit(m.Run())
}

func TestEnvironment(t *testing.T) {
	read := func(kv ...string) (environment, error) { return readEnvironment(kv) }
	e, err := read("FORCE_SECTOR_SIZE=34359738368", "BELLMAN_LOAD_SHM=1", "FIL_PROOFS_PARAMETER_CACHE=/params")
	if err != nil || e.sectorSize != 32<<30 || !slices.Equal(e.keys.RawDirs, []string{prover.DefaultRawDir, "/params"}) || e.keys.ParamsDir != "/params" {
		t.Errorf("%+v, %v", e, err)
	}
	if e, err = read(); err != nil || e.sectorSizes() != nil || !slices.Equal(e.keys.RawDirs, []string{prover.DefaultParamsDir}) {
		t.Errorf("without variables: %+v, %v", e, err)
	}
	for _, kv := range []string{"FORCE_SECTOR_SIZE=32GiB", "FORCE_SECTOR_SIZE=1000", "FORCE_SECTOR_SIZE=-1", "BELLMAN_LOAD_SHM=maybe", "FIL_PROOFS_VERIFY_PRODUCTION_PARAMS=perhaps"} {
		name, value, _ := strings.Cut(kv, "=")
		if _, err := read(kv); err == nil || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), value) {
			t.Errorf("%s: %v", kv, err)
		}
	}
}

func TestVariablesWithoutEffect(t *testing.T) {
	got := withoutEffect([]string{"PATH=/bin", "BELLMAN_GPU_INDEXS=1", "BELLMAN_LOAD_SHM=1", "CUDA_VISIBLE_DEVICES=0", "BELLMAN_NO_GPU"})
	if want := []string{"BELLMAN_GPU_INDEXS", "BELLMAN_NO_GPU", "CUDA_VISIBLE_DEVICES"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// logBuffer is a log that a test waits on.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) has(text string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.b.String(), text)
}

// open prepares the daemon of a config file.
func open(path string, log *logBuffer, environ ...string) (*Daemon, error) {
	cfg, _, err := config.LoadSlave(path)
	if err != nil {
		return nil, err
	}
	return New(Config{File: cfg, Dir: filepath.Dir(path), Environ: environ, Log: slog.New(slog.NewTextHandler(log, nil))})
}

// A slave without a master waits for it, answers for its state, and stops at
// the first signal.
func TestWaitsForTheMaster(t *testing.T) {
	path := filepath.Join(t.TempDir(), "slave.toml")
	if err := os.WriteFile(path, []byte("[master]\nserver_addr = '127.0.0.1:1'\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var log logBuffer
	soft, stop := context.WithCancel(t.Context())
	d, err := open(path, &log, "CUDA_VISIBLE_DEVICES=1")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- d.Run(soft, t.Context()) }()
	for !log.has("the master does not answer yet") {
		select {
		case err := <-ended:
			t.Fatalf("ended: %v", err)
		case <-time.After(5 * time.Millisecond):
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if !log.has("variables=CUDA_VISIBLE_DEVICES") {
		t.Error("a variable without effect is not named")
	}
}
