//go:build differential

package reference

import (
	"bufio"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"wdpost/internal/extprover"
	"wdpost/internal/prover"
	"wdpost/internal/task"
)

// bed is real sectors with parameters, and our verifier.
type bed struct {
	*rig
	params   string
	sectors  string
	replicas []task.Replica
	verifier *prover.Verifier
	log      *slog.Logger
}

// broken is the sector whose replica is damaged.
const broken = 3

func newBed(t *testing.T) *bed {
	r := newRig(t)
	b := &bed{rig: r, params: filepath.Join(r.dir, "params"), log: slog.New(slog.NewTextHandler(t.Output(), nil))}
	b.sectors = r.makeSectors(shape2KiB.size, 5)
	r.makeParams(b.params, shape2KiB, "window", true)
	r.makeParams(b.params, shape2KiB, "winning", true)
	var list struct {
		Sectors []struct {
			Number uint64 `json:"number"`
			CommR  string `json:"comm_r"`
		} `json:"sectors"`
	}
	readJSON(t, filepath.Join(b.sectors, "sectors-1008-1.json"), &list)
	for _, s := range list.Sectors {
		name := fmt.Sprintf("s-t01008-%d", s.Number)
		replica := task.Replica{
			SectorID: s.Number, CacheDir: filepath.Join(b.sectors, "cache", name), SealedFile: filepath.Join(b.sectors, "sealed", name),
		}
		if n, err := hex.Decode(replica.CommR[:], []byte(s.CommR)); err != nil || n != len(replica.CommR) {
			t.Fatalf("sector %d: comm_r %q", s.Number, s.CommR)
		}
		b.replicas = append(b.replicas, replica)
	}
	b.damage(t, b.replicas[broken-1].SealedFile)
	keys := prover.NewKeys(prover.KeyConfig{ParamsDir: b.params, Log: b.log})
	t.Cleanup(func() { keys.Close() })
	b.verifier = prover.NewVerifier(keys, 0)
	return b
}

func (b *bed) damage(t *testing.T, file string) {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(content); i += 32 {
		content[i] ^= 1
	}
	if err := os.WriteFile(file, content, 0o644); err != nil {
		t.Fatal(err)
	}
}

// question asks about sectors with fresh randomness, in the four fields that
// every maker knows.
func (b *bed) question(proofType string, numbers ...uint64) task.Question {
	q := task.Question{MinerID: 1008, ProofType: proofType, Seed: b.randomness()}
	for _, n := range numbers {
		q.Replicas = append(q.Replicas, b.replicas[n-1])
	}
	return q
}

// expect checks an answer: the faults, and a valid proof exactly if there are
// none or skipping was allowed and something is left.
func (b *bed) expect(t *testing.T, q task.Question, a task.Answer, proof bool, faults ...uint64) {
	t.Helper()
	if !slices.Equal(a.Faults, faults) || (len(a.Proofs) == 1) != proof {
		t.Fatalf("%d proofs and faults %v, want a proof: %v, faults %v", len(a.Proofs), a.Faults, proof, faults)
	}
	verify := b.verifier.VerifyWindowPoSt
	if q.ProofType == winning2KiB {
		verify = b.verifier.VerifyWinningPoSt
	}
	if err := verify(t.Context(), q, a); err != nil {
		t.Fatal(err)
	}
}

const (
	window2KiB   = "StackedDrgWindow2KiBV1_2"
	window2KiBV1 = "StackedDrgWindow2KiBV1"
	winning2KiB  = "StackedDrgWinning2KiBV1"
)

// patience is far more than anything here takes.
const patience = 5 * time.Minute

