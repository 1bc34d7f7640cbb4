// Command venus-sector-manager keeps the sectors of storage providers proven:
// it follows the chain, has WindowPoSt and WinningPoSt made, and sends them.
//
//	venus-sector-manager daemon init       write the config files
//	venus-sector-manager daemon run        follow the chain and prove
//	venus-sector-manager util storage …    attach, list and find sectors
//	venus-sector-manager util post …       prove and verify files by hand
//
// Environment: RUST_LOG sets the log level, FIL_PROOFS_PARAMETER_CACHE names
// the folder of parameter files, VENUS_SECTOR_MANAGER_PATH the home.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"wdpost/internal/run"
	"wdpost/internal/sector/store/process"
)

func main() { os.Exit(realMain()) }

func realMain() int {
	process.ServeIfAsked() // before anything is opened: it may be the reader of stores
	if run.VersionAsked(os.Args, os.Stdout) {
		return 0
	}
	soft, hard, release := run.Signals(context.Background())
	defer release()
	log, level := run.NewLeveledLogger(os.Stderr, os.Getenv("RUST_LOG"))
	hup, stopHup := run.Hangups()
	defer stopHup()
	app := &app{
		log:    log,
		level:  level,
		hup:    hup,
		stdout: os.Stdout,
		getenv: os.Getenv,
		hard:   hard,
	}
	err := app.command().Run(soft, os.Args)
	switch {
	case err == nil:
		return 0
	case errors.Is(err, context.Canceled) || errors.Is(err, run.ErrStopping):
		fmt.Fprintln(os.Stderr, "venus-sector-manager: interrupted")
		return 130
	}
	fmt.Fprintf(os.Stderr, "venus-sector-manager: %v\n", err)
	return 1
}
