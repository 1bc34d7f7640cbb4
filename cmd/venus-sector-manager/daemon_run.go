package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"github.com/urfave/cli/v3"

	"wdpost/internal/attr"
	"wdpost/internal/manager"
	"wdpost/internal/prover"
	"wdpost/internal/run"
)

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
			cfg := manager.Config{
				Home: home, ConfDir: home, ProgramDir: programDir(), Build: build(),
				Poster: cmd.Bool("poster"), Winning: cmd.Bool("miner"),
				ExtProver: cmd.Bool("ext-prover"), WarmUp: cmd.Bool("warmup"),
				Log: a.log, Level: a.level, Parts: manager.Rooms(),
			}
			if dir := cmd.String("conf-dir"); dir != "" {
				if cfg.ConfDir, err = expand(dir); err != nil {
					return fmt.Errorf("config folder: %w", err)
				}
			}
			if cfg.Keys, err = prover.KeyConfigFromEnv(a.getenv); err != nil {
				return err
			}
			return a.runDaemon(ctx, cfg, cmd.String("listen"))
		},
	}
}

// runDaemon runs until ctx ends (the first stop signal) and everything has
// stopped in order, or until the second signal.
func (a *app) runDaemon(ctx context.Context, cfg manager.Config, listen string) error {
	m, err := manager.New(ctx, cfg)
	if err != nil {
		return err
	}
	unlock, err := lockHome(cfg.Home)
	if err != nil {
		return err
	}
	defer unlock()
	lis, err := net.Listen("tcp", listen)
	if err != nil {
		return fmt.Errorf("%w: choose another address with --listen, or free the port", err)
	}
	a.log.Info("manager started", attr.Version(cfg.Build), attr.Home(cfg.Home), attr.Address(lis.Addr().String()),
		attr.Switch("poster", cfg.Poster), attr.Switch("miner", cfg.Winning), attr.Switch("extProver", cfg.ExtProver))
	ended := make(chan error, 1)
	go func() { ended <- m.Run(ctx, lis) }()
	for {
		select {
		case err = <-ended:
		case <-a.hup:
			if _, err := m.Reload(ctx); err != nil {
				a.log.Warn("not reloaded", attr.Err(err))
			}
			continue
		case <-a.hard.Done():
			return run.ErrStopNow
		}
		break
	}
	if ctx.Err() != nil && (err == nil || errors.Is(err, run.ErrStopping) || errors.Is(err, context.Canceled)) {
		a.log.Info("manager stopped")
		return nil
	}
	return err
}

// programDir is the folder of this program.
func programDir() string {
	exe, err := os.Executable()
	if err != nil {
		exe = os.Args[0]
	}
	return filepath.Dir(exe)
}
