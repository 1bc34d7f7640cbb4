package sector

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// StoreFile in a folder says that the folder is a store, and how it is used; it
// is that of damocles.
const StoreFile = "sectorstore.json"

// FoundStore is a store that a StoreFile describes.
type FoundStore struct {
	Path string `json:"-"` // the folder
	ID   string
	Name string // default: ID, then Path
	// As in [[Common.PersistStores]].
	Strict, ReadOnly bool
	Weight           uint64
	AllowMiners      []uint64
	DenyMiners       []uint64
	Meta             map[string]string
	// Plugin and PluginName are refused: a file in a folder describes a folder.
	Plugin, PluginName string
}

// largestStoreFile bounds what is read of a StoreFile.
const largestStoreFile = 1 << 20

// FindStores looks for stores below each pattern, a path whose last part may have
// wildcards: /filecoin/* means every folder in /filecoin that holds a StoreFile.
// A pattern or file that cannot be read costs only itself: it is in the error.
func FindStores(ctx context.Context, g *Guard, patterns []string) ([]FoundStore, error) {
	var (
		found []FoundStore
		errs  []error
	)
	for _, pattern := range patterns {
		folders, err := g.glob(ctx, strings.TrimRight(pattern, "/"))
		if err != nil {
			errs = append(errs, fmt.Errorf("look for stores in %s: %w", pattern, err))
		}
		for _, folder := range folders {
			s, err := g.storeFile(ctx, folder)
			if errors.Is(err, fs.ErrNotExist) {
				continue // a folder of something else
			}
			if err != nil {
				errs = append(errs, fmt.Errorf("store file %s: %w", join(folder, StoreFile), err))
				continue
			}
			found = append(found, s)
		}
	}
	return found, errors.Join(errs...)
}

// glob lists the folders that a pattern names, in order.
func (g *Guard) glob(ctx context.Context, pattern string) ([]string, error) {
	dir, last := path.Split(pattern)
	dir = strings.TrimRight(dir, "/")
	if strings.ContainsAny(dir, "*?[") {
		return nil, errors.New("only the last part of the path may have wildcards")
	}
	if _, err := path.Match(last, ""); err != nil {
		return nil, err
	}
	if !strings.ContainsAny(last, "*?[") {
		return []string{pattern}, nil
	}
	names, err := g.list(ctx, dir, dir+"/")
	if err != nil {
		return nil, err
	}
	var out []string
	for _, name := range names {
		if ok, _ := path.Match(last, name); ok {
			out = append(out, join(dir, name))
		}
	}
	slices.Sort(out)
	return out, nil
}

// storeFile reads the StoreFile of one folder.
func (g *Guard) storeFile(ctx context.Context, folder string) (FoundStore, error) {
	s := FoundStore{}
	file := join(folder, StoreFile)
	var text []byte
	err := g.visit(ctx, visitKind{roots: []string{folder}, weight: 1}, func(v *visit) error {
		var content []byte
		err := v.op(folder, file, func() error {
			f, err := v.files().Open(file)
			if err != nil {
				return err
			}
			defer f.Close()
			content = make([]byte, min(f.Size(), largestStoreFile))
			if _, err := f.ReadAt(content, 0); err != nil && !errors.Is(err, io.EOF) {
				return err
			}
			return nil
		})
		if err == nil {
			text = content
		}
		return err
	})
	if err == nil {
		err = json.Unmarshal(text, &s)
	}
	if err == nil && s.Plugin+s.PluginName != "" {
		err = fmt.Errorf("the store uses the plugin %s%s: give it a [[Common.PersistStores]] of its own", s.Plugin, s.PluginName)
	}
	s.Path = folder
	for _, name := range []string{s.ID, folder} {
		if s.Name == "" {
			s.Name = name
		}
	}
	return s, err
}
