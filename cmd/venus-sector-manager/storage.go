package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/urfave/cli/v3"

	"wdpost/internal/attr"
	"wdpost/internal/chain"
	"wdpost/internal/config"
	"wdpost/internal/lotus"
	"wdpost/internal/manager"
	"wdpost/internal/sector"
	"wdpost/internal/sector/store/reach"
	"wdpost/internal/sector/store/s3"
	"wdpost/proofs/post"
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
			&cli.StringFlag{Name: "sector-size", Usage: "size of all sectors, e.g. 32GiB, where no node can be asked; default: by names and sizes of the files"},
			&cli.StringFlag{Name: "plugin", Usage: "s3: PATH is the URL of bucket and prefix, like https://minio.example:9000/bucket/prefix"},
			&cli.BoolFlag{Name: "force", Usage: "forget the sectors that were known and are not there any more"},
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
	path, plugin := cmd.Args().First(), cmd.String("plugin")
	switch {
	case plugin == config.PluginS3:
		if err := s3.Check(config.PersistStore{Path: path, Plugin: plugin}.Root()); err != nil {
			return fmt.Errorf("store path %w", err)
		}
	case plugin != "":
		return fmt.Errorf("--plugin %q is not known: s3 is, all other stores are folders", plugin)
	case !filepath.IsAbs(path): // an absolute one is printed as it was given
		if path, err = expand(path); err != nil {
			return fmt.Errorf("store path: %w", err)
		}
	}
	name := cmp.Or(cmd.String("name"), path)
	cfg := sector.AttachConfig{
		Name: name, Path: config.PersistStore{Path: path, Plugin: plugin}.Root(),
		Strict: cmd.Bool("strict"), AllowSplitted: cmd.Bool("allow-splitted"),
		Pattern: cmd.String("pattern"), Verbose: cmd.Bool("verbose"), Force: cmd.Bool("force"),
	}
	if text := cmd.String("sector-size"); text != "" {
		if cfg.FixedSize, err = post.ParseSectorSize(text); err != nil {
			return fmt.Errorf("--sector-size: %w", err)
		}
	}
	if err := a.scanStore(ctx, home, cfg); err != nil {
		return err
	}
	a.log.Warn("add the section below into the config file:")
	_, err = fmt.Fprintf(a.stdout, "[[Common.PersistStores]]\nName = %s\nPath = %s\nStrict = %t\nReadOnly = %t\n",
		tomlText(name), tomlText(path), cmd.Bool("strict"), cmd.Bool("read-only"))
	if err == nil && plugin != "" {
		_, err = fmt.Fprintf(a.stdout, "Plugin = %s\n", tomlText(plugin))
	}
	return err
}

// scanStore attaches a store and says what was found.
func (a *app) scanStore(ctx context.Context, home string, cfg sector.AttachConfig) error {
	report, err := a.scanWith(ctx, home, cfg)
	if err == nil || errors.Is(err, sector.ErrFarFewer) {
		a.log.Info("store attached", attr.Store(cfg.Name), attr.Was(report.Was), attr.Now(report.Now), attr.SectorCount(report.Sectors),
			attr.UpdatedCount(report.Updated), attr.LeftOut(report.Skipped), attr.Unseen(report.Unseen), attr.Forgotten(report.Forgotten))
	}
	return err
}

// scanWith scans through the process that reads stores, so that a store that
// hangs cannot hold this command.
func (a *app) scanWith(ctx context.Context, home string, cfg sector.AttachConfig) (sector.AttachReport, error) {
	files := reach.New(a.log)
	defer files.Close()
	cfg.Index, cfg.Log = sector.OpenIndex(home), a.log
	cfg.Guard = sector.NewGuard(sector.GuardConfig{Parallel: scanParallel, Backend: files, Log: a.log})
	if cfg.FixedSize == 0 {
		cfg.SectorSize = a.sectorSizes(ctx, home)
	}
	return sector.Attach(ctx, cfg)
}

// scanParallel is how many sectors of a store are looked at at once.
const scanParallel = 64

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
		a.log.Warn("no node can be asked; the sector size is taken from the file sizes", attr.Reason(fmt.Sprint(reason)))
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
