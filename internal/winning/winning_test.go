package winning

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/filecoin-project/go-address"
	commcid "github.com/filecoin-project/go-fil-commcid"
	"github.com/filecoin-project/go-jsonrpc"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/proof"
	"go.uber.org/goleak"

	"wdpost/internal/task"
)

// go-jsonrpc brings a background worker of opencensus, and a line that is
// closed while a frame arrives leaves its reader behind.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		goleak.IgnoreTopFunction("go.opencensus.io/stats/view.(*worker).start"),
		goleak.IgnoreTopFunction("github.com/filecoin-project/go-jsonrpc.(*wsConn).nextMessage"))
}

const token = "good"

// fakeGateway plays the gateway: it registers miners, hands out requests and
// keeps the answers.
type fakeGateway struct {
	mu        sync.Mutex
	mute      bool // registrations are taken and nothing is passed on
	channels  []chan requestEvent
	hangUp    context.CancelFunc
	refuse    error // answer of ListenProofEvent
	loseWS    bool  // answers over websocket fail
	answers   chan responseEvent
	connected chan address.Address
}

func (g *fakeGateway) ListenProofEvent(ctx context.Context, p *registerPolicy) (<-chan requestEvent, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.refuse != nil {
		return nil, g.refuse
	}
	in, out := make(chan requestEvent, 8), make(chan requestEvent)
	cut, hangUp := context.WithCancel(ctx)
	g.channels, g.hangUp = append(g.channels, in), hangUp
	go func() {
		defer close(out)
		for {
			select {
			case ev := <-in:
				select {
				case out <- ev:
				case <-cut.Done():
					return
				}
			case <-cut.Done():
				return
			}
		}
	}()
	if g.mute {
		return out, nil
	}
	in <- requestEvent{ID: "init", Method: "InitConnect", Payload: []byte(`{"ChannelId":"c1"}`)}
	g.connected <- p.MinerAddress
	return out, nil
}

func (g *fakeGateway) ResponseProofEvent(ctx context.Context, r *responseEvent) error {
	g.mu.Lock()
	lose := g.loseWS && jsonrpc.GetConnectionType(ctx) == jsonrpc.ConnectionTypeWS
	g.mu.Unlock()
	if lose {
		return errors.New("this channel is gone")
	}
	g.answers <- *r
	return nil
}

// ask sends one request over the latest registration.
func (g *fakeGateway) ask(id, method string, payload any) {
	b, err := json.Marshal(payload)
	if err != nil {
		panic(err)
	}
	g.mu.Lock()
	ch := g.channels[len(g.channels)-1]
	g.mu.Unlock()
	ch <- requestEvent{ID: id, Method: method, Payload: b}
}

func (g *fakeGateway) set(f func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	f()
}

func startGateway(t *testing.T) (*fakeGateway, string) {
	t.Helper()
	return startGatewayAt(t, "/rpc/v2")
}

func startGatewayAt(t *testing.T, path string) (*fakeGateway, string) {
	t.Helper()
	g := &fakeGateway{answers: make(chan responseEvent, 16), connected: make(chan address.Address, 16)}
	rpc := jsonrpc.NewServer()
	rpc.Register("Gateway", g)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Header.Get("Authorization") != "Bearer "+token:
			w.WriteHeader(http.StatusUnauthorized)
		case r.URL.Path != path || r.Header.Get("X-VENUS-API-NAMESPACE") != "gateway.IGateway":
			http.NotFound(w, r)
		default:
			rpc.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(srv.Close)
	return g, "ws" + strings.TrimPrefix(srv.URL, "http")
}

// proverFunc is a Prover made of a function.
type proverFunc func(context.Context, task.Question) (task.Answer, error)

func (f proverFunc) ProveWinningPoSt(ctx context.Context, q task.Question) (task.Answer, error) {
	return f(ctx, q)
}

func proves(context.Context, task.Question) (task.Answer, error) {
	return task.Answer{Proofs: [][]byte{make([]byte, 192)}}, nil
}

type locator struct{}

