package cluster

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"wdpost/lab/devnet"
)

// taskList asks the master's own command what is in the queue, at most every
// few seconds.
type taskList struct {
	c    *Cluster
	last time.Time
	text string
}

// taskPoll is how often the queue is looked at.
const taskPoll = 3 * time.Second

// line sums the queue up: how many tasks are in each state.
func (t *taskList) line(ctx context.Context) string {
	if time.Since(t.last) < taskPoll {
		return t.text
	}
	t.last = time.Now()
	out, err := t.c.command(ctx, masterProgram, "-c", t.c.masterConfigPath(), "tasks", "list", "--json")
	if err != nil {
		t.text = "the queue cannot be read yet"
		return t.text
	}
	var tasks []struct {
		State string `json:"state"`
	}
	if err := json.Unmarshal([]byte(out), &tasks); err != nil {
		t.text = fmt.Sprintf("unreadable task list: %v", err)
		return t.text
	}
	count := map[string]int{}
	for _, task := range tasks {
		count[task.State]++
	}
	var parts []string
	for state, n := range count {
		parts = append(parts, fmt.Sprintf("%s %d", state, n))
	}
	slices.Sort(parts)
	t.text = cmp.Or(strings.Join(parts, "   "), "none yet")
	return t.text
}

func sortByOpen(ds []devnet.DeadlineView) {
	slices.SortFunc(ds, func(a, b devnet.DeadlineView) int { return cmp.Compare(a.Window.Open, b.Window.Open) })
}
