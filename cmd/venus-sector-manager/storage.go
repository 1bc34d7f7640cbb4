package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/urfave/cli/v3"

	"wdpost/internal/chain"
	"wdpost/internal/config"
	"wdpost/internal/lotus"
	"wdpost/internal/sector"
)

func (a *app) storageAttach() *cli.Command {
	return &cli.Command{
		Name:      "attach",
		Usage:     "take the sectors of a store into the index and print its config section",
		ArgsUsage: "PATH (the folder above cache and sealed)",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "name", Usage: "name of the store; default: its path"},
			&cli.BoolFlag{Name: "strict", Usage: "leave out files that are links out of the store"},
			&cli.BoolFlag{Name: "read-only", Usage: "print ReadOnly = true; stores are only ever read"},
			&cli.BoolFlag{Name: "verbose", Aliases: []string{"v"}, Usage: "log each sector"},
			&cli.BoolFlag{Name: "allow-splitted", Usage: "also take replicas and caches whose other half is in another store"},
			&cli.StringFlag{Name: "pattern", Value: "*", Usage: "only sectors whose file name matches, e.g. s-t01000-1[0-9]"},
		},
		Action: a.attach,
	}
}

func (a *app) attach(ctx context.Context, cmd *cli.Command) error {
	if cmd.Args().Len() != 1 {
		return fmt.Errorf("give one path, the folder above cache and sealed: got %d arguments", cmd.Args().Len())
	}
	home, err := a.home(cmd)
	if err != nil {
		return err
	}
	path := cmd.Args().First()
	if !filepath.IsAbs(path) { // an absolute one is printed as it was given
		if path, err = expand(path); err != nil {
			return fmt.Errorf("store path: %w", err)
		}
	}
	name := cmp.Or(cmd.String("name"), path)
	report, err := sector.Attach(ctx, sector.AttachConfig{
		Name: name, Path: path,
		Strict: cmd.Bool("strict"), AllowSplitted: cmd.Bool("allow-splitted"),
		Pattern: cmd.String("pattern"), Verbose: cmd.Bool("verbose"),
		SectorSize: a.sectorSizes(ctx, home),
		Index:      sector.OpenIndex(home),
		Guard:      sector.NewGuard(sector.GuardConfig{}),
		Log:        a.log,
	})
	if err != nil {
		return err
	}
	a.log.Info("store attached", "store", name, "sectors", report.Sectors, "updated", report.Updated, "leftOut", report.Skipped)
	a.log.Warn("add the section below into the config file:")
	_, err = fmt.Fprintf(a.stdout, "[[Common.PersistStores]]\nName = %s\nPath = %s\nStrict = %t\nReadOnly = %t\n",
		tomlText(name), tomlText(path), cmd.Bool("strict"), cmd.Bool("read-only"))
	return err
}

