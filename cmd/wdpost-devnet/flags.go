package main

import (
	"log/slog"
	"os"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/urfave/cli/v3"

	"wdpost/internal/run"
	"wdpost/lab/cluster"
	"wdpost/lab/devnet"
	"wdpost/proofs/post"
)

// clusterFlags describe miners, sectors and chain.
func clusterFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "sector-size", Value: "2KiB", Usage: "`SIZE` of the sectors; above 8MiB they are faux (all zero) ones"},
		&cli.IntFlag{Name: "sectors", HideDefault: true, Usage: "`N` sectors for each miner (default: one partition in every deadline)"},
		&cli.IntFlag{Name: "miners", Value: 1, Usage: "`N` miners"},
		&cli.IntFlag{Name: "spread", HideDefault: true, Usage: "put each miner's sectors into only `N` deadlines, several partitions each (default: by the actor's rules)"},
		&cli.IntFlag{Name: "partition-sectors", HideDefault: true, Usage: "`N` sectors in a partition instead of the network's number"},
		&cli.IntFlag{Name: "faulty", HideDefault: true, Usage: "`N` sectors of each miner start as faults and must be recovered"},
		&cli.StringFlag{Name: "workdir", Usage: "`DIR` for everything that is made (default: a new temporary directory)"},
		&cli.IntFlag{Name: "window", Value: 30, Usage: "`N` epochs in a deadline's window"},
		&cli.DurationFlag{Name: "epoch", Value: time.Second, Usage: "`LENGTH` of an epoch"},
		&cli.Uint64Flag{Name: "period-deadlines", Value: 48, Usage: "`N` deadlines in a proving period"},
		&cli.IntFlag{Name: "null-every", HideDefault: true, Usage: "about one epoch in `N` is a null round (default: none)"},
		&cli.Int64Flag{Name: "reorg-every", HideDefault: true, Usage: "a reorganisation every `N` epochs (default: none)"},
		&cli.IntFlag{Name: "nodes", Value: 1, Usage: "`N` full nodes, all of which the manager is told of"},
		&cli.BoolFlag{Name: "node-mode", Usage: "messages go through the nodes and not through the messager"},
		&cli.StringSliceFlag{Name: "trouble", Usage: "what goes wrong and when, may be given often: " + devnet.TroubleHelp},
		&cli.Int64Flag{Name: "first-open", HideDefault: true, Usage: "the first window with sectors opens in epoch `N` (default: as soon as can be; of the chain alone: three minutes later)"},
		&cli.Int64Flag{Name: "winning-every", HideDefault: true, Usage: "ask for a winning proof every `N` epochs (default: never)"},
	}
}

// runFlags describe the processes.
func runFlags() []cli.Flag {
	return []cli.Flag{
		&cli.IntFlag{Name: "deadlines", Local: true, HideDefault: true, Usage: "end after `N` deadlines with sectors: exit 0 if all were proven, 1 if not (default: run until interrupted)"},
		&cli.IntFlag{Name: "slaves", Local: true, Value: 2, Usage: "`N` slaves"},
		&cli.StringFlag{Name: "mysql", Local: true, Usage: "`URL` of the queue's database, mysql://user:password@host/name (default: an embedded file)"},
		&cli.StringFlag{Name: "bin", Local: true, Usage: "`DIR` of our programs (default: beside this one, or built from the source tree)"},
		&cli.BoolFlag{Name: "lines", Local: true, Usage: "tell events line by line even on a terminal"},
	}
}

func config(cmd *cli.Command) (cluster.Config, error) {
	size, err := post.ParseSectorSize(cmd.String("sector-size"))
	if err != nil {
		return cluster.Config{}, err
	}
	var troubles []devnet.Trouble
	for _, text := range cmd.StringSlice("trouble") {
		t, err := devnet.ParseTrouble(text)
		if err != nil {
			return cluster.Config{}, err
		}
		troubles = append(troubles, t)
	}
	return cluster.Config{
		Nodes: cmd.Int("nodes"), NodeMode: cmd.Bool("node-mode"), Troubles: troubles,
		Workdir: cmd.String("workdir"), BinDir: cmd.String("bin"), SectorSize: size,
		Miners: cmd.Int("miners"), Sectors: cmd.Int("sectors"), Spread: cmd.Int("spread"),
		PartitionSectors: cmd.Int("partition-sectors"), Faulty: cmd.Int("faulty"),
		Slaves: cmd.Int("slaves"), MySQL: cmd.String("mysql"),
		PeriodDeadlines: cmd.Uint64("period-deadlines"), Window: abi.ChainEpoch(cmd.Int("window")),
		Epoch: cmd.Duration("epoch"), FirstOpen: abi.ChainEpoch(cmd.Int64("first-open")), NullEvery: cmd.Int("null-every"),
		ReorgEvery: abi.ChainEpoch(cmd.Int64("reorg-every")), WinningEvery: abi.ChainEpoch(cmd.Int64("winning-every")),
		Log: logger(),
	}, nil
}

// logger writes warnings and errors, or what RUST_LOG asks for, to stderr.
func logger() *slog.Logger {
	level := os.Getenv("RUST_LOG")
	if level == "" {
		level = "warn"
	}
	return run.NewLogger(os.Stderr, level)
}
