package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"wdpost/internal/durable"
)

// lockFile lies in the home and holds the process id of the daemon that runs
// there. The lock on it ends with the process, however that ends.
const lockFile = "daemon.lock"

// lockHome takes the home for this daemon: two daemons with the same records
// would send every message twice. unlock gives it back.
func lockHome(home string) (unlock func(), err error) {
	path := filepath.Join(home, lockFile)
	if err := os.MkdirAll(home, 0o755); err != nil { // the config files may lie elsewhere
		return nil, fmt.Errorf("create the home folder: %w", err)
	}
	f, err := durable.Lock(path)
	switch {
	case errors.Is(err, durable.ErrLocked):
		holder, _ := os.ReadFile(path) // only to name it
		return nil, fmt.Errorf("another daemon (process %s) runs with the home %s: stop it, or give this one a home of its own with --home", strings.TrimSpace(string(holder)), home)
	case err != nil:
		return nil, fmt.Errorf("the daemon must be able to write in its home: %w", err)
	}
	err = f.Truncate(0)
	if err == nil {
		_, err = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("the daemon must be able to write in its home: %w", err), f.Close())
	}
	return func() { _ = f.Close() }, nil // releases the lock
}
