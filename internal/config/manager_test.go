package config

import (
	"fmt"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"
)

func TestGuideManager(t *testing.T) {
	got, warnings, err := LoadManager("testdata/guide/sector-manager.cfg")
	if err != nil {
		t.Fatal(err)
	}
	api := got.Common.API
	if api.Chain[0] != "/ip4/127.0.0.1/tcp/1234/ws" || api.Messager != "/dns/cali-messager.example.com/tcp/82/wss" ||
		api.Gateway[0] != "/dns/cali-gateway.example.com/tcp/83/wss" || api.ChainEventInterval.D() != time.Minute ||
		!strings.HasPrefix(api.Token, "eyJ") {
		t.Errorf("API %+v", api)
	}
	if len(got.Common.PersistStores) != 0 {
		t.Errorf("the store without a path was kept: %+v", got.Common.PersistStores)
	}
	if len(got.Miners) != 1 {
		t.Fatalf("%d miners", len(got.Miners))
	}
	m := got.Miners[0]
	want := PoSt{
		Sender: m.PoSt.Sender, Enabled: true, Fee: Fee{GasOverEstimation: 1.2, GasFeeCap: NanoFIL(5)}, Confidence: 6,
		EscalateFees: true, AllowWorkerFallback: true,
	}
	if !reflect.DeepEqual(m.PoSt, want) || !m.Proof.Enabled || m.Actor != 0 {
		t.Errorf("miner %+v", m)
	}
	if !strings.HasPrefix(m.PoSt.Sender.String()[1:], "3sc7rocifuabifirjul34b") {
		t.Errorf("sender %s", m.PoSt.Sender)
	}
	all := strings.Join(warnings, "\n")
	for _, want := range []string{"Common.PersistStores[0]: has no Path", "Miners[0].Actor: is not set", "Common.API.Market: accepted, but without effect"} {
		if !strings.Contains(all, want) {
			t.Errorf("warnings %q lack %q", all, want)
		}
	}
}

// TestGuideManagerUncommented removes every comment mark of the guide's file:
// all its keys must be known and legal.
func TestGuideManagerUncommented(t *testing.T) {
	text := uncomment(read(t, "testdata/guide/sector-manager.cfg"))
	got, warnings, err := LoadManager(write(t, "cfg", strings.ReplaceAll(text, "Plugin =", "#Plugin =")))
	if err != nil {
		t.Fatal(err)
	}
	m := got.Miners[0]
	if m.Actor != 1447 || m.Sector.MaxNumber != 1000000 || m.SnapUp.Retry.MaxAttempts != 10 ||
		m.Commitment.Terminate.Batch.Threshold != 5 || m.SnapUp.MessageConfidence != 15 {
		t.Errorf("miner %+v", m)
	}
	s := got.Common.PersistStores[0]
	if s.Name != "theduan1" || s.LeavesOut(1447) != "" || s.LeavesOut(1448) != "AllowMiners" || s.LeavesOut(3) == "" || s.Meta["SomeKey"] != "SomeValue" {
		t.Errorf("store %+v", s)
	}
	want := "Common.API.Market, Common.PieceStores, Miners.Commitment, Miners.Sealing, Miners.Sector, Miners.SnapUp: accepted, but without effect"
	if len(warnings) != 1 || !strings.Contains(warnings[0], want) {
		t.Errorf("warnings %q, want the one that names %q", warnings, want)
	}
}

func TestGuidePersistStores(t *testing.T) {
	got, _, err := LoadManager("testdata/guide/persist-stores.cfg")
	if err != nil {
		t.Fatal(err)
	}
	want := []PersistStore{
		{Name: "storage1", Path: "/mnt/mount/nfs/0.0.0.0/", AllowMiners: []uint64{1008}},
		{Name: "storage2", Path: "/mnt/mount/nfs/0.0.0.1/", AllowMiners: []uint64{1008}},
	}
	if !reflect.DeepEqual(got.Common.PersistStores, want) {
		t.Errorf("got %+v", got.Common.PersistStores)
	}
}

