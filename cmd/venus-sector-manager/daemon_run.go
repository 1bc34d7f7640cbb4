package main

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/urfave/cli/v3"

	"wdpost/internal/run"
)

// daemonOptions are the flags of `daemon run`.
type daemonOptions struct {
	home, confDir string
	listen        string
	poster, miner bool
	extProver     bool
	warmup        bool
}

func (a *app) daemonRun() *cli.Command {
	return &cli.Command{
		Name:  "run",
		Usage: "follow the chain, have proofs made and send them",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "listen", Value: ":1789", Usage: "address of /healthz, /metrics and /status"},
			&cli.BoolFlag{Name: "poster", Usage: "make WindowPoSt for the miners with [Miners.PoSt] Enabled"},
			&cli.BoolFlag{Name: "miner", Usage: "answer WinningPoSt requests for the miners with [Miners.Proof] Enabled"},
			&cli.BoolFlag{Name: "ext-prover", Usage: "prove through the processors of ext-prover.cfg instead of in this process"},
			&cli.BoolFlag{Name: "warmup", Value: true, Usage: "load the parameters at the start, not at the first proof"},
			&cli.StringFlag{Name: "conf-dir", Usage: "folder of the config files; default: the home", Sources: cli.EnvVars(confDirEnv...)},
		},
		Action: func(ctx context.Context, cmd *cli.Command) error {
			home, err := a.home(cmd)
			if err != nil {
				return err
			}
			opts := daemonOptions{
				home: home, confDir: home, listen: cmd.String("listen"),
				poster: cmd.Bool("poster"), miner: cmd.Bool("miner"),
				extProver: cmd.Bool("ext-prover"), warmup: cmd.Bool("warmup"),
			}
			if dir := cmd.String("conf-dir"); dir != "" {
				if opts.confDir, err = expand(dir); err != nil {
					return fmt.Errorf("config folder: %w", err)
				}
			}
			return a.runDaemon(ctx, opts)
		},
	}
}

// runDaemon runs until ctx ends (the first stop signal) and everything has
// stopped in order, or until the second signal.
func (a *app) runDaemon(ctx context.Context, opts daemonOptions) error {
	d, err := a.newDaemon(ctx, opts)
	if err != nil {
		return err
	}
	unlock, err := lockHome(opts.home)
	if err != nil {
		return err
	}
	defer unlock()
	lis, err := net.Listen("tcp", opts.listen)
	if err != nil {
		return fmt.Errorf("%w: choose another address with --listen, or free the port", err)
	}
	a.log.Info("manager started", "home", opts.home, "listen", lis.Addr().String(),
		"poster", opts.poster, "miner", opts.miner, "extProver", opts.extProver)
	ended := make(chan error, 1)
	go func() { ended <- d.run(ctx, lis) }()
	select {
	case err = <-ended:
	case <-a.hard.Done():
		return run.ErrStopNow
	}
	if ctx.Err() != nil && (err == nil || errors.Is(err, run.ErrStopping) || errors.Is(err, context.Canceled)) {
		a.log.Info("manager stopped")
		return nil
	}
	return err
}
