package extprover

import (
	"testing"

	"wdpost/internal/task"
)

// Only a child that says so is given vanilla proofs; others get the question as
// peers know it.
func TestVanillaProofsGoOnlyToThoseWhoTakeThem(t *testing.T) {
	for role, want := range map[string]string{"vanilla": "vproof", "server": "v"} {
		t.Run(role, func(t *testing.T) {
			h, _ := startHost(t, HostConfig{}, processor(role, "A"))
			waitFor(t, "the hello", func() bool {
				p := h.pools[StageWindowPoSt]
				p.mu.Lock()
				defer p.mu.Unlock()
				c := p.children[0]
				return c.status.Ready && c.process.takesCancel
			})
			q := question(doVanilla, "x")
			q.Replicas[0].Vanilla = []byte("proof")
			got, err := h.ProveWindowPoSt(t.Context(), q)
			if err != nil || string(got.Proofs[0]) != want {
				t.Fatalf("%q, %v", got.Proofs, err)
			}
			if string(q.Replicas[0].Vanilla) != "proof" {
				t.Error("the question of the caller was changed")
			}
		})
	}
}

func TestQuestionsOfPeersHaveNoVanillaField(t *testing.T) {
	q := task.Question{Replicas: []task.Replica{{SectorID: 1}}}
	line, rich, err := encodeTask(1, q)
	if err != nil || rich != nil {
		t.Fatalf("%q, %v", rich, err)
	}
	q.Replicas[0].Vanilla = []byte{1}
	plain, rich, err := encodeTask(1, q)
	if err != nil || string(plain) != string(line) || string(rich) == string(line) {
		t.Fatalf("%q, %q, %v", plain, rich, err)
	}
}
