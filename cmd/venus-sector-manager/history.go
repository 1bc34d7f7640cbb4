package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"
	"time"

	"github.com/urfave/cli/v3"

	"wdpost/internal/history"
	"wdpost/internal/inspect"
)

func (a *app) historyFlags() []cli.Flag {
	return []cli.Flag{&cli.StringFlag{Name: "miner", Usage: "t01000 or 1000; default: all"}, jsonFlag()}
}

// utilHistory lists the past deadlines; it reads the manager's diary and needs
// no daemon.
func (a *app) utilHistory() *cli.Command {
	return &cli.Command{
		Name: "history", Usage: "the last deadlines: verdict, proving time, margin to the close, gas, skipped sectors", ArgsUsage: "[COUNT, default 48]",
		Flags: a.historyFlags(),
		Action: func(ctx context.Context, cmd *cli.Command) error {
			count := uint64(48)
			if cmd.Args().Len() > 0 {
				var err error
				if count, err = number(cmd, "count"); err != nil {
					return err
				}
			}
			book, q, err := a.diary(cmd)
			if err != nil {
				return err
			}
			ends, err := book.Ends(ctx, q)
			if err != nil {
				return err
			}
			ends = ends[max(0, len(ends)-int(min(count, 1<<30))):]
			if cmd.Bool("json") {
				return a.printJSON(ends)
			}
			return inspect.Printer{W: a.stdout, Colour: a.colour()}.Past(ends)
		},
	}
}

// utilWhy tells the whole way of one deadline.
func (a *app) utilWhy() *cli.Command {
	return &cli.Command{
		Name: "why", Usage: "the whole way of a deadline: proofs, messages, costs, and how it ended", ArgsUsage: "DEADLINE",
		Flags: append(a.historyFlags(), &cli.IntFlag{Name: "back", Usage: "0: its last window, 1: the one before, …"}),
		Action: func(ctx context.Context, cmd *cli.Command) error {
			index, err := number(cmd, "deadline")
			if err != nil {
				return err
			}
			book, q, err := a.diary(cmd)
			if err != nil {
				return err
			}
			q.Deadline = &index
			steps, err := book.Steps(ctx, q)
			if err != nil {
				return err
			}
			steps = window(steps, cmd.Int("back"))
			if len(steps) == 0 {
				return fmt.Errorf("nothing is noted of deadline %d; the diary in the home goes back two weeks", index)
			}
			if cmd.Bool("json") {
				return a.printJSON(steps)
			}
			return inspect.Printer{W: a.stdout, Colour: a.colour()}.Way(steps)
		},
	}
}

// window keeps the steps of the period that lies back periods before the last.
func window(steps []history.Step, back int) []history.Step {
	var periods []int64
	for i := len(steps) - 1; i >= 0; i-- {
		if n := len(periods); n == 0 || periods[n-1] > steps[i].PeriodStart {
			periods = append(periods, steps[i].PeriodStart)
		}
	}
	if back < 0 || back >= len(periods) {
		return nil
	}
	var list []history.Step
	for _, s := range steps {
		if s.PeriodStart == periods[back] {
			list = append(list, s)
		}
	}
	return list
}

// diary is the book in the home and the question that the flags make.
func (a *app) diary(cmd *cli.Command) (*history.Book, history.Query, error) {
	var q history.Query
	home, err := a.home(cmd)
	if err != nil {
		return nil, q, err
	}
	if name := cmd.String("miner"); name != "" {
		actor, err := strconv.ParseUint(minerNumber(name), 10, 63)
		if err != nil {
			return nil, q, fmt.Errorf("--miner %q is neither an address like t01000 nor a number", name)
		}
		q.Miner = &actor
	}
	q.Since = time.Now().AddDate(-2, 0, 0)
	return history.New(filepath.Join(home, "history"), a.log), q, nil
}
