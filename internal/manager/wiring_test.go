package manager

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"wdpost/internal/config"
	"wdpost/internal/extprover"
	"wdpost/internal/notify"
	"wdpost/internal/poster"
	"wdpost/internal/sector"
	"wdpost/internal/task"
)

// arrival is a row of the wiring test: the value that a key is set to, and what
// is seen of it where it works. Extra lines "Key = value" set keys of the same
// section that it needs.
type arrival struct {
	value string
	seen  func(w *world) any
	want  any
}

func posted(f func(poster.MinerConfig) any) func(*world) any {
	return func(w *world) any { return f(w.poster.Miners[0]) }
}

func window(f func(extprover.Processor) any) func(*world) any {
	return func(w *world) any { return f(w.host.WindowPoSt[0]) }
}

func winningChild(f func(extprover.Processor) any) func(*world) any {
	return func(w *world) any { return f(w.host.WinningPoSt[0]) }
}

const (
	oneSender   = "t01002"
	otherSender = "t01001"
)

func told(f func(notify.Receiver) any) func(*world) any {
	return func(w *world) any { return f(w.notify.Receivers[0]) }
}

// arrivals has a row for every key of sector-manager.cfg and ext-prover.cfg.
var arrivals = map[string]arrival{
	"Common.API.Chain":    {`["/ip4/10.0.0.1/tcp/1/ws", "ws://two/rpc/v1"]`, func(w *world) any { return w.chain.Endpoints }, []string{"/ip4/10.0.0.1/tcp/1/ws", "ws://two/rpc/v1"}},
	"Common.API.Messager": {`"/ip4/10.0.0.2/tcp/39812"`, func(w *world) any { return w.messager.Address }, "/ip4/10.0.0.2/tcp/39812"},
	"Common.API.Gateway":  {`["/ip4/10.0.0.3/tcp/1/ws"]`, func(w *world) any { return w.winning.Gateways }, []string{"/ip4/10.0.0.3/tcp/1/ws"}},
	"Common.API.Token": {`"secret"`, func(w *world) any {
		return []string{w.chain.Token, w.messager.Token, w.winning.Token}
	}, []string{"secret", "secret", "secret"}},
	"Common.API.ChainEventInterval": {`"17s"`, func(w *world) any { return w.chain.EventInterval }, 17 * time.Second},

	"Common.PersistStores[].Name": {`"a"`, func(w *world) any { return w.stores.current.Load().locator.Stores()[0].Name }, "a"},
	"Common.PersistStores[].Path": {"Name = \"a\"", func(w *world) any {
		return w.stores.current.Load().locator.Stores()[0].Path == w.store
	}, true},
	"Common.PersistStores[].AllowMiners": {`[1]`, func(w *world) any { return w.stores.allowed(1008) != nil && w.stores.allowed(1) == nil }, true},
	"Common.PersistStores[].DenyMiners":  {`[1008]`, func(w *world) any { return w.stores.allowed(1008) != nil && w.stores.allowed(1) == nil }, true},

	"Common.PersistStores[].Strict":   {"true", configured(func(s sector.Store) any { return s.Strict }), true},
	"Common.PersistStores[].ReadOnly": {"true", configured(func(s sector.Store) any { return s.ReadOnly }), true},
	"Common.PersistStores[].Weight":   {"7", configured(func(s sector.Store) any { return s.Weight }), 7},
	"Common.PersistStores[].Meta":     {`{A="b"}`, func(w *world) any { return w.storeStatus()[0].Meta["A"] }, "b"},
	"Common.ScanPersistStores":        {`["/nowhere/*"]`, func(w *world) any { return w.stores.common.ScanPersistStores }, []string{"/nowhere/*"}},
	"Common.RescanInterval":           {`"7h"`, func(w *world) any { return w.stores.current.Load().watch.RescanInterval() }, 7 * time.Hour},
	"Common.Notify[].Kind":            {`"feishu"`, told(func(r notify.Receiver) any { return r.Kind }), "feishu"},
	"Common.Notify[].URL":             {`"https://other"`, told(func(r notify.Receiver) any { return r.URL }), "https://other"},
	"Common.Notify[].Secret":          {`"S"`, told(func(r notify.Receiver) any { return r.Secret }), "S"},
	"Common.Notify[].Chat":            {`"7"`, told(func(r notify.Receiver) any { return r.Chat }), "7"},
	"Common.Notify[].Least":           {`"window"`, told(func(r notify.Receiver) any { return r.Least }), "window"},
	"Common.Notify[].Repeat":          {`"7m"`, told(func(r notify.Receiver) any { return r.Repeat }), 7 * time.Minute},
	"Common.Notify[].Daily":           {`"07:00"`, told(func(r notify.Receiver) any { return r.Daily }), true},

	"Common.MongoKVStore.Enable":       {"true\nDSN = 'mongodb://h'\nDatabaseName = 'd'", func(w *world) any { return w.mongo != nil && w.sqlite == nil }, true},
	"Common.MongoKVStore.DSN":          {"'mongodb://h'\nEnable = true\nDatabaseName = 'd'", func(w *world) any { return w.mongo.DSN }, "mongodb://h"},
	"Common.MongoKVStore.DatabaseName": {"'d'\nEnable = true\nDSN = 'mongodb://h'", func(w *world) any { return w.mongo.DatabaseName }, "d"},

	"Common.Proving.ParallelCheckLimit":    {"7", func(w *world) any { return w.guard.Parallel }, 7},
	"Common.Proving.SingleCheckTimeout":    {`"7s"`, func(w *world) any { return w.guard.Timeout }, 7 * time.Second},
	"Common.Proving.PartitionCheckTimeout": {`"70m"`, func(w *world) any { return w.check().within.Round(time.Minute) }, 70 * time.Minute},
	"Common.Proving.MaxStuck":              {"7", func(w *world) any { return w.guard.MaxStuck }, 7},

	"Miners[].Actor":         {"1009", posted(func(c poster.MinerConfig) any { return uint64(c.Miner) }), uint64(1009)},
	"Miners[].Proof.Enabled": {"false", func(w *world) any { return w.winning == nil }, true},

	"Miners[].PoSt.Sender":                          {`"` + oneSender + `"`, senders, []string{oneSender[1:]}},
	"Miners[].PoSt.Senders":                         {`["` + oneSender + `", "` + otherSender + `"]`, senders, []string{oneSender[1:], otherSender[1:]}},
	"Miners[].PoSt.Enabled":                         {"false", func(w *world) any { return w.poster == nil }, true},
	"Miners[].PoSt.StrictCheck":                     {"false", func(w *world) any { return w.check().strict }, false},
	"Miners[].PoSt.Parallel":                        {"true", posted(func(c poster.MinerConfig) any { return c.Parallel }), true},
	"Miners[].PoSt.GasOverEstimation":               {"1.7", posted(func(c poster.MinerConfig) any { return c.Fees.GasOverEstimation }), 1.7},
	"Miners[].PoSt.GasOverPremium":                  {"1.7", posted(func(c poster.MinerConfig) any { return c.Fees.GasOverPremium }), 1.7},
	"Miners[].PoSt.GasFeeCap":                       {`"7 nanofil"`, posted(func(c poster.MinerConfig) any { return c.Fees.GasFeeCap.String() }), "7000000000"},
	"Miners[].PoSt.MaxFeeCap":                       {`"7 nanofil"`, posted(func(c poster.MinerConfig) any { return c.Fees.MaxFeeCap.String() }), "7000000000"},
	"Miners[].PoSt.MaxFee":                          {`"7 nanofil"`, posted(func(c poster.MinerConfig) any { return c.Fees.MaxFee.String() + " " + c.Escalation.MaxFee.String() }), "7000000000 7000000000"},
	"Miners[].PoSt.MaxFeePerDay":                    {`"7 nanofil"`, posted(func(c poster.MinerConfig) any { return c.Escalation.MaxFeePerDay.String() }), "7000000000"},
	"Miners[].PoSt.EscalateFees":                    {"false", posted(func(c poster.MinerConfig) any { return c.Escalation.Off }), true},
	"Miners[].PoSt.AllowWorkerFallback":             {"false", posted(func(c poster.MinerConfig) any { return c.AllowWorkerFallback }), false},
	"Miners[].PoSt.AllowOwnerFallback":              {"true", posted(func(c poster.MinerConfig) any { return c.AllowOwnerFallback }), true},
	"Miners[].PoSt.Confidence":                      {"17", posted(func(c poster.MinerConfig) any { return c.Confidence }), uint64(17)},
	"Miners[].PoSt.SubmitConfidence":                {"7", posted(func(c poster.MinerConfig) any { return int(c.SubmitConfidence) }), 7},
	"Miners[].PoSt.ChallengeConfidence":             {"7", posted(func(c poster.MinerConfig) any { return int(c.ChallengeConfidence) }), 7},
	"Miners[].PoSt.MaxRecoverSectorLimit":           {"7", posted(func(c poster.MinerConfig) any { return c.MaxRecoverSectorLimit }), uint64(7)},
	"Miners[].PoSt.MaxPartitionsPerPoStMessage":     {"2", posted(func(c poster.MinerConfig) any { return c.MaxPartitionsPerPoStMessage }), uint64(2)},
	"Miners[].PoSt.MaxPartitionsPerRecoveryMessage": {"7", posted(func(c poster.MinerConfig) any { return c.MaxPartitionsPerRecoveryMessage }), uint64(7)},

	"WdPost[].Bin":              {`"prog"`, window(func(p extprover.Processor) any { return p.Bin }), "prog"},
	"WdPost[].Args":             {`["a", "b"]`, window(func(p extprover.Processor) any { return p.Args }), []string{"a", "b"}},
	"WdPost[].Concurrent":       {"7", window(func(p extprover.Processor) any { return p.Concurrent }), 7},
	"WdPost[].Weight":           {"7", window(func(p extprover.Processor) any { return p.Weight }), 7},
	"WdPost[].ReadyTimeoutSecs": {"7", window(func(p extprover.Processor) any { return p.ReadyTimeout }), 7 * time.Second},
	"WdPost[].Envs":             {`{A="b"}`, window(func(p extprover.Processor) any { return p.Envs["A"] }), "b"},

	"WinPost[].Bin":              {`"prog"`, winningChild(func(p extprover.Processor) any { return p.Bin }), "prog"},
	"WinPost[].Args":             {`["a", "b"]`, winningChild(func(p extprover.Processor) any { return p.Args }), []string{"a", "b"}},
	"WinPost[].Concurrent":       {"7", winningChild(func(p extprover.Processor) any { return p.Concurrent }), 7},
	"WinPost[].Weight":           {"7", winningChild(func(p extprover.Processor) any { return p.Weight }), 7},
	"WinPost[].ReadyTimeoutSecs": {"7", winningChild(func(p extprover.Processor) any { return p.ReadyTimeout }), 7 * time.Second},
	"WinPost[].Envs":             {`{A="b"}`, winningChild(func(p extprover.Processor) any { return p.Envs["A"] }), "b"},
}

