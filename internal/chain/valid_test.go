package chain

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/filecoin-project/go-bitfield"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/dline"
	"github.com/ipfs/go-cid"

	"wdpost/internal/endpoint"
	"wdpost/internal/lotus"
)

// scripted is a node that gives fixed answers, result by method; any other method
// is unknown to it.
func scripted(t *testing.T, answers map[string]string) *Node {
	t.Helper()
	if answers["Version"] == "" {
		answers["Version"] = `{"Version":"scripted","APIVersion":131840}`
	}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var q struct {
			ID     int
			Method string
		}
		_ = json.NewDecoder(r.Body).Decode(&q)
		answer, ok := answers[strings.TrimPrefix(q.Method, "Filecoin.")]
		if !ok {
			_, _ = fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%d,"error":{"code":-32601,"message":"method '%s' not found"}}`, q.ID, q.Method)
			return
		}
		_, _ = io.WriteString(w, fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"result":`, q.ID)+answer+"}")
	}))
	t.Cleanup(srv.Close)
	return newNode(t, Config{Endpoints: []string{srv.URL}})
}

// recorded is the result of a recorded answer of a real node.
func recorded(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("../lotus/testdata", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	var rec struct {
		Response struct{ Result json.RawMessage }
	}
	if err := json.Unmarshal(b, &rec); err != nil {
		t.Fatal(err)
	}
	return string(rec.Response.Result)
}

// TestRecordedAnswersPass: what a real node says is never nonsense.
func TestRecordedAnswersPass(t *testing.T) {
	answers := map[string]string{}
	for _, m := range []string{
		"ChainHead", "ChainGetGenesis", "StateMinerInfo", "StateMinerProvingDeadline", "StateMinerDeadlines", "StateMinerPartitions",
		"StateMinerSectors", "StateMinerFaults", "StateMinerRecoveries", "StateMinerActiveSectors", "StateNetworkName", "Version",
	} {
		answers[m] = recorded(t, m)
	}
	answers["StateSearchMsg"] = recorded(t, "StateSearchMsg-SubmitWindowedPoSt")
	n, ctx, a := scripted(t, answers), t.Context(), miner(t, 1000)
	tsk := lotus.TipSetKey{}
	for name, ask := range map[string]func() (any, error){
		"head":       func() (any, error) { return n.ChainHead(ctx) },
		"genesis":    func() (any, error) { return n.ChainGetGenesis(ctx) },
		"info":       func() (any, error) { return n.StateMinerInfo(ctx, a, tsk) },
		"deadline":   func() (any, error) { return n.StateMinerProvingDeadline(ctx, a, tsk) },
		"deadlines":  func() (any, error) { return n.StateMinerDeadlines(ctx, a, tsk) },
		"partitions": func() (any, error) { return n.StateMinerPartitions(ctx, a, 0, tsk) },
		"faults":     func() (any, error) { return n.StateMinerFaults(ctx, a, tsk) },
		"recoveries": func() (any, error) { return n.StateMinerRecoveries(ctx, a, tsk) },
		"search": func() (any, error) {
			return n.StateSearchMsg(ctx, tsk, cid.MustParse("bafy2bzaceasahvxh4zlrxzcsfmb3pleh2wvj6ncrz7vsejfnlv7y5ywqj2ouk"), 1, true)
		},
		"sectors": func() (any, error) {
			list, err := n.StateMinerSectors(ctx, a, nil, tsk)
			if err == nil && len(list) == 0 {
				err = errors.New("none left")
			}
			return list, err
		},
	} {
		if v, err := ask(); err != nil {
			t.Errorf("%s: %v, %v", name, v, err)
		}
	}
}

// deadlineJSON is a deadline as a node writes it, with some fields changed.
func deadlineJSON(change func(*dline.Info)) string {
	d := dline.NewInfo(1000, 5, 1321, 48, 2880, 60, 20, 70)
	change(d)
	b, err := json.Marshal(d)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// TestNonsenseIsAnErrorNotAPanic holds answers that cannot be true against the
// methods (F4, F8, x21, x22, x22b): each is named, none is used.
func TestNonsenseIsAnErrorNotAPanic(t *testing.T) {
	a, tsk := miner(t, 1000), lotus.TipSetKey{}
	deadline := func(n *Node) (any, error) { return n.StateMinerProvingDeadline(t.Context(), a, tsk) }
	info := func(n *Node) (any, error) { return n.StateMinerInfo(t.Context(), a, tsk) }
	partitions := func(n *Node) (any, error) { return n.StateMinerPartitions(t.Context(), a, 0, tsk) }
	deadlines := func(n *Node) (any, error) { return n.StateMinerDeadlines(t.Context(), a, tsk) }
	head := func(n *Node) (any, error) { return n.ChainHead(t.Context()) }
	random := func(n *Node) (any, error) {
		return n.StateGetRandomnessFromBeacon(t.Context(), 1, 2, nil, lotus.NewTipSetKey(blockCID("x", 1)))
	}
	part := func(all, live, faulty, recovering, active string) string {
		return fmt.Sprintf(`[{"AllSectors":%s,"LiveSectors":%s,"FaultySectors":%s,"RecoveringSectors":%s,"ActiveSectors":%s}]`, all, live, faulty, recovering, active)
	}
	for _, c := range []struct {
		name, method, answer string
		ask                  func(*Node) (any, error)
		words                string
	}{
		{"zero period (x22)", "StateMinerProvingDeadline", deadlineJSON(func(d *dline.Info) { d.WPoStProvingPeriod = 0 }), deadline, "proving period of 0 epochs"},
		{"zero window", "StateMinerProvingDeadline", deadlineJSON(func(d *dline.Info) { d.WPoStChallengeWindow = 0 }), deadline, "deadlines of 0"},
		{"negative window", "StateMinerProvingDeadline", deadlineJSON(func(d *dline.Info) { d.WPoStChallengeWindow, d.WPoStProvingPeriod = -60, -2880 }), deadline, "deadlines of -60"},
		{"no deadlines", "StateMinerProvingDeadline", deadlineJSON(func(d *dline.Info) { d.WPoStPeriodDeadlines, d.WPoStProvingPeriod = 0, 0 }), deadline, "with 0 deadlines"},
		{"overflow", "StateMinerProvingDeadline", deadlineJSON(func(d *dline.Info) {
			d.WPoStChallengeWindow, d.WPoStProvingPeriod, d.WPoStPeriodDeadlines = 1<<62, 0, 4
		}), deadline, "proving period"},
		{"index", "StateMinerProvingDeadline", deadlineJSON(func(d *dline.Info) { d.Index = 48 }), deadline, "deadline 48 of 48"},
		{"open off the grid", "StateMinerProvingDeadline", deadlineJSON(func(d *dline.Info) { d.Open++ }), deadline, "its grid gives"},
		{"period long ago (x22b)", "StateMinerProvingDeadline", `{"CurrentEpoch":1321,"PeriodStart":-1000000000,"Index":5,"Open":-999999700,"Close":-999999640,"Challenge":-999999720,"FaultCutoff":-999999770,"WPoStPeriodDeadlines":48,"WPoStProvingPeriod":2880,"WPoStChallengeWindow":60,"WPoStChallengeLookback":20,"FaultDeclarationCutoff":70}`, deadline, "while the chain is at epoch 1321"},
		{"null deadline", "StateMinerProvingDeadline", "null", deadline, "the answer is empty"},
		{"proof type", "StateMinerInfo", `{"Owner":"f01","Worker":"f01","Beneficiary":"f01","WindowPoStProofType":77,"SectorSize":2048,"WindowPoStPartitionSectors":2}`, info, "window proof type 77 of the miner is not known"},
		{"size", "StateMinerInfo", `{"Owner":"f01","Worker":"f01","Beneficiary":"f01","WindowPoStProofType":10,"SectorSize":4096,"WindowPoStPartitionSectors":2}`, info, "sectors of 4096 bytes"},
		{"no partition size", "StateMinerInfo", `{"Owner":"f01","Worker":"f01","Beneficiary":"f01","WindowPoStProofType":10,"SectorSize":2048,"WindowPoStPartitionSectors":0}`, info, "0 sectors in a partition"},
		{"faulty outside live", "StateMinerPartitions", part("[0,2]", "[0,2]", "[5,1]", "[0]", "[0,2]"), partitions, "FaultySectors of partition 0 has sectors that LiveSectors lacks"},
		{"recovering healthy", "StateMinerPartitions", part("[0,2]", "[0,2]", "[0]", "[0,1]", "[0,2]"), partitions, "RecoveringSectors of partition 0"},
		{"huge partition", "StateMinerPartitions", part("[0,1000000000000]", "[0]", "[0]", "[0]", "[0]"), partitions, "AllSectors of partition 0 has 1000000000000 entries"},
		{"sector number", "StateMinerPartitions", part(fmt.Sprintf("[%d,2]", uint64(math.MaxInt64)), "[0]", "[0]", "[0]", "[0]"), partitions, "AllSectors of partition 0"},
		{"no deadlines at all", "StateMinerDeadlines", "[]", deadlines, "a miner with 0 deadlines"},
		{"null deadlines", "StateMinerDeadlines", "null", deadlines, "a miner with 0 deadlines"},
		{"null head", "ChainHead", "null", head, "empty tipset"},
		{"null block", "ChainHead", `{"Cids":[{"/":"bafy2bzaceasahvxh4zlrxzcsfmb3pleh2wvj6ncrz7vsejfnlv7y5ywqj2ouk"}],"Blocks":[null],"Height":5}`, head, "block 0 of the tipset at 5 is missing"},
		{"more names than blocks", "ChainHead", `{"Cids":[{"/":"bafy2bzaceasahvxh4zlrxzcsfmb3pleh2wvj6ncrz7vsejfnlv7y5ywqj2ouk"}],"Blocks":[{"Height":5},{"Height":5}],"Height":5}`, head, "names for"},
		{"head without blocks", "ChainHead", `{"Cids":null,"Blocks":null,"Height":5}`, head, "empty tipset"},
		{"short randomness", "StateGetRandomnessFromBeacon", `"AAAA"`, random, "3 bytes instead of 32"},
		{"null randomness", "StateGetRandomnessFromBeacon", `null`, random, "0 bytes instead of 32"},
	} {
		n := scripted(t, map[string]string{c.method: c.answer})
		v, err := c.ask(n)
		if !errors.Is(err, endpoint.ErrNonsense) || !strings.Contains(err.Error(), c.words) || !strings.Contains(err.Error(), c.method) {
			t.Errorf("%s: %v, %v; want %q", c.name, v, err, c.words)
		}
		if n.Status()[0].Errors[endpoint.Nonsense] == 0 {
			t.Errorf("%s: not counted", c.name)
		}
	}
}

// TestPosterX21NullAmongSectors uses the rest of a list with null, a sector twice,
// one without a CID and one that was not asked for.
func TestPosterX21NullAmongSectors(t *testing.T) {
	sector := func(n abi.SectorNumber, sealed cid.Cid) *lotus.SectorOnChainInfo {
		return &lotus.SectorOnChainInfo{SectorNumber: n, SealedCID: sealed}
	}
	good := blockCID("sealed", 1)
	asked := bitfield.NewFromSet([]uint64{1, 2, 3})
	out, left, err := usableSectors([]*lotus.SectorOnChainInfo{
		nil, sector(3, good), sector(1, good), sector(3, good), sector(2, cid.Undef), sector(9, good), nil,
	}, &asked)
	if err != nil || left != 5 || len(out) != 2 || out[0].SectorNumber != 1 || out[1].SectorNumber != 3 {
		t.Errorf("%v, %d left, %v", out, left, err)
	}
	n := scripted(t, map[string]string{"StateMinerSectors": "[null]"})
	if list, err := n.StateMinerSectors(t.Context(), miner(t, 1), &asked, lotus.TipSetKey{}); err != nil || len(list) != 0 {
		t.Errorf("[null]: %v, %v", list, err)
	}
}

// TestWrongTipsetIsNoAnswer refuses another tipset than the one asked for.
func TestWrongTipsetIsNoAnswer(t *testing.T) {
	n := scripted(t, map[string]string{"ChainGetTipSet": recorded(t, "ChainHead")})
	if _, err := n.ChainGetTipSet(t.Context(), lotus.NewTipSetKey(blockCID("other", 1))); !errors.Is(err, endpoint.ErrNonsense) {
		t.Errorf("got %v", err)
	}
}

// TestServiceOfAnotherKind says what is wrong with the address.
func TestServiceOfAnotherKind(t *testing.T) {
	for name, c := range map[string]struct {
		answers map[string]string
		words   string
	}{
		"lotus-miner": {map[string]string{"Version": `{"Version":"1.36","APIVersion":66816}`}, "that of a lotus-miner or of /rpc/v0 behind a proxy"},
		"newer":       {map[string]string{"Version": `{"Version":"9","APIVersion":196608}`}, "it speaks API 3.0.0"},
	} {
		if _, err := scripted(t, c.answers).ChainHead(t.Context()); !errors.Is(err, endpoint.ErrForeign) || !strings.Contains(err.Error(), c.words) || !strings.Contains(err.Error(), "Write http://") {
			t.Errorf("%s: %v", name, err)
		}
	}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var q struct{ ID int }
		_ = json.NewDecoder(r.Body).Decode(&q)
		w.WriteHeader(http.StatusInternalServerError)
		_, _ = fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%d,"error":{"code":-32601,"message":"method not found"}}`, q.ID)
	}))
	defer srv.Close()
	if _, err := newNode(t, Config{Endpoints: []string{srv.URL}}).ChainHead(t.Context()); !errors.Is(err, endpoint.ErrForeign) || !strings.Contains(err.Error(), "a service of another kind") {
		t.Errorf("messager: %v", err)
	}
}

// FuzzDeadline never panics, and what passes lies on a grid near now.
func FuzzDeadline(f *testing.F) {
	f.Add(int64(1000), uint64(5), int64(1321), uint64(48), int64(2880), int64(60), int64(20), int64(70), int64(1321))
	f.Add(int64(math.MinInt64), uint64(math.MaxUint64), int64(0), uint64(4), int64(0), int64(1)<<62, int64(-1), int64(1), int64(5))
	f.Fuzz(func(t *testing.T, start int64, index uint64, current int64, deadlines uint64, period, window, lookback, cutoff, now int64) {
		d := dline.NewInfo(abi.ChainEpoch(start), index, abi.ChainEpoch(current), deadlines, abi.ChainEpoch(period),
			abi.ChainEpoch(window), abi.ChainEpoch(lookback), abi.ChainEpoch(cutoff))
		if now < 0 || now > maxEpochs {
			return
		}
		if checkDeadline(d, abi.ChainEpoch(now), true) == nil {
			if apart := d.Open - abi.ChainEpoch(now); max(apart, -apart) > 3*d.WPoStProvingPeriod {
				t.Errorf("accepted a window at %d while it is %d", d.Open, now)
			}
		}
	})
}
