package sector

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"syscall"
	"testing"

	"wdpost/internal/task"
	"wdpost/proofs/merkle"
	"wdpost/proofs/post"
)

// What is wrong with a sector, with a store and with this machine are told
// apart, and the store of the file that fails is the one that is named.
func TestWhoseTroubleAReadIs(t *testing.T) {
	replica := task.Replica{SealedFile: "/a/sealed/s-t01-1", CacheDir: "/b/cache/s-t01-1"}
	file := func(path string, err error) error {
		root := path[:2]
		return &StoreError{root, fmt.Errorf("open: %w", &fs.PathError{Op: "open", Path: path, Err: err})}
	}
	for name, tc := range map[string]struct {
		err   error
		kind  task.FaultKind
		store string
	}{
		"time-out":         {fmt.Errorf("%w: no answer", ErrTimeout), task.FaultStore, "/a"},
		"set aside":        {fmt.Errorf("%w: /a", ErrSetAside), task.FaultStore, "/a"},
		"no file":          {file("/a/sealed/s-t01-1", syscall.ENOENT), task.FaultUnseen, "/a"},
		"no cache":         {file("/b/cache/s-t01-1/p_aux", syscall.ENOENT), task.FaultUnseen, "/b"},
		"forbidden":        {file("/a/sealed/s-t01-1", syscall.EACCES), task.FaultUnseen, "/a"},
		"stale handle":     {file("/b/cache/s-t01-1/p_aux", syscall.ESTALE), task.FaultStore, "/b"},
		"cache hangs":      {&StoreError{"/b", fmt.Errorf("%w: no answer", ErrTimeout)}, task.FaultStore, "/b"},
		"no descriptors":   {file("/a/sealed/s-t01-1", syscall.EMFILE), task.FaultStore, "/a"},
		"input error":      {&merkle.FileError{File: "tree", Err: syscall.EIO}, task.FaultStore, "/a"},
		"symlink loop":     {file("/a/sealed/s-t01-1", syscall.ELOOP), task.FaultData, ""},
		"cache is a file":  {file("/b/cache/s-t01-1/p_aux", syscall.ENOTDIR), task.FaultData, ""},
		"too short":        {&merkle.FileError{File: "tree", Err: errors.New("too short")}, task.FaultData, ""},
		"another sector":   {post.ErrOtherSector, task.FaultData, ""},
		"caller cancelled": {context.Canceled, "", ""},
	} {
		kind, store := task.FaultOf(withFault(tc.err, replica))
		if kind != tc.kind || store != tc.store {
			t.Errorf("%s: %q of %q, want %q of %q", name, kind, store, tc.kind, tc.store)
		}
	}
}
