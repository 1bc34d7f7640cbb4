package bench

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"wdpost/internal/prover"
	"wdpost/proofs/kernel"
)

// Usage is what one child process took.
type Usage struct {
	Wall time.Duration `json:"wall"`
	CPU  time.Duration `json:"cpu"` // of all its threads, user and system
	// Others is the CPU time that other programs took meanwhile.
	Others time.Duration `json:"others"`
	// PeakRSS is the most memory that was resident, pages of mapped files
	// included; the kernel keeps this mark.
	PeakRSS uint64 `json:"peak_rss"`
	// PeakAnon is the most that was resident without mapped files. It is
	// sampled, so a peak shorter than samplePeriod may be missed.
	PeakAnon uint64 `json:"peak_anon"`
}

// samplePeriod is the time between two looks at a child's memory.
const samplePeriod = 10 * time.Millisecond

// Spawner starts children of ours: this program again.
type Spawner struct {
	Program string    // path of a program that runs RunJob on its standard input
	Args    []string  // what makes it do so
	Stderr  io.Writer // of the children; may be nil
	// Kernel is what the children compute with. Short of IFMA they do as if the
	// machine had no AVX-512 at all, libraries included.
	Kernel kernel.Kernel
}

// environment is that of a child.
func (s Spawner) environment(procs int) []string {
	env := append(os.Environ(), prover.KernelEnv+"="+s.Kernel.String())
	if s.Kernel.Resolve() != kernel.IFMA {
		env = append(env, "GODEBUG=cpu.avx512=off,cpu.avx512f=off,cpu.avx512ifma=off")
	}
	if procs > 0 {
		env = append(env, fmt.Sprintf("GOMAXPROCS=%d", procs))
	}
	return env
}

// Run lets a child do a job. procs is its GOMAXPROCS; 0 leaves all cores.
func (s Spawner) Run(ctx context.Context, job Job, procs int) (Result, Usage, error) {
	input, err := json.Marshal(job)
	if err != nil {
		return Result{}, Usage{}, fmt.Errorf("encode job: %w", err)
	}
	cmd := exec.CommandContext(ctx, s.Program, s.Args...)
	cmd.Stdin, cmd.Stderr = bytes.NewReader(input), s.Stderr
	cmd.Env = s.environment(procs)
	output, usage, err := measure(cmd)
	if err != nil {
		return Result{}, usage, fmt.Errorf("%s: %w", job.name(), err)
	}
	var result Result
	if err := json.Unmarshal(output, &result); err != nil {
		return Result{}, usage, fmt.Errorf("%s: result of the child: %w", job.name(), err)
	}
	return result, usage, nil
}

// measure runs a command to its end and returns what it wrote to standard
// output. An error carries the end of its standard error, unless that goes
// elsewhere.
func measure(cmd *exec.Cmd) ([]byte, Usage, error) {
	var stdout, stderr bytes.Buffer
	cmd.Stdout = &stdout
	if cmd.Stderr == nil {
		cmd.Stderr = &stderr
	}
	start, busy := time.Now(), busyTime()
	if err := cmd.Start(); err != nil {
		return nil, Usage{}, err
	}
	ended, sampled := make(chan struct{}), make(chan Usage)
	go func() { sampled <- sample(cmd.Process.Pid, ended) }()
	err := cmd.Wait()
	wall := time.Since(start)
	close(ended)
	usage := <-sampled
	usage.Wall, usage.CPU = wall, cmd.ProcessState.UserTime()+cmd.ProcessState.SystemTime()
	usage.Others = max(0, busyTime()-busy-usage.CPU)
	if err != nil {
		text := strings.TrimSpace(stderr.String())
		return nil, usage, errors.Join(fmt.Errorf("%s: %w", cmd.Path, err), lastLines(text))
	}
	return stdout.Bytes(), usage, nil
}

// lastLines is the end of what a failed program said, as an error.
func lastLines(text string) error {
	const most = 2000
	if text == "" {
		return nil
	}
	return errors.New(text[max(0, len(text)-most):])
}

// sample watches the memory of a process until it has ended.
//
// The high-water mark is read from /proc, not from the rusage of the ended
// child: that one begins with the memory of the process that forked it.
func sample(pid int, ended <-chan struct{}) Usage {
	var peak Usage
	path := fmt.Sprintf("/proc/%d/status", pid)
	tick := time.NewTicker(samplePeriod)
	defer tick.Stop()
	for {
		select {
		case <-ended:
			return peak
		case <-tick.C:
			if status, err := os.ReadFile(path); err == nil {
				rss, anon := parseStatus(status)
				peak.PeakRSS, peak.PeakAnon = max(peak.PeakRSS, rss), max(peak.PeakAnon, anon)
			}
		}
	}
}

// parseStatus reads VmHWM and RssAnon, in bytes, from /proc/PID/status.
func parseStatus(status []byte) (peakRSS, anon uint64) {
	for sc := bufio.NewScanner(bytes.NewReader(status)); sc.Scan(); {
		name, value, _ := strings.Cut(sc.Text(), ":")
		fields := strings.Fields(value)
		if len(fields) == 0 {
			continue
		}
		kib, err := strconv.ParseUint(fields[0], 10, 64)
		if err != nil {
			continue
		}
		switch name {
		case "VmHWM":
			peakRSS = kib << 10
		case "RssAnon":
			anon = kib << 10
		}
	}
	return peakRSS, anon
}
