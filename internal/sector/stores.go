package sector

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
)

// ErrNoDirectory says that a store's path is something else than a folder.
var ErrNoDirectory = errors.New("is not a directory: give the folder above cache and sealed")

// checkFolder requires an existing directory.
func checkFolder(ctx context.Context, g *Guard, path string) error {
	isDir, err := guarded(ctx, g, path, func(<-chan struct{}) (bool, error) {
		info, err := os.Stat(path)
		if err != nil {
			return false, err
		}
		return info.IsDir(), nil
	})
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("store path %s does not exist (%w): mount it, or give the folder above cache and sealed", path, fs.ErrNotExist)
	case err != nil:
		return fmt.Errorf("store path %s: %w", path, err)
	case !isDir:
		return fmt.Errorf("store path %s %w", path, ErrNoDirectory)
	}
	return nil
}

// CheckStores looks once at the folder of each store, at most for the guard's
// time-out. One that is no directory is an error: the configuration is wrong.
// One that is missing or does not answer is logged and may come back; its
// sectors are skipped until then.
func CheckStores(ctx context.Context, guard *Guard, stores []Store, log *slog.Logger) error {
	found := make([]chan error, len(stores))
	for i, s := range stores {
		found[i] = make(chan error, 1)
		go func() { found[i] <- checkFolder(ctx, guard, s.Path) }()
	}
	var bad []error
	for i, s := range stores {
		switch err := <-found[i]; {
		case errors.Is(err, ErrNoDirectory):
			bad = append(bad, fmt.Errorf("store %q: %w", s.Name, err))
		case err != nil:
			log.Error("store cannot be read now; its sectors are skipped until it is back", "store", s.Name, "err", err)
		}
	}
	return errors.Join(bad...)
}
