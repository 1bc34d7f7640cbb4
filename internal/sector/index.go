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

	"wdpost/internal/durable"
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
	// Unseen are those of them that the last scan did not see.
	Unseen Numbers `json:"unseen,omitempty"`
	// ScannedAt is the end of the last complete scan.
	ScannedAt time.Time `json:"scanned_at,omitzero"`
	// How the store was attached; scans of the daemon do it in the same way.
	Strict        bool   `json:"strict,omitempty"`
	AllowSplitted bool   `json:"allow_splitted,omitempty"`
	SectorSize    uint64 `json:"sector_size,omitempty"`
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

// numbersOf lists the sectors of a set.
func numbersOf(set map[ID]bool) Numbers {
	n := Numbers{}
	for id := range set {
		n[id.Miner] = append(n[id.Miner], id.Number)
	}
	for _, list := range n {
		slices.Sort(list)
	}
	return n
}

// filter returns the sectors that satisfy keep.
func (n Numbers) filter(keep func(ID) bool) Numbers {
	out := Numbers{}
	for miner, list := range n {
		for _, number := range list {
			if keep(ID{miner, number}) {
				out[miner] = append(out[miner], number)
			}
		}
	}
	return out
}

// union returns the sectors of both.
func (n Numbers) union(more Numbers) Numbers {
	out := Numbers{}
	for _, from := range []Numbers{n, more} {
		for miner, list := range from {
			out[miner] = append(out[miner], list...)
		}
	}
	for miner, list := range out {
		slices.Sort(list)
		out[miner] = slices.Compact(list)
	}
	return out
}

// of returns the lists of replicas and caches of one kind.
func (r *Record) of(updated bool) (replicas, caches Numbers) {
	if updated {
		return r.UpdateReplicas, r.UpdateCaches
	}
	return r.Replicas, r.Caches
}

// lists returns all lists; listsOf tells the places of one kind's.
func (r *Record) lists() [4]*Numbers {
	return [4]*Numbers{&r.Replicas, &r.Caches, &r.UpdateReplicas, &r.UpdateCaches}
}

func listsOf(updated bool) (replicas, caches int) {
	if updated {
		return 2, 3
	}
	return 0, 1
}

// count counts the sectors that satisfy selected, of which the store has
// something.
func (r *Record) count(selected func(ID) bool) int {
	all := Numbers{}
	for _, list := range r.lists() {
		all = all.union(*list)
	}
	return all.filter(selected).Len()
}

// Sectors counts the sectors of which the store has a replica or a cache, and
// those that have files of a snap update.
func (r *Record) Sectors() (sealed, updated int) {
	return r.Replicas.union(r.Caches).Len(), r.UpdateReplicas.union(r.UpdateCaches).Len()
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
	if err := durable.WriteFile(file, text, 0o644); err != nil {
		return fmt.Errorf("sector index: write %s: %w", file, err)
	}
	return nil
}

// Remove forgets a store. Its files are left alone.
func (x *Index) Remove(name string) error {
	file, err := x.file(name)
	if err != nil {
		return err
	}
	if err := os.Remove(file); err != nil {
		return fmt.Errorf("sector index: %w", err)
	}
	return durable.SyncDir(x.dir)
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
