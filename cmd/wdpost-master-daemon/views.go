package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"wdpost/internal/queue"
	"wdpost/internal/task"
)

// taskView is a task as commands print it. Times are Unix seconds on the
// database's clock, absent when the thing has not happened.
type taskView struct {
	ID          string          `json:"id"`
	Miner       string          `json:"miner,omitempty"`
	Deadline    *uint64         `json:"deadline,omitempty"`
	Partitions  []uint64        `json:"partitions,omitempty"`
	Sectors     int             `json:"sectors,omitempty"`
	Stores      []string        `json:"stores,omitempty"`
	State       task.State      `json:"state"`
	Attempt     int             `json:"attempt"`
	Retries     int             `json:"retry_count"`
	Slave       string          `json:"slave,omitempty"`
	Tried       []string        `json:"tried,omitempty"`
	SectorSize  uint64          `json:"sector_size,omitempty"`
	CreatedAt   int64           `json:"created_at"`
	StartedAt   int64           `json:"started_at,omitempty"`
	FinishedAt  int64           `json:"finished_at,omitempty"`
	HeartbeatAt int64           `json:"heartbeat_at,omitempty"`
	AdvancedAt  int64           `json:"advanced_at,omitempty"`
	NotAfter    int64           `json:"not_after,omitempty"`
	Remaining   *int64          `json:"remaining_seconds,omitempty"` // of an open window
	ReadyAt     int64           `json:"ready_at,omitempty"`
	Progress    string          `json:"progress,omitempty"`
	Verdict     string          `json:"verdict,omitempty"`
	Reason      string          `json:"error_reason,omitempty"`
	Archived    bool            `json:"archived,omitempty"`
	Question    json.RawMessage `json:"question,omitempty"`
	Answer      json.RawMessage `json:"answer,omitempty"`

	now   int64
	known bool // what the task is about
}

func viewOf(t queue.Task, now int64) taskView {
	v := taskView{
		ID: t.ID, State: t.State, Attempt: t.Attempt, Retries: t.Retries, Slave: t.Slave, Tried: t.Tried, SectorSize: t.SectorSize,
		CreatedAt: t.CreatedAt, StartedAt: t.StartedAt, FinishedAt: t.FinishedAt, HeartbeatAt: t.HeartbeatAt, AdvancedAt: t.AdvancedAt,
		NotAfter: t.NotAfter, ReadyAt: t.ReadyAt, Progress: t.Progress, Verdict: string(t.Verdict), Reason: t.Reason, Archived: t.Archived,
		now: now, known: t.About.Known,
	}
	if t.About.Known {
		v.Miner, v.Deadline, v.Partitions = fmt.Sprintf("t0%d", t.About.Miner), t.About.Deadline, t.About.Partitions
		v.Sectors, v.Stores = t.About.Sectors, t.About.Stores
	}
	if t.NotAfter == queue.NoEnd {
		v.NotAfter = 0
	} else if left := t.NotAfter - now; left > 0 && t.FinishedAt == 0 {
		v.Remaining = &left
	}
	if json.Valid(t.In) {
		v.Question = t.In
	}
	if json.Valid(t.Out) {
		v.Answer = t.Out
	}
	return v
}

func (v taskView) miner() string { return orDash(v.Miner) }

func (v taskView) deadline() string {
	if v.Deadline == nil {
		return "-"
	}
	return fmt.Sprint(*v.Deadline)
}

func (v taskView) partitions() string {
	return orDash(strings.ReplaceAll(strings.Trim(fmt.Sprint(v.Partitions), "[]"), " ", ","))
}

func (v taskView) sectors() string {
	if !v.known {
		return "-"
	}
	return fmt.Sprint(v.Sectors)
}

// remaining is the time until the window closes.
func (v taskView) remaining() string {
	if v.Remaining == nil {
		return "-"
	}
	return (time.Duration(*v.Remaining) * time.Second).String()
}

// closes is when the window closes, and in how long.
func (v taskView) closes() string {
	if v.NotAfter == 0 {
		return "unknown"
	}
	if v.Remaining == nil {
		return clockTime(v.NotAfter)
	}
	return fmt.Sprintf("%s, in %s", clockTime(v.NotAfter), v.remaining())
}

// slaveView is a slave as commands print it. Times are Unix seconds.
type slaveView struct {
	Name        string   `json:"name"`
	State       string   `json:"state"`
	Why         string   `json:"why,omitempty"` // of the state, where the slave tells
	Version     string   `json:"version"`
	Address     string   `json:"address"`
	Cores       int      `json:"cores,omitempty"`
	Memory      uint64   `json:"memory,omitempty"`       // bytes for proofs
	SectorSizes []uint64 `json:"sector_sizes,omitempty"` // none: all, or it does not tell
	Roles       []string `json:"roles,omitempty"`
	Concurrent  int      `json:"concurrent"`
	Running     int      `json:"running"`
	Proving     []string `json:"proving,omitempty"` // tasks
	Failures    int      `json:"failures,omitempty"`
	LastError   string   `json:"last_error,omitempty"`
	Unseen      []string `json:"unseen_stores,omitempty"`
	FirstSeen   int64    `json:"first_seen"`
	LastSeen    int64    `json:"last_seen"`
	Draining    bool     `json:"draining"`
}

// slaveViewOf joins a slave with the tasks that it has.
func slaveViewOf(s queue.Slave, running []queue.Task, now int64) slaveView {
	v := slaveView{
		Name: s.Name, State: queue.StateOf(s, now), Version: s.Version, Address: s.Address, Concurrent: s.Concurrent, Running: s.Running,
		Failures: s.Failures, FirstSeen: s.FirstSeen, LastSeen: s.LastSeen, Draining: s.Draining,
	}
	if r := s.Report; r != nil {
		v.Why, v.Cores, v.Memory, v.SectorSizes, v.LastError, v.Unseen = r.Why, r.Cores, r.Memory, r.SectorSizes, r.LastError, r.Unseen
		for _, role := range r.Roles {
			v.Roles = append(v.Roles, string(role))
		}
	}
	for _, t := range running {
		if t.Slave == s.Name {
			v.Proving = append(v.Proving, t.ID)
		}
	}
	return v
}

// sizes are the sector sizes for people.
func (v slaveView) sizes() string {
	if len(v.SectorSizes) == 0 {
		return "all"
	}
	var out []string
	for _, s := range v.SectorSizes {
		out = append(out, queue.SizeName(s))
	}
	return strings.Join(out, ",")
}

// machine is what proofs may use.
func (v slaveView) machine() (cores, memory string) {
	cores, memory = "-", "-"
	if v.Cores > 0 {
		cores = fmt.Sprint(v.Cores)
	}
	if v.Memory > 0 {
		memory = fmt.Sprintf("%.1fGiB", float64(v.Memory)/(1<<30))
	}
	return cores, memory
}

// proving shortens the ids of its tasks.
func (v slaveView) proving() string {
	var out []string
	for _, id := range v.Proving {
		out = append(out, fmt.Sprintf("%.8s", id))
	}
	return orDash(strings.Join(out, ","))
}

// trouble is why it waits, or the last error.
func (v slaveView) trouble() string {
	if v.Why != "" {
		return firstLine(v.Why)
	}
	return firstLine(v.LastError)
}
