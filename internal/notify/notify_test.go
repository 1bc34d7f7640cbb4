package notify

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"wdpost/internal/condition"
)

// away is a condition that costs windows.
var away = condition.Condition{Kind: condition.NodeGone, Subject: "ws://node", Detail: "connection refused"}

// testBench is a notifier with one receiver that keeps what it is sent.
type testBench struct {
	*Notifier
	board *condition.Board

	mu  sync.Mutex
	got []Message
	err error // what the receiver answers
}

// told is what the receiver got.
func (b *testBench) told() []Message {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.got)
}

// answer is what the receiver says from now on.
func (b *testBench) answer(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.err = err
}

func newBench(t *testing.T) *testBench {
	t.Helper()
	b := &testBench{board: condition.NewBoard()}
	var err error
	b.Notifier, err = New(Config{
		Receivers: []Receiver{{Kind: "slack", URL: "https://host/secret"}}, Host: "h", Board: b.board, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	b.desks[0].post = func(_ context.Context, m Message) error {
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.err == nil {
			b.got = append(b.got, m)
		}
		return b.err
	}
	b.board.Watch(b.Changed)
	return b
}

// with runs f beside the notifier in simulated time.
func with(t *testing.T, f func(b *testBench)) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		ctx, cancel := context.WithCancel(t.Context())
		go b.Run(ctx)
		f(b)
		cancel()
		synctest.Wait()
	})
}

// pass lets simulated time go by, and everybody do what is due then.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func TestBeginRepeatEnd(t *testing.T) {
	with(t, func(b *testBench) {
		b.board.Set(away)
		b.board.Set(condition.Condition{Kind: condition.MinerNotAdmitted, Subject: "t01008"})
		b.board.Set(condition.Condition{Kind: condition.RestartNeeded}) // costs nothing: not told
		pass(29 * time.Second)
		if len(b.told()) != 1 || len(b.told()[0].Began) != 2 {
			t.Fatalf("within 29 s: %+v", b.told())
		}
		if text := b.told()[0].Text(); !strings.Contains(text, "node_gone ws://node (costs window)") || !strings.Contains(text, "connection refused") || !strings.Contains(text, "→ See whether") {
			t.Errorf("text: %s", text)
		}
		pass(5 * time.Hour)
		if len(b.told()) != 1 {
			t.Fatalf("told again too early: %+v", b.told()[1:])
		}
		pass(time.Hour + time.Minute)
		if len(b.told()) != 2 || len(b.told()[1].Stands) != 2 {
			t.Fatalf("after six hours: %+v", b.told())
		}
		b.board.Clear(away.Kind, away.Subject)
		pass(10 * time.Second)
		if len(b.told()) != 3 || len(b.told()[2].Ended) != 1 || !strings.Contains(b.told()[2].Text(), "over after 6h") {
			t.Fatalf("after the end: %+v", b.told())
		}
	})
}

// TestShortOnesAreNotTold: what is over before it is told, and what comes back
// before its end is told, makes no message.
func TestShortOnesAreNotTold(t *testing.T) {
	with(t, func(b *testBench) {
		b.board.Set(away)
		pass(time.Second)
		b.board.Clear(away.Kind, away.Subject)
		pass(time.Minute)
		if len(b.told()) != 0 {
			t.Fatalf("told: %+v", b.told())
		}
		b.board.Set(away)
		pass(time.Minute)
		b.board.Clear(away.Kind, away.Subject)
		b.board.Set(away)
		pass(time.Minute)
		if len(b.told()) != 1 {
			t.Fatalf("told: %+v", b.told())
		}
	})
}

// TestReceiverAway: what could not be delivered comes later, with what is newer;
// meanwhile that is a condition.
func TestReceiverAway(t *testing.T) {
	with(t, func(b *testBench) {
		b.answer(errors.New("away"))
		b.board.Set(away)
		b.Event(Event{Name: "deadline_missed", Text: "deadline 3 missed"})
		pass(time.Minute)
		if list := b.board.List(); len(list) != 2 || list[1].Kind != condition.NotificationsFail {
			t.Fatalf("conditions %+v", list)
		}
		second := condition.Condition{Kind: condition.MinerNotAdmitted, Subject: "t01008"}
		b.board.Set(second)
		pass(time.Minute)
		b.board.Clear(second.Kind, second.Subject) // nobody heard of it
		b.answer(nil)
		pass(10 * time.Minute)
		if len(b.told()) != 1 || len(b.told()[0].Began) != 1 || len(b.told()[0].Ended) != 0 || len(b.told()[0].Events) != 1 {
			t.Fatalf("delivered %+v", b.told())
		}
		if list := b.board.List(); len(list) != 1 {
			t.Errorf("conditions %+v", list)
		}
	})
}

