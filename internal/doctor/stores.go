package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"sync"

	"wdpost/internal/config"
	"wdpost/internal/sector"
)

// Look shows the folder of a store; sector.LookAt behind a guard does.
type Look func(ctx context.Context, path string) sector.Seen

// Index tells what is attached; *sector.Index does.
type Index interface {
	Get(name string) (*sector.Record, error)
}

// Stores looks at all configured stores at once.
func Stores(ctx context.Context, stores []config.PersistStore, index Index, look Look, mounts []Mount) []Line {
	if len(stores) == 0 {
		return []Line{bad("stores", "no [[Common.PersistStores]] with a Path is configured", "run `util storage attach` and add the section that it prints")}
	}
	lists := make([][]Line, len(stores))
	var wg sync.WaitGroup
	for i, s := range stores {
		wg.Go(func() { lists[i] = ofStore(ctx, s, index, look, mounts) })
	}
	wg.Wait()
	var lines []Line
	for _, l := range lists {
		lines = append(lines, l...)
	}
	return lines
}

func ofStore(ctx context.Context, s config.PersistStore, index Index, look Look, mounts []Mount) []Line {
	about := "store " + s.Name
	var lines []Line
	mounted := Mount{}
	if strings.HasPrefix(s.Path, "/") {
		mounted, _ = MountOf(mounts, s.Path)
	}
	if strings.HasPrefix(mounted.Type, "nfs") {
		lines = append(lines, ofNFS(about, mounted))
	}
	seen := look(ctx, s.Root())
	switch {
	case errors.Is(seen.Err, sector.ErrTimeout):
		return append(lines, bad(about, fmt.Sprintf("%s hangs: %v", s.Path, seen.Err), "look at its mount, server and network; its sectors are skipped while it hangs"))
	case seen.Err != nil:
		return append(lines, bad(about, seen.Err.Error(), "mount it, or correct its Path in [[Common.PersistStores]]"))
	}
	record, err := index.Get(s.Name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		lines = append(lines, bad(about, fmt.Sprintf("%s is there, but was never attached", s.Path), fmt.Sprintf("util storage attach --name=%s %s", s.Name, s.Path)))
	case err != nil:
		lines = append(lines, bad(about, err.Error(), fmt.Sprintf("util storage scan %s", s.Name)))
	case filepath.Clean(record.Path) != filepath.Clean(s.Root()):
		lines = append(lines, bad(about, fmt.Sprintf("it is configured with %s but was attached with %s", s.Path, record.Path), "correct Path, or attach it again"))
	default:
		sealed, updated := record.Sectors()
		lines = append(lines, fine(about, "%s answers; %d sectors, %d of them updated, %d not seen at the last scan", s.Path, sealed+updated, updated, record.Unseen.Len()))
	}
	if seen.Space.ReadOnly && !s.ReadOnly {
		lines = append(lines, doubt(about, s.Path+" is mounted read-only; a kernel does that after errors of a disk", "look at dmesg; set ReadOnly = true in its section where it is meant to be so"))
	}
	return lines
}
