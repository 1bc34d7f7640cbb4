package dashboard

import (
	"embed"
	"encoding/json"
	"fmt"
	"html/template"
	"math"
	"slices"
	"time"

	"wdpost/internal/condition"
)

//go:embed pages
var pageFiles embed.FS

type pages map[string]*template.Template

// parsePages reads the embedded templates: each page with the frame around it.
func parsePages() pages {
	all := pages{}
	for _, name := range []string{"now", "day", "deadline", "stores", "slaves", "messages", "history", "confirm", "error"} {
		all[name] = template.Must(template.New("frame.html").Funcs(functions).
			ParseFS(pageFiles, "pages/frame.html", "pages/parts.html", "pages/"+name+".html"))
	}
	return all
}

var functions = template.FuncMap{
	"left":    left,
	"clock":   func(t time.Time) string { return t.UTC().Format("01-02 15:04:05") },
	"share":   share,
	"percent": func(f float64) string { return fmt.Sprintf("%.0f", 100*min(max(f, 0), 1)) },
	"size":    size,
	"class":   class,
	"stages":  func() []string { return Stages },
	"reached": reached,
	"plot":    plot,
	"action":  func(name string) string { return actionTexts[name] },
	"worst":   func(v View) string { return v.worst() },
	"open":    func(v View) []Window { return v.open() },
	"next":    func(v View) []Window { return v.next() },
	"few": func(n int, list []Window) []Window {
		return list[:min(n, len(list))]
	},
	"more":        func(n int, list []Window) int { return max(0, len(list)-n) },
	"short":       short,
	"list":        func(names ...string) []string { return names },
	"verdicts":    func() []string { return Verdicts },
	"latest":      latest,
	"sectors":     func(v View) []SectorState { return v.Sectors[:min(shown, len(v.Sectors))] },
	"moreSectors": func(v View) int { return max(0, len(v.Sectors)-shown) },
	"remedy":      remedy,
	"meaning":     meaning,
	"abbreviate":  func(id string) string { return id[:min(12, len(id))] },
	"live":        func(page string) bool { return page != "history" && page != "confirm" && page != "error" },
	// What follows hands several values to a part of a page.
	"link": func(d *data, href, page, text string) linkData {
		return linkData{Href: href, Here: d.Page == page, Text: d.Lang.T(text)}
	},
	"actions": func(d *data, names []string, subject string) actionsData {
		return actionsData{Changes: d.Changes, Names: names, Subject: subject, Path: d.Path, Lang: d.Lang}
	},
	"batch":  func(l lang, b Batch) batchData { return batchData{Lang: l, Batch: b} },
	"window": func(d *data, w Window) windowData { return windowData{Lang: d.Lang, At: d.View.At, Window: w} },
	"messages": func(d *data, m []Message) messagesData {
		return messagesData{Lang: d.Lang, At: d.View.At, Messages: m, D: d}
	},
}

// Rows of the longest tables; the history has the rest as CSV.
const (
	shown  = 500
	recent = 96 // two days of one miner
)

type (
	linkData struct {
		Href, Text string
		Here       bool
	}
	actionsData struct {
		Changes       bool
		Names         []string
		Subject, Path string
		Lang          lang
	}
	batchData struct {
		Lang  lang
		Batch Batch
	}
	windowData struct {
		Lang   lang
		At     time.Time
		Window Window
	}
	messagesData struct {
		Lang     lang
		At       time.Time
		Messages []Message
		D        *data
	}
)

// latest are the newest deadlines, the newest first.
func latest(past []Past) []Past {
	newest := slices.Clone(past[max(0, len(past)-recent):])
	slices.Reverse(newest)
	return newest
}

// left writes the time from one moment to another: "12 m 30 s", "2 h 5 m".
func left(from, to time.Time) string { return short(to.Sub(from)) }