// robot is a server of one kind; check looks at the request's body.
func robot(t *testing.T, r Receiver, answer string, check func(q *http.Request, body map[string]any)) error {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		raw, err := io.ReadAll(q.Body)
		if err != nil {
			t.Error(err)
		}
		var body map[string]any
		if err := json.Unmarshal(raw, &body); err != nil {
			t.Errorf("%v: %s", err, raw)
		}
		check(q, body)
		io.WriteString(w, answer)
	}))
	defer srv.Close()
	r.URL = srv.URL + r.URL
	n, err := New(Config{Receivers: []Receiver{r}, Host: "h", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return n.Test(t.Context())[r.Kind+" 0"]
}

// in follows keys into nested objects.
func in(body any, keys ...string) any {
	for _, k := range keys {
		m, _ := body.(map[string]any)
		body = m[k]
	}
	return body
}

// TestRobots: each kind is called as its service wants it.
func TestRobots(t *testing.T) {
	isText := func(v any) bool { s, ok := v.(string); return ok && strings.Contains(s, "[wdpost h]") }
	for _, tt := range []struct {
		receiver   Receiver
		good, bad  string
		wellFormed func(q *http.Request, body map[string]any) bool
	}{
		{Receiver{Kind: "dingtalk", URL: "/robot/send?access_token=x", Secret: "SEC"}, `{"errcode":0}`, `{"errcode":310000,"errmsg":"sign not match"}`,
			func(q *http.Request, b map[string]any) bool {
				v := q.URL.Query()
				return v.Get("access_token") == "x" && v.Get("timestamp") != "" && len(v.Get("sign")) == 44 && b["msgtype"] == "text" && isText(in(b, "text", "content"))
			}},
		{Receiver{Kind: "feishu", URL: "/open-apis/bot/v2/hook/x", Secret: "SEC"}, `{"code":0}`, `{"code":19021,"msg":"sign match fail"}`,
			func(_ *http.Request, b map[string]any) bool {
				sign, _ := b["sign"].(string)
				return len(sign) == 44 && b["timestamp"] != "" && b["msg_type"] == "text" && isText(in(b, "content", "text"))
			}},
		{Receiver{Kind: "wecom", URL: "/cgi-bin/webhook/send?key=x"}, `{"errcode":0,"errmsg":"ok"}`, `{"errcode":93000,"errmsg":"invalid webhook url"}`,
			func(_ *http.Request, b map[string]any) bool {
				return b["msgtype"] == "text" && isText(in(b, "text", "content"))
			}},
		{Receiver{Kind: "telegram", URL: "/botx", Chat: "-100"}, `{"ok":true}`, `{"ok":false,"description":"chat not found"}`,
			func(q *http.Request, b map[string]any) bool {
				return q.URL.Path == "/botx/sendMessage" && b["chat_id"] == "-100" && isText(b["text"])
			}},
		{Receiver{Kind: "slack", URL: "/services/x"}, `ok`, `{"ok":false}`,
			func(_ *http.Request, b map[string]any) bool { return isText(b["text"]) }},
		{Receiver{Kind: "webhook", URL: "/hook"}, ``, `{"errcode":1}`,
			func(_ *http.Request, b map[string]any) bool {
				alerts, _ := b["alerts"].([]any)
				return b["version"] == "4" && b["status"] == "firing" && len(alerts) == 1 && in(alerts[0], "labels", "alertname") == "test"
			}},
	} {
		t.Run(tt.receiver.Kind, func(t *testing.T) {
			formed := false
			if err := robot(t, tt.receiver, tt.good, func(q *http.Request, b map[string]any) { formed = tt.wellFormed(q, b) }); err != nil || !formed {
				t.Errorf("%v, well formed: %v", err, formed)
			}
			if err := robot(t, tt.receiver, tt.bad, func(*http.Request, map[string]any) {}); !errors.Is(err, errRefused) {
				t.Errorf("a refusal is %v", err)
			}
		})
	}
}

// TestWebhookOfConditions: each condition is an alert, firing or resolved.
func TestWebhookOfConditions(t *testing.T) {
	m := Message{Host: "h", Began: []condition.Condition{away}, Ended: []Ended{{away, time.Now()}}}
	raw, err := json.Marshal(alertmanager(Receiver{}, m, time.Now()).body)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"status":"firing"`, `"status":"resolved"`, `"alertname":"node_gone"`, `"subject":"ws://node"`} {
		if !strings.Contains(string(raw), want) {
			t.Errorf("%s is not in %s", want, raw)
		}
	}
}

// TestNoSecretInErrors: an address that cannot be reached is not told.
func TestNoSecretInErrors(t *testing.T) {
	n, err := New(Config{Receivers: []Receiver{{Kind: "slack", URL: "http://127.0.0.1:1/secret-token"}}, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Test(t.Context())["slack 0"]; err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("got %v", err)
	}
	for _, bad := range []Receiver{{Kind: "slack", URL: "secret"}, {Kind: "smoke", URL: "http://h/secret"}, {Kind: "telegram", URL: "http://h/secret"}} {
		if _, err := New(Config{Receivers: []Receiver{bad}}); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}
