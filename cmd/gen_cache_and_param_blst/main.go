// Gen_cache_and_param_blst prepares the keys that proving needs: it turns the
// network's .params files into raw caches that are mapped instead of read, and
// makes development keys for small sectors.
//
//	gen_cache_and_param_blst wdpost-param --size 32GiB
//	gen_cache_and_param_blst winpost-param --size 32GiB
//	gen_cache_and_param_blst all
//
// It exits with 0 when everything asked for is in place, else with 1.
package main

import (
	"context"
	"fmt"
	"os"

	"wdpost/internal/run"
)

func main() {
	if run.VersionAsked(os.Args, os.Stdout) {
		return
	}
	ctx, _, release := run.Signals(context.Background())
	err := newCommand(os.Stdout, os.Stderr, os.Getenv).Run(ctx, os.Args)
	release()
	if err != nil {
		fmt.Fprintln(os.Stderr, "gen_cache_and_param_blst:", err)
		os.Exit(1)
	}
}
