package main

import (
	"context"
	"fmt"
	"os"

	"github.com/urfave/cli/v3"

	"wdpost/lab/bench"
)

func cancelCommand() *cli.Command {
	return &cli.Command{
		Name:  "cancel",
		Usage: "cancel proofs of a window of 32 GiB shape at many places and say how long they go on",
		Flags: []cli.Flag{
			&cli.IntFlag{Name: "sectors", Value: 19, Usage: "`N` sectors in the partition"},
			&cli.IntFlag{Name: "tries", Value: 50, Usage: "cancel `N` proofs"},
		},
		Action: func(ctx context.Context, cmd *cli.Command) error {
			at, err := place(cmd, os.Stderr)
			if err != nil {
				return err
			}
			report, err := bench.Cancel(ctx, bench.CancelConfig{Place: at, Sectors: cmd.Int("sectors"), Tries: cmd.Int("tries")})
			if err != nil {
				return err
			}
			fmt.Printf("%s\n\n", bench.Machine())
			return report.Write(os.Stdout)
		},
	}
}
