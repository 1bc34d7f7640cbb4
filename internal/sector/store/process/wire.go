package process

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"syscall"

	"wdpost/internal/sector/store"
)

// A frame is its length (4 bytes, of what follows), the number of the request
// (8 bytes), one byte that is the operation or the status of the answer, and the
// content. Numbers are little-endian, texts and lists have their length before
// them.
const (
	frameHead = 13
	// maxFrame bounds what one side takes from the other: the names of a folder
	// of a million sectors.
	maxFrame = 256 << 20
)

// Operations.
const (
	opOpen byte = iota + 1
	opRead
	opClose
	opStat
	opList
	opSpace
)

// Statuses of an answer.
const (
	statusOK byte = iota
	statusError
	statusEOF // the end of the file was met; the content is what was read
)

// newFrame begins a frame; seal completes it.
func newFrame(id uint64, kind byte, room int) []byte {
	b := make([]byte, frameHead, frameHead+room)
	binary.LittleEndian.PutUint64(b[4:], id)
	b[12] = kind
	return b
}

func seal(b []byte) []byte {
	binary.LittleEndian.PutUint32(b, uint32(len(b)-4))
	return b
}

// readHead reads the head of the next frame.
func readHead(r io.Reader) (id uint64, kind byte, length int, err error) {
	var head [frameHead]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, 0, 0, err
	}
	length = int(binary.LittleEndian.Uint32(head[:])) - (frameHead - 4)
	if length < 0 || length > maxFrame {
		return 0, 0, 0, fmt.Errorf("a frame of %d bytes", length)
	}
	return binary.LittleEndian.Uint64(head[4:]), head[12], length, nil
}

func putUint(b []byte, n uint64) []byte { return binary.LittleEndian.AppendUint64(b, n) }

func putText(b []byte, s string) []byte {
	return append(binary.LittleEndian.AppendUint32(b, uint32(len(s))), s...)
}

func putTexts(b []byte, list []string) []byte {
	b = putUint(b, uint64(len(list)))
	for _, s := range list {
		b = putText(b, s)
	}
	return b
}

// parser takes values from a frame's content. After the first fault all values
// are zero and err is set.
type parser struct {
	b   []byte
	err error
}

var errShort = errors.New("a frame is too short")

func (p *parser) take(n uint64) []byte {
	if p.err != nil || n > uint64(len(p.b)) {
		p.err = errShort
		return nil
	}
	out := p.b[:n]
	p.b = p.b[n:]
	return out
}

func (p *parser) uint() uint64 {
	if b := p.take(8); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

func (p *parser) bool() bool {
	b := p.take(1)
	return b != nil && b[0] != 0
}

func (p *parser) text() string {
	if b := p.take(4); b != nil {
		return string(p.take(uint64(binary.LittleEndian.Uint32(b))))
	}
	return ""
}

func (p *parser) texts() []string {
	n := p.uint()
	if n > uint64(len(p.b)/4) {
		p.err = errShort
		return nil
	}
	out := make([]string, n)
	for i := range out {
		out[i] = p.text()
	}
	return out
}

// putError keeps what errors.Is and errors.As find in an error of the file
// system.
func putError(b []byte, err error) []byte {
	var (
		at    *fs.PathError
		errno syscall.Errno
	)
	if errors.As(err, &at) && errors.As(at.Err, &errno) {
		return putText(putText(putUint(b, uint64(errno)), at.Op), at.Path)
	}
	return putText(putText(putUint(b, 0), ""), err.Error())
}

func (p *parser) error() error {
	errno, op, text := syscall.Errno(p.uint()), p.text(), p.text()
	switch {
	case p.err != nil:
		return p.err
	case errno != 0:
		return &fs.PathError{Op: op, Path: text, Err: errno}
	}
	return errors.New(text)
}

func putInfo(b []byte, i store.Info) []byte {
	if i.Err != nil {
		return putError(append(b, 1), i.Err)
	}
	return putText(append(putUint(append(b, 0), uint64(i.Size)), truth(i.Regular), truth(i.Dir)), i.Real)
}

func (p *parser) info() store.Info {
	if p.bool() {
		return store.Info{Err: p.error()}
	}
	return store.Info{Size: int64(p.uint()), Regular: p.bool(), Dir: p.bool(), Real: p.text()}
}

func truth(b bool) byte {
	if b {
		return 1
	}
	return 0
}