// Sector 404 is nowhere, sector 2 in two places.
func (locator) Locate(_ context.Context, miner, sector uint64, updated bool) ([]Files, error) {
	name := fmt.Sprintf("s-t0%d-%d", miner, sector)
	switch {
	case sector == 404:
		return nil, errors.New("sector 404 is in no attached store")
	case updated:
		return []Files{{CacheDir: "update-cache/" + name, SealedFile: "update/" + name}}, nil
	case sector == 2:
		return []Files{{CacheDir: "cache/" + name, SealedFile: "sealed/" + name}, {CacheDir: "second/" + name, SealedFile: "second/" + name}}, nil
	}
	return []Files{{CacheDir: "cache/" + name, SealedFile: "sealed/" + name}}, nil
}

// clock has epochs of 30 seconds; epoch 100 began at the start of the test.
type clock struct{ start time.Time }

func (c clock) TimeOf(e abi.ChainEpoch) time.Time {
	return c.start.Add(time.Duration(e-100) * 30 * time.Second)
}

func miner(t *testing.T, id uint64) address.Address {
	t.Helper()
	a, err := address.NewIDAddress(id)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func sectorInfo(t *testing.T, number abi.SectorNumber, updated bool) proof.ExtendedSectorInfo {
	t.Helper()
	commR := make([]byte, 32)
	commR[0] = byte(number)
	c, err := commcid.ReplicaCommitmentV1ToCID(commR)
	if err != nil {
		t.Fatal(err)
	}
	info := proof.ExtendedSectorInfo{SealProof: abi.RegisteredSealProof_StackedDrg2KiBV1_1, SectorNumber: number, SealedCID: c}
	if updated {
		info.SectorKey = &c
	}
	return info
}

func request(t *testing.T, height abi.ChainEpoch, sectors ...abi.SectorNumber) proofRequest {
	t.Helper()
	rand := make([]byte, 32)
	rand[0], rand[31] = byte(height), 0xff
	r := proofRequest{Rand: rand, Height: height, NWVersion: 25}
	for _, n := range sectors {
		r.SectorInfos = append(r.SectorInfos, sectorInfo(t, n, n == 7))
	}
	return r
}

func startService(t *testing.T, cfg Config) *Service {
	t.Helper()
	cfg.Miners = []Miner{{Address: miner(t, 1008)}}
	cfg.Locator = locator{}
	cfg.Clock = clock{time.Now()}
	if cfg.Prover == nil {
		cfg.Prover = proverFunc(proves)
	}
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return runService(t, s)
}

func runService(t *testing.T, s *Service) *Service {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return s
}

func next[T any](t *testing.T, ch <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(20 * time.Second):
		t.Fatalf("no %s came", what)
		panic("unreachable")
	}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for range 2000 {
		if ok() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("never: %s", what)
}

func TestAnswersAProofRequest(t *testing.T) {
	g, addr := startGateway(t)
	asked := make(chan task.Question, 1)
	s := startService(t, Config{Gateways: []string{token + ":" + addr}, Prover: proverFunc(func(ctx context.Context, q task.Question) (task.Answer, error) {
		asked <- q
		return proves(ctx, q)
	})})
	if got := next(t, g.connected, "registration"); got != miner(t, 1008) {
		t.Errorf("registered %s", got)
	}
	g.ask("r1", "ComputeProof", request(t, 100, 3, 7))
	q := next(t, asked, "question")
	if q.MinerID != 1008 || q.ProofType != "StackedDrgWinning2KiBV1" || q.AllowSkip || len(q.Replicas) != 2 {
		t.Errorf("question %+v", q)
	}
	if q.Seed[0] != 100 || q.Seed[31] != 0x3f {
		t.Errorf("seed %v is not the randomness with the top two bits cleared", q.Seed)
	}
	if r := q.Replicas[0]; r.SectorID != 3 || r.CommR[0] != 3 || r.CacheDir != "cache/s-t01008-3" || r.SealedFile != "sealed/s-t01008-3" {
		t.Errorf("replica %+v", r)
	}
	if r := q.Replicas[1]; r.CacheDir != "update-cache/s-t01008-7" {
		t.Errorf("an updated sector is read from %s", r.CacheDir)
	}
	if left := time.Until(time.Unix(q.NotAfter, 0)); left < 10*time.Second || left > 15*time.Second {
		t.Errorf("the question ends in %v, want half of its epoch", left)
	}
	a := next(t, g.answers, "answer")
	var proofs []proof.PoStProof
	if err := json.Unmarshal(a.Payload, &proofs); err != nil || a.Error != "" || a.ID != "r1" {
		t.Fatalf("answer %+v, %v", a, err)
	}
	if len(proofs) != 1 || proofs[0].PoStProof != abi.RegisteredPoStProof_StackedDrgWinning2KiBV1 || len(proofs[0].ProofBytes) != 192 {
		t.Errorf("proofs %+v", proofs)
	}
	eventually(t, "the answer is counted", func() bool { return s.Status()[0].Answered == 1 })
	if err := s.Healthy(); err != nil {
		t.Error(err)
	}
}

// Gateways of the guide's time serve /rpc/v1 and /rpc/v0 only (W1).
func TestOlderGatewayPaths(t *testing.T) {
	for _, path := range []string{"/rpc/v2", "/rpc/v1", "/rpc/v0"} {
		g, addr := startGatewayAt(t, path)
		s := startService(t, Config{Gateways: []string{addr}, Token: token})
		next(t, g.connected, "registration at "+path)
		g.ask("r1", "ComputeProof", request(t, 100, 1))
		if a := next(t, g.answers, "answer"); a.Error != "" {
			t.Errorf("%s: answer %+v", path, a)
		}
		g.hangUp()
		next(t, g.connected, "second registration at "+path)
		eventually(t, "registered", func() bool { return s.Status()[0].Registered })
	}
}

func TestLimitIsHalfAnEpoch(t *testing.T) {
	now := time.Now()
	s := &Service{cfg: Config{Clock: clock{now}}} // epoch 100 began now
	for height, want := range map[abi.ChainEpoch]time.Duration{
		100: 15 * time.Second,
		101: 45 * time.Second, // it begins in 30 seconds
		99:  15 * time.Second, // its time was up: half an epoch from now
		1e6: 15 * time.Second, // far off
	} {
		if got := s.limit(height).Sub(now); got < want-time.Second || got > want+time.Second {
			t.Errorf("height %d: due in %v, want %v", height, got, want)
		}
	}
}

// A request that waits behind a slow proof is answered when its time is up, and
// a newer one overtakes an older.
func TestNewestFirstAndBounded(t *testing.T) {
	began, release := make(chan uint64, 8), make(chan struct{})
	prover := proverFunc(func(ctx context.Context, q task.Question) (task.Answer, error) {
		began <- uint64(q.Seed[0])
		select {
		case <-release:
			return proves(ctx, q)
		case <-ctx.Done():
			return task.Answer{}, ctx.Err()
		}
	})
	g, addr := startGateway(t)
	startService(t, Config{Gateways: []string{addr}, Token: token, Prover: prover, Concurrent: 1})
	next(t, g.connected, "registration")
	g.ask("first", "ComputeProof", request(t, 99, 1)) // over before its time: gets one epoch
	next(t, began, "first proof")
	g.ask("old", "ComputeProof", request(t, 100, 1))
	g.ask("new", "ComputeProof", request(t, 101, 1))
	g.ask("refused", "Dance", nil) // behind the others in the channel: once answered, they were taken
	if a := next(t, g.answers, "refusal"); a.ID != "refused" {
		t.Fatalf("answer %+v", a)
	}
	close(release)
	if h := next(t, began, "second proof"); h != 101 {
		t.Errorf("after the first, height %d was proven; want the newest, 101", h)
	}
	if h := next(t, began, "third proof"); h != 100 {
		t.Errorf("then height %d, want 100", h)
	}
	for range 3 {
		if a := next(t, g.answers, "answer"); a.Error != "" {
			t.Errorf("answer %+v", a)
		}
	}
}

func TestAnswerTakesTheOtherWay(t *testing.T) {
	g, addr := startGateway(t)
	g.set(func() { g.loseWS = true })
	s := startService(t, Config{Gateways: []string{addr}, Token: token})
	next(t, g.connected, "registration")
	g.ask("r1", "ComputeProof", request(t, 100, 1))
	if a := next(t, g.answers, "answer"); a.ID != "r1" || a.Error != "" {
		t.Errorf("answer %+v", a)
	}
	eventually(t, "it is counted as answered", func() bool { return s.Status()[0].Answered == 1 })
}

func TestRegistersAgain(t *testing.T) {
	g, addr := startGateway(t)
	s := startService(t, Config{Gateways: []string{addr}, Token: token})
	next(t, g.connected, "registration")
	eventually(t, "registered", func() bool { return s.Status()[0].Registered })
	g.set(func() { g.refuse = errors.New("verify miner:t01008 failed") })
	g.hangUp()
	eventually(t, "the refusal shows", func() bool {
		r := s.Status()[0]
		return !r.Registered && strings.Contains(r.Reason, "verify miner") && s.Healthy() != nil
	})
	g.set(func() { g.refuse = nil })
	next(t, g.connected, "second registration")
	eventually(t, "registered again", func() bool { return s.Status()[0].Registered })
	g.ask("r1", "ComputeProof", request(t, 100, 1))
	if a := next(t, g.answers, "answer"); a.Error != "" {
		t.Errorf("answer %+v", a)
	}
}

func TestWrongTokenIsNamed(t *testing.T) {
	_, addr := startGateway(t)
	s := startService(t, Config{Gateways: []string{addr}, Token: "bad"})
	eventually(t, "the token is blamed", func() bool {
		return strings.Contains(s.Status()[0].Reason, "the gateway refused the token")
	})
	if err := s.Healthy(); err == nil || !strings.Contains(err.Error(), "1008") {
		t.Errorf("Healthy: %v", err)
	}
}

func TestConfigIsChecked(t *testing.T) {
	key, err := address.NewSecp256k1Address([]byte("key"))
	if err != nil {
		t.Fatal(err)
	}
	ok := Config{Gateways: []string{"/ip4/127.0.0.1/tcp/1/ws"}, Miners: []Miner{{Address: miner(t, 1)}}, Prover: proverFunc(proves), Locator: locator{}, Clock: clock{}}
	if _, err := New(ok); err != nil {
		t.Fatal(err)
	}
	for words, spoil := range map[string]func(*Config){
		"Common.API.Gateway": func(c *Config) { c.Gateways = nil },
		"ws or wss":          func(c *Config) { c.Gateways = []string{"http://127.0.0.1:1"} },
		"gateway address":    func(c *Config) { c.Gateways = []string{"nonsense"} },
		"no miner":           func(c *Config) { c.Miners = nil },
		"ID address":         func(c *Config) { c.Miners = []Miner{{Address: key}} },
		"without prover":     func(c *Config) { c.Prover = nil },
	} {
		c := ok
		spoil(&c)
		if _, err := New(c); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("got %v, want %q", err, words)
		}
	}
}

