package lotus

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-bitfield"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/dline"
	"github.com/filecoin-project/go-state-types/network"
)

// The answers are of a test network: addresses begin with t.
func TestMain(m *testing.M) {
	UseNetwork("rig")
	os.Exit(m.Run())
}

// exchange is one recorded call: the request and the response of a real node.
type exchange struct {
	Request struct {
		Method string
		Params []json.RawMessage
	}
	Response struct {
		Result json.RawMessage
		Error  *struct {
			Code    int
			Message string
		}
	}
}

func readExchange(t *testing.T, name string) exchange {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	var x exchange
	if err := json.Unmarshal(b, &x); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return x
}

// checkSameJSON decodes raw into a new value of typ, encodes it again and
// compares the two documents as trees, so that key order is free and nothing
// may be lost, added or spelled otherwise.
func checkSameJSON(t *testing.T, what string, raw []byte, typ reflect.Type) {
	t.Helper()
	v := reflect.New(typ)
	if err := json.Unmarshal(raw, v.Interface()); err != nil {
		t.Errorf("%s: decoding into %s: %v", what, typ, err)
		return
	}
	again, err := json.Marshal(v.Elem().Interface())
	if err != nil {
		t.Errorf("%s: encoding %s: %v", what, typ, err)
		return
	}
	if want, got := tree(t, raw), tree(t, again); !reflect.DeepEqual(want, got) {
		t.Errorf("%s: %s is not encoded as it was received\n got %s\nwant %s", what, typ, again, compact(raw))
	}
}

func tree(t *testing.T, b []byte) any {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		t.Fatal(err)
	}
	return v
}

func compact(b []byte) string {
	var out bytes.Buffer
	if json.Compact(&out, b) != nil {
		return string(b)
	}
	return out.String()
}

// shapes names the Go type of each recorded result and of the parameters that
// have a type of this package.
var shapes = map[string]struct {
	result any
	params map[int]any
}{
	"ChainGetGenesis.json":                                       {result: &TipSet{}},
	"ChainGetTipSet.json":                                        {result: &TipSet{}, params: map[int]any{0: TipSetKey{}}},
	"ChainGetTipSetByHeight.json":                                {result: &TipSet{}},
	"ChainHead.json":                                             {result: &TipSet{}},
	"GasEstimateFeeCap.json":                                     {result: big.Int{}},
	"MinerGetBaseInfo.json":                                      {result: &MiningBaseInfo{}, params: map[int]any{2: TipSetKey{}}},
	"MpoolPending.json":                                          {result: []*SignedMessage{}},
	"MpoolPushMessage-SubmitWindowedPoSt.json":                   {result: &SignedMessage{}, params: map[int]any{0: &Message{}, 1: &MessageSendSpec{}}},
	"MpoolPushMessage-rejected-by-gas-estimation.json":           {params: map[int]any{0: &Message{}, 1: (*MessageSendSpec)(nil)}},
	"StateAccountKey-error.json":                                 {},
	"StateGetActor.json":                                         {result: &Actor{}},
	"StateGetNetworkParams.json":                                 {result: &NetworkParams{}},
	"StateGetRandomnessFromBeacon.json":                          {result: abi.Randomness{}},
	"StateGetRandomnessFromTickets.json":                         {result: abi.Randomness{}, params: map[int]any{3: TipSetKey{}}},
	"StateGetRandomnessFromTickets-null-tipset-is-an-error.json": {},
	"StateLookupID.json":                                         {result: address.Address{}},
	"StateMinerActiveSectors-keeper.json":                        {result: []*SectorOnChainInfo{}},
	"StateMinerActiveSectors.json":                               {result: []*SectorOnChainInfo{}},
	"StateMinerAvailableBalance-keeper.json":                     {result: big.Int{}},
	"StateMinerAvailableBalance.json":                            {result: big.Int{}},
	"StateMinerDeadlines-after-submission.json":                  {result: []Deadline{}},
	"StateMinerDeadlines-keeper.json":                            {result: []Deadline{}},
	"StateMinerDeadlines.json":                                   {result: []Deadline{}},
	"StateMinerFaults-keeper.json":                               {result: bitfield.BitField{}},
	"StateMinerFaults.json":                                      {result: bitfield.BitField{}},
	"StateMinerInfo-keeper.json":                                 {result: &MinerInfo{}},
	"StateMinerInfo-unknown.json":                                {},
	"StateMinerInfo.json":                                        {result: &MinerInfo{}},
	"StateMinerPartitions-empty.json":                            {result: []Partition{}},
	"StateMinerPartitions-keeper.json":                           {result: []Partition{}},
	"StateMinerPartitions.json":                                  {result: []Partition{}},
	"StateMinerPower-keeper.json":                                {result: &MinerPower{}},
	"StateMinerPower.json":                                       {result: &MinerPower{}},
	"StateMinerProvingDeadline-keeper.json":                      {result: &dline.Info{}},
	"StateMinerProvingDeadline.json":                             {result: &dline.Info{}},
	"StateMinerRecoveries-keeper.json":                           {result: bitfield.BitField{}},
	"StateMinerRecoveries.json":                                  {result: bitfield.BitField{}},
	"StateMinerSectors-keeper.json":                              {result: []*SectorOnChainInfo{}},
	"StateMinerSectors.json":                                     {result: []*SectorOnChainInfo{}},
	"StateNetworkName.json":                                      {result: ""},
	"StateNetworkVersion.json":                                   {result: network.Version(0)},
	"StateSearchMsg-SubmitWindowedPoSt.json":                     {result: &MsgLookup{}, params: map[int]any{0: TipSetKey{}}},
	"StateSectorExpiration.json":                                 {result: &SectorExpiration{}},
	"StateSectorGetInfo.json":                                    {result: &SectorOnChainInfo{}},
	"StateSectorPartition.json":                                  {result: &SectorLocation{}},
	"StateWaitMsg-SubmitWindowedPoSt.json":                       {result: &MsgLookup{}},
	"SyncState.json":                                             {result: &SyncState{}},
	"Version.json":                                               {result: Version{}},
	"WalletBalance.json":                                         {result: big.Int{}},
	"WalletList.json":                                            {result: []address.Address{}},
	"ChainGetParentMessages.json":                                {result: []json.RawMessage{}},
}