// TestTheirProcessorUnderOurHost runs the reference's processors as children of
// our host.
func TestTheirProcessorUnderOurHost(t *testing.T) {
	b := newBed(t)
	processor := func(stage string) []extprover.Processor {
		return []extprover.Processor{{
			Bin: b.theirs, Args: []string{stage}, Envs: map[string]string{"FIL_PROOFS_PARAMETER_CACHE": b.params}, ReadyTimeout: patience,
		}}
	}
	host, err := extprover.NewHost(extprover.HostConfig{
		WindowPoSt: processor("window_post"), WinningPoSt: processor("winning_post"), Log: b.log,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	running, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() { defer close(done); host.Run(running) }()
	defer func() { stop(); <-done }()

	ask := func(q task.Question) task.Answer {
		t.Helper()
		prove := host.ProveWindowPoSt
		if q.ProofType == winning2KiB {
			prove = host.ProveWinningPoSt
		}
		a, err := prove(ctx, q)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	for _, typ := range []string{window2KiB, window2KiBV1} {
		q := b.question(typ, 1, 2, 4, 5)
		b.expect(t, q, ask(q), true)
	}
	q := b.question(winning2KiB, 4)
	b.expect(t, q, ask(q), true)
	q = b.question(window2KiB, 1, 2, broken, 4)
	b.expect(t, q, ask(q), false, broken)
	// It does not know what skipping is; its answer is as good as before.
	q = b.question(window2KiB, 1, broken)
	q.AllowSkip = true
	b.expect(t, q, ask(q), false, broken)
}

// TestOurMasterUnderTheirHost talks to our master as a host of another make
// does, with our prover behind it and with theirs.
func TestOurMasterUnderTheirHost(t *testing.T) {
	b := newBed(t)
	for _, backend := range []struct{ name, config string }{
		{"native", ""},
		{"processor", fmt.Sprintf("[[slave.processor]]\nbin = '%s'\nargs = ['window_post']\nready_timeout = '%s'\nenvs = { RUST_LOG = 'info' }\n",
			b.theirs, patience)},
	} {
		t.Run(backend.name, func(t *testing.T) {
			m := b.startMaster(t, backend.config)
			good, bad := b.question(window2KiB, 1, 2, 4), b.question(window2KiB, 1, broken, 4)
			m.send(t, 7, good)
			m.send(t, 9, bad)
			answers := map[uint64]task.Answer{}
			for range 2 {
				id, a := m.receive(t)
				answers[id] = a
			}
			b.expect(t, good, answers[7], true)
			b.expect(t, bad, answers[9], false, broken)
		})
	}
}

// master is our master as a child, spoken to in the bare protocol.
type master struct {
	in  io.Writer
	out *bufio.Reader
}

// startMaster starts a master with one slave and waits for the ready line.
func (b *bed) startMaster(t *testing.T, slaveConfig string) *master {
	t.Helper()
	dir := t.TempDir()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := lis.Addr().String()
	lis.Close()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	masterFile := write("master.toml", fmt.Sprintf("[server]\nlisten = '%s'\n[db]\nurl = 'sqlite://%s'\n", address, filepath.Join(dir, "queue.db")))
	slaveFile := write("slave.toml", fmt.Sprintf("[master]\nserver_addr = '%s'\nreconnect_interval = '1s'\nheartbeat_interval = '1s'\n"+
		"[slave]\nconcurrent = 1\npull_interval = '1s'\nspool = '%s'\n%s", address, filepath.Join(dir, "spool"), slaveConfig))

	slave := b.command(t, "wdpost-slave-daemon", "-c", slaveFile)
	cmd := b.command(t, "wdpost-master-daemon", "-c", masterFile)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []*exec.Cmd{cmd, slave} {
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
	}
	timer := time.AfterFunc(patience, func() { cmd.Process.Kill() })
	t.Cleanup(func() {
		timer.Stop()
		slave.Process.Signal(syscall.SIGTERM)
		if err := slave.Wait(); err != nil {
			t.Errorf("slave: %v", err)
		}
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("master: %v", err)
		}
	})
	m := &master{in, bufio.NewReader(out)}
	if line := m.line(t); line != "window_post processor ready\n" {
		t.Fatalf("first line %q", line)
	}
	return m
}

// command prepares one of our programs.
func (b *bed) command(t *testing.T, program string, args ...string) *exec.Cmd {
	cmd := exec.Command(b.our(program), args...)
	cmd.Env = append(os.Environ(), "FIL_PROOFS_PARAMETER_CACHE="+b.params)
	cmd.Stderr = t.Output()
	return cmd
}

func (m *master) line(t *testing.T) string {
	t.Helper()
	line, err := m.out.ReadString('\n')
	if err != nil {
		t.Fatalf("the master's stdout: %v", err)
	}
	return line
}

// send writes a request as other hosts write it.
func (m *master) send(t *testing.T, id uint64, q task.Question) {
	t.Helper()
	line, err := json.Marshal(map[string]any{"id": id, "task": map[string]any{
		"miner_id": q.MinerID, "proof_type": q.ProofType, "replicas": q.Replicas, "seed": q.Seed,
	}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.in.Write(append(line, '\n')); err != nil {
		t.Fatal(err)
	}
}

// receive reads a response as other hosts read it.
func (m *master) receive(t *testing.T) (uint64, task.Answer) {
	t.Helper()
	line := m.line(t)
	var response struct {
		ID     *uint64      `json:"id"`
		ErrMsg *string      `json:"err_msg"`
		Output *task.Answer `json:"output"`
	}
	if err := json.Unmarshal([]byte(line), &response); err != nil || response.ID == nil || response.ErrMsg != nil || response.Output == nil {
		t.Fatalf("response %s: %v", line, err)
	}
	return *response.ID, *response.Output
}
