//go:build sick

package e2e

import (
	"bufio"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"wdpost/internal/sectorfile"
	"wdpost/internal/task"
	"wdpost/proofs"
	"wdpost/proofs/merkle"
	"wdpost/proofs/post"
)

// spreadSectors is how many sectors a partition of the measured message has.
const spreadSectors = 16

// TestSpread measures one message of three partitions on one slave and on three,
// of one core each, of which two mount no storage; and wants the same proof.
func TestSpread(t *testing.T) {
	root := t.TempDir()
	params := filepath.Join(root, "params")
	runEnv(t, root, nil, filepath.Join(binDir, "gen_cache_and_param_blst"), "wdpost-param", "--size", "2KiB",
		"--params-dir", params, "--out", params, "--generate", "--partition-sectors", strconv.Itoa(spreadSectors))
	q := spreadQuestion(t, filepath.Join(root, "store"))
	var proofs []string
	for _, helpers := range []int{0, 2} {
		took, proof := spreadOver(t, filepath.Join(root, strconv.Itoa(helpers)), params, q, helpers)
		proofs = append(proofs, proof)
		shape, err := merkle.ShapeOf(2 << 10)
		if err != nil {
			t.Fatal(err)
		}
		moved := 0
		if helpers > 0 {
			moved = 2 * 2 * spreadSectors * post.EncodedSize(shape, post.Window2KiBV1_1.Challenges())
		}
		fmt.Printf("3 partitions of %d sectors on %d slaves: %v, %d bytes of vanilla proofs over the wire\n", spreadSectors, 1+helpers, took.Round(time.Millisecond), moved)
	}
	if proofs[0] != proofs[1] {
		t.Error("the proof of three slaves is another than that of one")
	}
}

// spreadQuestion makes the sectors of three partitions.
func spreadQuestion(t *testing.T, store string) task.Question {
	t.Helper()
	q := task.Question{MinerID: 1000, ProofType: post.Window2KiBV1_1.String(), AllowSkip: true, NotAfter: time.Now().Add(time.Hour).Unix()}
	maker := sectorfile.NewMaker(proofs.New().Hasher(), 2)
	for n := range uint64(3 * spreadSectors) {
		commR, err := maker.Random(t.Context(), sectorfile.Sector{Dir: store, Miner: 1000, Number: n, Size: 2 << 10}, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		name := fmt.Sprintf("s-t01000-%d", n)
		q.Replicas = append(q.Replicas, task.Replica{
			SectorID: n, CommR: commR, SealedFile: filepath.Join(store, "sealed", name), CacheDir: filepath.Join(store, "cache", name),
		})
	}
	return q
}

// spreadOver asks a master of its own with one slave that mounts the store and
// some that do not, and returns how long the answer took.
func spreadOver(t *testing.T, dir, params string, q task.Question, helpers int) (time.Duration, string) {
	t.Helper()
	port := freePort(t)
	writeFile(t, fmt.Sprintf("[server]\nlisten = '127.0.0.1:%d'\n[db]\nurl = 'sqlite://%s/queue.db'\n[task]\nheartbeat_timeout = '5s'\npartition_sectors = %d\n",
		port, dir, spreadSectors), dir, "master.toml")
	env := []string{"FIL_PROOFS_PARAMETER_CACHE=" + params, "FORCE_SECTOR_SIZE=2048", "GOMAXPROCS=1"}
	cmd := exec.Command(filepath.Join(binDir, "wdpost-master-daemon"), "-c", filepath.Join(dir, "master.toml"))
	cmd.Env = append(cmd.Environ(), env...)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = in.Close() // which ends the master
		_ = cmd.Wait()
	}()
	lines := bufio.NewReader(out)
	var slaves []*process
	for i := range 1 + helpers {
		more := "spread = 'always'\n"
		if i > 0 {
			more = "roles = ['prove']\n"
		}
		name := fmt.Sprintf("slave%d", i)
		file := writeFile(t, fmt.Sprintf("[master]\nserver_addr = '127.0.0.1:%d'\nheartbeat_interval = '1s'\n[slave]\nname = '%s'\nspool = '%s/spool-%s'\npartition_sectors = %d\n%s",
			port, name, dir, name, spreadSectors, more), dir, name+".toml")
		slaves = append(slaves, startProcess(t, name, dir, env, filepath.Join(binDir, "wdpost-slave-daemon"), "-c="+file))
	}
	for _, s := range slaves {
		s.waitLog(2*time.Minute, "parameters loaded")
	}
	if line, err := lines.ReadString('\n'); err != nil || !strings.Contains(line, "ready") {
		t.Fatalf("%q, %v", line, err)
	}
	begin := time.Now()
	if err := json.NewEncoder(in).Encode(map[string]any{"id": 1, "task": q}); err != nil {
		t.Fatal(err)
	}
	for {
		line, err := lines.ReadBytes('\n')
		if err == io.EOF {
			t.Fatal("the master ended")
		}
		var got struct {
			Err    *string `json:"err_msg"`
			Output *task.Answer
		}
		if json.Unmarshal(line, &got) != nil || got.Err == nil && got.Output == nil {
			continue
		}
		if got.Output == nil || len(got.Output.Proofs) != 1 || len(got.Output.Faults) > 0 {
			t.Fatalf("%s", line)
		}
		took := time.Since(begin)
		for i, s := range slaves {
			t.Logf("slave%d: %d partitions of others", i, strings.Count(s.log(), "part proven"))
			s.stop()
		}
		return took, string(got.Output.Proofs[0])
	}
}
