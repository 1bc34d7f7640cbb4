package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v3"

	"wdpost/internal/config"
	"wdpost/internal/manager"
)

// ErrTooSlow ends `compute window-post` with exit code 1 after its table.
var ErrTooSlow = errors.New("a real window would have closed before the proof was there")

// provingCompute is `proving compute window-post`.
func (a *app) provingCompute() *cli.Command {
	return &cli.Command{
		Name: "compute", Usage: "prove without sending",
		Commands: []*cli.Command{{
			Name: "window-post", Usage: "prove a real deadline through the running daemon and its slaves, verify it, send nothing: the time of every stage, and the margin in the real window",
			ArgsUsage: "DEADLINE",
			Description: "Uses the randomness of the deadline's last challenge. Real deadlines have the provers first:\n" +
				"it is refused while one is being proven, and given up when one begins.\n" +
				"Exit code 0: it would have been in time; 1: it failed or would have been too late.",
			Action: a.computeWindowPost,
		}},
		Action: a.needSubcommand,
	}
}

func (a *app) computeWindowPost(ctx context.Context, cmd *cli.Command) error {
	index, err := number(cmd, "deadline")
	if err != nil {
		return err
	}
	home, err := a.home(cmd)
	if err != nil {
		return err
	}
	cfg, _, err := config.LoadManager(filepath.Join(home, config.ManagerFile))
	if err != nil {
		return err
	}
	conf, err := chooseMiner(cfg.Miners, cmd.String("miner"))
	if err != nil {
		return err
	}
	form := url.Values{"miner": {strconv.FormatUint(conf.Actor, 10)}, "deadline": {strconv.FormatUint(index, 10)}}
	var done manager.Rehearsal
	if err := manager.Ask(ctx, home, "/rehearse", form, &done); err != nil {
		return err
	}
	if cmd.Bool("json") {
		err = a.printJSON(done)
	} else {
		err = a.printRehearsal(done)
	}
	if err == nil && done.Left <= 0 {
		err = fmt.Errorf("%w: %s too late", ErrTooSlow, (-done.Left).Round(time.Second))
	}
	return err
}

func (a *app) printRehearsal(r manager.Rehearsal) error {
	short := func(d time.Duration) string { return d.Round(time.Millisecond).String() }
	fmt.Fprintf(a.stdout, "%s deadline %d: proven with the challenge of epoch %d, verified, not sent\n", minerName(r.Miner), r.Deadline, r.Challenge)
	w := tabwriter.NewWriter(a.stdout, 2, 4, 2, ' ', 0)
	fmt.Fprintln(w, "partitions\tsectors\tskipped\tcheck\tprove\tverify")
	for _, b := range r.Batches {
		fmt.Fprintf(w, "%v\t%d\t%d\t%s\t%s\t%s\n", b.Partitions, b.Sectors, len(b.Skipped), short(b.Check), short(b.Prove), short(b.Verify))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, b := range r.Batches {
		for _, n := range slices.Sorted(maps.Keys(b.Skipped)) {
			fmt.Fprintf(a.stdout, "skipped %d: %s\n", n, b.Skipped[n])
		}
	}
	_, err := fmt.Fprintf(a.stdout, "chain: %s, all of it: %s\nmargin: the proof is there %s before the close; the message has %s of the window to land\n",
		short(r.Chain), short(r.Took), r.Margin.Round(time.Second), r.Left.Round(time.Second))
	return err
}
