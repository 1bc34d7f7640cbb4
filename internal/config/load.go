package config

import (
	"errors"
	"fmt"
	"os"
)

// load reads a file, decodes it over the defaults in v and returns what
// validation needs.
func load(path string, v any) (*document, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("config file %s does not exist: create it, or give the right path: %w", path, err)
	}
	if err != nil {
		return nil, fmt.Errorf("config file: %w", err)
	}
	return bind(path, string(text), v)
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
