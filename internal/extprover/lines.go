package extprover

import (
	"bufio"
	"errors"
	"io"
)

// errLongLine says that a line was longer than allowed and has been skipped.
var errLongLine = errors.New("line too long, skipped")

// lineReader reads lines of bounded length from a stream.
type lineReader struct {
	r   *bufio.Reader
	max int
	buf []byte
}

func newLineReader(r io.Reader, maxLine int) *lineReader {
	return &lineReader{r: bufio.NewReaderSize(r, 64<<10), max: maxLine}
}

// next returns the next line without its end; the bytes are valid until the
// following call. A last line without newline counts. errLongLine stands for
// one line of more than max bytes; the next call goes on behind it. The error
// at the end of the stream is io.EOF.
func (l *lineReader) next() ([]byte, error) {
	l.buf = l.buf[:0]
	tooLong := false
	for {
		part, err := l.r.ReadSlice('\n')
		if !tooLong {
			l.buf = append(l.buf, part...)
			tooLong = len(l.buf) > l.max+1
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case tooLong:
			l.buf = nil
			return nil, errLongLine
		case err == nil || errors.Is(err, io.EOF) && len(l.buf) > 0:
			return trimLineEnd(l.buf), nil
		default:
			return nil, err
		}
	}
}

func trimLineEnd(b []byte) []byte {
	for len(b) > 0 && (b[len(b)-1] == '\n' || b[len(b)-1] == '\r') {
		b = b[:len(b)-1]
	}
	return b
}
