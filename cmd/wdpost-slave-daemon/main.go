// Command wdpost-slave-daemon proves tasks: it claims them from a master,
// reads the sectors, makes and checks the proof and delivers it.
//
//	wdpost-slave-daemon -c=slave.toml            work (also: daemon-command -c=…)
//	wdpost-slave-daemon status -c=slave.toml     what the running slave is doing
//
// The first stop signal ends claiming: what runs is finished. The second hands
// it back. SIGHUP ends nothing and reloads nothing: a closed terminal must not
// cost a proof.
//
// Environment: RUST_LOG sets the log level. FORCE_SECTOR_SIZE, in bytes, takes
// tasks of that sector size only and loads its parameters at the start.
// FIL_PROOFS_PARAMETER_CACHE names the folder of parameter files;
// BELLMAN_LOAD_SHM=1 maps raw caches in /dev/shm. The other BELLMAN_ variables
// and CUDA_VISIBLE_DEVICES reach external processors only.
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
	hup, unhook := run.Hangups()
	defer unhook()
	a := &app{
		hup:     hup,
		log:     run.NewLogger(os.Stderr, os.Getenv("RUST_LOG")),
		stdout:  os.Stdout,
		environ: os.Environ(),
		hard:    hard,
	}
	err := a.command().Run(soft, os.Args)
	if err == nil || errors.Is(err, run.ErrStopping) {
		return 0
	}
	fmt.Fprintln(os.Stderr, "wdpost-slave-daemon:", err)
	return 1
}
