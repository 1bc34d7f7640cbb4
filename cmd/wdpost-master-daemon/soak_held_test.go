//go:build soak

package main

import (
	"bufio"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// How long the processes are left alone before what they hold is taken for
// settled: the idle connections of the masters' pools are closed after 5 s,
// and keepalive ends connections that a cut left half open within 30 s.
const (
	soakCalm     = 15 * time.Second
	soakCalmMost = 2 * time.Minute
)

// soakProcess is one process and where it shows its metrics.
type soakProcess struct {
	name, group string
	debug       string // host:port; empty for the test itself
	pid         func() int
}

// settle watches all processes for the calm period and returns the least that
// each held; while that does not satisfy, it goes on for up to most.
func (s *soak) settle(calm, most time.Duration, satisfied func([]reading) bool) []reading {
	begin := time.Now()
	least := map[string]reading{}
	pids := map[string]int{}
	for {
		for _, p := range s.processes {
			pid := p.pid()
			if pids[p.name] != pid {
				delete(least, p.name) // another process, or none
			}
			pids[p.name] = pid
			if r, err := p.read(pid); err == nil {
				least[p.name] = lesser(least[p.name], r)
			}
		}
		if n, err := s.connections(); err == nil {
			least["database"] = lesser(least["database"], reading{"database", "database", map[string]int{"connections": n}})
		}
		var out []reading
		for _, name := range slices.Sorted(maps.Keys(least)) {
			out = append(out, least[name])
		}
		if took := time.Since(begin); took >= most || took >= calm && satisfied(out) {
			return out
		}
		time.Sleep(500 * time.Millisecond)
	}
}

// lesser keeps the smaller of two readings of a process, quantity by quantity.
func lesser(a, b reading) reading {
	if a.held == nil {
		return b
	}
	for quantity, n := range b.held {
		a.held[quantity] = min(a.held[quantity], n)
	}
	return a
}

// read counts what a process holds.
func (p soakProcess) read(pid int) (reading, error) {
	r := reading{p.name, p.group, map[string]int{"sockets": 0, "files": 0}}
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	open, err := os.ReadDir(dir)
	if err != nil {
		return r, err
	}
	for _, fd := range open {
		to, err := os.Readlink(filepath.Join(dir, fd.Name()))
		switch {
		case err != nil: // just closed
		case strings.HasPrefix(to, "socket:"):
			r.held["sockets"]++
		default:
			r.held["files"]++
		}
	}
	r.held["goroutines"] = runtime.NumGoroutine()
	if p.debug != "" {
		r.held["goroutines"], err = scrape(p.debug, "go_goroutines")
	}
	return r, err
}

// scrape reads one number from a daemon's metrics.
func scrape(debug, metric string) (int, error) {
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 2 * time.Second}
	resp, err := client.Get("http://" + debug + "/metrics")
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		if value, ok := strings.CutPrefix(lines.Text(), metric+" "); ok {
			return strconv.Atoi(value)
		}
	}
	return 0, fmt.Errorf("%s does not show %s", debug, metric)
}

// connections counts the masters' connections as the database sees them.
func (s *soak) connections() (n int, err error) {
	err = s.admin.QueryRow(`SELECT COUNT(*) FROM information_schema.processlist
		WHERE db = 'wdpost_soak' AND id <> CONNECTION_ID()`).Scan(&n)
	return n, err
}

// reportLeaks says what every process held before and after the faults.
func (s *soak) reportLeaks(early, settled []reading) {
	before := map[string]map[string]int{}
	for _, r := range early {
		before[r.process] = r.held
	}
	for _, r := range settled {
		line := fmt.Sprintf("%-9s", r.process)
		for _, quantity := range slices.Sorted(maps.Keys(r.held)) {
			line += fmt.Sprintf(" %s %d (early %d)", quantity, r.held[quantity], before[r.process][quantity])
		}
		fmt.Println(line)
	}
	found := leaks(early, settled)
	fmt.Printf("leaks %d\n", len(found))
	for _, leak := range found {
		s.t.Error(leak)
	}
}
