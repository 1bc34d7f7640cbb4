package dashboard

import (
	"bufio"
	"encoding/csv"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func serve(t *testing.T, d *demo, may bool) *httptest.Server {
	t.Helper()
	srv := httptest.NewServer(New(Config{
		Source: d, Doer: d, MayChange: func(*http.Request) bool { return may },
		Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	}))
	t.Cleanup(func() {
		srv.CloseClientConnections() // streams of events end
		srv.Close()
	})
	return srv
}

// get returns the body of a page; the header is name, value.
func get(t *testing.T, srv *httptest.Server, path string, header ...string) (int, string) {
	t.Helper()
	req, err := http.NewRequest("GET", srv.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, Transport: srv.Client().Transport}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

var everyPage = []string{"/", "/day", "/stores", "/slaves", "/messages", "/history", "/deadline/t01000/4799000/3"}

// TestTheCauseIsOnTheFirstPage: what stands in the way is told first, with its
// remedy, and each page has the verdict.
func TestTheCauseIsOnTheFirstPage(t *testing.T) {
	srv := serve(t, newDemo(2, 12, 3), false)
	_, body := get(t, srv, "/")
	for _, want := range []string{
		"Windows are at risk", "fee_cap_below_base_fee", "Raise GasFeeCap in [Miners.PoSt]", "store_hangs", "16 reads hang",
		"slave_gone", "closes in 10 m 0 s", "proving</span> 41 %", "40 epochs behind the clock", "base fee 3.2 nanoFIL",
	} {
		if !strings.Contains(body, want) {
			t.Errorf("the first page lacks %q", want)
		}
	}
	if first, second := strings.Index(body, "fee_cap_below"), strings.Index(body, "Open windows"); first > second {
		t.Error("the windows stand before the conditions")
	}
	for _, path := range everyPage {
		if code, body := get(t, srv, path); code != 200 || !strings.Contains(body, "Windows are at risk") {
			t.Errorf("%s: %d", path, code)
		}
	}
}

func TestAllIsWell(t *testing.T) {
	d := newDemo(1, 3, 1)
	d.change(func(v *View) { v.Conditions = nil })
	_, body := get(t, serve(t, d, false), "/")
	if !strings.Contains(body, "All windows can be proven") || strings.Contains(body, "Conditions") {
		t.Error("a calm cluster does not look calm")
	}
}

// TestChinese: every text of the pages has a Chinese form, and the browser or
// the cookie chooses.
func TestChinese(t *testing.T) {
	entries, err := pageFiles.ReadDir("pages")
	if err != nil {
		t.Fatal(err)
	}
	used := regexp.MustCompile(`\.T "([^"]+)"|\(link \. "[^"]*" "[^"]*" "([^"]+)"\)`)
	for _, e := range entries {
		b, err := pageFiles.ReadFile("pages/" + e.Name())
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range used.FindAllStringSubmatch(string(b), -1) {
			if chinese[m[1]+m[2]] == "" {
				t.Errorf("%s: %q has no Chinese form", e.Name(), m[1]+m[2])
			}
		}
	}
	for _, list := range [][]string{Stages, Verdicts} {
		for _, word := range list {
			if chinese[word] == "" {
				t.Errorf("%q has no Chinese form", word)
			}
		}
	}
	for name, question := range actionTexts {
		if chinese[name] == "" || chinese[question] == "" {
			t.Errorf("action %s has no Chinese form", name)
		}
	}

	srv := serve(t, newDemo(1, 3, 1), false)
	if _, body := get(t, srv, "/", "Accept-Language", "zh-CN,zh;q=0.9,en;q=0.8"); !strings.Contains(body, "有窗口面临掉算力风险") || !strings.Contains(body, `lang="zh-CN"`) {
		t.Error("a Chinese browser gets English")
	}
	if _, body := get(t, srv, "/", "Accept-Language", "zh-CN", "Cookie", "lang=en"); !strings.Contains(body, "Windows are at risk") {
		t.Error("the choice by hand does not win")
	}
	if _, body := get(t, srv, "/", "Cookie", "theme=dark"); !strings.Contains(body, `data-theme="dark"`) {
		t.Error("the theme is not kept")
	}
}

func TestUnknownDeadlineAndStrangePaths(t *testing.T) {
	srv := serve(t, newDemo(1, 3, 1), false)
	for _, path := range []string{"/deadline/t09/0/3", "/deadline/t01000/x/3", "/deadline/t01000/0/-1", "/nowhere", "/do/format-disk?subject=x", "/assets/../doc.go"} {
		if code, _ := get(t, srv, path); code != 404 && code != 301 && code != 307 {
			t.Errorf("%s: %d", path, code)
		}
	}
	for _, back := range []string{"//evil.example", "https://evil.example", "/\\evil.example", "javascript:alert(1)"} {
		if got := local(back); got != "/" {
			t.Errorf("back to %q leads to %q", back, got)
		}
	}
}

// TestTextsAreEscaped: names and errors come from slaves and nodes.
func TestTextsAreEscaped(t *testing.T) {
	d := newDemo(1, 3, 1)
	evil := `<script>alert("x")</script>`
	d.change(func(v *View) {
		v.Conditions[0].Detail, v.Conditions[0].Subject = evil, evil
		v.Slaves[0].Name, v.Slaves[0].Trouble, v.Stores[0].Name = evil, evil, evil
		v.Messages[0].Trouble, v.Nodes[0].Address = evil, evil
	})
	srv := serve(t, d, true)
	for _, path := range everyPage {
		if _, body := get(t, srv, path); strings.Contains(body, "<script>alert") {
			t.Errorf("%s shows a foreign script", path)
		}
	}
}

func TestActionsAskFirstAndNeedTheRight(t *testing.T) {
	d := newDemo(1, 3, 2)
	post := func(srv *httptest.Server, origin string) int {
		req, err := http.NewRequest("POST", srv.URL+"/do/drain-slave", strings.NewReader(url.Values{"subject": {"gpu-1"}, "back": {"/slaves"}}.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if origin != "" {
			req.Header.Set("Sec-Fetch-Site", origin)
		}
		resp, err := srv.Client().Transport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	reader, writer := serve(t, d, false), serve(t, d, true)
	if _, body := get(t, reader, "/slaves"); strings.Contains(body, "/do/drain-slave") {
		t.Error("a reader is offered an action")
	}
	if code := post(reader, ""); code != 403 || len(d.done) != 0 {
		t.Errorf("a reader acted: %d", code)
	}
	if _, body := get(t, writer, "/slaves"); !strings.Contains(body, "/do/drain-slave?subject=gpu-1") {
		t.Error("a writer is not offered the action")
	}
	if code, body := get(t, writer, "/do/drain-slave?subject=gpu-1&back=/slaves"); code != 200 || !strings.Contains(body, "Give this slave no more tasks?") || len(d.done) != 0 {
		t.Errorf("the question: %d", code)
	}
	if code := post(writer, "cross-site"); code != 403 || len(d.done) != 0 {
		t.Errorf("another site acted: %d", code)
	}
	if code := post(writer, "same-origin"); code != 303 || len(d.done) != 1 || d.done[0].Subject != "gpu-1" || d.done[0].Who == "" {
		t.Errorf("the action: %d, %+v", code, d.done)
	}
}

// TestEventsTellOfChanges: the stream begins with an event, and a change brings
// the next one.
func TestEventsTellOfChanges(t *testing.T) {
	d := newDemo(1, 3, 1)
	srv := serve(t, d, false)
	resp, err := srv.Client().Get(srv.URL + "/events")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	for events := 0; events < 2; {
		if !lines.Scan() {
			t.Fatal(lines.Err())
		}
		if lines.Text() == "event: change" {
			events++
			d.change(func(v *View) { v.Epoch++ })
		}
	}
}

func TestHistoryAsCSV(t *testing.T) {
	srv := serve(t, newDemo(1, 3, 1), false)
	_, body := get(t, srv, "/history.csv?days=10&miner=t01000")
	rows, err := csv.NewReader(strings.NewReader(body)).ReadAll()
	if err != nil || len(rows) < 400 || rows[0][4] != "verdict" || rows[1][4] != "proven" {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
	if _, body := get(t, srv, "/history?days=99999999999999999999"); !strings.Contains(body, `data-series="{`) {
		t.Error("no data for the plots")
	}
}

// BenchmarkFirstPage: 100 miners, 10,000 partitions, 500 slaves.
func BenchmarkFirstPage(b *testing.B) {
	h := New(Config{Source: newDemo(100, 10_000, 500), Log: slog.Default()})
	for _, path := range everyPage {
		b.Run(strings.ReplaceAll(path, "/", "_"), func(b *testing.B) {
			for b.Loop() {
				w := httptest.NewRecorder()
				h.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
				b.ReportMetric(float64(w.Body.Len()), "bytes/page")
			}
		})
	}
}
