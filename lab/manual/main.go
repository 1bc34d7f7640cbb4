// Manual makes the lists of conditions, and keeps the tables of keys in the
// configuration manuals true: key, type
// and default of each row come from the structs of internal/config, in their
// order; what a key means is written by hand, in each language.
//
// A key that a manual lacks gets a row. Its English meaning is the comment at
// the struct's field; in Chinese it is a mark that the test refuses until
// somebody writes it. A row whose key the structs lack is dropped.
//
// Usage: go run ./lab/manual, from the root of the repository.
package main

import (
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	if err := writeConditions("."); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	for _, m := range manuals {
		if err := m.rewrite("."); err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", m.path, err)
			os.Exit(1)
		}
	}
}

// rewrite makes the tables of the manual below root anew.
func (m manual) rewrite(root string) error {
	path := filepath.Join(root, m.path)
	old, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	comments, err := fieldComments(filepath.Join(root, "internal", "config"))
	if err != nil {
		return err
	}
	text, err := m.generate(string(old), comments)
	if err != nil || text == string(old) {
		return err
	}
	return os.WriteFile(path, []byte(text), 0o644)
}
