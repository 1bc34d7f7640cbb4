package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/filecoin-project/go-address"
	"github.com/urfave/cli/v3"

	"wdpost/internal/inspect"
	"wdpost/internal/manager"
)

// show prints what a question gives: as JSON, or by the function.
func show[T any](a *app, q *question, v T, err error, table func(T) error) error {
	switch {
	case err != nil:
		return err
	case q.json:
		return a.printJSON(v)
	}
	return table(v)
}

func (a *app) provingInfo(ctx context.Context, cmd *cli.Command) error {
	q, err := a.ask(ctx, cmd)
	if err != nil {
		return err
	}
	info, err := q.Info(ctx)
	return show(a, q, info, err, q.print.Info)
}

func (a *app) provingDeadlines(ctx context.Context, cmd *cli.Command) error {
	q, err := a.ask(ctx, cmd)
	if err != nil {
		return err
	}
	rows, err := q.Deadlines(ctx, cmd.Bool("all"))
	return show(a, q, rows, err, func(rows []inspect.Row) error { return q.print.Deadlines(q.name, rows) })
}

func (a *app) provingDeadline(ctx context.Context, cmd *cli.Command) error {
	index, err := number(cmd, "deadline")
	if err != nil {
		return err
	}
	q, err := a.ask(ctx, cmd)
	if err != nil {
		return err
	}
	d, err := q.Deadline(ctx, index, cmd.Bool("sector-nums"))
	return show(a, q, d, err, q.print.Deadline)
}

func (a *app) provingFaults(ctx context.Context, cmd *cli.Command) error {
	q, err := a.ask(ctx, cmd)
	if err != nil {
		return err
	}
	list, err := q.Faults(ctx)
	return show(a, q, list, err, func(list []inspect.Fault) error { return q.print.Faults(q.name, list) })
}

func (a *app) provingSectorInfo(ctx context.Context, cmd *cli.Command) error {
	var numbers []uint64
	for _, arg := range cmd.Args().Slice() {
		n, err := strconv.ParseUint(arg, 10, 63)
		if err != nil {
			return fmt.Errorf("sector %q is not a number", arg)
		}
		numbers = append(numbers, n)
	}
	if len(numbers) == 0 {
		return errors.New("give the numbers of the sectors")
	}
	q, err := a.ask(ctx, cmd)
	if err != nil {
		return err
	}
	list, err := q.SectorInfos(ctx, numbers)
	return show(a, q, list, err, q.print.SectorInfos)
}

func (a *app) minerInfo(ctx context.Context, cmd *cli.Command) error {
	q, err := a.ask(ctx, cmd)
	if err != nil {
		return err
	}
	var senders []address.Address
	for _, s := range q.conf.PoSt.AllSenders() {
		senders = append(senders, s.Address)
	}
	o, err := q.Overview(ctx, senders)
	return show(a, q, o, err, q.print.Overview)
}

// ErrBadSectors ends `proving check` with exit code 1 after its table.
var ErrBadSectors = errors.New("sectors cannot be proven")

func (a *app) provingCheck(ctx context.Context, cmd *cli.Command) error {
	index, err := number(cmd, "deadline")
	if err != nil {
		return err
	}
	q, err := a.ask(ctx, cmd)
	if err != nil {
		return err
	}
	wanted, err := q.Wanted(ctx, index)
	if err != nil {
		return err
	}
	checker := manager.NewCheck(q.home, q.cfg, a.log)
	defer checker.Close()
	list := inspect.Check(ctx, checker, q.conf.Actor, index, wanted, cmd.Bool("slow"))
	bad := 0
	for _, s := range list {
		if s.Error != "" {
			bad++
		}
	}
	err = show(a, q, list, nil, func(list []inspect.CheckedSector) error { return q.print.Checked(list, cmd.Bool("only-bad")) })
	if err == nil && bad > 0 {
		err = fmt.Errorf("%d of %d %w", bad, len(list), ErrBadSectors)
	}
	return err
}
