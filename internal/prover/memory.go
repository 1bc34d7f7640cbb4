package prover

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
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

// cgroupHeadroom is what the limits of the process's control groups and of those
// above them leave, of version 2 and of version 1; without limits it is
// unbounded.
func cgroupHeadroom(root fs.FS) uint64 {
	headroom := uint64(math.MaxUint64)
	self, err := fs.ReadFile(root, "proc/self/cgroup")
	if err != nil {
		return headroom
	}
	for line := range strings.Lines(string(self)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 {
			continue
		}
		switch {
		case parts[0] == "0" && parts[1] == "":
			headroom = min(headroom, limitsAbove(root, "sys/fs/cgroup", parts[2], "memory.max", "memory.current"))
		case slices.Contains(strings.Split(parts[1], ","), "memory"):
			headroom = min(headroom, limitsAbove(root, "sys/fs/cgroup/memory", parts[2], "memory.limit_in_bytes", "memory.usage_in_bytes"))
		}
	}
	return headroom
}

// limitsAbove is the least that the limits of a group and of those above it
// leave. In a container the group's own path may not be there; its mount's top
// is the group then.
func limitsAbove(root fs.FS, mount, group, limitFile, usageFile string) uint64 {
	headroom := uint64(math.MaxUint64)
	for dir := filepath.Join(mount, group); strings.HasPrefix(dir, mount); dir = filepath.Dir(dir) {
		limit, okLimit := readNumber(root, dir+"/"+limitFile)
		used, okUsed := readNumber(root, dir+"/"+usageFile)
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
