// Command wdpost-master-daemon keeps the queue of proving tasks: as a child of
// venus-sector-manager it takes questions on stdin and answers them on stdout,
// while slaves claim and prove them over gRPC.
//
//	wdpost-master-daemon -c wdpost_master.toml     serve (also: daemon -c …)
//	wdpost-master-daemon migrate                   bring the database up to date
//	wdpost-master-daemon tasks list|show|retry|cancel|archive
//	wdpost-master-daemon slaves list|drain|resume
//
// Run from a terminal or a service manager, without a parent on a pipe, it
// serves slaves only: a further master on the same database.
//
// Environment: RUST_LOG sets the log level; FIL_PROOFS_PARAMETER_CACHE names
// the folder of the verifying keys. Logs go to stderr.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"wdpost/internal/run"
)

func main() { os.Exit(realMain()) }

func realMain() int {
	if run.VersionAsked(os.Args, os.Stdout) {
		return 0
	}
	soft, _, release := run.Signals(context.Background())
	defer release()
	_, unhook := run.Hangups() // a closed terminal ends no master
	defer unhook()
	a := &app{
		log:    run.NewLogger(os.Stderr, os.Getenv("RUST_LOG")),
		stdin:  os.Stdin,
		stdout: os.Stdout,
		getenv: os.Getenv,
	}
	err := a.command().Run(soft, os.Args)
	if err == nil || errors.Is(err, run.ErrStopping) {
		return 0
	}
	fmt.Fprintln(os.Stderr, "wdpost-master-daemon:", err)
	return 1
}