// TestRecordedAnswers holds every shape against what a real node sent: both
// what this side must read and what a simulated node must emit.
func TestRecordedAnswers(t *testing.T) {
	files, err := filepath.Glob("testdata/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no recorded answers: %v", err)
	}
	for _, f := range files {
		name := filepath.Base(f)
		if name == "ChainNotify-ws-frames.json" || name == "bad-token.json" {
			continue // not a single call
		}
		t.Run(name, func(t *testing.T) {
			s, ok := shapes[name]
			if !ok {
				t.Fatal("recorded answer without a shape")
			}
			x := readExchange(t, name)
			for i, p := range s.params {
				checkSameJSON(t, "parameter", x.Request.Params[i], reflect.TypeOf(p))
			}
			if s.result == nil {
				if x.Response.Error == nil || x.Response.Error.Code != 1 {
					t.Fatalf("want an error with code 1, got %+v", x.Response.Error)
				}
				return
			}
			checkSameJSON(t, "result", x.Response.Result, reflect.TypeOf(s.result))
		})
	}
}

func TestRecordedHeadChanges(t *testing.T) {
	b, err := os.ReadFile("testdata/ChainNotify-ws-frames.json")
	if err != nil {
		t.Fatal(err)
	}
	var rec struct {
		Frames []struct {
			Method string
			Params []json.RawMessage
		}
	}
	if err := json.Unmarshal(b, &rec); err != nil {
		t.Fatal(err)
	}
	var seen []string
	var head TipSetKey
	for _, f := range rec.Frames {
		if f.Method != "xrpc.ch.val" {
			continue
		}
		checkSameJSON(t, "head changes", f.Params[1], reflect.TypeFor[[]*HeadChange]())
		var changes []*HeadChange
		if err := json.Unmarshal(f.Params[1], &changes); err != nil {
			t.Fatal(err)
		}
		for _, c := range changes {
			seen = append(seen, c.Type)
			switch c.Type {
			case HCCurrent, HCApply:
				if c.Type == HCApply && !c.Val.Parents().Equals(head) {
					t.Errorf("apply at %d does not stand on the head before it", c.Val.Height)
				}
				head = c.Val.Key()
			case HCRevert:
				if !c.Val.Key().Equals(head) {
					t.Errorf("revert at %d is not of the head", c.Val.Height)
				}
				head = c.Val.Parents()
			}
		}
	}
	if len(seen) < 2 || seen[0] != HCCurrent {
		t.Errorf("changes %v, want current first and then more", seen)
	}
}

func TestBitfieldsInRecordedPartition(t *testing.T) {
	x := readExchange(t, "StateMinerPartitions.json")
	var parts []Partition
	if err := json.Unmarshal(x.Response.Result, &parts); err != nil {
		t.Fatal(err)
	}
	got, err := parts[0].FaultySectors.All(10)
	if err != nil || !reflect.DeepEqual(got, []uint64{4, 5}) {
		t.Errorf("faulty sectors %v, %v; want 4 and 5", got, err)
	}
}

func TestTipSetKeyForms(t *testing.T) {
	for _, in := range []string{"null", "[]"} {
		var k TipSetKey
		if err := json.Unmarshal([]byte(in), &k); err != nil || !k.IsEmpty() {
			t.Errorf("%s: %v, %v; want the empty key", in, k, err)
		}
		if out, err := json.Marshal(k); err != nil || string(out) != "[]" {
			t.Errorf("%s encodes as %s, %v; want []", in, out, err)
		}
	}
	var k TipSetKey
	if err := json.Unmarshal([]byte(`["not a cid"]`), &k); err == nil {
		t.Error("garbage was accepted as a key")
	}
}

func FuzzTipSet(f *testing.F) {
	b, err := os.ReadFile("testdata/ChainHead.json")
	if err != nil {
		f.Fatal(err)
	}
	var x exchange
	if err := json.Unmarshal(b, &x); err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(x.Response.Result))
	f.Add([]byte(`{"Cids":null,"Blocks":[null],"Height":0}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		var ts TipSet
		if json.Unmarshal(in, &ts) != nil {
			return
		}
		ts.Key()
		ts.Parents()
	})
}