// Whatever a gateway sends, it becomes a question or an error.
func FuzzProofRequest(f *testing.F) {
	f.Add([]byte(`{"SectorInfos":[{"SealProof":5,"SectorNumber":0,"SectorKey":null,"SealedCID":{"/":"bagboea4b5abcbs4dmwk2cqygxenzvjxiacb6trnzo7shq3rk6ublrm753asak5lg"}}],"Rand":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=","Height":752,"NWVersion":28}`))
	f.Add([]byte(`{"SectorInfos":[{}],"Rand":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}`))
	f.Add([]byte(`{}`))
	addr, err := address.NewIDAddress(1008)
	if err != nil {
		f.Fatal(err)
	}
	s := &Service{cfg: Config{Locator: locator{}, Prover: proverFunc(proves)}}
	f.Fuzz(func(t *testing.T, payload []byte) {
		var req proofRequest
		if json.Unmarshal(payload, &req) != nil {
			return
		}
		proofs, err := s.prove(t.Context(), Miner{Address: addr}, req, time.Now())
		if err == nil && (len(proofs) != 1 || len(req.Rand) != 32 || len(req.SectorInfos) == 0) {
			t.Errorf("%s was answered with %v", payload, proofs)
		}
		if err != nil && strings.Contains(err.Error(), "panicked") {
			t.Errorf("%s: %v", payload, err)
		}
	})
}
