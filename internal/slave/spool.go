package slave

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"wdpost/internal/attr"
	"wdpost/internal/durable"
	"wdpost/internal/task"
)

// spool keeps answers on disk until they are delivered: one file each, named
// TASK-ATTEMPT.json, written whole or not at all. Several slaves may share a
// directory: an answer that is delivered twice is taken once.
type spool struct{ dir string }

// entry is one answer in the spool.
type entry struct {
	Lease  task.Lease  `json:"lease"`
	Miner  uint64      `json:"miner"`
	Answer task.Answer `json:"answer"`
	Until  time.Time   `json:"until"` // worthless after
}

const (
	spoolExt   = ".json"
	corruptExt = ".corrupt"
)

func openSpool(dir string) (spool, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return spool{}, fmt.Errorf("spool of answers: %w; set [slave] spool to a directory that can be written", err)
	}
	return spool{dir: dir}, nil
}

func (s spool) path(l task.Lease) string {
	return filepath.Join(s.dir, fmt.Sprintf("%s-%d%s", filepath.Base(l.ID), l.Attempt, spoolExt))
}

// put writes an answer; when it returns nil the answer survives a power cut.
func (s spool) put(e entry) error {
	body, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("spool task %s: %w", e.Lease, err)
	}
	if err := durable.WriteFile(s.path(e.Lease), body, 0o600); err != nil {
		return fmt.Errorf("spool task %s: %w", e.Lease, err)
	}
	return nil
}

// remove drops a delivered answer.
func (s spool) remove(e entry, log *slog.Logger) {
	if err := os.Remove(s.path(e.Lease)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		log.Warn("delivered answer not removed from the spool; it is sent again at the next start", attr.Err(err))
	}
}

// load returns what an earlier process left. Answers whose window closed are
// dropped, unreadable files set aside.
func (s spool) load(log *slog.Logger) []entry {
	files, err := os.ReadDir(s.dir)
	if err != nil {
		log.Warn("spool not read; answers of an earlier run stay there", attr.Err(err))
		return nil
	}
	var out []entry
	for _, f := range files {
		if !strings.HasSuffix(f.Name(), spoolExt) {
			continue
		}
		path := filepath.Join(s.dir, f.Name())
		e, err := readEntry(path)
		if err == nil && s.path(e.Lease) != path {
			err = fmt.Errorf("it holds task %s", e.Lease)
		}
		if err != nil {
			log.Warn("spooled answer is unreadable; set aside", attr.Path(path), attr.Err(errors.Join(err, os.Rename(path, path+corruptExt))))
			continue
		}
		if time.Now().After(e.Until) {
			log.Info("spooled answer dropped: its window closed", attr.Task(e.Lease.ID))
			s.remove(e, log)
			continue
		}
		out = append(out, e)
	}
	return out
}

func readEntry(path string) (e entry, err error) {
	body, err := os.ReadFile(path)
	if err != nil {
		return entry{}, err
	}
	if err := json.Unmarshal(body, &e); err != nil {
		return entry{}, err
	}
	if e.Lease.ID == "" || e.Lease.Attempt < 1 {
		return entry{}, errors.New("it names no task")
	}
	return e, nil
}
