package prover

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// AvailableMemory is the number of bytes that this process could still take:
// the kernel's estimate, or what the control group leaves where that is less.
func AvailableMemory() (uint64, error) {
	return availableMemory(os.DirFS("/"))
}

func availableMemory(root fs.FS) (uint64, error) {
	available, err := memAvailable(root)
	if err != nil {
		return 0, err
	}
	return min(available, cgroupHeadroom(root)), nil
}

// memAvailable reads MemAvailable of /proc/meminfo.
func memAvailable(root fs.FS) (uint64, error) {
	f, err := root.Open("proc/meminfo")
	if err != nil {
		return 0, fmt.Errorf("available memory: %w", err)
	}
	defer f.Close()
	for sc := bufio.NewScanner(f); sc.Scan(); {
		fields := strings.Fields(sc.Text())
		if len(fields) >= 2 && fields[0] == "MemAvailable:" {
			kib, err := strconv.ParseUint(fields[1], 10, 64)
			if err != nil {
				return 0, fmt.Errorf("available memory: /proc/meminfo: %q", sc.Text())
			}
			return kib << 10, nil
		}
	}
	return 0, errors.New("available memory: no MemAvailable in /proc/meminfo")
}

// cgroupHeadroom is what the limits of the process's control group (version 2)
// and of those above it leave; without limits it is unbounded.
func cgroupHeadroom(root fs.FS) uint64 {
	headroom := uint64(math.MaxUint64)
	self, err := fs.ReadFile(root, "proc/self/cgroup")
	if err != nil {
		return headroom
	}
	group, ok := strings.CutPrefix(strings.TrimSpace(string(self)), "0::")
	if !ok {
		return headroom
	}
	for dir := filepath.Join("sys/fs/cgroup", group); strings.HasPrefix(dir, "sys/fs/cgroup"); dir = filepath.Dir(dir) {
		limit, okLimit := readNumber(root, dir+"/memory.max")
		used, okUsed := readNumber(root, dir+"/memory.current")
		if okLimit && okUsed {
			headroom = min(headroom, limit-min(used, limit))
		}
	}
	return headroom
}

// readNumber reads a file with one number; "max" is none.
func readNumber(root fs.FS, path string) (uint64, bool) {
	b, err := fs.ReadFile(root, path)
	if err != nil {
		return 0, false
	}
	n, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64)
	return n, err == nil
}

// gib writes a number of bytes for people.
func gib(bytes uint64) string {
	if bytes < 1<<30 {
		return fmt.Sprintf("%.1f MiB", float64(bytes)/(1<<20))
	}
	return fmt.Sprintf("%.1f GiB", float64(bytes)/(1<<30))
}
