package extprover

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"wdpost/internal/task"
)

// childEnv makes this test binary play an external processor.
const childEnv = "EXTPROVER_TEST_CHILD"

func TestMain(m *testing.M) {
	if role := os.Getenv(childEnv); role != "" {
		playChild(role)
		return
	}
	goleak.VerifyTestMain(m)
}

// What the miner number of a question asks of the child.
const (
	doAnswer  = iota + 1
	doCrash   // end at once
	doBlock   // until withdrawn
	doFail    // answer with an error
	doWait    // until the file CacheDir exists
	doPanic   // in the handler
	doBadJSON // answer with an output of the wrong type
	doCrashIf // end if the file CacheDir exists, removing it
	doVanilla // answer with the vanilla proof of the first replica
)

func playChild(role string) {
	switch role {
	case "server":
		s := Server{Stage: StageWindowPoSt, Handle: childHandle, Log: slog.New(slog.NewTextHandler(os.Stderr, nil))}
		if err := s.Serve(context.Background(), os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "serve:", err)
			os.Exit(1)
		}
	case "vanilla":
		s := Server{Stage: StageWindowPoSt, Handle: childHandle, Log: slog.New(slog.NewTextHandler(os.Stderr, nil)), Vanilla: true}
		if err := s.Serve(context.Background(), os.Stdin, os.Stdout); err != nil {
			os.Exit(1)
		}
	case "peer":
		playPeer()
	case "silent":
		io.Copy(io.Discard, os.Stdin)
	case "exits":
		fmt.Fprintln(os.Stderr, "Error: no licence")
		os.Exit(7)
	case "stubborn":
		signal.Ignore(syscall.SIGTERM)
		grandchild := exec.Command("sleep", "60")
		grandchild.Stdout, grandchild.Stderr = os.Stdout, os.Stderr
		if err := grandchild.Start(); err != nil {
			panic(err)
		}
		fmt.Println(readyLine(StageWindowPoSt))
		time.Sleep(time.Minute)
	case "mute": // loses every request
		fmt.Println(readyLine(StageWindowPoSt))
		io.Copy(io.Discard, os.Stdin)
	case "reports": // says why it is not ready until the file named by NAME is there
		playReporting(os.Getenv("NAME"))
	case "lastwords": // reports and ends; its successors, with the file named by NAME, say nothing
		if _, err := os.Stat(os.Getenv("NAME")); err == nil {
			time.Sleep(time.Minute)
		}
		r, err := OpenReporter()
		if err = errors.Join(err, os.WriteFile(os.Getenv("NAME"), nil, 0o600)); err != nil {
			panic(err)
		}
		if err := r.Report(Report{Conditions: []ReportedCondition{{Kind: "listen_failed", Detail: "port 4698 is taken"}}}); err != nil {
			panic(err)
		}
		os.Exit(1)
	case "host": // runs a deaf child until it is killed
		h, err := NewHost(HostConfig{WindowPoSt: []Processor{processor("deaf", "")}, Log: slog.New(slog.NewTextHandler(os.Stderr, nil))})
		if err != nil {
			panic(err)
		}
		go h.Run(context.Background())
		for {
			if pid := status(h, 0).Pid; pid != 0 {
				fmt.Println(pid)
				time.Sleep(time.Minute)
			}
			time.Sleep(time.Millisecond)
		}
	case "deaf": // ready, but never reads
		fmt.Println(readyLine(StageWindowPoSt))
		time.Sleep(time.Minute)
	}
}

func playReporting(until string) {
	r, err := OpenReporter()
	if err != nil || os.Getenv(StatusEnv) != "" {
		panic(err)
	}
	err = r.Report(Report{Build: "v1", Slaves: []SlaveCount{{State: "idle", SectorSize: 2048, Count: 3}},
		Conditions: []ReportedCondition{{Kind: "listen_failed", Detail: "port 4698 is taken"}}})
	if err != nil {
		panic(err)
	}
	for _, err := os.Stat(until); err != nil; _, err = os.Stat(until) {
		time.Sleep(time.Millisecond)
	}
	if err := r.Report(Report{Build: "v1"}); err != nil {
		panic(err)
	}
	fmt.Println(readyLine(StageWindowPoSt))
	io.Copy(io.Discard, os.Stdin)
}

func childHandle(ctx context.Context, q task.Question) (task.Answer, error) {
	switch q.MinerID {
	case doCrash:
		os.Exit(3)
	case doCrashIf:
		if os.Remove(q.Replicas[0].CacheDir) == nil {
			os.Exit(3)
		}
	case doBlock:
		<-ctx.Done()
		fmt.Fprintln(os.Stderr, "cause:", context.Cause(ctx))
		return task.Answer{}, context.Cause(ctx)
	case doFail:
		return task.Answer{}, errors.New("no such sector")
	case doVanilla:
		return task.Answer{Proofs: [][]byte{append([]byte("v"), q.Replicas[0].Vanilla...)}}, nil
	case doPanic:
		panic("at the disco")
	case doWait:
		for {
			if _, err := os.Stat(q.Replicas[0].CacheDir); err == nil {
				break
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
	return task.Answer{Proofs: [][]byte{fmt.Appendf(nil, "%s %d", os.Getenv("NAME"), len(q.Replicas))}}, nil
}

// playPeer is a processor that knows only the protocol of peers, and is untidy.
func playPeer() {
	fmt.Println("loading parameters")
	fmt.Println(readyLine(StageWindowPoSt))
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		if strings.Contains(in.Text(), "cancel") {
			fmt.Fprintln(os.Stderr, "unexpected line", in.Text())
			os.Exit(9)
		}
		var req struct {
			ID   uint64        `json:"id"`
			Task task.Question `json:"task"`
		}
		if err := json.Unmarshal(in.Bytes(), &req); err != nil {
			panic(err)
		}
		if req.Task.MinerID == doBlock {
			continue
		}
		fmt.Println("progress: 50%")
		fmt.Println(`{"id":999,"err_msg":null,"output":{"proofs":[],"faults":[]}}`)
		fmt.Println(`{"err_msg":null}`)
		fmt.Println("")
		if req.Task.MinerID == doBadJSON {
			fmt.Printf(`{"id":%d,"err_msg":null,"output":{"proofs":7}}`+"\n", req.ID)
			continue
		}
		fmt.Printf(`{"id":%d,"err_msg":null,"output":{"proofs":["cGVlcg=="],"faults":[]}}`+"\r\n", req.ID)
		fmt.Printf(`{"id":%d,"err_msg":null,"output":{"proofs":["cGVlcg=="],"faults":[]}}`+"\n", req.ID)
	}
}
