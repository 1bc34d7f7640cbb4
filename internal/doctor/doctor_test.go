package doctor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/big"

	"wdpost/internal/chain"
	"wdpost/internal/condition"
	"wdpost/internal/config"
	"wdpost/internal/message/sender"
	"wdpost/internal/prover"
	"wdpost/internal/sector"
	"wdpost/internal/sector/store"
	"wdpost/proofs/params"
	"wdpost/proofs/post"
)

// has fails unless a line of the mark holds the text.
func has(t *testing.T, lines []Line, mark Mark, text string) {
	t.Helper()
	for _, l := range lines {
		if l.Mark == mark && strings.Contains(l.About+": "+l.Text+" "+l.Do, text) {
			return
		}
	}
	t.Errorf("no line %q with %q in %+v", mark, text, lines)
}

const mountinfo = `21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw,errors=remount-ro
40 21 0:51 / /mnt rw - ext4 /dev/sdb1 rw
41 40 0:52 / /mnt/hard\040one ro,noatime shared:9 master:2 - nfs4 server:/a ro,vers=4.2,hard,proto=tcp,timeo=600,retrans=2
42 40 0:53 / /mnt/soft ro - nfs server:/b ro,vers=3,soft,timeo=100,retrans=2
43 40 0:54 / /mnt/slow ro - nfs server:/c ro,vers=3,softerr,timeo=6000
44 40 0:55 / /mnt/bare ro - nfs server:/d ro,vers=3
damaged
`

// TestMounts: NFS that hangs for ever is named with its options.
func TestMounts(t *testing.T) {
	mounts := ParseMounts(mountinfo)
	if len(mounts) != 6 {
		t.Fatalf("%d mounts: %+v", len(mounts), mounts)
	}
	for path, want := range map[string]Line{
		"/mnt/hard one/x": {Mark: Doubt, Text: "mounted hard, timeo=600"},
		"/mnt/soft":       {Mark: Fine, Text: "soft, timeo=100"},
		"/mnt/slow/":      {Mark: Doubt, Text: "timeo=6000"},
		"/mnt/bare":       {Mark: Doubt, Text: "mounted hard, without timeo"},
	} {
		m, ok := MountOf(mounts, path)
		if got := ofNFS("a", m); !ok || got.Mark != want.Mark || !strings.Contains(got.Text, want.Text) {
			t.Errorf("%s: %+v", path, got)
		}
	}
	for path, want := range map[string]string{"/mnt/softer": "/mnt", "/mnt": "/mnt", "/home": "/", "/mnt/soft/a/b": "/mnt/soft"} {
		if m, _ := MountOf(mounts, path); m.Point != want {
			t.Errorf("%s lies in %s, want %s", path, m.Point, want)
		}
	}
}

type fakeIndex map[string]*sector.Record

func (x fakeIndex) Get(name string) (*sector.Record, error) {
	if r := x[name]; r != nil {
		return r, nil
	}
	return nil, fmt.Errorf("record %s: %w", name, fs.ErrNotExist)
}

