//go:build browser

package dashboard

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
)

// browser starts a headless Chromium; CHROMIUM names it where it is not on the
// path.
func browser(t *testing.T) context.Context {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.NoSandbox)
	if path := os.Getenv("CHROMIUM"); path != "" {
		options = append(options, chromedp.ExecPath(path))
	}
	alloc, cancelAlloc := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, cancel := chromedp.NewContext(alloc)
	ctx, cancelTime := context.WithTimeout(ctx, 4*time.Minute)
	t.Cleanup(func() {
		cancelTime()
		if err := chromedp.Cancel(ctx); err != nil {
			t.Log(err)
		}
		cancel()
		cancelAlloc()
	})
	return ctx
}

// dress is how a page is looked at.
type dress struct {
	name, lang, theme string
	width, height     int64
}

var dresses = []dress{
	{"desktop-light-en", "en", "light", 1280, 900},
	{"desktop-dark-zh", "zh", "dark", 1280, 900},
	{"phone-light-zh", "zh", "light", 390, 844},
	{"phone-dark-en", "en", "dark", 390, 844},
}

func (d dress) open(url string) chromedp.Tasks {
	return chromedp.Tasks{
		emulation.SetDeviceMetricsOverride(d.width, d.height, 1, d.width < 500),
		network.SetCookie("lang", d.lang).WithURL(url),
		network.SetCookie("theme", d.theme).WithURL(url),
		chromedp.Navigate(url),
		chromedp.WaitReady("footer"),
	}
}

// TestEveryPageInABrowser opens every page in every dress: no script fails, no
// page is wider than the window, axe finds nothing serious, and the cause of
// trouble can be read on the first page. With SCREENSHOTS set to a folder each
// page is kept there as a picture.
func TestEveryPageInABrowser(t *testing.T) {
	axe, err := os.ReadFile(os.Getenv("AXE"))
	if err != nil {
		t.Fatalf("AXE must name axe.min.js of axe-core, as `make browser` does: %v", err)
	}
	ctx := browser(t)
	srv := serve(t, newDemo(2, 12, 3), true)
	for _, d := range dresses {
		for _, path := range everyPage {
			t.Run(d.name+path, func(t *testing.T) { look(t, ctx, d, srv.URL, path, string(axe)) })
		}
	}
}

func look(t *testing.T, ctx context.Context, d dress, base, path, axe string) {
	var faults []string
	var wide bool
	var text string
	var picture []byte
	tasks := d.open(base + path)
	if path == "/history" {
		tasks = append(tasks, chromedp.WaitVisible("#plots canvas"))
	}
	tasks = append(tasks,
		chromedp.Text("main", &text),
		chromedp.Evaluate("document.documentElement.scrollWidth > innerWidth", &wide),
		chromedp.FullScreenshot(&picture, 100),
		chromedp.Evaluate(axe+";0", nil),
		chromedp.Evaluate(`axe.run({runOnly: ["wcag2a", "wcag2aa"]}).then(r => r.violations.filter(v => v.impact == "serious" || v.impact == "critical").map(v => v.id + ": " + v.nodes.map(n => n.target + " " + n.failureSummary).slice(0, 3).join(" | ")))`,
			&faults, chromedp.EvalAsValue, awaitPromise),
	)
	if err := chromedp.Run(ctx, tasks); err != nil {
		t.Fatal(err)
	}
	if len(faults) > 0 {
		t.Errorf("axe: %s", strings.Join(faults, "\n"))
	}
	if wide {
		t.Error("the page is wider than the window")
	}
	if path == "/" && (!strings.Contains(text, "fee_cap_below_base_fee") || !strings.Contains(text, "storage3") || !strings.Contains(text, "gpu-2")) {
		t.Error("the causes are not on the first page")
	}
	if dir := os.Getenv("SCREENSHOTS"); dir != "" {
		name := strings.Trim(strings.Split(path, "/t0")[0], "/")
		if name == "" {
			name = "now"
		}
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%s-%s.png", name, d.name)), picture, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// TestThePageIsLive: a change reaches an open page without a click.
func TestThePageIsLive(t *testing.T) {
	ctx := browser(t)
	d := newDemo(1, 3, 2)
	srv := serve(t, d, false)
	if err := chromedp.Run(ctx, dresses[0].open(srv.URL+"/")); err != nil {
		t.Fatal(err)
	}
	d.change(func(v *View) { v.Conditions = nil })
	if err := chromedp.Run(ctx, chromedp.WaitVisible("p.verdict.ok")); err != nil {
		t.Fatal(err)
	}
}

// TestKeyboard: the first key leads to the text, the next through the pages.
func TestKeyboard(t *testing.T) {
	ctx := browser(t)
	srv := serve(t, newDemo(1, 3, 1), false)
	var first, second string
	err := chromedp.Run(ctx, dresses[0].open(srv.URL+"/"),
		chromedp.KeyEvent("\t"), chromedp.Evaluate("document.activeElement.className", &first),
		chromedp.KeyEvent("\t"), chromedp.Evaluate("document.activeElement.getAttribute('href')", &second))
	if err != nil || first != "skip" || second != "/" {
		t.Fatalf("tab goes to %q, then %q; %v", first, second, err)
	}
}
