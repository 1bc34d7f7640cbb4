package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/urfave/cli/v3"

	"wdpost/lab/bench"
)

func scaleCommand() *cli.Command {
	return &cli.Command{
		Name:  "scale",
		Usage: "prove windows of 1, 2, 4, … sectors of 32 GiB shape and say what a full partition takes",
		Flags: []cli.Flag{
			&cli.DurationFlag{Name: "budget", Value: 30 * time.Minute, Usage: "begin no circuit that would end after `TIME`"},
			&cli.IntSliceFlag{Name: "cores", Usage: "instead, record every piece of one proof and replay it on machines of `N,N,…` cores"},
			&cli.IntFlag{Name: "sectors", Value: 128, Usage: "`N` sectors in the proof that is replayed"},
			&cli.IntFlag{Name: "max-sectors", Usage: "stop at windows of `N` sectors (default: what time, memory and disk allow)"},
		},
		Action: func(ctx context.Context, cmd *cli.Command) error {
			at, err := place(cmd, nil)
			if err != nil {
				return err
			}
			if cores := cmd.IntSlice("cores"); len(cores) > 0 {
				report, err := bench.Cores(ctx, bench.CoresConfig{Place: at, Sectors: cmd.Int("sectors"), Workers: cores})
				if err != nil {
					return err
				}
				fmt.Printf("%s; kernel %s\n\n", bench.Machine(), at.Spawn.Kernel.Resolve())
				return report.Write(os.Stdout)
			}
			report, err := bench.Scale(ctx, bench.ScaleConfig{
				Place: at, Budget: cmd.Duration("budget"), MaxSectors: cmd.Int("max-sectors"), Log: logger(os.Stderr),
			})
			fmt.Printf("%s\n\n", bench.Machine())
			return errors.Join(err, report.Write(os.Stdout))
		},
	}
}
