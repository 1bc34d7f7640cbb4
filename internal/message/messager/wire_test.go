package messager_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/filecoin-project/go-state-types/big"

	"wdpost/internal/endpoint"
	"wdpost/internal/message"
	"wdpost/internal/message/messager"
	"wdpost/internal/message/messagetest"
)

// wireMessager answers with the bytes that a messager sends, method by method,
// and keeps what it was asked.
type wireMessager struct {
	answers map[string]string
	asked   map[string]string
}

func (m *wireMessager) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/rpc/v0" || r.Header.Get("X-VENUS-API-NAMESPACE") != "messager.IMessager" {
		http.NotFound(w, r)
		return
	}
	if r.Header.Get("Authorization") != "Bearer good" {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	body, _ := io.ReadAll(r.Body)
	var call struct {
		ID     json.RawMessage
		Method string
		Params json.RawMessage
	}
	if err := json.Unmarshal(body, &call); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	m.asked[call.Method] = string(call.Params)
	answer, ok := m.answers[call.Method]
	if !ok {
		answer = `"error":{"code":1,"message":"not expected"}`
	}
	_, _ = io.WriteString(w, `{"jsonrpc":"2.0","id":`+string(call.ID)+`,`+answer+`}`)
}

// landed is a message as a messager sends it.
const landed = `{"ID":"a","UnsignedCid":{"/":"bafy2bzaceb2u436soqag3tbiip22qviektihfikcvn6oqlkksfvxhgqbprmqk"},
 "SignedCid":{"/":"bafy2bzaceb2u436soqag3tbiip22qviektihfikcvn6oqlkksfvxhgqbprmqk"},
 "Version":0,"To":"t01000","From":"t3xar3qiestw4m5cpldicumkux2i7tj2uuhbwjvq7npachuflzk4xi6va7rdzxr6na7x32kedhazg5krzsj5bq",
 "Nonce":4,"Value":"0","GasLimit":24927565,"GasFeeCap":"101032","GasPremium":"99978","Method":5,"Params":"hQ==",
 "Signature":{"Type":2,"Data":"l8Xu"},"Height":725,"Confidence":7,"Receipt":{"ExitCode":0,"Return":null,"GasUsed":20009802,"EventsRoot":null},
 "TipSetKey":[{"/":"bafy2bzaceblrhhgqtiiqlbbulta2v6oemmdcdeeroo7cpwuoot4bj2xeueup2"}],
 "Meta":{"expireEpoch":0,"gasOverEstimation":1.2,"maxFee":"0","gasOverPremium":0},"WalletName":"w","State":3,
 "CreatedAt":"2026-11-23T15:00:00Z","UpdatedAt":"2026-11-23T15:01:00Z"}`

func TestMessagerWire(t *testing.T) {
	fake := &wireMessager{asked: map[string]string{}, answers: map[string]string{
		"Message.HasMessageByUid":   `"result":false`,
		"Message.PushMessageWithId": `"result":"a"`,
		"Message.GetMessageByUid":   `"result":` + landed,
		"Message.ReplaceMessage":    `"result":{"/":"bafy2bzaceb2u436soqag3tbiip22qviektihfikcvn6oqlkksfvxhgqbprmqk"}`,
		"Message.WalletHas":         `"result":true`,
	}}
	srv := httptest.NewServer(fake)
	defer srv.Close()
	open := func(token string) *messager.Sender {
		m, err := messager.New(messager.Config{Address: "ws" + strings.TrimPrefix(srv.URL, "http"), Token: token})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(m.Close)
		return m
	}
	m := open("good")
	h, err := m.Push(t.Context(), "a", messagetest.Post(1), message.Spec{Expire: 800, Fees: message.Fees{GasOverEstimation: 1.2, GasFeeCap: big.NewInt(5e9)}})
	if err != nil || h.ID != "a" {
		t.Fatalf("handle %s, %v", h, err)
	}
	asked := fake.asked["Message.PushMessageWithId"]
	for _, part := range []string{
		`["a",{`, `"To":"t01008"`, `"From":"t0100"`, `"GasFeeCap":"5000000000"`, `"Value":"0"`, `"GasPremium":"0"`, `"Params":"AQ=="`,
		`{"expireEpoch":800,"gasOverEstimation":1.2,"maxFee":"50000000000000000000","gasOverPremium":0}`,
	} {
		if !strings.Contains(asked, part) {
			t.Errorf("the push %s lacks %s", asked, part)
		}
	}
	o, err := m.Wait(t.Context(), h, 6)
	if err != nil || !o.Succeeded() || o.Height != 725 || o.GasUsed != 20009802 || o.Depth != 7 || o.Handle.CID == "" {
		t.Errorf("outcome %+v, %v", o, err)
	}
	fake.answers["Message.GetMessageByUid"] = `"result":` + strings.Replace(landed, `"State":3`, `"State":2`, 1)
	fake.answers["Message.ListMessageByFromState"] = `"result":null`
	if _, err := m.Replace(t.Context(), h, message.Price{FeeCap: big.NewInt(200000)}); err != nil {
		t.Error(err)
	}
	if got := fake.asked["Message.ListMessageByFromState"]; !strings.Contains(got, `,2,true,1,100,0]`) {
		t.Errorf("asked for older messages with %s", got)
	}
	// Auto would leave the fee cap to the messager (W8).
	for _, part := range []string{`"ID":"a","Auto":false`, `"GasFeecap":"200000"`, `"GasPremium":"124974"`, `"GasLimit":24927565`} {
		if got := fake.asked["Message.ReplaceMessage"]; !strings.Contains(got, part) {
			t.Errorf("asked to replace with %s, which lacks %s", got, part)
		}
	}
	if err := m.CanSign(t.Context(), messagetest.ID(100)); err != nil {
		t.Error(err)
	}
	if _, err := open("bad").Find(t.Context(), h); !errors.Is(err, endpoint.ErrToken) || !strings.Contains(err.Error(), "the messager refused the token") {
		t.Errorf("wrong token: %v", err)
	}
	fake.answers["Message.GetMessageByUid"] = `"result":{"State":"many"}`
	if _, err := m.Find(context.Background(), h); !errors.Is(err, endpoint.ErrUnreachable) || !strings.Contains(err.Error(), "GetMessageByUid") {
		t.Errorf("garbage: %v", err)
	}
}
