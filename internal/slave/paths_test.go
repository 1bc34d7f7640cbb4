package slave_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"wdpost/internal/slave"
	"wdpost/internal/task"
)

func TestPathsLongestPrefixFirst(t *testing.T) {
	p, err := slave.NewPaths(map[string]string{
		"/mnt/a": "/x", "/mnt/a/sealed/": "/fast/sealed", "/mnt/扇区 1": "/data/一",
	})
	if err != nil {
		t.Fatal(err)
	}
	for from, want := range map[string]string{
		"/mnt/a/cache/s-t01-1":  "/x/cache/s-t01-1",
		"/mnt/a/sealed/s-t01-1": "/fast/sealed/s-t01-1",
		"/mnt/a":                "/x",
		"/mnt/ab/sealed/s":      "/mnt/ab/sealed/s",
		"/mnt/扇区 1/sealed/s":    "/data/一/sealed/s",
		"/elsewhere/sealed/s":   "/elsewhere/sealed/s",
	} {
		if got := p.Local(from); got != want {
			t.Errorf("%s: %s, want %s", from, got, want)
		}
	}
	if root, err := slave.NewPaths(map[string]string{"/": "/all"}); err != nil || root.Local("/mnt/a") != "/all/mnt/a" {
		t.Errorf("root: %v", err)
	}
	for name, bad := range map[string]map[string]string{
		"relative": {"mnt/a": "/x"}, "relative here": {"/mnt/a": "x"}, "twice": {"/mnt/a": "/x", "/mnt/a/": "/y"},
	} {
		if _, err := slave.NewPaths(bad); err == nil || !strings.Contains(err.Error(), "slave.paths") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Reasons name the stores as the asker does, and where they are here.
func TestMappedAnswersWithTheAskersNames(t *testing.T) {
	p, err := slave.NewPaths(map[string]string{"/mnt/a": "/x"})
	if err != nil {
		t.Fatal(err)
	}
	q := task.Question{Replicas: []task.Replica{{SectorID: 1, SealedFile: "/mnt/a/sealed/s", CacheDir: "/mnt/b/cache/s"}}}
	m := slave.Mapped{Paths: p, Prover: whole(func(_ context.Context, local task.Question) (task.Answer, error) {
		if r := local.Replicas[0]; r.SealedFile != "/x/sealed/s" || r.CacheDir != "/mnt/b/cache/s" {
			t.Errorf("read at %+v", r)
		}
		return task.Answer{Faults: []uint64{1}, Reasons: task.Reasons(map[uint64]error{1: &task.FaultError{Kind: task.FaultUnseen, Store: "/x", Err: errors.New("gone")}})}, nil
	})}
	a, err := m.ProveLease(t.Context(), task.Lease{}, q)
	if err != nil || a.Reasons[0].Store != "/mnt/a" || a.Reasons[0].Err != "here /x: gone" {
		t.Errorf("%+v, %v", a, err)
	}
	if q.Replicas[0].SealedFile != "/mnt/a/sealed/s" {
		t.Error("the question of the caller was changed")
	}
}

// whole is a function that answers whole tasks.
type whole func(ctx context.Context, q task.Question) (task.Answer, error)

func (p whole) ProveLease(ctx context.Context, _ task.Lease, q task.Question) (task.Answer, error) {
	return p(ctx, q)
}
