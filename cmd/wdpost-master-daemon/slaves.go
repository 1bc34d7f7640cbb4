package main

import (
	"context"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v3"

	"wdpost/internal/master"
	"wdpost/internal/queue"
	"wdpost/internal/task"
)

func (a *app) slavesCommand() *cli.Command {
	drain := func(name, usage string, on bool) *cli.Command {
		return &cli.Command{
			Name: name, Usage: usage, ArgsUsage: "SLAVE…",
			Action: func(ctx context.Context, c *cli.Command) error {
				if !c.Args().Present() {
					return fmt.Errorf("slaves %s: name at least one slave", name)
				}
				return a.withStore(false, func(db master.Store) error {
					for _, slave := range c.Args().Slice() {
						if err := db.DrainSlave(ctx, slave, on); err != nil {
							return err
						}
						gets := "gets tasks again"
						if on {
							gets = "gets no more tasks"
						}
						if _, err := fmt.Fprintf(a.stdout, "slave %s %s\n", slave, gets); err != nil {
							return err
						}
					}
					return nil
				})
			},
		}
	}
	return &cli.Command{
		Name:  "slaves",
		Usage: "look at slaves and drain them",
		Commands: []*cli.Command{
			{
				Name: "list", Usage: "list the slaves seen lately",
				Flags: []cli.Flag{
					&cli.BoolFlag{Name: "json", Usage: "print JSON"},
					&cli.StringFlag{Name: "seen-within", Value: "5m", Usage: "only slaves seen within `DURATION`, such as 2days"},
				},
				Action: a.listSlaves,
			},
			drain("drain", "give slaves no more tasks; what they have they finish", true),
			drain("resume", "give drained slaves tasks again", false),
		},
	}
}

// listSlaves prints the listing.
func (a *app) listSlaves(ctx context.Context, c *cli.Command) error {
	within, err := duration(c, "seen-within")
	if err != nil {
		return err
	}
	return a.withStore(false, func(db master.Store) error {
		at, err := db.Now(ctx)
		if err != nil {
			return err
		}
		now := at.Time.Unix()
		slaves, err := db.Slaves(ctx, now-int64(within/time.Second))
		if err != nil {
			return err
		}
		running, err := db.List(ctx, queue.Filter{States: []task.State{task.Running}, Limit: 10_000})
		if err != nil {
			return err
		}
		views := make([]slaveView, len(slaves))
		for i, s := range slaves {
			views[i] = slaveViewOf(s, running, now)
		}
		if c.Bool("json") {
			return printJSON(a.stdout, views)
		}
		w := tabwriter.NewWriter(a.stdout, 2, 4, 2, ' ', 0)
		fmt.Fprintln(w, "Name\tState\tBuild\tCores\tMemory\tSizes\tConcurrent\tRunning\tProving\tAddress\tLast seen\tFailures\tLast error")
		for _, v := range views {
			cores, memory := v.machine()
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%d\t%d\t%s\t%s\t%s\t%d\t%s\n", v.Name, v.State, v.Version, cores, memory, v.sizes(),
				v.Concurrent, v.Running, v.proving(), v.Address, clockTime(v.LastSeen), v.Failures, v.trouble())
		}
		return w.Flush()
	})
}
