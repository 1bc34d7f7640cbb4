package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// reading is what one process holds when it has nothing to do: the least that
// was seen in a calm period, so that what comes and goes does not count.
type reading struct {
	process string
	// group is whose counts are compared: the process itself, or several
	// processes together that share something in whatever way it fell out.
	group string
	held  map[string]int // by quantity
}

// leakSlack is by how much a settled count may exceed the early one: a pool
// with a connection more, a runtime's helper. A leak grows with every task,
// every fault or every reconnection, and is past this in minutes.
var leakSlack = map[string]int{"goroutines": 6, "sockets": 4, "files": 4, "connections": 4}

// leaks compares what is held after the faults with what was held before
// them, both settled, and describes every group that holds more and every
// process that cannot be read any more.
// A process that was killed meanwhile started with nothing, so the same bound
// holds for it from its restart.
func leaks(early, settled []reading) []string {
	sum := func(rs []reading) map[string]map[string]int {
		out := map[string]map[string]int{}
		for _, r := range rs {
			if out[r.group] == nil {
				out[r.group] = map[string]int{}
			}
			for quantity, n := range r.held {
				out[r.group][quantity] += n
			}
		}
		return out
	}
	before, after := sum(early), sum(settled)
	var found []string
	for _, r := range early {
		if !slices.ContainsFunc(settled, func(s reading) bool { return s.process == r.process }) {
			found = append(found, r.process+" does not answer")
		}
	}
	for _, group := range slices.Sorted(maps.Keys(before)) {
		for _, quantity := range slices.Sorted(maps.Keys(before[group])) {
			was, is := before[group][quantity], after[group][quantity]
			if most := was + leakSlack[quantity]; is > most {
				found = append(found, fmt.Sprintf("%s: %d %s, early %d, at most %d expected%s",
					group, is, quantity, was, most, members(settled, group, quantity)))
			}
		}
	}
	return found
}

// members lists the processes of a group that is more than one process.
func members(rs []reading, group, quantity string) string {
	var out []string
	for _, r := range rs {
		if r.group == group && r.process != group {
			out = append(out, fmt.Sprintf("%s %d", r.process, r.held[quantity]))
		}
	}
	if out == nil {
		return ""
	}
	return " (" + strings.Join(out, ", ") + ")"
}

func TestLeaks(t *testing.T) {
	state := func(manager, master0, master1, slave, connections int) []reading {
		return []reading{
			{"manager", "manager", map[string]int{"goroutines": manager, "sockets": 20}},
			{"master0", "masters", map[string]int{"goroutines": master0, "sockets": master0 / 5}},
			{"master1", "masters", map[string]int{"goroutines": master1, "sockets": master1 / 5}},
			{"slave0", "slave0", map[string]int{"goroutines": slave}},
			{"database", "database", map[string]int{"connections": connections}},
		}
	}
	early := state(60, 50, 50, 25, 4)
	for name, c := range map[string]struct {
		settled []reading
		want    []string
	}{
		"as before":                 {early, nil},
		"fresh processes hold less": {state(60, 20, 30, 10, 1), nil},
		"slaves moved":              {state(60, 85, 15, 25, 4), nil},
		"a little more":             {state(66, 53, 53, 31, 8), nil},
		"the manager leaks":         {state(67, 50, 50, 25, 4), []string{"manager: 67 goroutines, early 60, at most 66 expected"}},
		"a master leaks":            {state(60, 57, 50, 25, 4), []string{"masters: 107 goroutines, early 100, at most 106 expected (master0 57, master1 50)"}},
		"a slave leaks":             {state(60, 50, 50, 32, 4), []string{"slave0: 32 goroutines, early 25, at most 31 expected"}},
		"connections leak":          {state(60, 50, 50, 25, 9), []string{"database: 9 connections, early 4, at most 8 expected"}},
		"sockets leak": {state(60, 75, 50, 25, 4), []string{
			"masters: 125 goroutines, early 100, at most 106 expected (master0 75, master1 50)",
			"masters: 25 sockets, early 20, at most 24 expected (master0 15, master1 10)"}},
		"a master does not answer": {slices.Delete(slices.Clone(early), 1, 2), []string{"master0 does not answer"}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := leaks(early, c.settled); !slices.Equal(got, c.want) {
				t.Errorf("got  %q\nwant %q", got, c.want)
			}
		})
	}
}
