package devnet_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-jsonrpc"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/proof"
	"github.com/google/uuid"
	"github.com/ipfs/go-cid"

	"wdpost/internal/lotus"
	"wdpost/lab/devnet"
	"wdpost/lab/devnet/actor"
	"wdpost/lab/devnet/serve"
)

// messagerAPI is a Venus client of the messager.
type messagerAPI struct {
	PushMessageWithId func(context.Context, string, *lotus.Message, *sendSpec) (string, error)
	HasMessageByUid   func(context.Context, string) (bool, error)
	GetMessageByUid   func(context.Context, string) (*venusMessage, error)
	WaitMessage       func(context.Context, string, uint64) (*venusMessage, error)
	ReplaceMessage    func(context.Context, *replaceParams) (cid.Cid, error)
}

type sendSpec struct {
	ExpireEpoch       abi.ChainEpoch `json:"expireEpoch"`
	GasOverEstimation float64        `json:"gasOverEstimation"`
}

type replaceParams struct {
	ID   string
	Auto bool
}

type venusMessage struct {
	ID         string
	State      int
	SignedCid  *cid.Cid
	Nonce      uint64
	GasLimit   int64
	Confidence int64
	Receipt    *lotus.MessageReceipt
	ErrorMsg   string
}

func (r *rig) messager() *messagerAPI {
	r.t.Helper()
	var api messagerAPI
	h := http.Header{}
	h.Set("Authorization", "Bearer "+r.Token())
	h.Set("X-VENUS-API-NAMESPACE", "messager.IMessager")
	closer, err := jsonrpc.NewMergeClient(r.t.Context(), r.Messager().URL("http"), "Message", []any{&api}, h)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(closer)
	return &api
}

// TestMessager sends a proof through the messager: too early, then in time.
func TestMessager(t *testing.T) {
	ctx := t.Context()
	r := newRig(t, nil)
	m := r.messager()
	r.to(firstOpen - 2)
	msg := r.post(2, 0, 1, 2)
	if id, err := m.PushMessageWithId(ctx, "one", msg, &sendSpec{GasOverEstimation: 1.5}); err != nil || id != "one" {
		t.Fatal(id, err)
	}
	if _, err := m.PushMessageWithId(ctx, "one", msg, nil); err == nil || !strings.Contains(err.Error(), "Duplicate entry 'one'") {
		t.Errorf("second push: %v", err)
	}
	if has := must[bool](t)(m.HasMessageByUid(ctx, "one")); !has {
		t.Error("the message is unknown")
	}
	r.to(firstOpen - 1)
	got := must[*venusMessage](t)(m.GetMessageByUid(ctx, "one"))
	if got.State != 1 || !strings.Contains(got.ErrorMsg, "invalid deadline 2") {
		t.Fatalf("before open: %+v", got)
	}
	r.to(firstOpen) // bound to a tipset below open, sent at open, mined in the next
	if got = must[*venusMessage](t)(m.GetMessageByUid(ctx, "one")); got.State != 2 || got.SignedCid == nil || got.GasLimit == 0 {
		t.Fatalf("at open: %+v", got)
	}
	done := make(chan *venusMessage, 1)
	go func() {
		got, err := m.WaitMessage(ctx, "one", 2)
		if err != nil {
			t.Error(err)
		}
		done <- got
	}()
	r.to(firstOpen + 4)
	select {
	case got := <-done:
		t.Fatalf("returned too early: %+v", got)
	default:
	}
	r.to(firstOpen + 5)
	if got = <-done; got.State != 3 || got.Receipt.ExitCode != 0 || got.Confidence != 3 {
		t.Errorf("on chain: %+v", got)
	}
	if _, err := m.GetMessageByUid(ctx, "two"); err == nil || err.Error() != "get message by id error: record not found" {
		t.Errorf("unknown id: %v", err)
	}
	// A reorganisation takes the message off the chain and back onto it.
	if err := r.Reorg(ctx, 5, true); err != nil {
		t.Fatal(err)
	}
	if got = must[*venusMessage](t)(m.GetMessageByUid(ctx, "one")); got.State != 2 || got.Receipt.ExitCode != -1 {
		t.Errorf("after it was lost: %+v", got)
	}
	if n := len(r.Chain().Pending()); n != 1 {
		t.Errorf("%d messages wait, the lost one must have been sent again", n)
	}
}

