//go:build e2e || sick

package e2e

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
)

// processorEnv in the environment makes this test program an external processor
// that misbehaves in the way it names.
const processorEnv = "E2E_PROCESSOR"

// playProcessor is that processor: one that hangs on each request, or one that
// answers each with a proof that proves nothing.
func playProcessor(mode string) {
	fmt.Println("window_post processor ready")
	in := bufio.NewReader(os.Stdin)
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			return
		}
		var req struct {
			ID   uint64 `json:"id"`
			Task struct {
				Replicas []json.RawMessage `json:"replicas"`
			} `json:"task"`
		}
		if json.Unmarshal(line, &req) != nil || len(req.Task.Replicas) == 0 || mode == "hangs" {
			continue
		}
		proof := base64.StdEncoding.EncodeToString(make([]byte, 192*len(req.Task.Replicas)))
		fmt.Printf(`{"id":%d,"err_msg":null,"output":{"proofs":[%q],"faults":[]}}`+"\n", req.ID, proof)
	}
}
