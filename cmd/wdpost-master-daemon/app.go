package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/urfave/cli/v3"

	"wdpost/internal/attr"
	"wdpost/internal/config"
	"wdpost/internal/extprover"
	"wdpost/internal/master"
)

// app is what the subcommands share.
type app struct {
	log    *slog.Logger
	stdin  *os.File
	stdout io.Writer // answers and listings; everything else goes to the log
	getenv func(string) string

	configPath string
}

// command returns the command line.
func (a *app) command() *cli.Command {
	serve := func(ctx context.Context, c *cli.Command) error {
		if c.Args().Present() {
			return fmt.Errorf("unknown command %q; see --help", c.Args().First())
		}
		return a.daemon(ctx)
	}
	return &cli.Command{
		Name:      "wdpost-master-daemon",
		Usage:     "keep the queue of proving tasks between venus-sector-manager and the slaves",
		Writer:    a.stdout,
		ErrWriter: os.Stderr,
		Flags: []cli.Flag{&cli.StringFlag{
			Name: "config", Aliases: []string{"c"}, Value: "wdpost_master.toml", Usage: "config `FILE`", Destination: &a.configPath,
		}},
		Action:                serve,
		ExitErrHandler:        func(context.Context, *cli.Command, error) {}, // main maps errors to exit codes
		EnableShellCompletion: true,
		Commands: []*cli.Command{
			{Name: "daemon", Usage: "serve, as without a command", Action: serve},
			a.migrateCommand(),
			a.tasksCommand(),
			a.slavesCommand(),
		},
	}
}

// daemon serves until ctx ends or, as a child, until the parent is gone.
func (a *app) daemon(ctx context.Context) error {
	reporter, err := extprover.OpenReporter()
	if err != nil {
		return err
	}
	defer func() { _ = reporter.Close() }() // nothing is said after it
	cfg, err := a.load(true)
	if err != nil {
		return err
	}
	m, err := master.New(ctx, master.Config{
		File: cfg, Path: a.configPath, Stdin: a.stdin, Stdout: a.stdout, Getenv: a.getenv, Log: a.log, Reporter: reporter,
	})
	if err != nil {
		return err
	}
	return m.Run(ctx)
}

// load reads the config file and logs what is suspicious in it.
func (a *app) load(warn bool) (config.Master, error) {
	cfg, warnings, err := config.LoadMaster(a.configPath)
	if err != nil {
		return config.Master{}, err
	}
	if warn {
		for _, w := range warnings {
			a.log.Warn(w, attr.Path(a.configPath))
		}
	}
	return cfg, nil
}

// withStore opens the database for a command and closes it afterwards.
func (a *app) withStore(create bool, do func(master.Store) error) error {
	cfg, err := a.load(false)
	if err != nil {
		return err
	}
	db, err := master.OpenStore(cfg, a.configPath, create, a.log)
	if err != nil {
		return err
	}
	return errors.Join(do(db), db.Close())
}

func (a *app) migrateCommand() *cli.Command {
	var down int64
	return &cli.Command{
		Name:  "migrate",
		Usage: "bring the database to the version this program needs, and make anew what was dropped; the daemon does so too when it starts",
		Flags: []cli.Flag{&cli.Int64Flag{
			Name: "down-to", Value: -1, Usage: "undo migrations above `VERSION`; 0 leaves the guide's own tables. Tasks are kept", Destination: &down,
		}},
		Action: func(ctx context.Context, _ *cli.Command) error {
			return a.withStore(true, func(db master.Store) error {
				migrate := db.Migrate
				if down >= 0 {
					migrate = func(ctx context.Context) (int64, error) { return db.MigrateDown(ctx, down) }
				}
				version, err := migrate(ctx)
				if err != nil {
					return err
				}
				_, err = fmt.Fprintf(a.stdout, "the database is at version %d\n", version)
				return err
			})
		},
	}
}