func TestGuideExtProver(t *testing.T) {
	got, err := LoadExtProver("testdata/guide/ext-prover.cfg")
	if err != nil {
		t.Fatal(err)
	}
	want := ExtProver{WdPost: []ExtProcessor{{
		Bin:        "/root/venus-cluster/dist/bin/wdpost-master-daemon",
		Args:       []string{"-c", "/root/venus-cluster/dist/bin/wdpost_master.toml"},
		Concurrent: 50, Weight: 1, ReadyTimeoutSecs: 5, Envs: map[string]string{"RUST_LOG": "info"},
	}}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v", got)
	}
}

// TestDefaultFiles: what `daemon init` writes says what an empty file says, and
// every shown value is legal and is the default where there is one.
func TestDefaultFiles(t *testing.T) {
	want := DefaultManager()
	var miner Miner
	miner.setDefaults()
	want.Miners = []Miner{miner}
	want.Common.PieceStores = []PieceStore{{Meta: map[string]string{}}}
	want.Common.PersistStores = nil

	got, _, err := LoadManager(write(t, ManagerFile, DefaultManagerText))
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("the default file is %+v\nan empty one %+v", got, want)
	}

	shown, _, err := LoadManager(write(t, ManagerFile, strings.ReplaceAll(uncomment(DefaultManagerText), "Plugin =", "#Plugin =")))
	if err != nil {
		t.Fatal(err)
	}
	post := shown.Miners[0].PoSt
	post.Sender, post.Senders = Address{}, nil
	if !reflect.DeepEqual(post, miner.PoSt) || !reflect.DeepEqual(shown.Common.Proving, want.Common.Proving) {
		t.Errorf("shown %+v\ndefault %+v", post, miner.PoSt)
	}

	ext, err := LoadExtProver(write(t, ExtProverFile, uncomment(DefaultExtProverText)))
	if err != nil {
		t.Fatal(err)
	}
	if len(ext.WdPost) != 1 || len(ext.WinPost) != 1 || ext.WdPost[0].ReadyTimeoutSecs != 5 {
		t.Errorf("ext-prover %+v", ext)
	}
}

// TestPluginOfStore: Plugin and PluginName make the path that of an object store.
func TestPluginOfStore(t *testing.T) {
	for _, text := range []string{"Plugin = 's3'", "PluginName = 's3'", "Plugin = 's3'\nPluginName = 's3'"} {
		m, _, err := LoadManager(write(t, ManagerFile, "[[Common.PersistStores]]\nName = 'a'\nPath = 'https://h:9000/b/p'\n"+text+"\n"))
		if err != nil || m.Common.PersistStores[0].Root() != "s3+https://h:9000/b/p" {
			t.Errorf("%s: %+v, %v", text, m.Common.PersistStores, err)
		}
	}
	if root := (PersistStore{Path: "/x"}).Root(); root != "/x" {
		t.Errorf("root %s", root)
	}
}

// TestFieldF4ListsAgainstMiners: a miner that every store leaves out is told at
// the start, with the keys that do it.
func TestFieldF4ListsAgainstMiners(t *testing.T) {
	stores := "[[Common.PersistStores]]\nPath = '/a'\nAllowMiners = [1447]\n[[Common.PersistStores]]\nPath = '/b'\nAllowMiners = [1000]\nDenyMiners = [1000]\n"
	_, warnings, err := LoadManager(write(t, ManagerFile, stores+"[[Miners]]\nActor = 1000\n[[Miners]]\nActor = 1447\n"))
	text := strings.Join(warnings, "\n")
	if err != nil || !strings.Contains(text, `Miners[0].Actor: 1000 has no store: AllowMiners of the store "/a", DenyMiners of the store "/b"`) || strings.Contains(text, "1447 has no store") {
		t.Errorf("%s, %v", text, err)
	}
}

// TestDefaultFileIsComplete: every setting with an effect appears in the file.
func TestDefaultFileIsComplete(t *testing.T) {
	for _, field := range effectiveKeys(reflect.TypeFor[Manager]()) {
		if field == "PluginName" || field == "Plugin" {
			continue
		}
		if !regexp.MustCompile(`(?m)^#?\[*[\w.]*` + field + `\b`).MatchString(DefaultManagerText) {
			t.Errorf("the default file does not show %s", field)
		}
	}
}

func effectiveKeys(rt reflect.Type) []string {
	for rt.Kind() == reflect.Slice {
		rt = rt.Elem()
	}
	if rt.Kind() != reflect.Struct || reflect.PointerTo(rt).Implements(reflect.TypeFor[valueSetter]()) {
		return nil
	}
	var names []string
	for _, f := range visibleFields(rt) {
		if f.Tag.Get("effect") != "none" {
			names = append(append(names, fieldName(f)), effectiveKeys(f.Type)...)
		}
	}
	return names
}

