package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// maxFile is the longest config file that is read, in bytes: far longer than
// any is, far shorter than what another file given by mistake may be.
const maxFile = 4 << 20

// load reads a file, decodes it over the defaults in v and returns what
// validation needs.
func load(path string, v any) (*document, error) {
	text, err := readFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("config file %s does not exist: create it, or give the right path: %w", path, fs.ErrNotExist)
	case err != nil:
		return nil, fmt.Errorf("config file: %w", err)
	case len(text) > maxFile:
		return nil, fmt.Errorf("config file %s is longer than %d MiB: this is another kind of file; give the right path", path, maxFile>>20)
	}
	return bind(path, string(text), v)
}

// readFile reads a file up to one byte more than is allowed.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() // opened for reading: nothing can be lost
	return io.ReadAll(io.LimitReader(f, maxFile+1))
}

// checker collects the complaints of one validation.
type checker struct {
	doc      *document
	errs     []error
	warnings []string
}

func (c *checker) fail(key, format string, args ...any) {
	c.errs = append(c.errs, c.doc.errorAt(key, format, args...))
}

func (c *checker) warn(key, format string, args ...any) {
	c.warnings = append(c.warnings, c.doc.errorAt(key, format, args...).Error())
}

// require fails for the key unless ok.
func (c *checker) require(ok bool, key, format string, args ...any) {
	if !ok {
		c.fail(key, format, args...)
	}
}

func (c *checker) err() error { return errors.Join(c.errs...) }
