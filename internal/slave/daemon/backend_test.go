package daemon

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"wdpost/internal/parts"
	"wdpost/internal/prover"
	"wdpost/internal/queue"
	"wdpost/internal/queue/sqlite"
	"wdpost/internal/rpc"
	"wdpost/internal/task"
	"wdpost/lab/golden"
)

// fakeEnv in the environment turns this test program into an external
// processor that misbehaves in the way it names.
const fakeEnv = "WDPOST_TEST_FAKE_PROCESSOR"

// fakeProcessor is that processor.
func fakeProcessor(mode string) {
	if mode == "never ready" {
		select {}
	}
	fmt.Println("window_post processor ready")
	requests := bufio.NewScanner(os.Stdin)
	requests.Buffer(nil, 1<<20)
	for requests.Scan() {
		var req struct{ ID uint64 }
		if json.Unmarshal(requests.Bytes(), &req) != nil {
			continue
		}
		switch mode {
		case "crashes":
			os.Exit(3)
		case "hangs":
			select {}
		case "prints garbage":
			fmt.Println("CUDA error: out of memory\x00\xff")
		case "answers wrongly":
			fmt.Printf(`{"id":%d,"err_msg":null,"output":{"proofs":[%q],"faults":[]}}`+"\n", req.ID, base64.StdEncoding.EncodeToString(make([]byte, 192)))
		}
	}
}

// goldenQuestion is a question about two golden sectors.
func goldenQuestion(t *testing.T) task.Question {
	t.Helper()
	dir := golden.Dir(t)
	body, err := os.ReadFile(filepath.Join(dir, "proofs", "window-2KiB-full-v1_1.json"))
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Randomness string
		Sectors    []struct {
			Number uint64
			CommR  string `json:"comm_r"`
		}
	}
	if err := json.Unmarshal(body, &doc); err != nil {
		t.Fatal(err)
	}
	q := task.Question{MinerID: 1008, ProofType: "StackedDrgWindow2KiBV1_2", AllowSkip: true}
	unhex := func(dst *task.Hash32, s string) {
		if _, err := hex.Decode(dst[:], []byte(s)); err != nil {
			t.Fatal(err)
		}
	}
	unhex(&q.Seed, doc.Randomness)
	base, err := filepath.Abs(filepath.Join(dir, "sectors", "2KiB"))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range doc.Sectors {
		r := task.Replica{SectorID: s.Number, CacheDir: fmt.Sprintf("%s/cache/s-t01008-%d", base, s.Number), SealedFile: fmt.Sprintf("%s/sealed/s-t01008-%d", base, s.Number)}
		unhex(&r.CommR, s.CommR)
		q.Replicas = append(q.Replicas, r)
	}
	return q
}

// installation is a master in this process and slaves as they are started.
type installation struct {
	t       *testing.T
	q       *queue.Queue
	address string
	params  string
}

func newInstallation(t *testing.T) *installation {
	params, err := filepath.Abs(filepath.Join(golden.Dir(t), "params"))
	if err != nil {
		t.Fatal(err)
	}
	return newInstallationOf(t, params, 0)
}

func newInstallationOf(t *testing.T, params string, partitionSectors int) *installation {
	quiet := slog.New(slog.DiscardHandler)
	store, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "queue.db"), quiet)
	if err != nil {
		t.Fatal(err)
	}
	keys := prover.NewKeys(prover.KeyConfig{ParamsDir: params, RawDirs: []string{params}})
	q, err := queue.New(t.Context(), store, queue.Config{
		Timeout: 4 * time.Second, HeartbeatTimeout: 3 * time.Second, RetryInterval: time.Second, MaxRetry: 20,
		Verifier: prover.NewVerifier(keys, partitionSectors), Log: quiet,
	})
	if err != nil {
		t.Fatal(err)
	}
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 2)
	go func() {
		q.Run(ctx)
		done <- nil
	}()
	desk := parts.NewDesk(parts.DeskConfig{Tasks: q, Log: quiet, Dir: t.TempDir(), Silence: 3 * time.Second})
	go func() { done <- rpc.NewServer(rpc.ServerConfig{Queue: q, Parts: desk, Log: quiet}).Serve(ctx, lis) }()
	t.Cleanup(func() {
		cancel()
		for range cap(done) {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		_ = store.Close()
		_ = keys.Close()
	})
	return &installation{t: t, q: q, address: lis.Addr().String(), params: params}
}

// slave runs the daemon with more lines in its config file until the test ends.
func (in *installation) slave(name, more string) *logBuffer {
	in.t.Helper()
	path := filepath.Join(in.t.TempDir(), "slave.toml")
	conf := fmt.Sprintf("[master]\nserver_addr = '%s'\nheartbeat_interval = '500ms'\nreconnect_interval = '200ms'\n[slave]\nname = '%s'\npull_interval = '200ms'\n%s\n", in.address, name, more)
	if err := os.WriteFile(path, []byte(conf), 0o600); err != nil {
		in.t.Fatal(err)
	}
	log := &logBuffer{}
	ctx, cancel := context.WithCancel(context.Background())
	d, err := open(path, log, "FIL_PROOFS_PARAMETER_CACHE="+in.params, "FORCE_SECTOR_SIZE=2048")
	if err != nil {
		in.t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx, ctx) }()
	in.t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			in.t.Errorf("slave %s: %v", name, err)
		}
	})
	return log
}

// A backend that misbehaves costs its own slave the task: another one proves it.
func TestMisbehavingBackend(t *testing.T) {
	question := goldenQuestion(t)
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, mode := range []string{"crashes", "hangs", "never ready", "prints garbage", "answers wrongly"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			in := newInstallation(t)
			log := in.slave("bad", fmt.Sprintf("[[slave.processor]]\nbin = '%s'\nready_timeout = '1s'\n[slave.processor.envs]\n%s = '%s'\n", program, fakeEnv, mode))
			answered := make(chan error, 1)
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
			defer cancel()
			go func() {
				a, err := in.q.Ask(ctx, question)
				if err == nil && (len(a.Proofs) != 1 || len(a.Faults) > 0) {
					err = fmt.Errorf("answer %+v", a)
				}
				answered <- err
			}()
			for !log.has("got task:") {
				select {
				case err := <-answered:
					t.Fatalf("answered by the backend that %s: %v", mode, err)
				case <-time.After(20 * time.Millisecond):
				}
			}
			in.slave("good", "")
			if err := <-answered; err != nil {
				t.Fatal(err)
			}
			if mode == "answers wrongly" && !log.has("check the proof") {
				t.Error("the wrong proof was not noticed by the slave itself")
			}
		})
	}
}

// A slave whose mounts lie elsewhere proves with [slave.paths].
func TestSlaveWithOtherMounts(t *testing.T) {
	question := goldenQuestion(t)
	here := filepath.Dir(filepath.Dir(question.Replicas[0].SealedFile))
	for i := range question.Replicas {
		r := &question.Replicas[i]
		r.SealedFile = strings.Replace(r.SealedFile, here, "/no/such/mount", 1)
		r.CacheDir = strings.Replace(r.CacheDir, here, "/no/such/mount", 1)
	}
	in := newInstallation(t)
	in.slave("elsewhere", fmt.Sprintf("[slave.paths]\n'/no/such' = '/nowhere'\n'/no/such/mount' = '%s'\n", here))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	a, err := in.q.Ask(ctx, question)
	if err != nil || len(a.Proofs) != 1 || len(a.Faults) > 0 {
		t.Fatalf("%+v, %v", a, err)
	}
}
