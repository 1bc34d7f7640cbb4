package dashboard

import (
	"bytes"
	"context"
	"embed"
	"encoding/csv"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"wdpost/internal/attr"
)

//go:embed assets
var assets embed.FS

// Config is what the pages need. Doer may be nil: then nothing can be changed.
type Config struct {
	Source Source
	Doer   Doer
	// MayChange reports whether the request carries the right to act; nil means
	// that none does.
	MayChange func(*http.Request) bool
	// Who names the asker for the log; nil: the remote address.
	Who func(*http.Request) string
	Log *slog.Logger
}

// Server serves the pages.
type Server struct {
	cfg   Config
	pages pages
	mux   *http.ServeMux
}

// New returns the pages' handler. Paths are those from "/" on; it may share a
// mux with other paths.
func New(cfg Config) *Server {
	s := &Server{cfg: cfg, pages: parsePages(), mux: http.NewServeMux()}
	s.mux.HandleFunc("GET /{$}", s.page("now", s.now))
	s.mux.HandleFunc("GET /day", s.page("day", s.now))
	s.mux.HandleFunc("GET /deadline/{miner}/{period}/{deadline}", s.page("deadline", s.deadline))
	s.mux.HandleFunc("GET /stores", s.page("stores", s.now))
	s.mux.HandleFunc("GET /slaves", s.page("slaves", s.now))
	s.mux.HandleFunc("GET /messages", s.page("messages", s.now))
	s.mux.HandleFunc("GET /history", s.page("history", s.history))
	s.mux.HandleFunc("GET /history.csv", s.historyCSV)
	s.mux.HandleFunc("GET /events", s.events)
	s.mux.HandleFunc("GET /set", s.set)
	s.mux.HandleFunc("GET /do/{name}", s.page("confirm", s.confirm))
	s.mux.HandleFunc("POST /do/{name}", s.do)
	s.mux.Handle("GET /assets/", cached(http.FileServerFS(assets)))
	return s
}

// ServeHTTP answers with a page that may load nothing from elsewhere and may
// not be framed.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", "default-src 'self'; style-src 'self' 'unsafe-inline'; frame-ancestors 'none'; form-action 'self'; base-uri 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "same-origin")
	http.NewCrossOriginProtection().Handler(s.mux).ServeHTTP(w, r)
}

// cached lets browsers keep the assets for a day: they change with a release.
func cached(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "public, max-age=86400")
		h.ServeHTTP(w, r)
	})
}

// data is what a template sees.
type data struct {
	Page, Path string
	Lang       lang
	Theme      string // light, dark or empty: the browser's
	Changes    bool
	View       View
	Timeline   Timeline
	Days       int
	Miner      string
	Past       []Past
	Action     Action
	Back       string
	Error      string
}