// workless are keys that nothing at run time depends on, and why.
var workless = map[string]string{
	"Common.PersistStores[].Plugin":     "part of the store's path, config.TestPluginOfStore",
	"Common.PersistStores[].PluginName": "part of the store's path, config.TestPluginOfStore",
}

func configured(see func(sector.Store) any) func(*world) any {
	return func(w *world) any { return see(w.stores.current.Load().configured[0]) }
}

func senders(w *world) any {
	var out []string
	for _, a := range w.poster.Miners[0].Senders {
		out = append(out, a.String()[1:])
	}
	return out
}

// TestEveryKeyArrives: the value of every key of both files arrives where it
// works; a key without a row fails.
func TestEveryKeyArrives(t *testing.T) {
	keys := append(config.Keys(config.Manager{}), config.Keys(config.ExtProver{})...)
	for _, key := range keys {
		row, works := arrivals[key]
		if works == (workless[key] != "") {
			t.Errorf("%s: want a row in arrivals that shows where its value works, or one in workless", key)
			continue
		}
		if !works {
			continue
		}
		t.Run(key, func(t *testing.T) {
			w := build(t, key, row.value)
			if got := row.seen(w); fmt.Sprint(got) != fmt.Sprint(row.want) {
				t.Errorf("set to %s, %v arrives, want %v", strings.ReplaceAll(row.value, "\n", ", "), got, row.want)
			}
			if without := build(t, "", ""); !samePlain(key) && w.poster != nil && without.poster != nil && fmt.Sprint(safely(row.seen, without)) == fmt.Sprint(row.want) {
				t.Errorf("without the key %v is seen too: the row shows nothing", row.want)
			}
		})
	}
	for _, key := range slices.Sorted(maps.Keys(arrivals)) {
		if !slices.Contains(keys, key) {
			t.Errorf("row for %s, which is no key", key)
		}
	}
}