func short(d time.Duration) string {
	sign := ""
	if d < 0 {
		sign, d = "−", -d
	}
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%s%d s", sign, int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%s%d m %d s", sign, int(d.Minutes()), int(d.Seconds())%60)
	case d < 48*time.Hour:
		return fmt.Sprintf("%s%d h %d m", sign, int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%s%d d", sign, int(d.Hours()/24))
}

// share is the part of a window that has passed, in percent.
func share(now, from, to time.Time) string {
	whole := to.Sub(from).Seconds()
	if whole <= 0 {
		return "100"
	}
	return fmt.Sprintf("%.0f", 100*min(max(now.Sub(from).Seconds()/whole, 0), 1))
}

func size(b uint64) string {
	for _, u := range []struct {
		bytes uint64
		name  string
	}{{1 << 50, "PiB"}, {1 << 40, "TiB"}, {1 << 30, "GiB"}, {1 << 20, "MiB"}, {1 << 10, "KiB"}} {
		if b >= u.bytes {
			return fmt.Sprintf("%.1f %s", float64(b)/float64(u.bytes), u.name)
		}
	}
	return fmt.Sprintf("%d B", b)
}

// class is the style of a verdict, stage or state.
func class(s string) string {
	switch s {
	case "proven", "proven by another sender", "executed", "landed", "closed", "idle", "ok":
		return "good"
	case "missed", "open-breaker", "gone", "faulty":
		return "bad"
	case "skipped", "all sectors faulty", "half-open", "waiting", "draining", "recovering":
		return "risk"
	case "open", "proving", "ready", "submitting", "sent", "next":
		return "busy"
	}
	return "none"
}

// reached reports whether a batch has passed the stage, is in it, or has yet to
// come to it: "done", "now", "todo"; a skipped or missed batch is "lost".
func reached(b Batch, stage string) string {
	at := -1
	for i, s := range Stages {
		if s == b.Stage {
			at = i
		}
	}
	if at < 0 {
		return "lost"
	}
	for i, s := range Stages {
		switch {
		case s != stage:
		case i < at, i == at && b.Stage == "landed":
			return "done"
		case i == at:
			return "now"
		}
	}
	return "todo"
}

// series is what a plot is drawn from: x in Unix seconds, then a list for each y.
type series struct {
	X       []int64    `json:"x"`
	Margin  []*float64 `json:"margin"`  // minutes
	Proving []*float64 `json:"proving"` // minutes
	Gas     []float64  `json:"gas"`     // millions a deadline
	Missed  []int      `json:"missed"`
}

// plot makes the data of the history's plots.
func plot(past []Past) (string, error) {
	s := series{X: []int64{}, Margin: []*float64{}, Proving: []*float64{}, Gas: []float64{}, Missed: []int{}}
	for _, p := range past {
		s.X = append(s.X, p.ClosedAt.Unix())
		s.Margin = append(s.Margin, minutes(p.Margin))
		s.Proving = append(s.Proving, minutes(p.Proving))
		s.Gas = append(s.Gas, math.Round(float64(p.Gas)/1e4)/100)
		missed := 0
		if p.Verdict == "missed" {
			missed = 1
		}
		s.Missed = append(s.Missed, missed)
	}
	b, err := json.Marshal(s)
	return string(b), err
}

func minutes(d time.Duration) *float64 {
	if d == 0 {
		return nil
	}
	m := math.Round(d.Minutes()*100) / 100
	return &m
}

// remedy is what to do about a condition, in the page's language where it is
// that of the catalogue.
func remedy(l lang, c condition.Condition) string {
	if _, zh, ok := condition.InChinese(c.Kind); ok && l == "zh" && c.Remedy == condition.RemedyOf(c.Kind) {
		return zh
	}
	return c.Remedy
}

// meaning is what a condition's kind means, where that says more than its name:
// on Chinese pages.
func meaning(l lang, c condition.Condition) string {
	if what, _, ok := condition.InChinese(c.Kind); ok && l == "zh" {
		return what
	}
	return ""
}
