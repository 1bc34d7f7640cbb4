package process

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"sync"
	"syscall"

	"wdpost/internal/sector/store"
)

// marker in the environment makes a program the reader process.
const marker = "WDPOST_STORE_READER"

// ServeIfAsked is the first call of a program's main. In a process that Client
// has started it serves and never returns; in any other it returns at once.
func ServeIfAsked() {
	if os.Getenv(marker) == "" {
		return
	}
	// A stop of the service goes to the daemon, which may still need us; we go
	// when it does.
	signal.Ignore(syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT)
	runtime.GOMAXPROCS(min(runtime.GOMAXPROCS(0), 4))
	if err := serve(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0) // hanging reads do not keep us
}

// serve answers requests until in ends, each on a goroutine of its own. It does
// not wait for those that hang.
func serve(in io.Reader, out io.Writer) error {
	s := &server{files: map[uint64]store.File{}, out: out}
	r := bufio.NewReader(in)
	for {
		id, op, length, err := readHead(r)
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return err
		}
		content := make([]byte, length)
		if _, err := io.ReadFull(r, content); err != nil {
			return err
		}
		go s.answer(id, op, content)
	}
}

// server reads the file system for the process above.
type server struct {
	local store.Local

	mu    sync.Mutex
	files map[uint64]store.File
	next  uint64

	writing sync.Mutex
	out     io.Writer
}

func (s *server) answer(id uint64, op byte, content []byte) {
	p := &parser{b: content}
	reply, err := s.do(newFrame(id, statusOK, 64), op, p)
	switch {
	case err == nil:
	case errors.Is(err, io.EOF):
		reply[12] = statusEOF
	default:
		reply = putError(newFrame(id, statusError, 128), err)
	}
	s.writing.Lock()
	defer s.writing.Unlock()
	_, _ = s.out.Write(seal(reply)) // where the process above is gone, our input ends too
}

// do carries out one request and appends its result to reply.
func (s *server) do(reply []byte, op byte, p *parser) ([]byte, error) {
	switch op {
	case opOpen:
		return s.open(reply, p)
	case opRead:
		return s.read(reply, p)
	case opClose:
		return reply, s.close(p)
	case opStat:
		resolve, paths := p.bool(), p.texts()
		if p.err != nil {
			return reply, p.err
		}
		for _, info := range s.local.Stat(paths, resolve) {
			reply = putInfo(reply, info)
		}
		return reply, nil
	case opList:
		names, err := s.local.List(p.text())
		return putTexts(reply, names), err
	case opSpace:
		space, err := s.local.Space(p.text())
		return append(putUint(putUint(reply, space.Total), space.Free), truth(space.ReadOnly)), err
	}
	return reply, fmt.Errorf("operation %d is not known", op)
}

func (s *server) open(reply []byte, p *parser) ([]byte, error) {
	file, err := s.local.Open(p.text())
	if err != nil {
		return reply, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next++
	s.files[s.next] = file
	return putUint(putUint(reply, s.next), uint64(file.Size())), nil
}

func (s *server) read(reply []byte, p *parser) ([]byte, error) {
	handle, at, n := p.uint(), p.uint(), p.uint()
	if p.err != nil {
		return reply, p.err
	}
	s.mu.Lock()
	file := s.files[handle]
	s.mu.Unlock()
	if file == nil || n > maxFrame/2 {
		return reply, fmt.Errorf("file %d is not open, or %d bytes are too many", handle, n)
	}
	have := len(reply)
	whole := append(reply, make([]byte, n)...)
	got, err := file.ReadAt(whole[have:], int64(at))
	return whole[:have+got], err
}

func (s *server) close(p *parser) error {
	handle := p.uint()
	s.mu.Lock()
	file := s.files[handle]
	delete(s.files, handle)
	s.mu.Unlock()
	if file == nil {
		return fmt.Errorf("file %d is not open", handle)
	}
	return file.Close()
}