// page renders a template with what fill adds.
func (s *Server) page(name string, fill func(*http.Request, *data) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		d := &data{Page: name, Path: r.URL.RequestURI(), Lang: langOf(r), Theme: themeOf(r), Changes: s.mayChange(r)}
		status := http.StatusOK
		if err := fill(r, d); err != nil {
			d.Page, d.Error, status = "error", err.Error(), http.StatusInternalServerError
			if errors.Is(err, ErrNotFound) {
				status = http.StatusNotFound
			}
		}
		var b bytes.Buffer
		if err := s.pages[d.Page].Execute(&b, d); err != nil {
			s.cfg.Log.Error("page cannot be made", attr.Page(d.Page), attr.Err(err))
			http.Error(w, "the page cannot be made; see the log", http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		w.WriteHeader(status)
		_, _ = w.Write(b.Bytes()) // the browser went away
	}
}

func (s *Server) mayChange(r *http.Request) bool {
	return s.cfg.Doer != nil && s.cfg.MayChange != nil && s.cfg.MayChange(r)
}

func (s *Server) now(r *http.Request, d *data) error {
	d.View = s.cfg.Source.View(r.Context())
	return nil
}

func (s *Server) deadline(r *http.Request, d *data) error {
	period, err1 := strconv.ParseInt(r.PathValue("period"), 10, 64)
	index, err2 := strconv.ParseUint(r.PathValue("deadline"), 10, 64)
	if err := errors.Join(err1, err2); err != nil {
		return fmt.Errorf("%w: %w", ErrNotFound, err)
	}
	d.View = s.cfg.Source.View(r.Context())
	var err error
	d.Timeline, err = s.cfg.Source.Timeline(r.Context(), r.PathValue("miner"), period, index)
	return err
}

// longest is how far back the history goes on one page.
const longest = 400

func (s *Server) history(r *http.Request, d *data) error {
	d.Days, d.Miner = 30, r.FormValue("miner")
	if n, err := strconv.Atoi(r.FormValue("days")); err == nil && n > 0 {
		d.Days = min(n, longest)
	}
	d.View = s.cfg.Source.View(r.Context())
	past, err := s.cfg.Source.History(r.Context(), d.Miner, d.View.At.AddDate(0, 0, -d.Days))
	d.Past = past
	return err
}

func (s *Server) historyCSV(w http.ResponseWriter, r *http.Request) {
	d := &data{}
	if err := s.history(r, d); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/csv; charset=utf-8")
	w.Header().Set("Content-Disposition", `attachment; filename="deadlines.csv"`)
	c := csv.NewWriter(w)
	_ = c.Write([]string{"miner", "periodStart", "deadline", "closedAt", "verdict", "partitions", "skipped", "provingSeconds", "marginSeconds", "gas", "feeFIL", "reason"})
	for _, p := range d.Past {
		_ = c.Write([]string{
			p.Miner, strconv.FormatInt(p.PeriodStart, 10), strconv.FormatUint(p.Deadline, 10), p.ClosedAt.UTC().Format(time.RFC3339),
			p.Verdict, strconv.Itoa(p.Partitions), strconv.Itoa(p.Skipped), seconds(p.Proving), seconds(p.Margin),
			strconv.FormatInt(p.Gas, 10), strconv.FormatFloat(p.Fee, 'f', -1, 64), p.Reason,
		})
	}
	c.Flush() // the browser went away: nobody is there to tell
}

func seconds(d time.Duration) string { return strconv.FormatFloat(d.Seconds(), 'f', 1, 64) }

// Between two events of a stream.
const (
	calm  = time.Second      // at the least, however much changes
	pulse = 10 * time.Second // at the most: times left are told anew
)

// events tells a browser when to fetch its page anew.
func (s *Server) events(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	flush := http.NewResponseController(w)
	ctx := r.Context()
	for {
		if _, err := fmt.Fprint(w, "event: change\ndata:\n\n"); err != nil {
			return
		}
		if err := flush.Flush(); err != nil {
			return
		}
		if !awaitChange(ctx, s.cfg.Source.Changed()) {
			return
		}
	}
}

// awaitChange reports false when ctx ends.
func awaitChange(ctx context.Context, changed <-chan struct{}) bool {
	soon, late := time.NewTimer(calm), time.NewTimer(pulse)
	defer soon.Stop()
	defer late.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-soon.C:
	}
	select {
	case <-ctx.Done():
		return false
	case <-changed:
	case <-late.C:
	}
	return true
}

// set keeps language and theme in cookies and goes back.
func (s *Server) set(w http.ResponseWriter, r *http.Request) {
	for _, name := range []string{"lang", "theme"} {
		if v := r.FormValue(name); v != "" && len(v) < 8 {
			http.SetCookie(w, &http.Cookie{Name: name, Value: v, Path: "/", MaxAge: 365 * 24 * 3600, SameSite: http.SameSiteLaxMode, HttpOnly: true})
		}
	}
	http.Redirect(w, r, local(r.FormValue("back")), http.StatusSeeOther)
}

// local is path if it leads to a page of ours, and "/" otherwise.
func local(path string) string {
	if !strings.HasPrefix(path, "/") || strings.HasPrefix(path, "//") || strings.ContainsAny(path, "\\\r\n") {
		return "/"
	}
	return path
}

func themeOf(r *http.Request) string {
	if c, err := r.Cookie("theme"); err == nil && (c.Value == "dark" || c.Value == "light") {
		return c.Value
	}
	return ""
}

func (s *Server) action(r *http.Request) Action {
	who := r.RemoteAddr
	if s.cfg.Who != nil {
		who = s.cfg.Who(r)
	}
	return Action{Name: r.PathValue("name"), Subject: r.FormValue("subject"), Who: who}
}

func (s *Server) confirm(r *http.Request, d *data) error {
	d.View = s.cfg.Source.View(r.Context())
	d.Action, d.Back = s.action(r), local(r.FormValue("back"))
	if actionTexts[d.Action.Name] == "" {
		return ErrNotFound
	}
	return nil
}

func (s *Server) do(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 4096)
	a := s.action(r)
	switch {
	case !s.mayChange(r):
		http.Error(w, "this needs a token with the right to write", http.StatusForbidden)
		return
	case actionTexts[a.Name] == "":
		http.NotFound(w, r)
		return
	}
	if err := s.cfg.Doer.Do(r.Context(), a); err != nil {
		s.page("error", func(_ *http.Request, d *data) error {
			d.View = s.cfg.Source.View(r.Context())
			return err
		})(w, r)
		return
	}
	http.Redirect(w, r, local(r.FormValue("back")), http.StatusSeeOther)
}
