package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/urfave/cli/v3"

	"wdpost/internal/config"
	"wdpost/internal/queue"
	"wdpost/internal/queue/mysql"
	"wdpost/internal/queue/sqlite"
)

// app is what the subcommands share.
type app struct {
	log    *slog.Logger
	stdin  *os.File
	stdout io.Writer // answers and listings; everything else goes to the log
	getenv func(string) string
	hard   context.Context // ends at the second stop signal

	configPath string
}

// defaultConfig is the guide's name of the config file.
const defaultConfig = "wdpost_master.toml"

// defaultFile is the SQLite file beside the config file where no url is set.
const defaultFile = "wdpost_master.db"

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
			Name: "config", Aliases: []string{"c"}, Value: defaultConfig, Usage: "config `FILE`", Destination: &a.configPath,
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

// load reads the config file and logs what is suspicious in it.
func (a *app) load(warn bool) (config.Master, error) {
	cfg, warnings, err := config.LoadMaster(a.configPath)
	if err != nil {
		return config.Master{}, err
	}
	if warn {
		for _, w := range warnings {
			a.log.Warn(w, "file", a.configPath)
		}
	}
	return cfg, nil
}

// store is a queue.Store that can be migrated.
type store interface {
	queue.Store
	Migrate(ctx context.Context) (version int64, err error)
	MigrateDown(ctx context.Context, version int64) (int64, error)
}

// database prepares the configured database without connecting. create allows
// a missing SQLite file to be made.
func (a *app) database(cfg config.Database, create bool) (store, config.DatabaseURL, error) {
	url, err := config.ParseDatabaseURL(cfg.URL)
	if err != nil {
		return nil, url, fmt.Errorf("%s: db.url: %w", a.configPath, err)
	}
	if url.Driver == config.DriverSQLite {
		if url.Path == "" {
			url.Path = filepath.Join(filepath.Dir(a.configPath), defaultFile)
		}
		if _, err := os.Stat(url.Path); !create && errors.Is(err, fs.ErrNotExist) {
			return nil, url, fmt.Errorf("no tasks yet: %w; the daemon makes the file when it starts", err)
		}
		db, err := sqlite.OpenUnmigrated(url.Path, a.log)
		return db, url, err
	}
	db, err := mysql.OpenUnmigrated(mysql.Config{
		User: url.User, Password: url.Password, Address: url.Host, Database: url.Name, TLS: mysql.TLSMode(url.TLS),
		MinConnections: cfg.MinConnections, MaxConnections: cfg.MaxConnections, IdleTimeout: cfg.IdleTimeout.D(),
	}, a.log)
	return db, url, err
}

// withStore opens the database for a command and closes it afterwards.
func (a *app) withStore(create bool, do func(store) error) error {
	cfg, err := a.load(false)
	if err != nil {
		return err
	}
	db, _, err := a.database(cfg.DB, create)
	if err != nil {
		return err
	}
	return errors.Join(do(db), db.Close())
}

func (a *app) migrateCommand() *cli.Command {
	var down int64
	return &cli.Command{
		Name:  "migrate",
		Usage: "bring the database to the version this program needs; the daemon does so too when it starts",
		Flags: []cli.Flag{&cli.Int64Flag{
			Name: "down-to", Value: -1, Usage: "undo migrations above `VERSION`; 0 leaves the guide's own tables. Tasks are kept", Destination: &down,
		}},
		Action: func(ctx context.Context, _ *cli.Command) error {
			return a.withStore(true, func(db store) error {
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
