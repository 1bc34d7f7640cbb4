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

func compareFlags() []cli.Flag {
	return []cli.Flag{
		&cli.IntFlag{Name: "rounds", Value: 3, Usage: "each work is done `N` times by each side, in turns; the median counts"},
		&cli.BoolFlag{Name: "quick", Usage: "one round"},
		&cli.StringFlag{Name: "only", Usage: "measure only works whose name contains `TEXT`"},
		&cli.BoolFlag{Name: "no-reference", Usage: "measure ours alone"},
		&cli.StringFlag{Name: "reference", Usage: "`PROGRAM` of the reference (default: built with cargo from --reference-source)"},
		&cli.StringFlag{Name: "reference-source", Value: "reference", Usage: "`DIR` of the reference's source"},
		&cli.StringFlag{Name: "profiles", Usage: "write CPU profiles of our proofs to `DIR`"},
		&cli.BoolFlag{Name: "strict", Usage: "exit 1 if a target is not met"},
	}
}

// errTargets is the end of a strict run that fell short.
var errTargets = errors.New("targets are not met")

func compare(ctx context.Context, cmd *cli.Command) error {
	if cmd.Args().Present() {
		return fmt.Errorf("unknown command %q", cmd.Args().First())
	}
	at, err := place(cmd, nil)
	if err != nil {
		return err
	}
	cfg := bench.CompareConfig{
		Place: at, Rounds: cmd.Int("rounds"), Only: cmd.String("only"),
		Profiles: cmd.String("profiles"), Log: logger(os.Stderr),
	}
	if cmd.Bool("quick") {
		cfg.Rounds = 1
	}
	if cfg.Profiles != "" {
		if err := os.MkdirAll(cfg.Profiles, 0o755); err != nil {
			return err
		}
	}
	if cfg.Reference, err = reference(ctx, cmd); err != nil {
		return err
	}
	start := time.Now()
	result, err := bench.Compare(ctx, cfg)
	fmt.Printf("%s; kernel %s; %d rounds in %s; other programs took %.2f cores meanwhile\n\n",
		bench.Machine(), at.Spawn.Kernel.Resolve(), cfg.Rounds, time.Since(start).Round(time.Second), result.Others)
	if err := errors.Join(err, bench.WriteTable(os.Stdout, result.Lines)); err != nil {
		return err
	}
	for _, l := range result.Lines {
		if cmd.Bool("strict") && l.Verdict() == bench.NotMet {
			return errTargets
		}
	}
	return nil
}

// reference is the program to compare with; nil for none.
func reference(ctx context.Context, cmd *cli.Command) (*bench.Reference, error) {
	if cmd.Bool("no-reference") {
		return nil, nil
	}
	if program := cmd.String("reference"); program != "" {
		return &bench.Reference{Program: program}, nil
	}
	return bench.BuildReference(ctx, cmd.String("reference-source"))
}