// samePlain are the keys whose row sets what the base has: a store must be
// attached under its name and path.
func samePlain(key string) bool {
	return key == "Common.PersistStores[].Name" || key == "Common.PersistStores[].Path"
}

// safely is f, or nil where what it looks at is not there.
func safely(f func(*world) any, w *world) (v any) {
	defer func() {
		if recover() != nil {
			v = nil
		}
	}()
	return f(w)
}

// TestSnapFlag: the checker is told which sectors are snapped.
func TestSnapFlag(t *testing.T) {
	wanted := build(t, "", "").check().wanted
	if len(wanted) != 2 || !wanted[0].Updated || wanted[1].Updated || wanted[0].Number != 7 {
		t.Errorf("got %+v", wanted)
	}
}

// TestDefaultsOfServices: what stands in for a service that is not named.
func TestDefaultsOfServices(t *testing.T) {
	if w := build(t, "Common.API.Messager", `""`); w.messager == nil || w.messager.Address != "/ip4/127.0.0.1/tcp/3/ws" {
		t.Errorf("without a messager: %+v", w.messager)
	}
	if w := build(t, "Common.API.Messager", `"none"`); w.messager != nil || w.node == nil || w.node.PollInterval != 15*time.Second {
		t.Errorf("messager none: %+v, %+v", w.messager, w.node)
	}
	if w := build(t, "Common.API.Chain", `[]`); !slices.Equal(w.chain.Endpoints, []string{"/ip4/127.0.0.1/tcp/3/ws"}) {
		t.Errorf("without a node: %v", w.chain.Endpoints)
	}
}

