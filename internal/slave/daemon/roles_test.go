package daemon

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"wdpost/internal/keytool"
	"wdpost/internal/prover"
	"wdpost/internal/sector"
	"wdpost/internal/task"
	"wdpost/proofs/post"
)

// partitionsOf is a question of so many partitions of one golden sector each,
// with keys for it, and its proof as one machine makes it.
func partitionsOf(t *testing.T, n int) (question task.Question, params string, proof []byte) {
	t.Helper()
	question = goldenQuestion(t)
	if len(question.Replicas) < n {
		t.Fatalf("%d golden sectors", len(question.Replicas))
	}
	question.Replicas = question.Replicas[:n]
	params = t.TempDir()
	tool := &keytool.Tool{ParamsDir: params, Out: params}
	if _, err := tool.Make(t.Context(), post.Window2KiBV1_1.Setup().WithSectors(1)); err != nil {
		t.Fatal(err)
	}
	engine, err := prover.New(prover.Config{
		Reader: sector.NewReader(sector.NewGuard(sector.GuardConfig{})), PartitionSectors: 1,
		Keys: prover.KeyConfig{ParamsDir: params, RawDirs: []string{params}, Log: slog.New(slog.DiscardHandler)},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer engine.Close()
	a, err := engine.ProveWindowPoSt(t.Context(), question)
	if err != nil || len(a.Proofs) != 1 || len(a.Proofs[0]) != n*192 {
		t.Fatalf("%+v, %v", a, err)
	}
	return question, params, a.Proofs[0]
}

// Reading and proving are two roles: a slave that only reads and one without any
// storage prove together, and the proof is the same byte for byte.
func TestReaderAndProverWithoutStorage(t *testing.T) {
	question, params, want := partitionsOf(t, 2)
	in := newInstallationOf(t, params, 1)
	here := ""
	for i := range question.Replicas { // the manager's paths exist nowhere
		r := &question.Replicas[i]
		here = r.SealedFile[:strings.Index(r.SealedFile, "/sealed/")]
		r.SealedFile = strings.Replace(r.SealedFile, here, "/manager", 1)
		r.CacheDir = strings.Replace(r.CacheDir, here, "/manager", 1)
	}
	reader := in.slave("reader", fmt.Sprintf("partition_sectors = 1\nroles = ['read']\n[slave.paths]\n'/manager' = '%s'\n", here))
	prover := in.slave("prover", "partition_sectors = 1\nroles = ['prove']\n")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	a, err := in.q.Ask(ctx, question)
	if err != nil || len(a.Proofs) != 1 || len(a.Faults) > 0 {
		t.Fatalf("%+v, %v", a, err)
	}
	if !bytes.Equal(a.Proofs[0], want) {
		t.Error("the proof is another than that of one machine")
	}
	if !prover.has("part proven") || prover.has("got task:") || !reader.has("partition proven by another slave") {
		t.Error("the roles were not kept")
	}
}

// A slave that does both spreads partitions over idle provers and proves some
// itself.
func TestPartitionsSpreadOverIdleProvers(t *testing.T) {
	question, params, want := partitionsOf(t, 2)
	in := newInstallationOf(t, params, 1)
	both := in.slave("both", "partition_sectors = 1\nspread = 'always'\n")
	helper := in.slave("helper", "partition_sectors = 1\nroles = ['prove']\n")
	for !helper.has("parameters loaded") || !both.has("parameters loaded") {
		time.Sleep(5 * time.Millisecond)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	a, err := in.q.Ask(ctx, question)
	if err != nil || len(a.Proofs) != 1 || !bytes.Equal(a.Proofs[0], want) {
		t.Fatalf("%+v, %v", a, err)
	}
	if !both.has("partitions are offered to idle provers") {
		t.Error("nothing was offered")
	}
}
