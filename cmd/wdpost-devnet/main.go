// Command wdpost-devnet shows the whole system on one machine: it makes sectors
// and development parameters, starts a simulated chain that verifies every
// proof, and runs the manager, a master and slaves against it as real processes
// until it is interrupted. `wdpost-devnet chain` runs the chain alone.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/urfave/cli/v3"

	"wdpost/internal/lotus"
	"wdpost/internal/run"
	"wdpost/lab/cluster"
)

func main() {
	if run.VersionAsked(os.Args, os.Stdout) {
		return
	}
	lotus.UseNetwork(cluster.NetworkName)
	soft, _, release := run.Signals(context.Background())
	defer release()
	if err := command().Run(soft, os.Args); err != nil && !errors.Is(err, run.ErrStopping) {
		fmt.Fprintln(os.Stderr, "wdpost-devnet:", err)
		os.Exit(1)
	}
}

func command() *cli.Command {
	return &cli.Command{
		Name:   "wdpost-devnet",
		Usage:  "a cluster that proves real sectors for a chain on this machine",
		Flags:  append(clusterFlags(), runFlags()...),
		Action: runCluster,
		// A trouble has commas of its own.
		DisableSliceFlagSeparator: true,
		Commands: []*cli.Command{{
			Name:  "chain",
			Usage: "the simulated chain alone, for programs that you configure yourself",
			Flags: append(clusterFlags(), &cli.StringFlag{
				Name: "params-dir", Usage: "`DIR` of the parameters that proofs are checked with",
				Value: "/var/tmp/filecoin-proof-parameters", Sources: cli.EnvVars("FIL_PROOFS_PARAMETER_CACHE"),
			}),
			Action: runChain,

			DisableSliceFlagSeparator: true,
		}},
	}
}
