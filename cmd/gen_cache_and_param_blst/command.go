package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/urfave/cli/v3"

	"wdpost/internal/keytool"
	"wdpost/internal/prover"
	"wdpost/internal/run"
	"wdpost/proofs/params"
	"wdpost/proofs/post"
)

// newCommand is the whole command line. out gets results, errOut progress.
func newCommand(out, errOut io.Writer, getenv func(string) string) *cli.Command {
	sub := func(name, usage string, setups setupsFunc) *cli.Command {
		return &cli.Command{
			Name: name, Usage: usage, Flags: flags(getenv),
			Action: func(ctx context.Context, c *cli.Command) error {
				if c.Args().Present() {
					return fmt.Errorf("%s takes no arguments, got %q: the size is a flag, --size %s", name, c.Args().First(), c.Args().First())
				}
				return (&work{out: out, errOut: errOut, setups: setups}).run(ctx, c)
			},
		}
	}
	return &cli.Command{
		Name:      "gen_cache_and_param_blst",
		Usage:     "prepare the keys of WindowPoSt and WinningPoSt",
		Writer:    out,
		ErrWriter: errOut,
		// Errors are printed once, by main.
		ExitErrHandler: func(context.Context, *cli.Command, error) {},
		Action: func(_ context.Context, c *cli.Command) error {
			if c.Args().Present() {
				return fmt.Errorf("no command %q: use wdpost-param, winpost-param or all", c.Args().First())
			}
			return errors.New("name what to prepare: wdpost-param, winpost-param or all, for example wdpost-param --size 32GiB")
		},
		Commands: []*cli.Command{
			sub("wdpost-param", "raw cache of the WindowPoSt key of a sector size", windowSetups),
			sub("winpost-param", "raw cache of the WinningPoSt key of a sector size", winningSetups),
			sub("all", "raw caches of all keys in the parameter directory, or of both keys of --size", allSetups),
		},
	}
}

func flags(getenv func(string) string) []cli.Flag {
	paramsDir := getenv(prover.EnvParamsDir)
	if paramsDir == "" {
		paramsDir = prover.DefaultParamsDir
	}
	return []cli.Flag{
		&cli.StringFlag{Name: "size", Usage: "sector `SIZE`: 2KiB, 8MiB, 512MiB, 32GiB, 64GiB, or 4KiB, 16KiB, 32KiB, 16MiB, 1GiB for development"},
		&cli.StringFlag{Name: "out", Value: prover.DefaultRawDir, Usage: "`DIR` of the raw caches; provers look in " + prover.DefaultRawDir + " and in the parameter directory"},
		&cli.StringFlag{Name: "params-dir", Value: paramsDir, Usage: "`DIR` of the .params files (environment: " + prover.EnvParamsDir + ")"},
		&cli.BoolFlag{Name: "verify", Usage: "read the files from end to end and check digests and checksums; change nothing"},
		&cli.BoolFlag{Name: "list", Usage: "list the raw caches; change nothing"},
		&cli.BoolFlag{Name: "remove", Usage: "remove the raw cache; key files are never removed"},
		&cli.BoolFlag{Name: "generate", Usage: "make development keys if there are none, for any size (without it: up to " + post.SizeName(prover.MaxGenerated) + ")"},
		&cli.BoolFlag{Name: "trust", Usage: "accept .params files that are not the network's"},
		&cli.IntFlag{Name: "partition-sectors", Usage: "`N` sectors in a window partition instead of the network's number, for development networks"},
	}
}

// setupsFunc chooses the circuits to work on. size is 0 where none was given.
type setupsFunc func(size uint64, partitionSectors int, tool *keytool.Tool) ([]post.Setup, error)

var errNoSize = errors.New("which sector size? for example --size 32GiB")

func windowSetups(size uint64, partitionSectors int, _ *keytool.Tool) ([]post.Setup, error) {
	if size == 0 {
		return nil, errNoSize
	}
	s := keytool.StandardSetup(post.Window, size)
	if partitionSectors > 0 {
		s = s.WithSectors(partitionSectors)
	}
	return []post.Setup{s}, nil
}

func winningSetups(size uint64, partitionSectors int, _ *keytool.Tool) ([]post.Setup, error) {
	if size == 0 {
		return nil, errNoSize
	}
	if partitionSectors > 0 {
		return nil, errors.New("--partition-sectors is for WindowPoSt: WinningPoSt has no partitions")
	}
	return []post.Setup{keytool.StandardSetup(post.Winning, size)}, nil
}

// allSetups are both circuits of a size or, without one, those whose key files
// or raw caches are there.
func allSetups(size uint64, partitionSectors int, tool *keytool.Tool) ([]post.Setup, error) {
	if size != 0 {
		window, err := windowSetups(size, partitionSectors, tool)
		return append(window, keytool.StandardSetup(post.Winning, size)), err
	}
	setups, err := tool.Present()
	if err == nil && len(setups) == 0 {
		err = fmt.Errorf("no .params files in %s and no raw caches in %s; name a size, for example --size 32GiB", tool.ParamsDir, tool.Out)
	}
	return setups, err
}