func TestManagerComplaints(t *testing.T) {
	manager := func(path string) error { _, _, err := LoadManager(path); return err }
	ext := func(path string) error { _, err := LoadExtProver(path); return err }
	store := func(name, path string) string {
		return fmt.Sprintf("[[Common.PersistStores]]\nName = %q\nPath = %q\n", name, path)
	}
	tests := []struct {
		name string
		load func(string) error
		text string
		want []string
	}{
		{"typo in the second miner", manager, "[[Miners]]\nActor = 1\n[[Miners]]\nActor = 2\n[Miners.PoSt]\nConfidense = 3\n",
			[]string{"cfg.toml:6: Miners[1].PoSt.Confidense: unknown key", "did you mean Confidence?"}},
		{"same name", manager, store("a", "/x") + store("a", "/y"), []string{":5: Common.PersistStores[1].Name", `the name "a" is already that of Common.PersistStores[0]`}},
		{"same path as name", manager, store("", "/x") + store("", "/x"), []string{`the name "/x" is already`}},
		{"name without path", manager, store("a", ""), []string{":3: Common.PersistStores[0].Path", `missing for the store "a"`}},
		{"unknown plugin", manager, store("a", "/x") + "PluginName = 'ceph'\n", []string{":1: Common.PersistStores[0].Plugin", `uses the plugin "ceph", which is not known`}},
		{"two plugins", manager, store("a", "http://h/b") + "Plugin = 's3'\nPluginName = 's4'\n", []string{`"s4" is another one than Plugin = "s3"`}},
		{"plugin without URL", manager, store("a", "/x") + "Plugin = 's3'\n", []string{"needs the URL of its bucket and prefix"}},
		{"one miner twice", manager, "[[Miners]]\nActor = 1\n[[Miners]]\nActor = 1\n", []string{":4: Miners[1].Actor", "already Miners[0]"}},
		{"fee", manager, "[[Miners]]\nActor = 1\n[Miners.PoSt]\nGasFeeCap = '5 gold'\n", []string{":4: Miners[0].PoSt.GasFeeCap", "5 nanoFIL"}},
		{"less gas than needed", manager, "[[Miners]]\nActor = 1\n[Miners.PoSt]\nGasOverEstimation = 0.9\n", []string{":4: Miners[0].PoSt.GasOverEstimation", "use 1 or more"}},
		{"fee without a unit", manager, "[[Miners]]\nActor = 1\n[Miners.PoSt]\nGasFeeCap = '5'\n", []string{":4: Miners[0].PoSt.GasFeeCap", "5 nanoFIL"}},
		{"sender", manager, "[[Miners]]\nActor = 1\n[Miners.PoSt]\nSender = 'f0x'\n", []string{":4: Miners[0].PoSt.Sender", "not an address"}},
		{"duration", manager, "[Common.API]\nChainEventInterval = '1 fortnight'\n", []string{":2: Common.API.ChainEventInterval", "no unit of time"}},
		{"submit outside window", manager, "[[Miners]]\nActor = 1\n[Miners.PoSt]\nSubmitConfidence = 60\n", []string{":4: Miners[0].PoSt.SubmitConfidence", "nothing would ever be sent"}},
		{"start too late", manager, "[[Miners]]\nActor = 1\n[Miners.PoSt]\nChallengeConfidence = 70\n", []string{":4: Miners[0].PoSt.ChallengeConfidence", "too little"}},
		{"list as section", manager, "[Miners]\nActor = 1\n", []string{":1: Miners", "[[Miners]]"}},
		{"mongo", manager, "[Common.MongoKVStore]\nEnable = true\n", []string{"needs DSN and DatabaseName"}},
		{"allow", manager, store("a", "/x") + "AllowMiners = ['f01']\n", []string{":4: Common.PersistStores[0].AllowMiners[0]", "whole number"}},
		{"args without bin", ext, "[[WdPost]]\nArgs = ['x']\n", []string{":2: WdPost[0].Args", "without Bin"}},
		{"cgroup", ext, "[[WdPost]]\nBin = 'x'\n[WdPost.Cgroup]\nname = 'x'\n", []string{":3: WdPost[0].Cgroup", "unknown key"}},
		{"negative", ext, "[[WdPost]]\nBin = 'x'\nConcurrent = -1\n", []string{":3: WdPost[0].Concurrent", "0 or more"}},
		{"env number", ext, "[[WdPost]]\nBin = 'x'\n[WdPost.Envs]\nGPU = 1\n", []string{":4: WdPost[0].Envs.GPU", "text in quotes"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := tt.load(write(t, "cfg.toml", tt.text))
			if err == nil {
				t.Fatal("no complaint")
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("complaint %q\nlacks %q", err, want)
				}
			}
		})
	}
}

