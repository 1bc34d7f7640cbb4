package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/filecoin-project/go-address"
	"github.com/urfave/cli/v3"

	"wdpost/internal/config"
	"wdpost/internal/inspect"
	"wdpost/internal/lotus"
	"wdpost/internal/manager"
)

// utilSealer is `util sealer proving …`, under the names that users of
// lotus-miner and damocles know.
func (a *app) utilSealer() *cli.Command {
	return &cli.Command{
		Name: "sealer", Usage: "what the chain says about a miner's proving",
		Commands: []*cli.Command{{
			Name: "proving", Usage: "proving period, deadlines, faults, sectors; --miner is needed with several miners",
			Flags: []cli.Flag{
				&cli.StringFlag{Name: "miner", Usage: "t01000 or 1000; default: the only one of the configuration"},
				jsonFlag(),
			},
			Commands: []*cli.Command{
				{Name: "info", Usage: "the proving period now", Action: a.provingInfo},
				{
					Name: "deadlines", Usage: "the deadlines of the period with sectors, faults and proven partitions",
					Flags: []cli.Flag{&cli.BoolFlag{Name: "all", Aliases: []string{"a"}, Usage: "those without sectors too"}}, Action: a.provingDeadlines,
				},
				{
					Name: "deadline", Usage: "the partitions of one deadline", ArgsUsage: "INDEX",
					Flags: []cli.Flag{&cli.BoolFlag{Name: "sector-nums", Aliases: []string{"n"}, Usage: "sector numbers too"}}, Action: a.provingDeadline,
				},
				{Name: "faults", Usage: "the faulty sectors", Action: a.provingFaults},
				{
					Name: "check", Usage: "whether the sectors of a deadline can be proven from here", ArgsUsage: "INDEX",
					Flags: []cli.Flag{
						&cli.BoolFlag{Name: "only-bad", Usage: "only those that cannot"},
						&cli.BoolFlag{Name: "slow", Usage: "read data and compare it with the chain, not only existence and size"},
					},
					Action: a.provingCheck,
				},
				a.provingCompute(),
				{Name: "sector-info", Usage: "what the chain knows of sectors", ArgsUsage: "NUMBER…", Action: a.provingSectorInfo},
			},
			Action: a.needSubcommand,
		}},
		Action: a.needSubcommand,
	}
}

// utilMiner is `util miner info`.
func (a *app) utilMiner() *cli.Command {
	return &cli.Command{
		Name: "miner", Usage: "a miner's power, balances and addresses",
		Commands: []*cli.Command{{
			Name: "info", Usage: "power, balances, control addresses with their balances and uses",
			Flags:  []cli.Flag{&cli.StringFlag{Name: "miner", Usage: "t01000 or 1000; default: the only one of the configuration"}, jsonFlag()},
			Action: a.minerInfo,
		}},
		Action: a.needSubcommand,
	}
}

// question is one command's miner at the head, with the configuration.
type question struct {
	*inspect.Miner
	conf  config.Miner
	cfg   config.Manager
	home  string
	name  string
	print inspect.Printer
	json  bool
}

// ask opens the miner that the command is about.
func (a *app) ask(ctx context.Context, cmd *cli.Command) (*question, error) {
	home, err := a.home(cmd)
	if err != nil {
		return nil, err
	}
	cfg, _, err := config.LoadManager(filepath.Join(home, config.ManagerFile))
	if err != nil {
		return nil, err
	}
	conf, err := chooseMiner(cfg.Miners, cmd.String("miner"))
	if err != nil {
		return nil, err
	}
	node, err := manager.OpenNode(cfg.Common.API, a.log)
	if err != nil {
		return nil, err
	}
	network, err := node.StateNetworkName(ctx)
	if err != nil {
		return nil, err
	}
	lotus.UseNetwork(network)
	addr, err := address.NewIDAddress(conf.Actor)
	if err != nil {
		return nil, err
	}
	m, err := inspect.Open(ctx, node, addr)
	if err != nil {
		return nil, err
	}
	return &question{
		Miner: m, conf: conf, cfg: cfg, home: home, name: addr.String(), json: cmd.Bool("json"),
		print: inspect.Printer{W: a.stdout, Colour: a.colour()},
	}, nil
}

// colour reports whether results go to a terminal that wants colour.
func (a *app) colour() bool {
	f, ok := a.stdout.(*os.File)
	if !ok || a.getenv("NO_COLOR") != "" || a.getenv("TERM") == "dumb" {
		return false
	}
	st, err := f.Stat()
	return err == nil && st.Mode()&os.ModeCharDevice != 0
}

// chooseMiner finds the miner that is named, or the only one.
func chooseMiner(all []config.Miner, name string) (config.Miner, error) {
	var known []string
	for _, m := range all {
		if m.Actor == 0 {
			continue
		}
		known = append(known, strconv.FormatUint(m.Actor, 10))
		if name != "" && minerNumber(name) == strconv.FormatUint(m.Actor, 10) {
			return m, nil
		}
	}
	switch {
	case len(known) == 0:
		return config.Miner{}, fmt.Errorf("%s names no miner: set Actor in a [[Miners]] section", config.ManagerFile)
	case name != "":
		return config.Miner{}, fmt.Errorf("--miner %s is not in %s: known are %s", name, config.ManagerFile, strings.Join(known, ", "))
	case len(known) > 1:
		return config.Miner{}, fmt.Errorf("several miners are configured: choose one with --miner: %s", strings.Join(known, ", "))
	}
	for _, m := range all {
		if m.Actor != 0 {
			return m, nil
		}
	}
	return config.Miner{}, nil
}

// minerNumber takes t0 or f0 off a miner's address.
func minerNumber(name string) string {
	for _, prefix := range []string{"t0", "f0"} {
		if rest, ok := strings.CutPrefix(strings.ToLower(name), prefix); ok {
			return rest
		}
	}
	return name
}

// number reads the only argument.
func number(cmd *cli.Command, what string) (uint64, error) {
	if cmd.Args().Len() != 1 {
		return 0, fmt.Errorf("give one %s: got %d arguments", what, cmd.Args().Len())
	}
	n, err := strconv.ParseUint(cmd.Args().First(), 10, 63)
	if err != nil {
		return 0, fmt.Errorf("%s %q is not a number", what, cmd.Args().First())
	}
	return n, nil
}
