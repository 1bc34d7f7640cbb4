package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/urfave/cli/v3"

	"wdpost/internal/run"
	"wdpost/lab/cluster"
)

// errDone ends a run whose deadlines have closed.
var errDone = errors.New("all deadlines closed")

// runCluster runs the whole cluster and judges it at the end.
func runCluster(ctx context.Context, cmd *cli.Command) error {
	if cmd.Args().Len() > 0 {
		return fmt.Errorf("wdpost-devnet has no subcommand %q: known is chain; without one it runs a whole cluster", cmd.Args().First())
	}
	cfg, err := config(cmd)
	if err != nil {
		return err
	}
	fmt.Println("making parameters, sectors and programs; this takes a moment")
	c, err := cluster.Prepare(ctx, cfg)
	if err != nil {
		return err
	}
	fmt.Println("work directory:", c.Workdir())
	running, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var shown sync.WaitGroup
	view := newView(c)
	shown.Go(func() {
		if run.IsTerminal(os.Stdout) && !cmd.Bool("lines") {
			view.Screen(running)
		} else {
			view.Lines(running)
		}
	})
	if n := cmd.Int("deadlines"); n > 0 {
		shown.Go(func() {
			if c.WaitDeadlines(running, n) == nil {
				stop(errDone)
			}
		})
	}
	err = c.Run(running)
	stop(nil)
	shown.Wait()
	verdict := c.Judge()
	fmt.Printf("\n%s\nwork directory: %s\n", verdict, c.Workdir())
	return errors.Join(err, verdict.Err(), c.Close())
}

// timeToConfigure passes before the first window of a chain alone opens, so
// that whoever practises on it has configured the programs by then.
const timeToConfigure = 3 * time.Minute

// runChain runs the chain alone until it is interrupted.
func runChain(ctx context.Context, cmd *cli.Command) error {
	cfg, err := config(cmd)
	if err != nil {
		return err
	}
	if cfg.FirstOpen == 0 {
		cfg.FirstOpen = abi.ChainEpoch(timeToConfigure / cfg.Epoch)
	}
	c, err := cluster.PrepareChain(ctx, cfg, cmd.String("params-dir"))
	if err != nil {
		return err
	}
	fmt.Printf("work directory: %s (how to reach the chain: access.json)\n", c.Workdir())
	var shown sync.WaitGroup
	shown.Go(func() { newView(c).Lines(ctx) })
	err = c.RunChain(ctx)
	shown.Wait()
	verdict := c.Judge()
	fmt.Printf("\n%s\n", verdict)
	return errors.Join(err, verdict.Err(), c.Close())
}

func newView(c *cluster.Cluster) *cluster.View {
	return cluster.NewView(c, os.Stdout, func() (columns, rows int) { return run.TerminalSize(os.Stdout) })
}
