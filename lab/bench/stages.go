package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"
)

// Stage is one step of a long run. What it makes must be durable when Run
// returns, and made anew by Run when it was interrupted.
type Stage struct {
	Name string
	// Lasting reports whether what the stage made is still there; nil means
	// that nothing but the record is needed.
	Lasting func() bool
	Run     func(ctx context.Context) (Usage, error)
}

// StageRecord says that a stage has ended, and what it took.
type StageRecord struct {
	Name  string    `json:"name"`
	Ended time.Time `json:"ended"`
	Usage Usage     `json:"usage"`
}

// Record is the durable account of a run: a JSON file replaced after every
// stage.
type Record struct {
	// Of is what the run is about; a record of another run is not continued.
	Of     string        `json:"of"`
	Stages []StageRecord `json:"stages"`
	path   string
}

// OpenRecord reads the record of a run, or begins one. An error says that the
// file is of another run.
func OpenRecord(path, of string) (*Record, error) {
	r := &Record{Of: of, path: path}
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return r, nil
	}
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(b, r); err != nil {
		return nil, fmt.Errorf("%s: %w; remove it to begin again", path, err)
	}
	if r.Of != of {
		return nil, fmt.Errorf("%s is of %q, this run is of %q: finish that one or remove the file", path, r.Of, of)
	}
	return r, nil
}

// recordedRun is what the record in a file is about; empty if there is none.
func recordedRun(path string) string {
	var r Record
	b, err := os.ReadFile(path)
	if err != nil || json.Unmarshal(b, &r) != nil {
		return ""
	}
	return r.Of
}

// Continue runs the stages that are not done, in order. One that is made anew
// makes all after it anew.
func (r *Record) Continue(ctx context.Context, stages []Stage, log *slog.Logger) error {
	for i, s := range stages {
		if i < len(r.Stages) && r.Stages[i].Name == s.Name && (s.Lasting == nil || s.Lasting()) {
			log.Info("stage was done before", "stage", s.Name, "ended", r.Stages[i].Ended.Format(time.RFC3339), "took", r.Stages[i].Usage.Wall)
			continue
		}
		r.Stages = r.Stages[:min(i, len(r.Stages))]
		log.Info("stage begins", "stage", s.Name)
		start := time.Now()
		usage, err := s.Run(ctx)
		if err != nil {
			return fmt.Errorf("stage %s: %w", s.Name, err)
		}
		if usage.Wall == 0 {
			usage.Wall = time.Since(start)
		}
		r.Stages = append(r.Stages, StageRecord{Name: s.Name, Ended: time.Now().UTC(), Usage: usage})
		if err := r.write(); err != nil {
			return fmt.Errorf("stage %s: %w", s.Name, err)
		}
		log.Info("stage done", "stage", s.Name, "took", usage.Wall.Round(time.Millisecond), "cpu", usage.CPU.Round(time.Millisecond),
			"peak memory", bytesText(usage.PeakAnon), "with mapped files", bytesText(usage.PeakRSS))
	}
	return nil
}

// write replaces the file, in whole or not at all.
func (r *Record) write() error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return writeWhole(r.path, append(b, '\n'))
}

// writeWhole makes a file durable under a passing name and then gives it its
// own.
func writeWhole(path string, content []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".partial")
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err == nil {
		err = errors.Join(f.Chmod(0o644), f.Sync())
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}
