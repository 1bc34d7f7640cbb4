package main

import (
	"context"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v3"
)

// slaveView is a slave as commands print it. Times are Unix seconds.
type slaveView struct {
	Name       string `json:"name"`
	Version    string `json:"version"`
	Address    string `json:"address"`
	Concurrent int    `json:"concurrent"`
	Running    int    `json:"running"`
	FirstSeen  int64  `json:"first_seen"`
	LastSeen   int64  `json:"last_seen"`
	Draining   bool   `json:"draining"`
}

func (a *app) slavesCommand() *cli.Command {
	drain := func(name, usage string, on bool) *cli.Command {
		return &cli.Command{
			Name: name, Usage: usage, ArgsUsage: "SLAVE…",
			Action: func(ctx context.Context, c *cli.Command) error {
				if !c.Args().Present() {
					return fmt.Errorf("slaves %s: name at least one slave", name)
				}
				return a.withStore(false, func(db store) error {
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
					&cli.DurationFlag{Name: "seen-within", Value: 5 * time.Minute, Usage: "only slaves seen within `DURATION`"},
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
	return a.withStore(false, func(db store) error {
		now, err := db.Now(ctx)
		if err != nil {
			return err
		}
		slaves, err := db.Slaves(ctx, now.Time.Add(-c.Duration("seen-within")).Unix())
		if err != nil {
			return err
		}
		if c.Bool("json") {
			views := make([]slaveView, len(slaves))
			for i, s := range slaves {
				views[i] = slaveView{s.Name, s.Version, s.Address, s.Concurrent, s.Running, s.FirstSeen, s.LastSeen, s.Draining}
			}
			return printJSON(a.stdout, views)
		}
		w := tabwriter.NewWriter(a.stdout, 2, 4, 2, ' ', 0)
		fmt.Fprintln(w, "Name\tVersion\tAddress\tConcurrent\tRunning\tLast seen\tDraining")
		for _, s := range slaves {
			fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%d\t%s\t%v\n", s.Name, s.Version, s.Address, s.Concurrent, s.Running, clockTime(s.LastSeen), s.Draining)
		}
		return w.Flush()
	})
}
