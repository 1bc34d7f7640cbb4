package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/urfave/cli/v3"

	"wdpost/internal/chain"
	"wdpost/internal/config"
	"wdpost/internal/lotus"
	"wdpost/internal/manager"
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
	node, err := manager.OpenNode(cfg.Common.API, a.log)
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
