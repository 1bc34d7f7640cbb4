package extprover

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"wdpost/internal/attr"
)

// StatusEnv in a child's environment is the number of a file descriptor on
// which the child may tell its host about itself: one Report as a JSON object a
// line. Only a host of ours sets it. A child that knows nothing of it is served
// as before.
const StatusEnv = "WDPOST_STATUS_FD"

// ReportEvery is how often a child should report when nothing changes, so that
// its figures stay fresh. A change is reported at once.
const ReportEvery = 10 * time.Second

// Report is the whole picture of a child at one moment: each report replaces
// the one before it. A child reports as soon as it runs, before it is ready,
// so that the reason why it does not get ready reaches the host.
type Report struct {
	// Build is the child's version.
	Build string `json:"build,omitempty"`
	// Conditions stand at this moment; empty means that nothing is wrong.
	Conditions []ReportedCondition `json:"conditions"`
	// Slaves counts the workers behind the child, by state and sector size.
	// Nil, other than empty, means that the child has no workers of its own.
	Slaves []SlaveCount `json:"slaves"`
	// Tasks counts the child's tasks by state, e.g. ready, assigned, failed.
	Tasks map[string]int `json:"tasks,omitempty"`
	// Database is the state of the child's database: "ready", or in a few words
	// why not. Empty where there is none.
	Database string `json:"database,omitempty"`
	// Metrics are the child's own figures in the Prometheus text format. The
	// host shows them on its page with a label that names the child.
	Metrics string `json:"metrics,omitempty"`
}

// ReportedCondition is one standing condition in a Report. Kind is a kind of
// the condition catalogue; Remedy may be empty where the catalogue's is right.
type ReportedCondition struct {
	Kind    string    `json:"kind"`
	Subject string    `json:"subject,omitempty"` // what it is about; with Kind it identifies the condition
	Detail  string    `json:"detail,omitempty"`
	Remedy  string    `json:"remedy,omitempty"`
	Since   time.Time `json:"since"`
}

// SlaveCount is how many workers are in one state and prove one sector size.
type SlaveCount struct {
	State      string `json:"state"`       // e.g. proving, idle, waiting, draining, gone
	SectorSize uint64 `json:"sector_size"` // bytes; 0 means any
	Count      int    `json:"count"`
}

// Reporter writes reports to the host. A nil Reporter, which is what a process
// without such a host has, drops them.
type Reporter struct {
	mu  sync.Mutex
	out *os.File
}

// OpenReporter takes over the descriptor that StatusEnv names; nil, nil where
// the host gave none. The variable is taken out of the environment, so that it
// does not reach the process's own children.
func OpenReporter() (*Reporter, error) {
	text, given := os.LookupEnv(StatusEnv)
	if !given {
		return nil, nil
	}
	if err := os.Unsetenv(StatusEnv); err != nil {
		return nil, fmt.Errorf("%s: %w", StatusEnv, err)
	}
	fd, err := strconv.Atoi(text)
	if err != nil || fd < 3 {
		return nil, fmt.Errorf("%s: %q is no file descriptor that a host gives", StatusEnv, text)
	}
	syscall.CloseOnExec(fd)
	out := os.NewFile(uintptr(fd), "status to the host")
	if _, err := out.Stat(); err != nil {
		return nil, fmt.Errorf("%s: %w", StatusEnv, err)
	}
	return &Reporter{out: out}, nil
}

// Report tells the host. An error means that the host no longer listens.
func (r *Reporter) Report(report Report) error {
	if r == nil {
		return nil
	}
	if report.Conditions == nil {
		report.Conditions = []ReportedCondition{}
	}
	line, err := json.Marshal(report)
	if err != nil {
		return fmt.Errorf("encode the report: %w", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, err := r.out.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("report to the host: %w", err)
	}
	return nil
}

// Close ends the reports.
func (r *Reporter) Close() error {
	if r == nil {
		return nil
	}
	return r.out.Close()
}

// maxReportLine is the longest report accepted: the figures of a master with
// hundreds of slaves are some hundred KB.
const maxReportLine = 16 << 20

// readReports takes in what a process tells about itself.
func (c *child) readReports(log *slog.Logger, p *process) {
	lines := newLineReader(p.reports, maxReportLine)
	for {
		line, err := lines.next()
		switch {
		case errors.Is(err, errLongLine):
			log.Warn("report of the child ignored: too long", attr.Limit(maxReportLine))
			continue
		case err != nil:
			return
		case len(line) == 0:
			continue
		}
		var report Report
		if err := json.Unmarshal(line, &report); err != nil {
			log.Warn("report of the child ignored", attr.Err(err), attr.Line(excerpt(line)))
			continue
		}
		c.pool.mu.Lock()
		c.status.Report, c.status.Reported, p.reported = &report, time.Now(), true
		c.pool.mu.Unlock()
	}
}

// reason is what the process itself says that keeps it from being ready.
func (c *child) reason(p *process) string {
	c.pool.mu.Lock()
	defer c.pool.mu.Unlock()
	if !p.reported {
		return ""
	}
	var all []string
	for _, s := range c.status.Report.Conditions {
		all = append(all, cmp.Or(s.Detail, s.Kind))
	}
	return strings.Join(all, "; ")
}