// TestLines checks the line finder on the texts TOML allows.
func TestLines(t *testing.T) {
	const text = `a = """
not = 'a key'
"""
b.c = [ # comment = 1
  "x = ] \" #", '\',
]
[s]
"quoted.key" = 1 # [t]
x = { y = 1 }
[[l]]
k = 1
[[l]]
[l.sub]
k = 2
[[l.m]]
k = 3
[[l.m]]
k = 4`
	got := keyLines(text)
	want := map[string]int{
		"a": 1, "b.c": 4, "s": 7, "s.quoted.key": 8, "s.x": 9, "l": 10, "l[0]": 10, "l[0].k": 11, "l[1]": 12, "l[1].sub": 13,
		"l[1].sub.k": 14, "l[1].m": 15, "l[1].m[0]": 15, "l[1].m[0].k": 16, "l[1].m[1]": 17, "l[1].m[1].k": 18,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v\nwant %v", got, want)
	}
}

// FuzzBind: no text may panic or hang the decoder, and every complaint has a message.
func FuzzBind(f *testing.F) {
	// Short texts: the minimizer of the fuzzer is slow with long ones.
	for _, text := range []string{
		"[[Miners]]\nActor = 1\n[Miners.PoSt]\nGasFeeCap = \"5 nanoFIL\"\n",
		"[Common]\nAPI = { Chain = ['a', \"b\"], Token = '''\nx''' } # end\n",
		"[[Common.PersistStores]]\nPath = \"/x\"\nAllowMiners = [1,\n2]\n[Common.PersistStores.Meta]\nk = \"v\"\n",
		"Common.Proving.MaxStuck = 3\n\"Miners\" = []\n",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		m := DefaultManager()
		doc, err := bind("f", text, &m)
		if err != nil {
			if err.Error() == "" {
				t.Fatal("empty complaint")
			}
			return
		}
		c := checker{doc: doc}
		m.check(&c)
	})
}

// uncomment removes the mark before each setting, as an operator does.
func uncomment(text string) string {
	return regexp.MustCompile(`(?m)^#(\[|\w+ = )`).ReplaceAllString(text, "$1")
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestSlipsOfEditors: what editors and input methods do to a file is named with
// its line and the remedy.
func TestSlipsOfEditors(t *testing.T) {
	many := "[Common.API]\n"
	for i := range 50 {
		many += fmt.Sprintf("key%d = 1\n", i)
	}
	for want, text := range map[string]string{
		":2: Common.API.Token: expected value":         "[Common.API]\nToken = “abc”\n",
		"write plain \" = , [ ] and spaces":            "[Common.API]\nToken ＝ \"abc\"\n",
		"texts need quotes, and true and false":        "[Common.API]\nToken = abc\n",
		"save the file as UTF-8":                       "# \xc5\xe4\xd6\xc3\n[Common.API]\n",
		":1: Miner: unknown key; did you mean Miners?": "[Miner.PoSt]\nEnabled = true\n",
		"and 30 more": many,
		"longer than 4 MiB: this is another kind of file; give t": "#" + strings.Repeat("x", 5<<20),
	} {
		_, _, err := LoadManager(write(t, "cfg", text))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
	for name, text := range map[string]string{
		"CRLF": "[Common.API]\r\nToken = \"x\" # 配置\r\n", "BOM": "\ufeff[Common.API]\nToken = \"x\"\n", "tabs": "\t[Common.API]\n\tToken\t=\t\"x\"\n",
	} {
		if got, _, err := LoadManager(write(t, "cfg", text)); err != nil || got.Common.API.Token != "x" {
			t.Errorf("%s: %+v, %v", name, got.Common.API, err)
		}
	}
}
