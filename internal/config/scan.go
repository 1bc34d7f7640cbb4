package config

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// storeFile marks a folder as a store, for ScanPersistStores.
const storeFile = "sectorstore.json"

// Scan looks for the stores of ScanPersistStores and returns PersistStores with
// them. What cannot be read, and patterns that match nothing, come back as
// warnings: the store may still be mounted, and a reload finds it.
func (c Common) Scan() (stores []PersistStore, warnings []string) {
	stores = slices.Clone(c.PersistStores)
	for _, pattern := range c.ScanPersistStores {
		files, err := filepath.Glob(filepath.Join(pattern, storeFile))
		switch {
		case err != nil:
			warnings = append(warnings, fmt.Sprintf("Common.ScanPersistStores: %q is no pattern: %v", pattern, err))
		case len(files) == 0:
			warnings = append(warnings, fmt.Sprintf("Common.ScanPersistStores: %q matches no folder with a %s: mount the stores, then reload", pattern, storeFile))
		}
		for _, file := range files {
			s, err := readStore(file)
			taken := slices.ContainsFunc(stores, func(o PersistStore) bool { return o.Name == s.Name })
			switch {
			case err != nil:
				warnings = append(warnings, fmt.Sprintf("Common.ScanPersistStores: %v", err))
			case taken:
				warnings = append(warnings, fmt.Sprintf("Common.ScanPersistStores: %s: a store with the name %q is there already: change ID", file, s.Name))
			default:
				stores = append(stores, s)
			}
		}
	}
	return stores, warnings
}

// readStore reads a sectorstore.json. ID is the store's name, as Name is.
func readStore(file string) (PersistStore, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return PersistStore{}, err
	}
	var s struct {
		ID, Name, PluginName, Plugin string
		Strict, ReadOnly             bool
		AllowMiners, DenyMiners      []uint64
	}
	if err := json.Unmarshal(text, &s); err != nil {
		return PersistStore{}, fmt.Errorf("%s: %w", file, err)
	}
	if s.Plugin != "" || s.PluginName != "" {
		return PersistStore{}, fmt.Errorf("%s: the store uses a plugin, which is not supported: mount it as a folder", file)
	}
	out := PersistStore{Name: s.Name, Path: filepath.Dir(file), Strict: s.Strict, ReadOnly: s.ReadOnly, AllowMiners: s.AllowMiners, DenyMiners: s.DenyMiners}
	if s.ID != "" {
		out.Name = s.ID
	}
	if out.Name == "" {
		out.Name = out.Path
	}
	return out, nil
}