// TestBoardReachesTheRooms: one board, in every room that raises conditions.
func TestBoardReachesTheRooms(t *testing.T) {
	w := build(t, "", "")
	if w.chain.Board != w.board || w.payers.Board != w.board || w.guard.Board != w.board ||
		w.poster.Board != w.board || w.winning.Board != w.board {
		t.Error("a room has no board, or another one")
	}
}

// TestSenderWish: the senders are looked at before the first window, as they
// are configured.
func TestSenderWish(t *testing.T) {
	w := build(t, "Miners[].PoSt.Sender", `"`+otherSender+`"`)
	ctx, cancel := contextUntil(t, w.wished.Load)
	defer cancel()
	if err := w.miners.checkSender(ctx, w.settings.Load().manager.Miners[0]); err != nil {
		t.Fatal(err)
	}
	if len(w.wish.Configured) != 1 || !w.wish.WorkerFallback || w.wish.OwnerFallback {
		t.Errorf("got %+v", w.wish)
	}
}

// TestDamagedCopiesAreDoubted: what a prover found damaged is read at the next
// check, with the leaves that were needed; what it could not see is not.
func TestDamagedCopiesAreDoubted(t *testing.T) {
	w := build(t, "", "")
	q := task.Question{MinerID: 1008, ProofType: "StackedDrgWindow2KiBV1_2", Replicas: []task.Replica{
		{SectorID: 1, SealedFile: "/a/sealed/s-t01008-1"}, {SectorID: 2, SealedFile: "/a/sealed/s-t01008-2"}, {SectorID: 3, SealedFile: "/a/sealed/s-t01008-3"},
	}}
	w.stores.doubt(q, task.Answer{Faults: []uint64{1, 3}, Reasons: []task.Reason{
		{Kind: task.FaultUnseen, Sectors: []uint64{1}, Err: "not there"}, {Kind: task.FaultData, Sectors: []uint64{3}, Err: "flipped"},
	}})
	if got := fmt.Sprint(w.doubts); got != "[1008 3 /a/sealed/s-t01008-3 10 flipped]" {
		t.Errorf("doubts %s", got)
	}
}
