// Command wdpost-bench measures the proof system on this machine: beside the
// reference implementation (the default), over growing circuits (scale), on a
// whole partition of real size (full), and the end of canceled proofs (cancel).
package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/urfave/cli/v3"

	"wdpost/internal/run"
	"wdpost/lab/bench"
	"wdpost/proofs/kernel"
)

func main() {
	if run.VersionAsked(os.Args, os.Stdout) {
		return
	}
	soft, _, release := run.Signals(context.Background())
	defer release()
	if err := command().Run(soft, os.Args); err != nil {
		fmt.Fprintln(os.Stderr, "wdpost-bench:", err)
		os.Exit(1)
	}
}

func command() *cli.Command {
	return &cli.Command{
		Name:  "wdpost-bench",
		Usage: "measure the proof system on this machine, beside the reference implementation",
		Flags: append(compareFlags(), &cli.StringFlag{
			Name: "kernel", Usage: "compute with `KERNEL`: scalar, avx2, ifma or auto, the fastest of this machine", Value: "auto",
		}, &cli.StringFlag{
			Name: "workdir", Usage: "`DIR` for sectors and keys, which are used again",
			Value: filepath.Join(os.TempDir(), "wdpost-bench"),
		}),
		Action:   compare,
		Commands: []*cli.Command{scaleCommand(), fullCommand(), cancelCommand(), jobCommand()},
	}
}

// jobCommand is what the children run.
func jobCommand() *cli.Command {
	return &cli.Command{
		Name: "job", Hidden: true,
		Action: func(ctx context.Context, _ *cli.Command) error {
			return bench.RunJob(ctx, os.Stdin, os.Stdout, logger(os.Stderr))
		},
	}
}

// logger writes to w, from info on unless RUST_LOG says otherwise.
func logger(w io.Writer) *slog.Logger {
	level := os.Getenv("RUST_LOG")
	if level == "" {
		level = "info"
	}
	return run.NewLogger(w, level)
}

// place is the working directory with children of this program, whose
// messages go to stderr; nil keeps them for errors.
func place(cmd *cli.Command, stderr io.Writer) (bench.Place, error) {
	program, err := os.Executable()
	if err != nil {
		return bench.Place{}, err
	}
	dir := cmd.String("workdir")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return bench.Place{}, err
	}
	on, err := kernel.Parse(cmd.String("kernel"))
	if err != nil {
		return bench.Place{}, err
	}
	return bench.Place{Dir: dir, Spawn: bench.Spawner{Program: program, Args: []string{"job"}, Stderr: stderr, Kernel: on}}, nil
}
