package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/urfave/cli/v3"

	"wdpost/internal/attr"
	"wdpost/internal/config"
)

func (a *app) daemonInit() *cli.Command {
	return &cli.Command{
		Name:  "init",
		Usage: "write " + config.ManagerFile + " and " + config.ExtProverFile + ", everything in them commented out",
		Action: func(_ context.Context, cmd *cli.Command) error {
			home, err := a.home(cmd)
			if err != nil {
				return err
			}
			return a.initHome(home)
		},
	}
}

// initHome writes both config files, or none when one of them is there.
func (a *app) initHome(home string) error {
	files := []struct{ name, text string }{
		{config.ManagerFile, config.DefaultManagerText},
		{config.ExtProverFile, config.DefaultExtProverText},
	}
	for _, f := range files {
		path := filepath.Join(home, f.name)
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s already exists and is not overwritten: edit it, or move it away first", path)
		}
	}
	if err := os.MkdirAll(home, 0o755); err != nil {
		return fmt.Errorf("create the home folder: %w", err)
	}
	for _, f := range files {
		path := filepath.Join(home, f.name)
		if err := writeNew(path, f.text); err != nil {
			return err
		}
		a.log.Info("config file written; edit it before the first run", attr.Path(path))
	}
	return nil
}

// writeNew creates a file that may come to hold tokens, readable by the owner
// alone.
func writeNew(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("write config file: %w", err)
	}
	_, err = f.WriteString(text)
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write config file: %w", err)
	}
	return nil
}