// tomlText is a TOML basic string.
func tomlText(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\t", `\t`).Replace(s) + `"`
}

// chainPatience is how long tools wait for the node before they do without.
const chainPatience = 10 * time.Second

// sectorSizes asks the configured node for the size of a miner's sectors; nil,
// with a line in the log, when there is no node to ask.
func (a *app) sectorSizes(ctx context.Context, home string) func(context.Context, uint64) (uint64, error) {
	fromFiles := func(reason any) func(context.Context, uint64) (uint64, error) {
		a.log.Warn("no node can be asked; the sector size is taken from the file sizes", "reason", reason)
		return nil
	}
	cfg, _, err := config.LoadManager(filepath.Join(home, config.ManagerFile))
	if err != nil {
		return fromFiles(err)
	}
	node, err := newNode(cfg, a.log)
	if err != nil {
		return fromFiles(err)
	}
	probe, cancel := context.WithTimeout(ctx, chainPatience)
	defer cancel()
	if _, err := node.StateNetworkName(probe); err != nil {
		return fromFiles(err)
	}
	return func(ctx context.Context, miner uint64) (uint64, error) { return sectorSizeOf(ctx, node, miner) }
}

func sectorSizeOf(ctx context.Context, node *chain.Node, miner uint64) (uint64, error) {
	addr, err := address.NewIDAddress(miner)
	if err != nil {
		return 0, err
	}
	info, err := node.StateMinerInfo(ctx, addr, lotus.TipSetKey{})
	if err != nil {
		return 0, err
	}
	return uint64(info.SectorSize), nil
}

func (a *app) storageList() *cli.Command {
	return &cli.Command{
		Name: "list", Usage: "list the attached stores",
		Action: func(_ context.Context, cmd *cli.Command) error {
			home, err := a.home(cmd)
			if err != nil {
				return err
			}
			records, listErr := sector.OpenIndex(home).All()
			w := tabwriter.NewWriter(a.stdout, 2, 4, 2, ' ', 0)
			fmt.Fprintln(w, "name\tpath\tstate\tsectors\tupdated\tattached")
			for _, r := range records {
				fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%d\t%s\n", r.Name, r.Path, storeState(r.Path),
					r.Replicas.Len(), r.UpdateReplicas.Len(), r.AttachedAt.Local().Format(time.DateTime))
			}
			return errors.Join(listErr, w.Flush())
		},
	}
}

// storeState says in a word whether a store's folder can be seen.
func storeState(path string) string {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return "missing"
	case !info.IsDir():
		return "no directory"
	}
	return "ok"
}

func (a *app) storageFind() *cli.Command {
	return &cli.Command{
		Name: "find", Usage: "tell where the files of a sector lie",
		ArgsUsage: "MINER NUMBER (e.g. t01008 1)",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "upgrade", Aliases: []string{"updated"}, Usage: "the files of the sector's update"},
		},
		Action: func(_ context.Context, cmd *cli.Command) error {
			home, err := a.home(cmd)
			if err != nil {
				return err
			}
			id, err := sectorArgs(cmd.Args().Slice())
			if err != nil {
				return err
			}
			return a.find(home, id, cmd.Bool("upgrade"))
		},
	}
}

func sectorArgs(args []string) (sector.ID, error) {
	if len(args) != 2 {
		return sector.ID{}, fmt.Errorf("give miner and sector number, like t01008 1: got %d arguments", len(args))
	}
	miner, err := parseMiner(args[0])
	if err != nil {
		return sector.ID{}, err
	}
	number, err := strconv.ParseUint(args[1], 10, 63)
	if err != nil {
		return sector.ID{}, fmt.Errorf("%q is no sector number", args[1])
	}
	return sector.ID{Miner: miner, Number: number}, nil
}

// parseMiner reads an actor number, bare or as an ID address.
func parseMiner(s string) (uint64, error) {
	bare := strings.TrimPrefix(strings.TrimPrefix(s, "t0"), "f0")
	miner, err := strconv.ParseUint(bare, 10, 63)
	if err != nil {
		return 0, fmt.Errorf("%q is no miner: write it like t01008 or 1008", s)
	}
	return miner, nil
}

func (a *app) find(home string, id sector.ID, updated bool) error {
	records, listErr := sector.OpenIndex(home).All()
	var stores []sector.Store
	for _, r := range records {
		stores = append(stores, sector.Store{Name: r.Name, Path: r.Path})
	}
	locator, err := sector.NewLocator(sector.OpenIndex(home), stores, a.log)
	if err != nil {
		return err
	}
	copies := locator.Find(id, updated)
	if len(copies) == 0 {
		return errors.Join(fmt.Errorf("sector %s is in none of the %d attached stores: attach the store that has it", id, len(records)), listErr)
	}
	for _, at := range copies {
		fmt.Fprintf(a.stdout, "sector %s located, sealed file in %q (%s), cache dir in %q (%s)\n",
			id, at.ReplicaStore, at.SealedFile, at.CacheStore, at.CacheDir)
	}
	return listErr
}
