package slave

import (
	"cmp"
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"wdpost/internal/task"
)

// Paths maps folders as the asker names them to where they are mounted here.
// The longest prefix that fits decides, by whole names: /mnt/a is no prefix of
// /mnt/ab. A path that nothing fits stays as it is.
type Paths struct{ pairs []pathPair }

type pathPair struct{ from, to string }

// NewPaths checks a mapping: absolute folders on both sides.
func NewPaths(mapping map[string]string) (Paths, error) {
	var p Paths
	for from, to := range mapping {
		if !filepath.IsAbs(from) || !filepath.IsAbs(to) {
			return Paths{}, fmt.Errorf("slave.paths: '%s' = '%s': both sides must be absolute folders, the manager's on the left", from, to)
		}
		p.pairs = append(p.pairs, pathPair{filepath.Clean(from), filepath.Clean(to)})
	}
	slices.SortFunc(p.pairs, func(a, b pathPair) int {
		return cmp.Or(cmp.Compare(len(b.from), len(a.from)), cmp.Compare(a.from, b.from))
	})
	for i := 1; i < len(p.pairs); i++ {
		if p.pairs[i].from == p.pairs[i-1].from {
			return Paths{}, fmt.Errorf("slave.paths: '%s' is mapped twice", p.pairs[i].from)
		}
	}
	return p, nil
}

// below returns what of path lies under dir.
func below(dir, path string) (rest string, ok bool) {
	if rest, ok = strings.CutPrefix(path, dir); !ok {
		return "", false
	}
	return rest, rest == "" || rest[0] == filepath.Separator || dir == "/"
}

// Local is where a path of the asker lies here.
func (p Paths) Local(path string) string {
	for _, pair := range p.pairs {
		if rest, ok := below(pair.from, path); ok {
			return filepath.Join(pair.to, rest)
		}
	}
	return path
}

// Mapped answers whole tasks: it looks for the asker's files where they are
// mounted here, and answers with the asker's names.
type Mapped struct {
	Paths  Paths
	Prover LeaseProver
}

// ProveLease implements LeaseProver.
func (m Mapped) ProveLease(ctx context.Context, l task.Lease, q task.Question) (task.Answer, error) {
	if len(m.Paths.pairs) == 0 {
		return m.Prover.ProveLease(ctx, l, q)
	}
	names := make(map[string]string) // of stores, by their folder here
	local := q
	local.Replicas = slices.Clone(q.Replicas)
	for i, r := range q.Replicas {
		here := &local.Replicas[i]
		here.SealedFile, here.CacheDir = m.Paths.Local(r.SealedFile), m.Paths.Local(r.CacheDir)
		names[storeOf(here.SealedFile)] = storeOf(r.SealedFile)
		names[storeOf(here.CacheDir)] = storeOf(r.CacheDir)
	}
	a, err := m.Prover.ProveLease(ctx, l, local)
	if err != nil {
		return a, err
	}
	a.Reasons = slices.Clone(a.Reasons)
	for i, r := range a.Reasons {
		if name, ok := names[r.Store]; ok && name != r.Store {
			a.Reasons[i].Store = name
			a.Reasons[i].Err = fmt.Sprintf("here %s: %s", r.Store, r.Err)
		}
	}
	return a, nil
}
