package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestTwoDaemons: the second daemon of a home is refused and disturbs nothing.
func TestTwoDaemons(t *testing.T) {
	home := t.TempDir()
	unlock, err := lockHome(home)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lockHome(home); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("process %d", os.Getpid())) || !strings.Contains(err.Error(), "--home") {
		t.Errorf("the second daemon: %v", err)
	}
	unlock()
	unlock, err = lockHome(filepath.Join(home, "not", "there", "yet"))
	if err != nil {
		t.Fatal(err)
	}
	unlock()
}
