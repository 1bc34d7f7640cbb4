package manager

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"

	"wdpost/internal/chain"
	"wdpost/internal/condition"
	"wdpost/internal/config"
	"wdpost/internal/extprover"
	"wdpost/internal/ledger"
	"wdpost/internal/ledger/mongo"
	"wdpost/internal/ledger/sqlite"
	"wdpost/internal/lotus"
	"wdpost/internal/message"
	"wdpost/internal/message/messager"
	"wdpost/internal/message/node"
	payers "wdpost/internal/message/sender"
	"wdpost/internal/notify"
	"wdpost/internal/poster"
	"wdpost/internal/prover"
	"wdpost/internal/sector"
	"wdpost/internal/task"
	"wdpost/internal/winning"
	"wdpost/proofs/post"
)

// world is a manager whose rooms are all stand-ins that keep what they were made
// of.
type world struct {
	t *testing.T
	*Manager
	store string // the folder of the store that is attached under the name "a"

	chain    chain.Config
	messager *messager.Config
	node     *node.Config
	payers   payers.Config
	wish     message.Wish
	wished   atomic.Bool
	sqlite   *sqlite.Config
	mongo    *mongo.Config
	host     extprover.HostConfig
	engine   *prover.Config
	guard    sector.GuardConfig
	poster   *poster.Config
	winning  *winning.Config
	notify   notify.Config
	events   []notify.Event
	ledger   *fakeLedger
	checks   []check
	doubts   []string
	types    []post.ProofType // warmed up
}

// check is one call of the sector checker.
type check struct {
	wanted []sector.Wanted
	strict bool
	within time.Duration
}

// bystander is a second miner, so that there is one where the first is disabled.
const bystander = 2000

// section is one table of a config file: its header and its lines by key.
type section struct {
	header string
	lines  map[string]string
}

