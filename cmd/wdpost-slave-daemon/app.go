package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/urfave/cli/v3"

	"wdpost/internal/attr"
	"wdpost/internal/config"
	"wdpost/internal/slave/daemon"
)

// app is what the subcommands share.
type app struct {
	log     *slog.Logger
	stdout  io.Writer
	environ []string        // as of os.Environ
	hard    context.Context // ends at the second stop signal
	hup     <-chan os.Signal

	configPath string
}

// command returns the command line.
func (a *app) command() *cli.Command {
	work := func(ctx context.Context, c *cli.Command) error {
		if c.Args().Present() {
			return fmt.Errorf("unknown command %q; see --help", c.Args().First())
		}
		return a.daemon(ctx)
	}
	return &cli.Command{
		Name:      "wdpost-slave-daemon",
		Usage:     "prove the tasks of a wdpost-master-daemon",
		Writer:    a.stdout,
		ErrWriter: os.Stderr,
		Flags: []cli.Flag{&cli.StringFlag{
			Name: "config", Aliases: []string{"c"}, Value: "slave.toml", Usage: "config `FILE`", Destination: &a.configPath,
		}},
		Action:                work,
		ExitErrHandler:        func(context.Context, *cli.Command, error) {}, // main maps errors to exit codes
		EnableShellCompletion: true,
		Commands: []*cli.Command{
			{Name: "daemon-command", Aliases: []string{"daemon"}, Usage: "work, as without a command", Action: work},
			{Name: "status", Usage: "print what the running slave is doing, as JSON; needs [debug] listen", Action: a.status},
		},
	}
}

// daemon works until soft ends and its tasks are done, or the second signal.
func (a *app) daemon(soft context.Context) error {
	cfg, warnings, err := config.LoadSlave(a.configPath)
	if err != nil {
		return err
	}
	for _, w := range warnings {
		a.log.Warn(w, attr.Path(a.configPath))
	}
	d, err := daemon.New(daemon.Config{File: cfg, Dir: filepath.Dir(a.configPath), Environ: a.environ, Log: a.log})
	if err != nil {
		return err
	}
	go a.hangups(soft)
	return d.Run(soft, a.hard)
}

// hangups says at each SIGHUP that nothing is reloaded.
func (a *app) hangups(ctx context.Context) {
	for {
		select {
		case <-a.hup:
			a.log.Warn("SIGHUP: a slave reads its file at the start only, tasks go on; restart it to apply changes", attr.Path(a.configPath))
		case <-ctx.Done():
			return
		}
	}
}

// status asks the running slave.
func (a *app) status(ctx context.Context, _ *cli.Command) error {
	cfg, _, err := config.LoadSlave(a.configPath)
	if err != nil {
		return err
	}
	if cfg.Debug.Listen == "" {
		return fmt.Errorf("%s: set [debug] listen, e.g. '127.0.0.1:9465', and restart the slave", a.configPath)
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+cfg.Debug.Listen+daemon.StatusPath, nil)
	if err != nil {
		return fmt.Errorf("debug.listen: %w", err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("no running slave answers: %w", err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("http://%s%s: %s", cfg.Debug.Listen, daemon.StatusPath, res.Status)
	}
	if k := res.Header.Get(daemon.KernelHeader); k != "" {
		a.log.Info("native prover", attr.Kernel(k))
	}
	_, err = io.Copy(a.stdout, io.LimitReader(res.Body, 16<<20))
	return err
}
