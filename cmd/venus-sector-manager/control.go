package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/urfave/cli/v3"

	"wdpost/internal/manager"
)

// utilConfig are the commands about the configuration of the running daemon.
func (a *app) utilConfig() *cli.Command {
	return &cli.Command{
		Name: "config", Usage: "show and reload the configuration of the running daemon",
		Commands: []*cli.Command{
			{
				Name: "reload", Usage: "read the config files again; running deadlines go on",
				Flags:  []cli.Flag{jsonFlag()},
				Action: a.configReload,
			},
			{
				Name: "show", Usage: "print the configuration as JSON",
				Flags:  []cli.Flag{&cli.BoolFlag{Name: "effective", Value: true, Usage: "the one in force in the running daemon, defaults included"}},
				Action: a.configShow,
			},
		},
		Action: a.needSubcommand,
	}
}

func jsonFlag() cli.Flag { return &cli.BoolFlag{Name: "json", Usage: "print JSON"} }

func (a *app) configReload(ctx context.Context, cmd *cli.Command) error {
	home, err := a.home(cmd)
	if err != nil {
		return err
	}
	var done manager.Reloaded
	if err := manager.Ask(ctx, home, "/reload", url.Values{}, &done); err != nil {
		return err
	}
	if cmd.Bool("json") {
		return a.printJSON(done)
	}
	for _, w := range done.Warnings {
		fmt.Fprintf(a.stdout, "warning: %s\n", w)
	}
	switch {
	case len(done.Changed) == 0:
		fmt.Fprintln(a.stdout, "read again: nothing differs from what is in force")
	case len(done.NeedsRestart) == 0:
		fmt.Fprintf(a.stdout, "in force: %s\n", strings.Join(done.Changed, ", "))
	default:
		fmt.Fprintf(a.stdout, "changed: %s\nonly after a restart: %s\n", strings.Join(done.Changed, ", "), strings.Join(done.NeedsRestart, ", "))
	}
	return nil
}

func (a *app) configShow(ctx context.Context, cmd *cli.Command) error {
	home, err := a.home(cmd)
	if err != nil {
		return err
	}
	var effective any
	if err := manager.Ask(ctx, home, "/config", nil, &effective); err != nil {
		return err
	}
	return a.printJSON(effective)
}

func (a *app) printJSON(v any) error {
	enc := json.NewEncoder(a.stdout)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// utilLog changes the log of the running daemon.
func (a *app) utilLog() *cli.Command {
	return &cli.Command{
		Name: "log", Usage: "change the log of the running daemon",
		Commands: []*cli.Command{{
			Name: "level", Usage: "set the log level until the next start", ArgsUsage: "off|error|warn|info|debug|trace",
			Action: func(ctx context.Context, cmd *cli.Command) error {
				home, err := a.home(cmd)
				if err != nil {
					return err
				}
				if cmd.Args().Len() != 1 {
					return fmt.Errorf("give one level: off, error, warn, info, debug or trace")
				}
				var answer struct{ Level string }
				if err := manager.Ask(ctx, home, "/loglevel", url.Values{"level": {cmd.Args().First()}}, &answer); err != nil {
					return err
				}
				fmt.Fprintf(a.stdout, "the log level is %s\n", answer.Level)
				return nil
			},
		}},
		Action: a.needSubcommand,
	}
}

// utilNotify tries the receivers of notifications.
func (a *app) utilNotify() *cli.Command {
	return &cli.Command{
		Name: "notify", Usage: "try the notifications",
		Commands: []*cli.Command{{
			Name: "test", Usage: "send a test message to every [[Common.Notify]]; fails when one does not take it",
			Action: a.notifyTest,
		}},
		Action: a.needSubcommand,
	}
}

func (a *app) notifyTest(ctx context.Context, cmd *cli.Command) error {
	home, err := a.home(cmd)
	if err != nil {
		return err
	}
	results, err := manager.TestNotifications(ctx, home, a.log)
	if err != nil {
		return err
	}
	if len(results) == 0 {
		return fmt.Errorf("no receiver is configured: add a [[Common.Notify]] section")
	}
	var failed []error
	for _, name := range slices.Sorted(maps.Keys(results)) {
		if err := results[name]; err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", name, err))
			continue
		}
		fmt.Fprintf(a.stdout, "%s: sent\n", name)
	}
	return errors.Join(failed...)
}
