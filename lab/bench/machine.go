package bench

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"strings"

	"golang.org/x/sys/cpu"
)

// Machine describes this machine in a line: processor, cores used, memory.
func Machine() string {
	model := procField("/proc/cpuinfo", "model name")
	if model == "" {
		model = runtime.GOARCH
	}
	vector := ""
	if cpu.X86.HasAVX512IFMA {
		vector = " with AVX-512 IFMA"
	}
	memory := ""
	var kib uint64
	if _, err := fmt.Sscan(procField("/proc/meminfo", "MemTotal"), &kib); err == nil {
		memory = ", " + bytesText(kib<<10) + " of memory"
	}
	return fmt.Sprintf("%s%s, %d cores%s, %s", model, vector, workers(), memory, runtime.Version())
}

// procField is the value of the first line of a /proc file with a name, or
// empty.
func procField(path, name string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	for sc := bufio.NewScanner(f); sc.Scan(); {
		if key, value, ok := strings.Cut(sc.Text(), ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
