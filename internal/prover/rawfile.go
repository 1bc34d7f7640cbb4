package prover

import (
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"

	"wdpost/proofs/params"
	"wdpost/proofs/post"
)

// RawFile is a raw cache mapped into memory, read-only.
//
// The mapping stays valid when the file is renamed or removed. Nobody may cut
// the file short while it is mapped; gen_cache_and_param_blst never does.
type RawFile struct {
	*params.Raw
	Path   string
	mapped []byte
}

// OpenRawFile maps the raw cache of a circuit. Its cost does not depend on the
// size. A file that is not a whole cache of this version, machine and circuit
// is refused with one of the params.ErrRaw… errors and its path.
func OpenRawFile(path string, s post.Setup) (*RawFile, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("raw cache: %w", err)
	}
	defer f.Close() // the mapping outlives the descriptor
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, fmt.Errorf("raw cache: %w", err)
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("raw cache %s: not a regular file", path)
	case info.Size() == 0:
		return nil, fmt.Errorf("raw cache %s: %w: it is empty", path, params.ErrRawTruncated)
	case info.Size() != int64(int(info.Size())):
		return nil, fmt.Errorf("raw cache %s: %d bytes do not fit the address space", path, info.Size())
	}
	mapped, err := unix.Mmap(int(f.Fd()), 0, int(info.Size()), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("raw cache %s: map %d bytes: %w", path, info.Size(), err)
	}
	raw, err := params.OpenRaw(mapped, s)
	if err != nil {
		return nil, fmt.Errorf("raw cache %s: %w", path, errors.Join(err, unix.Munmap(mapped)))
	}
	return &RawFile{Raw: raw, Path: path, mapped: mapped}, nil
}

// Close unmaps the file. Its key must not be used afterwards.
func (r *RawFile) Close() error {
	if err := unix.Munmap(r.mapped); err != nil {
		return fmt.Errorf("raw cache %s: unmap: %w", r.Path, err)
	}
	return nil
}

// ahead has the kernel bring a part of the mapping from disk, without waiting
// for it.
func (r *RawFile) ahead(memory []byte) error {
	if len(memory) == 0 {
		return nil
	}
	page := uintptr(os.Getpagesize())
	at := uintptr(unsafe.Pointer(unsafe.SliceData(memory))) - uintptr(unsafe.Pointer(unsafe.SliceData(r.mapped)))
	return unix.Madvise(r.mapped[at&^(page-1):at+uintptr(len(memory))], unix.MADV_WILLNEED)
}