func TestStores(t *testing.T) {
	seen := map[string]sector.Seen{
		"/mnt/soft": {}, "/mnt/gone": {Err: fs.ErrNotExist}, "/mnt/hangs": {Err: sector.ErrTimeout}, "/mnt/ro": {Space: store.Space{ReadOnly: true}}, "/mnt/new": {}, "/mnt/moved": {},
	}
	stores := []config.PersistStore{
		{Name: "soft", Path: "/mnt/soft"}, {Name: "gone", Path: "/mnt/gone"}, {Name: "hangs", Path: "/mnt/hangs"},
		{Name: "ro", Path: "/mnt/ro"}, {Name: "new", Path: "/mnt/new"}, {Name: "moved", Path: "/mnt/moved"},
	}
	index := fakeIndex{"soft": {Path: "/mnt/soft"}, "ro": {Path: "/mnt/ro"}, "moved": {Path: "/mnt/old"}}
	look := func(_ context.Context, path string) sector.Seen { return seen[path] }
	lines := Stores(t.Context(), stores, index, look, ParseMounts(mountinfo))
	has(t, lines, Fine, "store soft: nfs")
	has(t, lines, Fine, "store soft: /mnt/soft answers; 0 sectors")
	has(t, lines, Bad, "store gone")
	has(t, lines, Bad, "store hangs: /mnt/hangs hangs")
	has(t, lines, Doubt, "store ro: /mnt/ro is mounted read-only")
	has(t, lines, Bad, "util storage attach --name=new /mnt/new")
	has(t, lines, Bad, "store moved: it is configured with /mnt/moved but was attached with /mnt/old")
	if n := Count(lines, Bad); n != 4 {
		t.Errorf("%d bad: %+v", n, lines)
	}
	stores[3].ReadOnly = true
	if n := Count(Stores(t.Context(), stores, index, look, nil), Doubt); n != 0 {
		t.Errorf("%d doubts about what is meant", n)
	}
	has(t, Stores(t.Context(), nil, index, look, nil), Bad, "no [[Common.PersistStores]]")
}

func TestNodes(t *testing.T) {
	clock := chain.Clock{Genesis: time.Unix(0, 0), BlockDelay: 30 * time.Second}
	now := clock.TimeOf(1000)
	one := func(n chain.EndpointStatus) []Line { return Nodes([]chain.EndpointStatus{n}, clock, now) }
	has(t, one(chain.EndpointStatus{Height: 999}), Fine, "head 999, 1 epochs behind")
	has(t, one(chain.EndpointStatus{Height: 990}), Doubt, "10 epochs behind")
	has(t, one(chain.EndpointStatus{Height: 900}), Bad, "100 epochs (50m0s) behind")
	has(t, one(chain.EndpointStatus{Height: 1005}), Bad, "set the clock of this machine")
	has(t, one(chain.EndpointStatus{Height: -1}), Bad, "no head")
	has(t, one(chain.EndpointStatus{Height: -1, Err: errors.New("refused")}), Bad, "refused")
	has(t, Nodes([]chain.EndpointStatus{{Height: 9}}, chain.Clock{}, now), Doubt, "does not tell the network's clock")
	both := Nodes([]chain.EndpointStatus{{Height: -1, Err: errors.New("refused")}, {Height: 1000}}, clock, now)
	has(t, both, Doubt, "refused") // the other one serves
	if Count(both, Bad) != 0 {
		t.Errorf("%+v", both)
	}
}

func TestPayers(t *testing.T) {
	a, _ := address.NewIDAddress(1000)
	list := []sender.Account{{Miner: a, Name: a, Role: "worker", Balance: big.NewInt(7)}, {Miner: a, Name: a, Role: "owner", Problem: "no key"}}
	if lines := Payers(a.String(), list, nil); len(lines) != 1 || lines[0].Mark != Fine || !strings.Contains(lines[0].Text, "7 attoFIL") {
		t.Errorf("%+v", lines)
	}
	has(t, Payers(a.String(), list, errors.New("no sender")), Bad, "no sender")
}

func TestLimits(t *testing.T) {
	well := Machine{OpenFiles: 1 << 16, Memory: 8 << 30, Home: Room{Total: 1 << 40, Free: 1 << 38, Files: 9}}
	if lines := Limits(well); Count(lines, Fine) != len(lines) {
		t.Errorf("%+v", lines)
	}
	ill := Machine{OpenFiles: 1024, Memory: 1 << 20, Home: Room{Free: 1}, HomeMount: Mount{Type: "nfs4", Source: "s:/h"}}
	lines := Limits(ill)
	has(t, lines, Doubt, "LimitNOFILE")
	has(t, lines, Doubt, "memory: 1.0 MiB")
	has(t, lines, Bad, "its disk is full")
	has(t, lines, Doubt, "move it to a local disk")
	has(t, Limits(Machine{Home: Room{Free: 64 << 20, Files: 1}}), Doubt, "64.0 MiB of 0.0 MiB are free")
	has(t, Limits(Machine{Home: RoomOf("/nowhere/at/all")}), Bad, "--home")
}

