package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/urfave/cli/v3"

	"wdpost/internal/sector"
)

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
	if half := locator.Halves(id, updated); len(copies) == 0 && half != nil {
		return errors.Join(fmt.Errorf("sector %s: %w", id, half), listErr)
	}
	if len(copies) == 0 {
		return errors.Join(fmt.Errorf("sector %s is in none of the %d attached stores: attach the store that has it", id, len(records)), listErr)
	}
	whole := slices.DeleteFunc(slices.Clone(copies), func(at sector.Location) bool { return at.ReplicaStore != at.CacheStore })
	if len(whole) > 0 { // replica of one and cache of another are told only where nothing is whole
		copies = whole
	}
	for _, at := range copies {
		fmt.Fprintf(a.stdout, "sector %s located, sealed file in %q (%s), cache dir in %q (%s)\n",
			id, at.ReplicaStore, at.SealedFile, at.CacheStore, at.CacheDir)
	}
	return listErr
}
