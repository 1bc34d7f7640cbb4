package prover_test

import (
	"testing"
	"testing/fstest"

	"wdpost/internal/prover"
)

func TestAvailableMemory(t *testing.T) {
	const meminfo = "MemTotal:       1000 kB\nMemAvailable:    800 kB\n"
	file := func(s string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(s)} }
	for _, c := range []struct {
		name string
		fs   fstest.MapFS
		want uint64 // KiB
	}{
		{"no control group", fstest.MapFS{"proc/meminfo": file(meminfo)}, 800},
		{"unlimited group", fstest.MapFS{"proc/meminfo": file(meminfo), "proc/self/cgroup": file("0::/a\n"),
			"sys/fs/cgroup/a/memory.max": file("max\n"), "sys/fs/cgroup/a/memory.current": file("1\n")}, 800},
		{"limited group", fstest.MapFS{"proc/meminfo": file(meminfo), "proc/self/cgroup": file("0::/a\n"),
			"sys/fs/cgroup/a/memory.max": file("204800\n"), "sys/fs/cgroup/a/memory.current": file("102400\n")}, 100},
		{"limit above", fstest.MapFS{"proc/meminfo": file(meminfo), "proc/self/cgroup": file("0::/a/b\n"),
			"sys/fs/cgroup/a/memory.max": file("204800\n"), "sys/fs/cgroup/a/memory.current": file("0\n"),
			"sys/fs/cgroup/a/b/memory.max": file("max\n")}, 200},
		{"version 1", fstest.MapFS{"proc/meminfo": file(meminfo), "proc/self/cgroup": file("12:pids:/a\n5:cpu,memory:/docker/x\n0::/\n"),
			"sys/fs/cgroup/memory/docker/x/memory.limit_in_bytes": file("204800\n"), "sys/fs/cgroup/memory/docker/x/memory.usage_in_bytes": file("102400\n"),
			"sys/fs/cgroup/memory/memory.limit_in_bytes": file("9223372036854771712\n"), "sys/fs/cgroup/memory/memory.usage_in_bytes": file("5\n")}, 100},
		{"version 1 in a container", fstest.MapFS{"proc/meminfo": file(meminfo), "proc/self/cgroup": file("5:memory:/docker/x\n"),
			"sys/fs/cgroup/memory/memory.limit_in_bytes": file("204800\n"), "sys/fs/cgroup/memory/memory.usage_in_bytes": file("0\n")}, 200},
		{"limit exceeded", fstest.MapFS{"proc/meminfo": file(meminfo), "proc/self/cgroup": file("0::/\n"),
			"sys/fs/cgroup/memory.max": file("1\n"), "sys/fs/cgroup/memory.current": file("2\n")}, 0},
	} {
		got, err := prover.AvailableMemoryIn(c.fs)
		if err != nil || got != c.want<<10 {
			t.Errorf("%s: %d, %v; want %d KiB", c.name, got, err, c.want)
		}
	}
	for _, bad := range []string{"", "MemTotal: 5 kB\n", "MemAvailable: many kB\n"} {
		if got, err := prover.AvailableMemoryIn(fstest.MapFS{"proc/meminfo": file(bad)}); err == nil {
			t.Errorf("%q read as %d", bad, got)
		}
	}
	if got, err := prover.AvailableMemory(); err != nil || got == 0 {
		t.Errorf("this machine: %d, %v", got, err)
	}
}
