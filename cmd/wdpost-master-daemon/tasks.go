package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v3"

	"wdpost/internal/queue"
	"wdpost/internal/task"
)

// taskView is a task as commands print it. Times are Unix seconds on the
// database's clock, absent when the thing has not happened.
type taskView struct {
	ID          string          `json:"id"`
	State       task.State      `json:"state"`
	Attempt     int             `json:"attempt"`
	Retries     int             `json:"retry_count"`
	Slave       string          `json:"slave,omitempty"`
	SectorSize  uint64          `json:"sector_size,omitempty"`
	CreatedAt   int64           `json:"created_at"`
	StartedAt   int64           `json:"started_at,omitempty"`
	FinishedAt  int64           `json:"finished_at,omitempty"`
	HeartbeatAt int64           `json:"heartbeat_at,omitempty"`
	NotAfter    int64           `json:"not_after,omitempty"`
	ReadyAt     int64           `json:"ready_at,omitempty"`
	Progress    string          `json:"progress,omitempty"`
	Verdict     string          `json:"verdict,omitempty"`
	Reason      string          `json:"error_reason,omitempty"`
	Archived    bool            `json:"archived,omitempty"`
	Question    json.RawMessage `json:"question,omitempty"`
	Answer      json.RawMessage `json:"answer,omitempty"`
}

func viewOf(t queue.Task) taskView {
	v := taskView{
		ID: t.ID, State: t.State, Attempt: t.Attempt, Retries: t.Retries, Slave: t.Slave, SectorSize: t.SectorSize,
		CreatedAt: t.CreatedAt, StartedAt: t.StartedAt, FinishedAt: t.FinishedAt, HeartbeatAt: t.HeartbeatAt,
		NotAfter: t.NotAfter, ReadyAt: t.ReadyAt, Progress: t.Progress, Verdict: string(t.Verdict), Reason: t.Reason, Archived: t.Archived,
	}
	if t.NotAfter == queue.NoEnd {
		v.NotAfter = 0
	}
	if json.Valid(t.In) {
		v.Question = t.In
	}
	if json.Valid(t.Out) {
		v.Answer = t.Out
	}
	return v
}

func (a *app) tasksCommand() *cli.Command {
	jsonFlag := &cli.BoolFlag{Name: "json", Usage: "print JSON"}
	one := func(name, usage string, do func(context.Context, store, string) error) *cli.Command {
		return &cli.Command{
			Name: name, Usage: usage, ArgsUsage: "TASK…",
			Action: func(ctx context.Context, c *cli.Command) error {
				if !c.Args().Present() {
					return fmt.Errorf("tasks %s: name at least one task", name)
				}
				return a.withStore(false, func(db store) error {
					for _, id := range c.Args().Slice() {
						if err := do(ctx, db, id); err != nil {
							return err
						}
					}
					return nil
				})
			},
		}
	}
	now := func(ctx context.Context, db store) (int64, error) {
		t, err := db.Now(ctx)
		return t.Time.Unix(), err
	}
	show := one("show", "print one task with question and answer, as JSON", func(ctx context.Context, db store, id string) error {
		t, err := db.Show(ctx, id)
		if err != nil {
			return err
		}
		return printJSON(a.stdout, viewOf(t))
	})
	retry := one("retry", "make tasks that are done or failed ready again", func(ctx context.Context, db store, id string) error {
		at, err := now(ctx, db)
		if err != nil {
			return err
		}
		if err := db.Retry(ctx, at, id); err != nil {
			return err
		}
		_, err = fmt.Fprintf(a.stdout, "task %s is ready again\n", id)
		return err
	})
	cancel := one("cancel", "give tasks up; their slaves stop at the next heartbeat", func(ctx context.Context, db store, id string) error {
		at, err := now(ctx, db)
		if err != nil {
			return err
		}
		if err := db.Cancel(ctx, at, id, task.KindCancelled, "cancelled by an operator"); err != nil {
			return err
		}
		_, err = fmt.Fprintf(a.stdout, "task %s is cancelled\n", id)
		return err
	})
	return &cli.Command{
		Name:  "tasks",
		Usage: "look at tasks and change them",
		Commands: []*cli.Command{
			{
				Name: "list", Usage: "list tasks, newest first",
				Flags: []cli.Flag{
					jsonFlag,
					&cli.StringSliceFlag{Name: "state", Usage: "only tasks in `STATE`: ready, running, done or failed"},
					&cli.StringFlag{Name: "slave", Usage: "only tasks of `SLAVE`"},
					&cli.BoolFlag{Name: "archived", Usage: "list the archive"},
					&cli.IntFlag{Name: "limit", Value: 1000, Usage: "at most `N` tasks"},
				},
				Action: a.listTasks,
			},
			show, retry, cancel,
			{
				Name: "archive", Usage: "move finished tasks to tasks_archived now",
				Flags: []cli.Flag{&cli.DurationFlag{Name: "older-than", Usage: "only tasks that finished `DURATION` ago or earlier; default: should_archive of the config file"}},
				Action: func(ctx context.Context, c *cli.Command) error {
					cfg, err := a.load(false)
					if err != nil {
						return err
					}
					age := cfg.Task.ShouldArchive.D()
					if c.IsSet("older-than") {
						age = c.Duration("older-than")
					}
					return a.withStore(false, func(db store) error {
						n, err := queue.Archive(ctx, db, age)
						if err != nil {
							return err
						}
						_, err = fmt.Fprintf(a.stdout, "%d tasks archived\n", n)
						return err
					})
				},
			},
		},
	}
}

// listTasks prints the listing.
func (a *app) listTasks(ctx context.Context, c *cli.Command) error {
	f := queue.Filter{Slave: c.String("slave"), Archived: c.Bool("archived"), Limit: c.Int("limit")}
	for _, name := range c.StringSlice("state") {
		st, err := task.ParseState(name)
		if err != nil {
			return err
		}
		f.States = append(f.States, st)
	}
	return a.withStore(false, func(db store) error {
		tasks, err := db.List(ctx, f)
		if err != nil {
			return err
		}
		if c.Bool("json") {
			views := make([]taskView, len(tasks))
			for i, t := range tasks {
				views[i] = viewOf(t)
			}
			return printJSON(a.stdout, views)
		}
		w := tabwriter.NewWriter(a.stdout, 2, 4, 2, ' ', 0)
		fmt.Fprintln(w, "ID\tState\tAttempt\tRetries\tSlave\tCreated\tTook\tProgress\tError")
		for _, t := range tasks {
			fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%s\t%s\t%s\t%s\t%s\n", t.ID, t.State, t.Attempt, t.Retries, t.Slave,
				clockTime(t.CreatedAt), took(t), t.Progress, firstLine(t.Reason))
		}
		return w.Flush()
	})
}

// clockTime writes a Unix second in local time.
func clockTime(at int64) string {
	if at == 0 {
		return "-"
	}
	return time.Unix(at, 0).Format(time.DateTime)
}

// took is how long the last attempt ran.
func took(t queue.Task) string {
	if t.StartedAt == 0 || t.FinishedAt == 0 {
		return "-"
	}
	return (time.Duration(t.FinishedAt-t.StartedAt) * time.Second).String()
}

// firstLine keeps a listing to one line a task.
func firstLine(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	return s
}

// printJSON writes v, indented, and a newline.
func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
