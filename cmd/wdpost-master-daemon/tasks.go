package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v3"

	"wdpost/internal/config"
	"wdpost/internal/master"
	"wdpost/internal/queue"
	"wdpost/internal/task"
)

func (a *app) tasksCommand() *cli.Command {
	one := func(name, usage, said string, do func(ctx context.Context, db master.Store, now int64, id string) error) *cli.Command {
		return &cli.Command{
			Name: name, Usage: usage, ArgsUsage: "TASK…",
			Action: a.eachTask(name, func(ctx context.Context, db master.Store, id string) error {
				at, err := db.Now(ctx)
				if err != nil {
					return err
				}
				if err := do(ctx, db, at.Time.Unix(), id); err != nil {
					return err
				}
				_, err = fmt.Fprintf(a.stdout, "task %s %s\n", id, said)
				return err
			}),
		}
	}
	return &cli.Command{
		Name:  "tasks",
		Usage: "look at tasks and change them; the first digits of an id are enough",
		Commands: []*cli.Command{
			{
				Name: "list", Usage: "list tasks, newest first",
				Flags: []cli.Flag{
					&cli.BoolFlag{Name: "json", Usage: "print JSON"},
					&cli.StringSliceFlag{Name: "state", Usage: "only tasks in `STATE`: ready, running, done or failed"},
					&cli.StringFlag{Name: "slave", Usage: "only tasks of `SLAVE`"},
					&cli.BoolFlag{Name: "archived", Usage: "list the archive"},
					&cli.StringFlag{Name: "older-than", Usage: "only tasks that were put `DURATION` ago or earlier, such as 2days"},
					&cli.IntFlag{Name: "limit", Value: 1000, Usage: "at most `N` tasks"},
				},
				Action: a.listTasks,
			},
			{
				Name: "show", Usage: "print tasks", ArgsUsage: "TASK…",
				Flags:  []cli.Flag{&cli.BoolFlag{Name: "json", Usage: "print JSON, with question and answer"}},
				Action: a.showTasks,
			},
			one("retry", "make tasks that are done or failed ready again", "is ready again", func(ctx context.Context, db master.Store, now int64, id string) error {
				return db.Retry(ctx, now, id)
			}),
			one("cancel", "give tasks up; their slaves stop at the next heartbeat", "is cancelled", func(ctx context.Context, db master.Store, now int64, id string) error {
				return db.Cancel(ctx, now, id, task.KindCancelled, "cancelled by an operator")
			}),
			{
				Name: "archive", Usage: "move finished tasks to tasks_archived now",
				Flags:  []cli.Flag{&cli.StringFlag{Name: "older-than", Usage: "only tasks that finished `DURATION` ago or earlier, such as 2days; default: should_archive of the config file"}},
				Action: a.archiveTasks,
			},
		},
	}
}

// eachTask runs do for each task that the arguments name, whole or by the first
// digits of its id.
func (a *app) eachTask(command string, do func(context.Context, master.Store, string) error) cli.ActionFunc {
	return func(ctx context.Context, c *cli.Command) error {
		if !c.Args().Present() {
			return fmt.Errorf("tasks %s: name at least one task", command)
		}
		return a.withStore(false, func(db master.Store) error {
			for _, name := range c.Args().Slice() {
				id, err := resolve(ctx, db, name)
				if err != nil {
					return err
				}
				if err := do(ctx, db, id); err != nil {
					return err
				}
			}
			return nil
		})
	}
}

// resolve completes the id of a task.
func resolve(ctx context.Context, db master.Store, name string) (string, error) {
	ids, err := db.Resolve(ctx, strings.ToLower(name))
	switch {
	case err != nil && !errors.Is(err, queue.ErrNotFound):
		return "", err
	case len(ids) == 0:
		return "", fmt.Errorf("task %s: %w", name, queue.ErrNotFound)
	case len(ids) > 1:
		return "", fmt.Errorf("task %s: several ids begin so: %s …; write more of it", name, strings.Join(ids, ", "))
	}
	return ids[0], nil
}

// archiveTasks moves finished tasks to the archive.
func (a *app) archiveTasks(ctx context.Context, c *cli.Command) error {
	cfg, err := a.load(false)
	if err != nil {
		return err
	}
	age := cfg.Task.ShouldArchive.D()
	if c.IsSet("older-than") {
		if age, err = duration(c, "older-than"); err != nil {
			return err
		}
	}
	return a.withStore(false, func(db master.Store) error {
		n, err := queue.Archive(ctx, db, age)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(a.stdout, "%d tasks archived\n", n)
		return err
	})
}

