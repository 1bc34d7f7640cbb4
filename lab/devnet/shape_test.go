package devnet_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/filecoin-project/go-state-types/abi"

	"wdpost/internal/lotus"
	"wdpost/lab/devnet"
)

// golden are the recorded answers of a real node.
const golden = "../../internal/lotus/testdata"

type call struct {
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

func readCall(t *testing.T, name string) call {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(golden, name))
	if err != nil {
		t.Fatal(err)
	}
	var c call
	if err := json.Unmarshal(b, &c); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return c
}

// ask sends one JSON-RPC request over HTTP and returns the status and the body.
func ask(t *testing.T, url, token, method string, params any) (int, []byte) {
	t.Helper()
	body, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	out, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, out
}

// shape reduces a JSON value to its form: the keys of objects, the kinds of
// values, and whether something is null or an empty list.
func shape(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for k, e := range v {
			out[k] = shape(e)
		}
		return out
	case []any:
		if len(v) == 0 {
			return "[]"
		}
		return []any{shape(v[0])}
	case nil:
		return "null"
	case string:
		return "string"
	case bool:
		return "bool"
	}
	return "number"
}

func shapeOf(t *testing.T, raw []byte) string {
	t.Helper()
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatalf("%v: %s", err, raw)
	}
	out, err := json.MarshalIndent(shape(v), "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// TestShapes asks what a real node was asked and compares the forms of the
// answers: same keys, same kinds, null where it had null. Values of the request
// that belong to that network are replaced.
func TestShapes(t *testing.T) {
	r := newRig(t, func(c *devnet.Config) {
		c.SingleBlocks = false
		c.Miners = []devnet.Miner{{Sectors: sectors(6)}, {Sectors: sectors(2)}}
		c.Miners[0].Sectors[4].Faulty, c.Miners[0].Sectors[5].Faulty = true, true
	})
	r.to(firstOpen + 2)
	signed, err := r.api.MpoolPushMessage(t.Context(), r.post(0, 0), nil)
	if err != nil {
		t.Fatal(err)
	}
	r.to(firstOpen + 5)
	head := r.Chain().Head()
	key := head.Key()
	owner := r.Chain().Config().Accounts[0].Key
	replaced := map[string][]any{
		"ChainGetTipSet.json":                       {key},
		"ChainGetTipSetByHeight.json":               {firstOpen, nil},
		"ChainGetParentMessages.json":               {head.Cids[0]},
		"StateGetRandomnessFromBeacon.json":         {4, firstOpen, "QwDoBw==", nil},
		"StateGetRandomnessFromTickets.json":        {9, firstOpen, nil, key},
		"StateLookupID.json":                        {owner, nil},
		"WalletBalance.json":                        {owner},
		"MinerGetBaseInfo.json":                     {"t01000", head.Height + 1, key},
		"StateSearchMsg-SubmitWindowedPoSt.json":    {key, signed.CID, 100, true},
		"StateWaitMsg-SubmitWindowedPoSt.json":      {signed.CID, 1, 100, true},
		"StateMinerPartitions.json":                 {"t01000", 2, nil},
		"StateMinerPartitions-empty.json":           {"t01000", 7, nil},
		"StateMinerDeadlines-after-submission.json": {"t01000", []any{}},
	}
	names, err := filepath.Glob(filepath.Join(golden, "*.json"))
	if err != nil || len(names) == 0 {
		t.Fatalf("no recorded answers in %s: %v", golden, err)
	}
	checked := 0
	for _, path := range names {
		name := filepath.Base(path)
		switch {
		case name == "bad-token.json" || strings.HasPrefix(name, "ChainNotify") || strings.HasPrefix(name, "MpoolPushMessage"):
			continue // tested on their own
		case strings.Contains(name, "-keeper"):
			continue // the second miner there had another number
		}
		checked++
		t.Run(strings.TrimSuffix(name, ".json"), func(t *testing.T) {
			want := readCall(t, name)
			var params any = want.Request.Params
			if p, ok := replaced[name]; ok {
				params = p
			} else if strings.HasPrefix(name, "GasEstimate") {
				params = retarget(t, want.Request.Params, owner.String())
			}
			status, body := ask(t, r.Node().URL("http"), r.Token(), want.Request.Method, params)
			var got call
			if err := json.Unmarshal(body, &got.Response); err != nil || status != http.StatusOK {
				t.Fatalf("status %d, %v: %s", status, err, body)
			}
			if want.Response.Error != nil {
				if got.Response.Error == nil || *got.Response.Error != *want.Response.Error {
					t.Errorf("got %s\nwant error %+v", body, *want.Response.Error)
				}
				return
			}
			if got.Response.Error != nil {
				t.Fatalf("error %+v", *got.Response.Error)
			}
			if g, w := shapeOf(t, got.Response.Result), shapeOf(t, want.Response.Result); g != w {
				t.Errorf("other form\n got %s\nwant %s", g, w)
			}
		})
	}
	if checked < 35 {
		t.Errorf("only %d answers compared", checked)
	}
}

// retarget changes the sender of the message in the first parameter.
func retarget(t *testing.T, params []json.RawMessage, from string) []any {
	t.Helper()
	var msg map[string]any
	if err := json.Unmarshal(params[0], &msg); err != nil {
		t.Fatal(err)
	}
	msg["From"] = from
	out := []any{msg}
	for _, p := range params[1:] {
		out = append(out, p)
	}
	return out
}

// TestBeaconIsThatOfTheRecordedNode draws a recorded value: that node had the
// mock beacon, which an empty seed gives.
func TestBeaconIsThatOfTheRecordedNode(t *testing.T) {
	r := newRig(t, nil)
	r.to(747)
	want := readCall(t, "StateGetRandomnessFromBeacon.json")
	_, body := ask(t, r.Node().URL("http"), r.Token(), want.Request.Method, want.Request.Params)
	var got call
	if err := json.Unmarshal(body, &got.Response); err != nil {
		t.Fatal(err)
	}
	if string(got.Response.Result) != string(want.Response.Result) {
		t.Errorf("got %s, want %s", body, want.Response.Result)
	}
}

// TestPushShape compares an accepted message with the recorded one.
func TestPushShape(t *testing.T) {
	r := newRig(t, nil)
	r.to(firstOpen + 2)
	want := readCall(t, "MpoolPushMessage-SubmitWindowedPoSt.json")
	_, body := ask(t, r.Node().URL("http"), r.Token(), "Filecoin.MpoolPushMessage", []any{r.post(2, 0), map[string]any{"MaxFee": "5000000000000000000"}})
	var got call
	if err := json.Unmarshal(body, &got.Response); err != nil || got.Response.Error != nil {
		t.Fatalf("%s", body)
	}
	if g, w := shapeOf(t, got.Response.Result), shapeOf(t, want.Response.Result); g != w {
		t.Errorf("other form\n got %s\nwant %s", g, w)
	}
}

// TestTokens checks what each kind of token may do.
func TestTokens(t *testing.T) {
	r := newRig(t, nil)
	open := newRig(t, func(c *devnet.Config) { c.OpenReads = true; c.Token = "secret" })
	const missing = `{"error":{"code":1,"message":"missing permission to invoke '%s' (need '%s')"},"id":1,"jsonrpc":"2.0"}`
	for _, c := range []struct {
		name   string
		url    string
		token  string
		method string
		status int
		body   string // "" for a result
	}{
		{"none", r.Node().URL("http"), "", "ChainHead", 200, fmt.Sprintf(missing, "ChainHead", "read")},
		{"malformed", r.Node().URL("http"), "nonsense", "ChainHead", 401, ""},
		{"good", r.Node().URL("http"), r.Token(), "ChainHead", 200, ""},
		{"open reads", open.Node().URL("http"), "", "ChainHead", 200, ""},
		{"open reads do not write", open.Node().URL("http"), "", "WalletList", 200, fmt.Sprintf(missing, "WalletList", "write")},
		{"given token", open.Node().URL("http"), "secret", "WalletList", 200, ""},
	} {
		status, body := ask(t, c.url, c.token, "Filecoin."+c.method, []any{})
		got := string(bytes.TrimSpace(body))
		switch {
		case status != c.status:
			t.Errorf("%s: status %d, want %d", c.name, status, c.status)
		case c.status == 401 && got != "":
			t.Errorf("%s: body %q", c.name, got)
		case c.status == 200 && c.body == "" && !strings.Contains(got, `"result"`):
			t.Errorf("%s: %s", c.name, got)
		case c.body != "" && got != c.body:
			t.Errorf("%s: %s\nwant %s", c.name, got, c.body)
		}
	}
}

// TestNotify follows the head over a websocket through a null round and a
// reorganisation.
func TestNotify(t *testing.T) {
	r := newRig(t, nil)
	r.to(5)
	changes, err := r.api.ChainNotify(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	kinds := func() (out []string) {
		for _, c := range <-changes {
			out = append(out, fmt.Sprintf("%s %d", c.Type, c.Val.Height))
		}
		return out
	}
	expect := func(want ...string) {
		t.Helper()
		if got := kinds(); !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	}
	expect("current 5")
	r.to(6)
	expect("apply 6")
	if err := r.NullRound(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.to(8)
	expect("apply 8")
	before := r.Chain().Head()
	if err := r.Reorg(t.Context(), 2, false); err != nil {
		t.Fatal(err)
	}
	expect("revert 8", "revert 6", "apply 6", "apply 8")
	after := r.Chain().Head()
	if before.Key().Equals(after.Key()) || before.Height != after.Height {
		t.Error("the reorganisation changed nothing")
	}
	old := must[abi.Randomness](t)(r.api.StateGetRandomnessFromTickets(t.Context(), 9, 6, nil, before.Key()))
	now := must[abi.Randomness](t)(r.api.StateGetRandomnessFromTickets(t.Context(), 9, 6, nil, after.Key()))
	same := must[abi.Randomness](t)(r.api.StateGetRandomnessFromTickets(t.Context(), 9, 5, nil, after.Key()))
	was := must[abi.Randomness](t)(r.api.StateGetRandomnessFromTickets(t.Context(), 9, 5, nil, before.Key()))
	if bytes.Equal(old, now) || !bytes.Equal(same, was) {
		t.Error("ticket randomness must change above the fork and only there")
	}
	if ts := must[*lotus.TipSet](t)(r.Chain().TipSetByHeight(7, lotus.TipSetKey{})); ts.Height != 6 {
		t.Errorf("height 7 was null, got the tipset of %d", ts.Height)
	}
	r.Streams().CloseAll()
	if _, open := <-changes; open {
		t.Error("the stream is still open")
	}
}