// TestKeys: what is missing, not whole, or of another ceremony is told apart.
func TestKeys(t *testing.T) {
	dir := t.TempDir()
	cfg := prover.KeyConfig{ParamsDir: dir, RawDirs: []string{dir}}
	s := post.Window32GiBV1_1.Setup()
	missing := errors.New("no verifying key")
	lines := Keys(cfg, s, missing, false, Room{Free: 1})
	has(t, lines, Bad, "no verifying key")
	has(t, lines, Bad, "lotus fetch-params 32GiB")
	has(t, lines, Doubt, "/dev/shm")
	if lines := Keys(cfg, s, nil, true, Room{}); Count(lines, Fine) != len(lines) {
		t.Errorf("elsewhere: %+v", lines)
	}
	base := filepath.Join(dir, params.CacheID(s))
	for ext, text := range map[string]string{params.ParamsExt: "short", params.VKExt: "another"} {
		if err := os.WriteFile(base+ext, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	lines = Keys(cfg, s, nil, false, Room{Free: 1 << 60})
	has(t, lines, Bad, "has 5 bytes, a whole one has")
	has(t, lines, Bad, ".vk: ")
	if err := os.Truncate(base+params.ParamsExt, int64(params.ParamsBytes(s))); err != nil { // a hole, no room taken
		t.Fatal(err)
	}
	has(t, Keys(cfg, s, nil, false, Room{}), Fine, "the proving key is here: "+base+params.ParamsExt)
}

func TestDaemon(t *testing.T) {
	at := time.Now()
	d := Daemon{Running: true, Build: "1", Ours: "1", Ready: "ready", ConfigRead: at, ConfigWritten: at.Add(-time.Hour)}
	if lines := d.Lines(); len(lines) != 1 || lines[0].Mark != Fine {
		t.Errorf("%+v", lines)
	}
	d.Ours, d.ConfigWritten, d.Ready = "2", at.Add(time.Hour), "no node"
	d.Conditions = []condition.Condition{
		{Kind: condition.HomeFull, Subject: "/home", Cost: condition.None, Detail: "full", Remedy: "make room"},
		{Kind: condition.NoSender, Subject: "t01000", Cost: condition.Window, Detail: "nobody\npays"},
	}
	lines := d.Lines()
	has(t, lines, Doubt, "daemon runs 1")
	has(t, lines, Doubt, "util config reload")
	has(t, lines, Bad, "no node")
	has(t, lines, Doubt, "daemon: home_full /home: full make room")
	has(t, lines, Bad, "daemon: no_sender t01000: nobody; pays")
	has(t, Daemon{Absent: true, Err: errors.New("none")}.Lines(), Doubt, "start it")
	has(t, Daemon{Err: errors.New("time-out")}.Lines(), Bad, "time-out")
	has(t, []Line{Configuration("f", nil)}, Fine, "f is whole")
	has(t, []Line{Configuration("f", []string{"odd"})}, Doubt, "odd")
}

func TestPrint(t *testing.T) {
	lines := []Line{fine("a", "well"), bad("b", "ill", "mend it")}
	var b bytes.Buffer
	if err := Print(&b, lines, false); err != nil || b.String() != "ok    a: well\nbad   b: ill\n      do: mend it\n" {
		t.Errorf("%q, %v", b.String(), err)
	}
	b.Reset()
	if err := Print(&b, lines, true); err != nil || !strings.Contains(b.String(), red+"bad "+plain) {
		t.Errorf("%q, %v", b.String(), err)
	}
}