// build writes config files, a base with one key set otherwise, and joins a
// manager over stand-ins up to the admission of its miner.
func build(t *testing.T, key, value string) *world {
	t.Helper()
	w := &world{t: t, store: storeOfOne(t), ledger: &fakeLedger{}}
	home := t.TempDir()
	_, err := sector.Attach(t.Context(), sector.AttachConfig{
		Name: "a", Path: w.store, Pattern: "*", Index: sector.OpenIndex(home), Guard: sector.NewGuard(sector.GuardConfig{}), Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	base := []section{
		{"[Common]", map[string]string{}},
		{"[Common.API]", map[string]string{"Chain": `"/ip4/127.0.0.1/tcp/1/ws"`, "Messager": `"/ip4/127.0.0.1/tcp/2"`, "Gateway": `["/ip4/127.0.0.1/tcp/3/ws"]`}},
		{"[[Common.PersistStores]]", map[string]string{"Name": `"a"`, "Path": fmt.Sprintf("%q", w.store)}},
		{"[Common.MongoKVStore]", map[string]string{}},
		{"[Common.Proving]", map[string]string{}},
		{"[[Common.Notify]]", map[string]string{"Kind": `"telegram"`, "URL": `"https://h/bot"`, "Chat": `"1"`}},
		{"[[Miners]]", map[string]string{"Actor": "1008"}},
		{"[Miners.PoSt]", map[string]string{}},
		{"[Miners.Proof]", map[string]string{"Enabled": "true"}},
		{"[[Miners]]", map[string]string{"Actor": fmt.Sprint(bystander)}},
	}
	ext := []section{{"[[WdPost]]", map[string]string{"Bin": `"window"`}}, {"[[WinPost]]", map[string]string{"Bin": `"winning"`}}}
	if strings.HasPrefix(key, "WdPost") || strings.HasPrefix(key, "WinPost") {
		setKey(t, ext, key, value)
	} else if key != "" {
		setKey(t, base, key, value)
	}
	writeFile(t, filepath.Join(home, config.ManagerFile), textOf(base))
	writeFile(t, filepath.Join(home, config.ExtProverFile), textOf(ext))
	w.join(home)
	return w
}

// setKey sets one line: "Miners[].PoSt.Enabled" lies in [Miners.PoSt].
func setKey(t *testing.T, sections []section, key, value string) {
	t.Helper()
	i := strings.LastIndex(key, ".")
	table := strings.ReplaceAll(key[:i], "[]", "")
	for _, s := range sections {
		if strings.Trim(s.header, "[]") == table {
			for line := range strings.SplitSeq(value, "\n") { // further lines are keys that it needs
				name, text, more := strings.Cut(line, " = ")
				if !more {
					name, text = key[i+1:], line
				}
				s.lines[name] = text
			}
			return
		}
	}
	t.Fatalf("no section for %s", key)
}

func textOf(sections []section) string {
	var b strings.Builder
	for _, s := range sections {
		b.WriteString(s.header + "\n")
		for k, v := range s.lines {
			fmt.Fprintf(&b, "%s = %s\n", k, v)
		}
	}
	return b.String()
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// join builds the manager and takes it as far as a running one gets.
func (w *world) join(home string) {
	w.t.Helper()
	ctx := w.t.Context()
	var err error
	w.Manager, err = New(ctx, Config{
		Home: home, ConfDir: home, ProgramDir: "/programs", Poster: true, Winning: true, ExtProver: true, WarmUp: true,
		Log: slog.New(slog.DiscardHandler), Parts: w.parts(),
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.provers.begin(ctx)
	n, err := w.askNetwork(ctx)
	if err != nil {
		w.t.Fatal(err)
	}
	w.network.Store(n)
	if !w.records.open(ctx) {
		w.t.Fatal("the ledger is not opened")
	}
	for _, conf := range w.settings.Load().manager.Miners {
		if w.worksFor(conf) {
			if _, err := w.miners.admit(ctx, conf); err != nil {
				w.t.Fatal(err)
			}
		}
	}
}

// check asks the stores about one snapped sector and returns what the checker
// was asked.
func (w *world) check() check {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 100*time.Hour)
	defer cancel()
	got, err := w.stores.CheckSectors(ctx, 1008, []poster.Sector{{Number: 7, Size: 2048, Updated: true}, {Number: 8, Size: 2048}}, false)
	if err != nil || len(got.Good) != 1 || got.Bad[8] == nil || len(got.Good[7]) == 0 || got.Good[7][0].CacheDir != "cache" {
		w.t.Fatalf("got %+v, %v", got, err)
	}
	return w.checks[len(w.checks)-1]
}

func (w *world) parts() Parts {
	return Parts{
		Node:       func(c chain.Config) (Node, error) { w.chain = c; return fakeNode{}, nil },
		Messager:   func(c messager.Config) (message.Sender, error) { w.messager = &c; return nil, nil },
		NodeSender: func(c node.Config) message.Sender { w.node = &c; return nil },
		Payers:     func(c payers.Config) Payers { w.payers = c; return fakePayers{w} },
		SQLite:     func(_ context.Context, c sqlite.Config) (ledger.Ledger, error) { w.sqlite = &c; return w.ledger, nil },
		Mongo:      func(_ context.Context, c mongo.Config) (ledger.Ledger, error) { w.mongo = &c; return w.ledger, nil },
		Host:       func(c extprover.HostConfig) (Host, error) { w.host = c; return &fakeHost{}, nil },
		Engine:     func(c prover.Config) (Engine, error) { w.engine = &c; return fakeEngine{w}, nil },
		Verifier:   func(*prover.Keys, int) Verifier { return nil },
		Guard:      func(c sector.GuardConfig) *sector.Guard { w.guard = c; return sector.NewGuard(c) },
		Checker:    func(*sector.Locator, *sector.Guard) Checker { return fakeChecker{w} },
		Poster: func(c poster.Config) (Poster, error) {
			if c.Miners[0].Miner != bystander {
				w.poster = &c
			}
			return nil, nil
		},
		Winning:  func(c winning.Config) (Winning, error) { w.winning = &c; return nil, nil },
		Notifier: func(c notify.Config) (Notifier, error) { w.notify = c; return &fakeNotifier{w: w}, nil },
	}
}

// fakeNode answers what the join asks.
type fakeNode struct{ Node }

func (fakeNode) StateNetworkName(context.Context) (string, error) { return "testnet", nil }
func (fakeNode) Clock(context.Context) (chain.Clock, error) {
	return chain.Clock{Genesis: time.Unix(0, 0), BlockDelay: 30 * time.Second}, nil
}
func (fakeNode) Status() []chain.EndpointStatus { return nil }
func (fakeNode) StateMinerInfo(context.Context, address.Address, lotus.TipSetKey) (*lotus.MinerInfo, error) {
	return &lotus.MinerInfo{WindowPoStProofType: abi.RegisteredPoStProof_StackedDrgWindow2KiBV1_1, SectorSize: 2048, WindowPoStPartitionSectors: 2}, nil
}

type fakePayers struct{ w *world }

func (p fakePayers) Senders(_ context.Context, wish message.Wish) ([]message.Candidate, error) {
	p.w.wish = wish
	p.w.wished.Store(true)
	return nil, message.ErrNoSender
}

func (fakePayers) Known() []payers.Account { return nil }
func (fakePayers) Forget(address.Address)  {}
func (fakePayers) Doubt(address.Address)   {}

type fakeChecker struct{ w *world }

func (c fakeChecker) Candidates(uint64, uint64, bool) ([]sector.Location, error) {
	return nil, sector.ErrNotFound
}

func (c fakeChecker) Doubt(miner, number uint64, sealedFile string, challenges []uint64, why error) {
	c.w.doubts = append(c.w.doubts, fmt.Sprintf("%d %d %s %d %v", miner, number, sealedFile, len(challenges), why))
}

func (c fakeChecker) Check(ctx context.Context, _ uint64, wanted []sector.Wanted, strict bool) []sector.Checked {
	end, _ := ctx.Deadline()
	c.w.checks = append(c.w.checks, check{wanted: wanted, strict: strict, within: time.Until(end)})
	out := []sector.Checked{{Wanted: wanted[0]}, {Wanted: wanted[1], Err: errors.New("unreadable")}}
	out[0].CacheDir = "cache"
	return out
}

type fakeHost struct{ Host }

func (fakeHost) Has(string) bool { return true }
func (fakeHost) Status() ([]extprover.ChildStatus, map[string]int) {
	return nil, nil
}

type fakeNotifier struct {
	Notifier
	w *world
}

func (n *fakeNotifier) Changed(condition.Change) {}
func (n *fakeNotifier) Event(e notify.Event)     { n.w.events = append(n.w.events, e) }

type fakeEngine struct{ w *world }

func (e fakeEngine) ProveWindowPoSt(context.Context, task.Question) (task.Answer, error) {
	return task.Answer{}, nil
}
func (e fakeEngine) ProveWinningPoSt(context.Context, task.Question) (task.Answer, error) {
	return task.Answer{}, nil
}
func (e fakeEngine) WarmUp(_ context.Context, types ...post.ProofType) error {
	e.w.types = append(e.w.types, types...)
	return nil
}
func (fakeEngine) Close() error { return nil }

// fakeLedger keeps when it was pruned.
type fakeLedger struct {
	ledger.Ledger
	pruned []time.Time
}

func (l *fakeLedger) Prune(_ context.Context, before time.Time) (int, error) {
	l.pruned = append(l.pruned, before)
	return 1, nil
}
func (*fakeLedger) Check(context.Context) error                                { return nil }
func (*fakeLedger) OpenRun(context.Context, ledger.Run) error                  { return nil }
func (*fakeLedger) EndRun(context.Context, ledger.RunKey, ledger.RunEnd) error { return nil }
func (*fakeLedger) Close() error                                               { return nil }
