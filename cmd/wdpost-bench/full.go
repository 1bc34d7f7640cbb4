package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/urfave/cli/v3"

	"wdpost/lab/bench"
)

func fullCommand() *cli.Command {
	return &cli.Command{
		Name:  "full",
		Usage: "make keys and sparse sectors of a whole 32 GiB partition, prove it and verify the proof; run again after an interruption",
		Flags: []cli.Flag{
			&cli.IntFlag{Name: "sectors", Usage: "prove a partition of `N` sectors (default: 2349, fewer only where the disk is too small)"},
		},
		Action: func(ctx context.Context, cmd *cli.Command) (err error) {
			path := filepath.Join(cmd.String("workdir"), "full-partition.log")
			if err := os.MkdirAll(cmd.String("workdir"), 0o755); err != nil {
				return err
			}
			file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
			if err != nil {
				return fmt.Errorf("log: %w", err)
			}
			defer func() { err = errors.Join(err, file.Close()) }()
			both := io.MultiWriter(os.Stderr, file)
			at, err := place(cmd, both)
			if err != nil {
				return err
			}
			return bench.Full(ctx, bench.FullConfig{Place: at, Sectors: cmd.Int("sectors"), Log: logger(both)})
		},
	}
}
