// Package hangfs is a file system that hangs on demand: a folder seen through
// FUSE, whose operations wait while Hang is in force. To the kernel that is a
// dead disk: who waits cannot be interrupted, not even by kill -9. It needs
// /dev/fuse and the right to mount.
package hangfs

import (
	"context"
	"fmt"
	"os"
	"sync"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// FS is one mount.
type FS struct {
	server *fuse.Server

	mu      sync.Mutex
	gate    chan struct{} // closed while nothing hangs
	mode    Mode
	waiting chan struct{} // gets a value for each operation that begins to wait
}

// Mode says which operations hang.
type Mode int

// Modes.
const (
	Nothing Mode = iota
	Reads        // opening and reading; stat answers
	All          // stat and listing too
)

// Available reports why no file system can be mounted here; nil if one can.
func Available() error {
	f, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return f.Close()
}

// Mount shows the folder source at dir.
func Mount(source, dir string) (*FS, error) {
	f := &FS{gate: make(chan struct{}), waiting: make(chan struct{}, 1<<16)}
	close(f.gate)
	var st syscall.Stat_t
	if err := syscall.Stat(source, &st); err != nil {
		return nil, fmt.Errorf("stat %s: %w", source, err)
	}
	root := &fs.LoopbackRoot{Path: source, Dev: uint64(st.Dev)}
	top := &node{LoopbackNode: fs.LoopbackNode{RootData: root}, fs: f}
	server, err := fs.Mount(dir, top, &fs.Options{
		MountOptions: fuse.MountOptions{DirectMount: true, FsName: "hangfs", MaxBackground: 4096, DisableXAttrs: true},
	})
	if err != nil {
		return nil, fmt.Errorf("mount %s: %w", dir, err)
	}
	f.server = server
	return f, nil
}

// Hang lets operations wait from now on; Nothing lets all go on.
func (f *FS) Hang(mode Mode) {
	f.mu.Lock()
	defer f.mu.Unlock()
	hung := f.mode != Nothing
	f.mode = mode
	switch {
	case mode == Nothing && hung:
		close(f.gate)
	case mode != Nothing && !hung:
		f.gate = make(chan struct{})
	}
}

// wait holds an operation up while the mode is at least least. Interrupts do not
// end it.
func (f *FS) wait(least Mode) {
	f.mu.Lock()
	gate, mode := f.gate, f.mode
	f.mu.Unlock()
	if mode >= least {
		select {
		case f.waiting <- struct{}{}:
		default:
		}
		<-gate
	}
}

// AwaitWaiting returns when one more operation has begun to wait.
func (f *FS) AwaitWaiting() { <-f.waiting }

// Close lets everything go on and unmounts.
func (f *FS) Close() error {
	f.Hang(Nothing)
	return f.server.Unmount()
}

// node is a file or folder.
type node struct {
	fs.LoopbackNode
	fs *FS
}

var _ fs.NodeWrapChilder = (*node)(nil)

// WrapChild makes what lies below a folder hang with it.
func (n *node) WrapChild(context.Context, fs.InodeEmbedder) fs.InodeEmbedder {
	return &node{LoopbackNode: fs.LoopbackNode{RootData: n.RootData}, fs: n.fs}
}

// Lookup waits where All hangs.
func (n *node) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	n.fs.wait(All)
	return n.LoopbackNode.Lookup(ctx, name, out)
}

// Getattr waits where All hangs.
func (n *node) Getattr(ctx context.Context, f fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	n.fs.wait(All)
	return n.LoopbackNode.Getattr(ctx, f, out)
}

// OpendirHandle waits where All hangs.
func (n *node) OpendirHandle(ctx context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	n.fs.wait(All)
	return n.LoopbackNode.OpendirHandle(ctx, flags)
}

// Open waits where reads hang. What is read is not kept by the kernel.
func (n *node) Open(ctx context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	n.fs.wait(Reads)
	h, _, errno := n.LoopbackNode.Open(ctx, flags)
	if errno != 0 {
		return nil, 0, errno
	}
	return &handle{loopbackHandle: h.(loopbackHandle), fs: n.fs}, fuse.FOPEN_DIRECT_IO, 0
}

// loopbackHandle is what the handles of a LoopbackNode do.
type loopbackHandle interface {
	fs.FileReader
	fs.FileReleaser
	fs.FileGetattrer
}

// handle is an open file.
type handle struct {
	loopbackHandle
	fs *FS
}

// Read waits where reads hang.
func (h *handle) Read(ctx context.Context, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	h.fs.wait(Reads)
	return h.loopbackHandle.Read(ctx, dest, off)
}