// TestMessagerNeverExpires goes on estimating after the expiry epoch, as the
// real one has done since v1.9.
func TestMessagerNeverExpires(t *testing.T) {
	r := newRig(t, nil)
	m := r.messager()
	r.to(5)
	must[string](t)(m.PushMessageWithId(t.Context(), "late", r.post(2, 0), &sendSpec{ExpireEpoch: 7}))
	r.to(9)
	got := must[*venusMessage](t)(m.GetMessageByUid(t.Context(), "late"))
	if got.State != 1 || !strings.HasPrefix(got.ErrorMsg, "gas estimate: ") {
		t.Errorf("%+v", got)
	}
}

// TestMessagerWithoutWallet refuses a push without the sender's key, and says
// why it waits where the wallet went away later.
func TestMessagerWithoutWallet(t *testing.T) {
	r := newRig(t, nil)
	m := r.messager()
	r.to(firstOpen + 1)
	msg := r.post(2, 0)
	must[string](t)(m.PushMessageWithId(t.Context(), "one", msg, nil))
	id, _ := r.Chain().Account(msg.From)
	r.LoseWallet(id, true)
	r.to(firstOpen + 2)
	if got := must[*venusMessage](t)(m.GetMessageByUid(t.Context(), "one")); got.State != 1 || !strings.Contains(got.ErrorMsg, "sign message failed: can't find a wallet") {
		t.Errorf("%+v", got)
	}
	if _, err := m.PushMessageWithId(t.Context(), "two", msg, nil); err == nil || !strings.Contains(err.Error(), "not exists") {
		t.Errorf("push without a wallet: %v", err)
	}
	r.LoseWallet(id, false)
	r.to(firstOpen + 5)
	if got := must[*venusMessage](t)(m.GetMessageByUid(t.Context(), "one")); got.State != 3 || got.ErrorMsg != "" {
		t.Errorf("with its wallet: %+v", got)
	}
}

// TestMessagerSignsTheNewestFirst gives a later push the lower nonce.
func TestMessagerSignsTheNewestFirst(t *testing.T) {
	r := newRig(t, nil)
	m := r.messager()
	r.to(firstOpen + 1)
	must[string](t)(m.PushMessageWithId(t.Context(), "one", r.post(2, 0), nil))
	must[string](t)(m.PushMessageWithId(t.Context(), "two", r.post(2, 1), nil))
	r.to(firstOpen + 2)
	one := must[*venusMessage](t)(m.GetMessageByUid(t.Context(), "one"))
	two := must[*venusMessage](t)(m.GetMessageByUid(t.Context(), "two"))
	if one.State != 2 || two.State != 2 || one.Nonce != two.Nonce+1 {
		t.Errorf("nonces %d and %d", one.Nonce, two.Nonce)
	}
}

// TestMessagerReplaces frees a stuck message by a higher price.
func TestMessagerReplaces(t *testing.T) {
	r := newRig(t, nil)
	m := r.messager()
	r.to(firstOpen + 1)
	r.HoldMessages(true)
	must[string](t)(m.PushMessageWithId(t.Context(), "stuck", r.post(2, 0), nil))
	r.to(firstOpen + 4)
	before := must[*venusMessage](t)(m.GetMessageByUid(t.Context(), "stuck"))
	if before.State != 2 {
		t.Fatalf("a held message has state %d", before.State)
	}
	next := must[cid.Cid](t)(m.ReplaceMessage(t.Context(), &replaceParams{ID: "stuck", Auto: true}))
	if next == *before.SignedCid {
		t.Error("the same message again")
	}
	r.to(firstOpen + 6)
	if got := must[*venusMessage](t)(m.GetMessageByUid(t.Context(), "stuck")); got.State != 3 || *got.SignedCid != next {
		t.Errorf("%+v", got)
	}
	if err := r.Check(); err != nil {
		t.Error(err)
	}
}