// duration reads a flag in the form of the config file.
func duration(c *cli.Command, flag string) (time.Duration, error) {
	d, err := config.ParseDuration(c.String(flag))
	if err != nil {
		return 0, fmt.Errorf("--%s: %w", flag, err)
	}
	return d.D(), nil
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
	return a.withStore(false, func(db master.Store) error {
		at, err := db.Now(ctx)
		if err != nil {
			return err
		}
		now := at.Time.Unix()
		if c.IsSet("older-than") {
			age, err := duration(c, "older-than")
			if err != nil {
				return err
			}
			f.CreatedBefore = now - int64(age/time.Second)
		}
		tasks, err := db.List(ctx, f)
		if err != nil {
			return err
		}
		if c.Bool("json") {
			views := make([]taskView, len(tasks))
			for i, t := range tasks {
				views[i] = viewOf(t, now)
			}
			return printJSON(a.stdout, views)
		}
		w := tabwriter.NewWriter(a.stdout, 2, 4, 2, ' ', 0)
		fmt.Fprintln(w, "ID\tMiner\tDeadline\tPartitions\tSectors\tState\tAttempt\tRetries\tSlave\tCreated\tTook\tRemaining\tProgress\tError")
		for _, t := range tasks {
			v := viewOf(t, now)
			fmt.Fprintf(w, "%.8s\t%s\t%s\t%s\t%s\t%s\t%d\t%d\t%s\t%s\t%s\t%s\t%s\t%s\n", t.ID, v.miner(), v.deadline(), v.partitions(), v.sectors(),
				t.State, t.Attempt, t.Retries, orDash(t.Slave), clockTime(t.CreatedAt), took(t, now), v.remaining(), orDash(t.Progress), firstLine(t.Reason))
		}
		return w.Flush()
	})
}

// showTasks prints tasks one after the other.
func (a *app) showTasks(ctx context.Context, c *cli.Command) error {
	return a.eachTask("show", func(ctx context.Context, db master.Store, id string) error {
		at, err := db.Now(ctx)
		if err != nil {
			return err
		}
		t, err := db.Show(ctx, id)
		if err != nil {
			return err
		}
		v := viewOf(t, at.Time.Unix())
		if c.Bool("json") {
			return json.NewEncoder(a.stdout).Encode(v)
		}
		w := tabwriter.NewWriter(a.stdout, 2, 4, 2, ' ', 0)
		for _, line := range [][2]string{
			{"Task", t.ID}, {"State", string(t.State)}, {"Miner", v.miner()}, {"Deadline", v.deadline()}, {"Partitions", v.partitions()},
			{"Sectors", v.sectors()}, {"Sector size", queue.SizeName(t.SectorSize)}, {"Stores", orDash(strings.Join(t.About.Stores, ", "))},
			{"Attempt", fmt.Sprint(t.Attempt)}, {"Retries", fmt.Sprint(t.Retries)}, {"Slave", orDash(t.Slave)}, {"Tried by", orDash(strings.Join(t.Tried, ", "))},
			{"Created", clockTime(t.CreatedAt)}, {"Started", clockTime(t.StartedAt)}, {"Heartbeat", clockTime(t.HeartbeatAt)}, {"Advanced", clockTime(t.AdvancedAt)},
			{"Finished", clockTime(t.FinishedAt)}, {"Took", took(t, v.now)}, {"Window closes", v.closes()}, {"Progress", orDash(t.Progress)},
			{"Verdict", orDash(string(t.Verdict))}, {"Error", orDash(t.Reason)}, {"Archived", fmt.Sprint(t.Archived)}, {"Answer", answerOf(t)},
		} {
			fmt.Fprintf(w, "%s\t%s\n", line[0], line[1])
		}
		return w.Flush()
	})(ctx, c)
}

// answerOf describes an answer, final or in hand.
func answerOf(t queue.Task) string {
	var a task.Answer
	if t.Out == nil || json.Unmarshal(t.Out, &a) != nil {
		return "-"
	}
	out := "no proof"
	if len(a.Proofs) > 0 {
		out = fmt.Sprintf("proof of %d bytes", len(a.Proofs[0]))
	}
	if len(a.Faults) > 0 {
		out += fmt.Sprintf(", %d sectors left out: %v", len(a.Faults), a.Faults)
	}
	for _, r := range a.Reasons {
		out += "; " + r.String()
	}
	if t.FinishedAt == 0 {
		out += " (in hand while another slave is asked)"
	}
	return out
}

// clockTime writes a Unix second in local time.
func clockTime(at int64) string {
	if at == 0 {
		return "-"
	}
	return time.Unix(at, 0).Format(time.DateTime)
}

// took is how long the last attempt ran, or has run so far.
func took(t queue.Task, now int64) string {
	switch {
	case t.StartedAt == 0:
		return "-"
	case t.FinishedAt != 0:
		now = t.FinishedAt
	}
	return (time.Duration(max(now-t.StartedAt, 0)) * time.Second).String()
}

// orDash is s, or a dash for nothing.
func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// firstLine keeps a listing to one line a task.
func firstLine(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	return orDash(s)
}

// printJSON writes v, indented, and a newline.
func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
