package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/urfave/cli/v3"

	"wdpost/internal/postfile"
	"wdpost/internal/prover"
	"wdpost/proofs/post"
)

func paramsFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "params-dir", Usage: "folder of parameter files; default: FIL_PROOFS_PARAMETER_CACHE"},
		&cli.IntFlag{Name: "partition-sectors", Usage: "sectors of a window partition on a development network; default: the network's"},
	}
}

// keys opens the parameter files that the flags and the environment name.
func (a *app) keys(cmd *cli.Command) (*prover.Keys, error) {
	cfg, err := prover.KeyConfigFromEnv(a.getenv)
	if err != nil {
		return nil, err
	}
	if dir := cmd.String("params-dir"); dir != "" {
		// Whoever names a folder asks about its keys, not about a cache elsewhere.
		cfg.ParamsDir, cfg.RawDirs = dir, []string{dir}
	}
	cfg.Log = a.log
	return prover.NewKeys(cfg), nil
}

func (a *app) postProve() *cli.Command {
	return &cli.Command{
		Name:  "prove",
		Usage: "prove sectors of a folder and write the proof as JSON",
		Flags: append(paramsFlags(),
			&cli.StringFlag{Name: "type", Value: "window", Usage: "window or winning"},
			&cli.StringFlag{Name: "dir", Required: true, Usage: "folder above cache and sealed"},
			&cli.StringFlag{Name: "list", Required: true, Usage: "JSON file with sector_size and each sector's number and comm_r"},
			&cli.StringFlag{Name: "numbers", Usage: "only these sectors of the list, e.g. 1,2; default: all"},
			&cli.StringFlag{Name: "miner", Required: true, Usage: "e.g. 1008 or t01008"},
			&cli.StringFlag{Name: "randomness", Required: true, Usage: "32 bytes in hex"},
			&cli.StringFlag{Name: "api", Usage: "1.0, 1.1 or 1.2: how challenges are drawn; default: 1.2 for window, 1.0 for winning"},
			&cli.StringFlag{Name: "out", Required: true, Usage: "file to write"},
		),
		Action: a.prove,
	}
}

func (a *app) prove(ctx context.Context, cmd *cli.Command) error {
	request, err := a.proveRequest(cmd)
	if err != nil {
		return err
	}
	keys, err := a.keys(cmd)
	if err != nil {
		return err
	}
	file, err := postfile.Prove(ctx, keys, request)
	if err := errors.Join(err, keys.Close()); err != nil {
		return err
	}
	if err := file.Write(cmd.String("out")); err != nil {
		return err
	}
	fmt.Fprintf(a.stdout, "%s proof of %d sectors, %d bytes, verified: %s\n", file.Type, len(file.Sectors), len(file.Proof)/2, cmd.String("out"))
	return nil
}

// proveRequest reads the flags of prove.
func (a *app) proveRequest(cmd *cli.Command) (r postfile.Request, err error) {
	r = postfile.Request{
		API: cmd.String("api"), Dir: cmd.String("dir"), List: cmd.String("list"),
		PartitionSectors: cmd.Int("partition-sectors"), Log: a.log,
	}
	if r.Kind, err = post.ParseKind(cmd.String("type")); err != nil {
		return r, err
	}
	if r.Randomness, err = postfile.Hex32("--randomness", cmd.String("randomness")); err != nil {
		return r, err
	}
	if r.Numbers, err = parseNumbers(cmd.String("numbers")); err != nil {
		return r, err
	}
	r.Miner, err = parseMiner(cmd.String("miner"))
	return r, err
}

func (a *app) postVerify() *cli.Command {
	return &cli.Command{
		Name:  "verify",
		Usage: "verify a proof in a JSON file",
		Flags: append(paramsFlags(), &cli.StringFlag{Name: "in", Required: true, Usage: "file written by prove, or of the same form"}),
		Action: func(ctx context.Context, cmd *cli.Command) error {
			file, err := postfile.Read(cmd.String("in"))
			if err != nil {
				return err
			}
			statement, proof, err := file.Claim()
			if err != nil {
				return fmt.Errorf("%s: %w", cmd.String("in"), err)
			}
			keys, err := a.keys(cmd)
			if err != nil {
				return err
			}
			err = errors.Join(postfile.Check(ctx, keys, statement, proof), keys.Close())
			if err != nil {
				return fmt.Errorf("%s: %w", cmd.String("in"), err)
			}
			fmt.Fprintf(a.stdout, "valid %s proof of %d sectors of miner %d\n", file.Type, len(statement.Sectors), file.Miner)
			return nil
		},
	}
}

// parseNumbers reads "1,2,5"; nil for the empty text.
func parseNumbers(s string) ([]uint64, error) {
	if s == "" {
		return nil, nil
	}
	var out []uint64
	for _, part := range strings.Split(s, ",") {
		n, err := strconv.ParseUint(strings.TrimSpace(part), 10, 63)
		if err != nil {
			return nil, fmt.Errorf("--numbers %q: write it like 1,2,5", s)
		}
		out = append(out, n)
	}
	return out, nil
}
