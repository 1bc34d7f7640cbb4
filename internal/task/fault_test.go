package task_test

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"wdpost/internal/task"
)

// A dead store of many sectors is one reason, and whose trouble it is survives
// wrapping.
func TestReasonsAreGrouped(t *testing.T) {
	faults := map[uint64]error{9: errors.New("panic")}
	for n := range uint64(5) {
		faults[n] = fmt.Errorf("sector %d: %w", n, &task.FaultError{Kind: task.FaultStore, Store: "/mnt/a", Err: errors.New("timed out")})
	}
	faults[7] = &task.FaultError{Kind: task.FaultData, Err: errors.New("too short\x00\n")}
	got := task.Reasons(faults)
	if len(got) != 3 || got[0].Store != "/mnt/a" || !slices.Equal(got[0].Sectors, []uint64{0, 1, 2, 3, 4}) {
		t.Fatalf("%+v", got)
	}
	if want := "5 sectors of /mnt/a (store), first 0: sector 0: timed out"; got[0].String() != want {
		t.Errorf("%q, want %q", got[0], want)
	}
	a := task.Answer{Faults: []uint64{9, 7, 4, 3, 2, 1, 0}, Reasons: got}.Normal()
	if e := a.Elsewhere(); !slices.Equal(e, []uint64{0, 1, 2, 3, 4, 9}) {
		t.Errorf("another machine may read %v", e)
	}
	for _, r := range a.Reasons {
		if strings.ContainsAny(r.Err, "\x00\n") {
			t.Errorf("control characters in %q", r.Err)
		}
	}
}

// Reasons come from other machines: what does not belong to a fault, or names
// an unknown kind, says nothing.
func TestForeignReasonsAreDropped(t *testing.T) {
	a := task.Answer{Faults: []uint64{1, 2}, Reasons: []task.Reason{
		{Kind: task.FaultData, Sectors: []uint64{3, 2, 2}},
		{Kind: "the moon", Sectors: []uint64{1}, Err: strings.Repeat("é", 4000)},
		{Kind: task.FaultData, Sectors: []uint64{4}},
	}}.Normal()
	if len(a.Reasons) != 2 || !slices.Equal(a.Reasons[0].Sectors, []uint64{2}) || a.Reasons[1].Kind != "" || len(a.Reasons[1].Err) > 500 {
		t.Fatalf("%+v", a.Reasons)
	}
	if e := a.Elsewhere(); !slices.Equal(e, []uint64{1}) {
		t.Errorf("another machine may read %v", e)
	}
}

func TestVanillaProofsTravelApart(t *testing.T) {
	q := task.Question{MinerID: 1, Replicas: []task.Replica{{SectorID: 1, Vanilla: []byte("abc")}, {SectorID: 2, Vanilla: []byte("def")}}}
	bare, data, err := q.SplitVanilla()
	if err != nil || string(data) != "abcdef" || bare.Replicas[1].Vanilla != nil || string(q.Replicas[0].Vanilla) != "abc" {
		t.Fatalf("%q, %v", data, err)
	}
	back, err := bare.JoinVanilla(strings.NewReader("abcdef"), 6)
	if err != nil || !reflect.DeepEqual(back, q) {
		t.Fatalf("%+v, %v", back, err)
	}
	for _, n := range []int64{0, 5, 8} {
		if _, err := bare.JoinVanilla(strings.NewReader("abcdef"), n); err == nil {
			t.Errorf("%d bytes accepted", n)
		}
	}
	q.Replicas[1].Vanilla = nil
	if _, _, err := q.SplitVanilla(); !errors.Is(err, task.ErrBadQuestion) {
		t.Errorf("one is missing: %v", err)
	}
}