// TestVenusNamespace refuses requests for another service.
func TestVenusNamespace(t *testing.T) {
	r := newRig(t, nil)
	for ns, want := range map[string]int{"": 200, "messager.IMessager": 200, "gateway.IGateway": 404} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.Messager().URL("http"), strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"Message.HasMessageByUid","params":["x"]}`))
		if err != nil {
			t.Fatal(err)
		}
		req.Close = true
		req.Header.Set("Authorization", "Bearer "+r.Token())
		if ns != "" {
			req.Header.Set("X-VENUS-API-NAMESPACE", ns)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("namespace %q: status %d, want %d", ns, resp.StatusCode, want)
		}
	}
}

// gatewayAPI is a Venus client of the gateway.
type gatewayAPI struct {
	ListenProofEvent   func(context.Context, *registration) (<-chan *request, error)
	ResponseProofEvent func(context.Context, *response) error
}

type registration struct{ MinerAddress address.Address }

type request struct {
	ID      uuid.UUID `json:"Id"`
	Method  string
	Payload []byte
}

type response struct {
	ID      uuid.UUID `json:"Id"`
	Payload []byte
	Error   string
}

// TestGateway registers a miner and answers requests: well, badly, not at all.
func TestGateway(t *testing.T) {
	ctx := t.Context()
	r := newRig(t, func(c *devnet.Config) { c.WinningTimeout = 5 * time.Second })
	r.to(3)
	if _, err := r.AskWinning(ctx, 1000); err == nil || !strings.Contains(err.Error(), "no connections for this miner") {
		t.Errorf("nobody listens: %v", err)
	}
	var api gatewayAPI
	dial(t, r.Gateway().URL("ws"), "Gateway", r.Token(), &api)
	events, err := api.ListenProofEvent(ctx, &registration{r.miner})
	if err != nil {
		t.Fatal(err)
	}
	if e := <-events; e.Method != "InitConnect" || !strings.Contains(string(e.Payload), "ChannelId") {
		t.Fatalf("first event %+v", e)
	}
	answer := func(p []proof.PoStProof, refusal string) {
		e := <-events
		var q struct {
			SectorInfos []proof.ExtendedSectorInfo
			Rand        abi.PoStRandomness
			Height      abi.ChainEpoch
			NWVersion   int
		}
		if err := json.Unmarshal(e.Payload, &q); err != nil || e.Method != "ComputeProof" || len(q.SectorInfos) != 1 || len(q.Rand) != 32 || q.Height != 4 || q.NWVersion != 28 {
			t.Errorf("request %s %s: %v", e.Method, e.Payload, err)
		}
		payload, err := json.Marshal(p)
		if err != nil {
			t.Error(err)
		}
		if err := api.ResponseProofEvent(ctx, &response{ID: e.ID, Payload: payload, Error: refusal}); err != nil {
			t.Error(err)
		}
	}
	for _, c := range []struct {
		name    string
		proofs  []proof.PoStProof
		refusal string
		want    string
	}{
		{"good", []proof.PoStProof{{PoStProof: 0, ProofBytes: goodProof}}, "", ""},
		{"bad", []proof.PoStProof{{PoStProof: 0, ProofBytes: make([]byte, 192)}}, "", "invalid: not all sevens"},
		{"window type", []proof.PoStProof{{PoStProof: 10, ProofBytes: goodProof}}, "", "wanted one of type 0"},
		{"none", nil, "", "answered 0 proofs"},
		{"refusal", nil, "disk gone", "disk gone"},
	} {
		go answer(c.proofs, c.refusal)
		w, err := r.AskWinning(ctx, 1000)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
		if w.Epoch != 4 || !errors.Is(w.Err, err) {
			t.Errorf("%s: %+v", c.name, w)
		}
	}
	if err := api.ResponseProofEvent(ctx, &response{ID: uuid.New()}); err == nil {
		t.Error("an answer to no question was taken")
	}
	if n := len(r.Report().Winning); n != 6 {
		t.Errorf("%d requests in the report", n)
	}
}

// TestFaults injects each kind of trouble into a push and looks at both halves:
// what the caller was told and whether it happened.
func TestFaults(t *testing.T) {
	const method = "Filecoin.MpoolPushMessage"
	for _, c := range []struct {
		name     string
		fault    serve.Fault
		want     string // in the error; "" for none
		happened bool
	}{
		{"none", serve.Fault{Method: "Filecoin.Other", Err: "boom"}, "", true},
		{"failed", serve.Fault{Method: method, Err: "boom", Times: 1}, "boom", false},
		{"failed but happened", serve.Fault{Method: method, Err: "boom", Times: 1, After: true}, "boom", true},
		{"by service", serve.Fault{Method: "Filecoin.Mpool*", Err: "boom", Times: 1}, "boom", false},
		{"hangs", serve.Fault{Method: method, Hang: true}, "context", false},
		{"answer lost", serve.Fault{Method: method, Hang: true, After: true}, "context", true},
		{"slow", serve.Fault{Method: method, Delay: 20 * time.Millisecond}, "", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, nil)
			r.to(firstOpen + 1)
			msg := r.post(2, 0)
			lift := r.Inject(c.fault)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if c.fault.Hang {
				// The caller gives up once the call has had its effect, or when it
				// is certain that it has none.
				go func() {
					for c.happened && len(r.Chain().Pending()) == 0 {
						time.Sleep(time.Millisecond)
					}
					time.Sleep(50 * time.Millisecond)
					cancel()
				}()
			}
			_, err := r.api.MpoolPushMessage(ctx, msg, nil)
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("error %v, want %q", err, c.want)
			}
			lift()
			lift() // twice is allowed
			if got := len(r.Chain().Pending()) == 1; got != c.happened {
				t.Errorf("happened: %v, want %v", got, c.happened)
			}
			if _, err := r.api.MpoolPending(t.Context(), lotus.TipSetKey{}); err != nil {
				t.Errorf("after the fault: %v", err)
			}
		})
	}
}

// TestDown cuts the node off and lets it come back.
func TestDown(t *testing.T) {
	r := newRig(t, nil)
	r.Node().SetDown(true)
	if _, err := r.api.ChainHead(t.Context()); err == nil {
		t.Error("a node that is down answered")
	}
	r.Node().SetDown(false)
	if status, _ := ask(t, r.Node().URL("http"), r.Token(), "Filecoin.ChainHead", []any{}); status != 200 {
		t.Errorf("status %d after the node came back", status)
	}
}

// TestMuted keeps a stream open and silent.
func TestMuted(t *testing.T) {
	r := newRig(t, nil)
	changes := must[<-chan []*lotus.HeadChange](t)(r.api.ChainNotify(t.Context()))
	<-changes
	r.Streams().Mute(true)
	r.to(3)
	select {
	case c := <-changes:
		t.Errorf("told %v", c[0].Type)
	case <-time.After(20 * time.Millisecond):
	}
}

// TestClock lets simulated time pass: epochs begin on time, null rounds and
// reorganisations happen, and the events tell of them.
func TestClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, err := devnet.New(devnet.Config{
			EpochDuration: 500 * time.Millisecond, Policy: testPolicy, Verifier: fakeVerifier{}, FirstOpen: firstOpen,
			Miners: []devnet.Miner{{Sectors: sectors(2)}}, NullEvery: 5, ReorgEvery: 7,
		})
		if err != nil {
			t.Fatal(err)
		}
		events, unsubscribe := n.Events()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			n.Drive(ctx)
		}()
		time.Sleep(50*time.Second + 100*time.Millisecond)
		synctest.Wait()
		if e := n.Chain().Epoch(); e != 100 {
			t.Errorf("epoch %d after 50 seconds, want 100", e)
		}
		cancel()
		<-done
		unsubscribe()
		count := map[devnet.Kind]int{}
		for e := range events {
			count[e.Kind]++
		}
		if count[devnet.NewTipSet]+count[devnet.NullRound] != 100 || count[devnet.NullRound] < 5 || count[devnet.Reorged] < 8 || count[devnet.Closed] != 1 {
			t.Errorf("events %v", count)
		}
		if err := n.Check(); err != nil {
			t.Error(err)
		}
	})
}

// TestSnapshot looks at a window from before it opens until after it closed.
func TestSnapshot(t *testing.T) {
	r := newRig(t, func(c *devnet.Config) { c.Miners[0].Sectors[5].Faulty = true })
	view := func() devnet.DeadlineView {
		t.Helper()
		s := r.Snapshot()
		if len(s.Miners) != 1 || len(s.Miners[0].Deadlines) != 1 {
			t.Fatalf("snapshot %+v", s)
		}
		return s.Miners[0].Deadlines[0]
	}
	if v := view(); v.Window.Open != firstOpen || v.Last != nil || len(v.Partitions) != 3 || v.Partitions[2].Faults != 1 {
		t.Errorf("at genesis %+v", v)
	}
	r.to(firstOpen + 1)
	must[*lotus.SignedMessage](t)(r.api.MpoolPushMessage(t.Context(), r.post(2, 0, 1), nil))
	if s := r.Snapshot(); s.Pending != 1 {
		t.Errorf("%d pending", s.Pending)
	}
	r.to(firstOpen + 2)
	if v := view(); !v.Partitions[0].Posted || v.Partitions[2].Posted {
		t.Errorf("after the proof %+v", v)
	}
	r.to(firstOpen + 12)
	v := view()
	if v.Window.Open != firstOpen+testPolicy.ProvingPeriod() || v.Last == nil || v.Last.Partitions[2].Verdict != actor.Missed {
		t.Errorf("after the window %+v", v)
	}
	if s := r.Snapshot(); s.Miners[0].Faults != 2 || s.Miners[0].Power != 4*2048 {
		t.Errorf("miner %+v", s.Miners[0])
	}
}

// TestCheckFindsDoubleSending breaks the rule on purpose: the sender forgets
// that it has proven a partition, and by-passes the estimate.
func TestCheckFindsDoubleSending(t *testing.T) {
	r := newRig(t, nil)
	r.to(firstOpen + 1)
	must[*lotus.SignedMessage](t)(r.api.MpoolPushMessage(t.Context(), r.post(2, 0), nil))
	second := r.post(2, 0)
	second.GasLimit = 100_000_000
	must[*lotus.SignedMessage](t)(r.api.MpoolPushMessage(t.Context(), second, nil))
	r.to(firstOpen + 3)
	if err := r.Check(); err == nil || !strings.Contains(err.Error(), "partition 0 was sent 2 times") {
		t.Errorf("check: %v", err)
	}
}

// TestConfig refuses what cannot work, naming it.
func TestConfig(t *testing.T) {
	for want, change := range map[string]func(*devnet.Config){
		"Verifier is missing":         func(c *devnet.Config) { c.Verifier = nil },
		"without miners":              func(c *devnet.Config) { c.Miners = nil },
		"two miners with ID 1000":     func(c *devnet.Config) { c.Miners = []devnet.Miner{{ID: 1000}, {ID: 1000}} },
		"sector 3 given twice":        func(c *devnet.Config) { c.Miners[0].Sectors = []devnet.Sector{{Number: 3}, {Number: 3}} },
		"sector 0 in deadline 8":      func(c *devnet.Config) { c.Miners[0].Sectors = sectors(1, 8) },
		"must be after genesis":       func(c *devnet.Config) { c.FirstOpen = 3 },
		"ChallengeWindow is 1 epochs": func(c *devnet.Config) { c.Policy.ChallengeWindow = 1 },
		"unknown proof type":          func(c *devnet.Config) { c.Miners[0].SectorSize = 3000 },
		"is not a key address":        func(c *devnet.Config) { c.Miners[0].Worker, _ = address.NewIDAddress(5) },
	} {
		cfg := devnet.Config{Policy: testPolicy, Verifier: fakeVerifier{}, Miners: []devnet.Miner{{}}}
		change(&cfg)
		if _, err := devnet.New(cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", want, err)
		}
	}
}

// TestSectorSizes gives every size with proof types its own numbers.
func TestSectorSizes(t *testing.T) {
	seen := map[abi.RegisteredPoStProof]bool{}
	for _, size := range []uint64{2 << 10, 4 << 10, 16 << 10, 32 << 10, 8 << 20, 16 << 20, 512 << 20, 1 << 30, 32 << 30, 64 << 30} {
		n, err := devnet.New(devnet.Config{Policy: testPolicy, Verifier: fakeVerifier{}, Miners: []devnet.Miner{{SectorSize: size, Sectors: sectors(1)}}})
		if err != nil {
			t.Fatalf("%d: %v", size, err)
		}
		m := n.Chain().LatestState().Miners()[0]
		if seen[m.Info.WindowProof] || m.Info.PartitionSectors == 0 {
			t.Errorf("size %d: window type %d, %d sectors a partition", size, m.Info.WindowProof, m.Info.PartitionSectors)
		}
		seen[m.Info.WindowProof] = true
	}
	if !seen[10] || !seen[14] || !seen[1010] {
		t.Errorf("window types %v", seen)
	}
}