// parseSize reads --size: a name or a number of bytes; 0 if it was not given.
func parseSize(text string) (uint64, error) {
	if text == "" {
		return 0, nil
	}
	var names []string
	for _, size := range post.SectorSizes() {
		name := post.SizeName(size)
		if strings.EqualFold(text, name) || text == strconv.FormatUint(size, 10) {
			return size, nil
		}
		names = append(names, name)
	}
	return 0, fmt.Errorf("--size %s: there are no such sectors; use one of %s", text, strings.Join(names, ", "))
}

// work is one run of a subcommand.
type work struct {
	out, errOut io.Writer
	setups      setupsFunc
}

func (w *work) run(ctx context.Context, c *cli.Command) error {
	modes := 0
	for _, mode := range []string{"verify", "list", "remove"} {
		if c.Bool(mode) {
			modes++
		}
	}
	if modes > 1 {
		return errors.New("--verify, --list and --remove exclude one another")
	}
	size, err := parseSize(c.String("size"))
	if err != nil {
		return err
	}
	if n := c.Int("partition-sectors"); n < 0 {
		return fmt.Errorf("--partition-sectors %d: it must be positive", n)
	}
	for _, dir := range []string{"out", "params-dir"} {
		if c.String(dir) == "" {
			return fmt.Errorf("--%s is empty: name a directory", dir)
		}
	}
	progress := newProgress(w.errOut)
	defer progress.end()
	tool := &keytool.Tool{
		ParamsDir: c.String("params-dir"), Out: c.String("out"),
		Trust: c.Bool("trust"), Generate: c.Bool("generate"), Progress: progress.report,
		Log: run.NewLogger(progress, "info"),
	}
	if c.Bool("list") {
		return w.list(tool)
	}
	setups, err := w.setups(size, c.Int("partition-sectors"), tool)
	if err != nil {
		return err
	}
	step := w.make
	switch {
	case c.Bool("verify"):
		step = w.verify
	case c.Bool("remove"):
		step = w.remove
	}
	for _, s := range setups {
		err := step(ctx, tool, s, progress)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (w *work) make(ctx context.Context, tool *keytool.Tool, s post.Setup, progress *progress) error {
	result, err := tool.Make(ctx, s)
	progress.end()
	if err != nil {
		return err
	}
	verb := "written"
	if result.Kept {
		verb = "up to date"
	}
	fmt.Fprintf(w.out, "%s: raw cache %s: %s (%d bytes)\n", keytool.Name(s), verb, result.Raw, result.Bytes)
	if result.Generated {
		fmt.Fprintf(w.out, "%s: development keys made in %s\n", keytool.Name(s), tool.ParamsDir)
	}
	if !result.Published {
		fmt.Fprintf(w.out, "%s: these are development keys: their proofs count only on a network that uses them\n", keytool.Name(s))
	}
	return nil
}

func (w *work) verify(ctx context.Context, tool *keytool.Tool, s post.Setup, progress *progress) error {
	checks, err := tool.Verify(ctx, s)
	progress.end()
	bad := 0
	for _, c := range checks {
		state := "good"
		if c.Err != nil {
			state, bad = "BAD: "+c.Err.Error(), bad+1
		} else if published, ok := params.LookupPublished(s); ok && c.Digest != published.Params.Digest && c.Digest != published.VK.Digest {
			state = "good, development key"
		}
		fmt.Fprintf(w.out, "%s: %s: %s\n", keytool.Name(s), c.Path, state)
	}
	if err == nil && bad > 0 {
		err = fmt.Errorf("%s: %d of %d files are bad; fetch or make them again", keytool.Name(s), bad, len(checks))
	}
	return err
}

func (w *work) remove(_ context.Context, tool *keytool.Tool, s post.Setup, _ *progress) error {
	removed, err := tool.Remove(s)
	if err != nil {
		return err
	}
	state := "no raw cache in"
	if removed {
		state = "raw cache removed from"
	}
	fmt.Fprintf(w.out, "%s: %s %s\n", keytool.Name(s), state, tool.Out)
	return nil
}

func (w *work) list(tool *keytool.Tool) error {
	entries, err := tool.List()
	if err != nil {
		return err
	}
	if len(entries) == 0 {
		fmt.Fprintf(w.out, "no raw caches in %s\n", tool.Out)
		return nil
	}
	table := tabwriter.NewWriter(w.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "KEY\tBYTES\tKEYS\tSTATE\tPATH")
	for _, e := range entries {
		name, keys, state := e.Name, "development", "whole"
		if name == "" {
			name = "custom partition"
		}
		if e.Published {
			keys = "network"
		}
		if e.Err != nil {
			keys, state = "-", e.Err.Error()
		}
		fmt.Fprintf(table, "%s\t%d\t%s\t%s\t%s\n", name, e.Bytes, keys, state, e.Path)
	}
	return table.Flush()
}
