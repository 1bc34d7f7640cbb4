//go:build e2e && trouble

package e2e

import (
	"fmt"
	"path/filepath"
	"testing"
)

// A devnet with windows of 30 epochs of a second: the first whole one opens at
// epoch 20, and one follows the other.
const (
	troubleWindow = 30
	troubleFirst  = 20
)

// troubled runs a cluster with one list of troubles a window, each of which
// begins so many epochs after the window's Open, and expects every window to be
// proven and no proof to be sent twice.
func troubled(t *testing.T, flags []string, windows [][]string) {
	t.Helper()
	t.Parallel() // a cluster mostly waits for its epochs
	argv := []string{
		filepath.Join(binDir, "wdpost-devnet"), "--workdir", filepath.Join(t.TempDir(), "work"), "--bin", binDir, "--lines",
		"--sectors", "8", "--period-deadlines", "4", "--window", fmt.Sprint(troubleWindow), "--deadlines", fmt.Sprint(len(windows) + 1),
	}
	argv = append(argv, flags...)
	for i, troubles := range windows {
		open := troubleFirst + i*troubleWindow
		for _, text := range troubles {
			var after int
			var what string
			if _, err := fmt.Sscanf(text, "%d %s", &after, &what); err != nil {
				t.Fatalf("%q: %v", text, err)
			}
			argv = append(argv, "--trouble", fmt.Sprintf("from=%d,%s", open+after, what))
		}
	}
	startProcess(t, "devnet", t.TempDir(), []string{"GOLOG_LOG_LEVEL=fatal"}, argv...).waitProven()
}

// TestTroubleWithOneNode: what one node, the messager and the fees can do to a
// window. The numbers are those of the experiments that found it.
func TestTroubleWithOneNode(t *testing.T) {
	troubled(t, nil, [][]string{
		{"-2 for=16,method=Filecoin.*,hang"},                                   // x01
		{"-2 for=18,method=Filecoin.*,status=502"},                             // x07
		{"-2 for=18,method=Filecoin.*,cut"},                                    // x07
		{"-2 for=14,method=Message.*,hang"},                                    // x16
		{"-2 for=30,mute"},                                                     // x05
		{"-2 for=14,freeze"},                                                   // x11
		{"-2 for=14,old-heads"},                                                // x10
		{"-2 for=28,method=Filecoin.*,delay=1s"},                               // x30
		{"-2 for=40,method=Filecoin.*,status=429,every=3"},                     // field F21
		{"1 for=14,base-fee=10e9"},                                             // x12
		{"3 reorg=4", "12 drop=6"},                                             // x23
		{"-2 for=3,method=Message.PushMessageWithId,error=out-of-order,after"}, // x51
	})
}

// TestTroubleWithTwoNodes: messages go through the nodes, and the first one is in
// trouble.
func TestTroubleWithTwoNodes(t *testing.T) {
	troubled(t, []string{"--nodes", "2", "--node-mode"}, [][]string{
		{"-2 for=30,node=1,cut"},                                                // x09
		{"-2 for=30,node=1,hang"},                                               // x08
		{"-2 for=30,node=1,freeze", "-2 for=30,node=1,cut-off"},                 // L10, L11
		{"-2 for=30,node=1,method=Filecoin.StateMinerPartitions,error=damaged"}, // x41
		{"-2 for=30,node=1,method=Filecoin.StateMinerDeadlines,hang", "-2 for=30,node=1,method=Filecoin.StateMinerSectors,hang"}, // x42
		{"-2 for=30,node=1,lag=6"},
		{"-2 for=30,node=1,no-key"},
		{"-2 for=30,status=429,every=3"}, // field F21
		{"-2 for=3,node=1,method=Filecoin.MpoolPushMessage,error=broken,after"}, // x51n
		{"4 restart", "4 evict"}, // L2
	})
}
