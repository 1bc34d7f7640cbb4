package sector

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Record is what the index knows of one store.
type Record struct {
	Version    int       `json:"version"` // recordVersion
	Name       string    `json:"name"`
	Path       string    `json:"path"` // absolute, cleaned
	AttachedAt time.Time `json:"attached_at"`
	// Replicas and Caches are the numbers of the sectors by miner, ascending.
	Replicas Numbers `json:"sealed"`
	Caches   Numbers `json:"cache"`
	// The same for updated sectors.
	UpdateReplicas Numbers `json:"update"`
	UpdateCaches   Numbers `json:"update_cache"`
}

const recordVersion = 1

// Numbers are sector numbers by miner, ascending and without repetition.
type Numbers map[uint64][]uint64

// Has reports whether the sector is listed.
func (n Numbers) Has(id ID) bool {
	_, found := slices.BinarySearch(n[id.Miner], id.Number)
	return found
}

// Len counts all sectors.
func (n Numbers) Len() int {
	total := 0
	for _, list := range n {
		total += len(list)
	}
	return total
}

// add inserts a sector; the list stays in order.
func (n Numbers) add(id ID) {
	list := n[id.Miner]
	if at, found := slices.BinarySearch(list, id.Number); !found {
		n[id.Miner] = slices.Insert(list, at, id.Number)
	}
}

// removeIf drops the sectors that satisfy drop.
func (n Numbers) removeIf(drop func(ID) bool) {
	for miner, list := range n {
		n[miner] = slices.DeleteFunc(list, func(number uint64) bool { return drop(ID{miner, number}) })
	}
}

// of returns the lists of replicas and caches of one kind.
func (r *Record) of(updated bool) (replicas, caches Numbers) {
	if updated {
		return r.UpdateReplicas, r.UpdateCaches
	}
	return r.Replicas, r.Caches
}

func newRecord(name, path string) *Record {
	return &Record{
		Version: recordVersion, Name: name, Path: path,
		Replicas: Numbers{}, Caches: Numbers{}, UpdateReplicas: Numbers{}, UpdateCaches: Numbers{},
	}
}

// Index is the folder with one file for each attached store. Files are replaced
// as a whole, so readers in other processes see the old or the new one.
type Index struct {
	dir string
}

// OpenIndex returns the index of a manager's home; nothing is created before
// the first Put.
func OpenIndex(home string) *Index { return &Index{dir: filepath.Join(home, "index")} }

const recordSuffix = ".json"

// file is the path of a store's record. Names may be paths, so they are escaped.
func (x *Index) file(name string) (string, error) {
	escaped := url.PathEscape(name) + recordSuffix
	if name == "" || len(escaped) > 250 || strings.HasPrefix(escaped, ".") {
		return "", fmt.Errorf("store name %q cannot be used: choose a short one that does not begin with a dot", name)
	}
	return filepath.Join(x.dir, escaped), nil
}

// Get reads the record of a store; the error is fs.ErrNotExist when no store of
// this name is attached.
func (x *Index) Get(name string) (*Record, error) {
	file, err := x.file(name)
	if err != nil {
		return nil, err
	}
	return readRecord(file)
}

func readRecord(file string) (*Record, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("sector index: %w", err)
	}
	r := newRecord("", "")
	if err := json.Unmarshal(text, r); err != nil {
		return nil, fmt.Errorf("sector index: %s is damaged (%w): attach the store again", file, err)
	}
	if r.Version != recordVersion {
		return nil, fmt.Errorf("sector index: %s has version %d, this program writes %d: attach the store again", file, r.Version, recordVersion)
	}
	return r, nil
}

// Put replaces the record of a store. When it returns the record is durable.
func (x *Index) Put(r *Record) error {
	file, err := x.file(r.Name)
	if err != nil {
		return err
	}
	text, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("sector index: encode %s: %w", r.Name, err)
	}
	if err := os.MkdirAll(x.dir, 0o755); err != nil {
		return fmt.Errorf("sector index: %w", err)
	}
	if err := replaceFile(file, text); err != nil {
		return fmt.Errorf("sector index: write %s: %w", file, err)
	}
	return nil
}

// replaceFile writes a file so that there is the old or the new content, never
// a part, whatever happens meanwhile.
func replaceFile(file string, content []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(file), ".new-*")
	if err != nil {
		return err
	}
	_, err = tmp.Write(content)
	err = errors.Join(err, tmp.Chmod(0o644), tmp.Sync(), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), file)
	}
	if err != nil {
		return errors.Join(err, os.Remove(tmp.Name()))
	}
	dir, err := os.Open(filepath.Dir(file))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// All reads the records of all attached stores, in order of their names.
// Damaged ones are left out and named in the error.
func (x *Index) All() ([]*Record, error) {
	entries, err := os.ReadDir(x.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("sector index: %w", err)
	}
	var (
		records []*Record
		bad     []error
	)
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") || !strings.HasSuffix(e.Name(), recordSuffix) {
			continue
		}
		r, err := readRecord(filepath.Join(x.dir, e.Name()))
		if err != nil {
			bad = append(bad, err)
			continue
		}
		records = append(records, r)
	}
	slices.SortFunc(records, func(a, b *Record) int { return strings.Compare(a.Name, b.Name) })
	return records, errors.Join(bad...)
}
