package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v3"

	"wdpost/internal/attr"
	"wdpost/internal/manager"
	"wdpost/internal/sector"
	"wdpost/internal/sector/store/reach"
)

// listedStore is a store as `list` shows it.
type listedStore struct {
	Name     string    `json:"name"`
	Path     string    `json:"path"`
	State    string    `json:"state"` // ok, missing, no directory, hangs, or the error
	Sectors  int       `json:"sectors"`
	Updated  int       `json:"updated"` // with a snap update
	Unseen   int       `json:"unseen"`  // not seen at the last scan
	Total    uint64    `json:"totalBytes"`
	Free     uint64    `json:"freeBytes"`
	Attached time.Time `json:"attached"`
	Scanned  time.Time `json:"scanned,omitzero"`
	Breaker  string    `json:"breaker,omitempty"` // of the running daemon: ok, hangs, fails
}

func (a *app) storageList() *cli.Command {
	return &cli.Command{
		Name: "list", Usage: "list the attached stores: state, sectors, room, last scan, and how the running daemon sees them",
		Flags: []cli.Flag{jsonFlag()},
		Action: func(ctx context.Context, cmd *cli.Command) error {
			home, err := a.home(cmd)
			if err != nil {
				return err
			}
			return a.list(ctx, home, cmd.Bool("json"))
		},
	}
}

// listPatience is how long a store may take to answer.
const listPatience = 5 * time.Second

// list asks all stores at once, each for a few seconds.
func (a *app) list(ctx context.Context, home string, asJSON bool) error {
	records, listErr := sector.OpenIndex(home).All()
	files := reach.New(a.log)
	defer files.Close()
	guard := sector.NewGuard(sector.GuardConfig{Timeout: listPatience, Backend: files})
	breakers := a.breakers(ctx, home)
	stores := make([]listedStore, len(records))
	var wg sync.WaitGroup
	for i, r := range records {
		wg.Go(func() {
			s := listedStore{Name: r.Name, Path: r.Path, Unseen: r.Unseen.Len(), Attached: r.AttachedAt, Scanned: r.ScannedAt, Breaker: breakers[r.Path]}
			s.Sectors, s.Updated = r.Sectors()
			state := sector.LookAt(ctx, guard, r.Path)
			s.State, s.Total, s.Free = stateWord(state.Err), state.Space.Total, state.Space.Free
			stores[i] = s
		})
	}
	wg.Wait()
	if asJSON {
		return errors.Join(listErr, a.printJSON(stores))
	}
	w := tabwriter.NewWriter(a.stdout, 2, 4, 2, ' ', 0)
	fmt.Fprintln(w, "name\tpath\tstate\tsectors\tupdated\tunseen\ttotal\tfree\tattached\tscanned\tdaemon")
	for _, s := range stores {
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%d\t%d\t%s\t%s\t%s\t%s\t%s\n", s.Name, s.Path, s.State, s.Sectors, s.Updated, s.Unseen,
			room(s.Total), room(s.Free), moment(s.Attached), moment(s.Scanned), s.Breaker)
	}
	return errors.Join(listErr, w.Flush())
}

// breakers asks the running daemon, if there is one, how it sees the stores, by
// path.
func (a *app) breakers(ctx context.Context, home string) map[string]string {
	ctx, cancel := context.WithTimeout(ctx, listPatience)
	defer cancel()
	var status manager.Status
	if err := manager.Ask(ctx, home, "/status", nil, &status); err != nil {
		return nil // no daemon runs here
	}
	out := map[string]string{}
	for _, s := range status.Reads {
		out[s.Path] = s.State
	}
	return out
}

// stateWord says in a word whether a store's folder can be seen.
func stateWord(err error) string {
	switch {
	case err == nil:
		return "ok"
	case errors.Is(err, sector.ErrNoDirectory):
		return "no directory"
	case errors.Is(err, sector.ErrTimeout):
		return "hangs"
	case errors.Is(err, fs.ErrNotExist):
		return "missing"
	}
	return err.Error()
}

// room is a number of bytes as people read it.
func room(bytes uint64) string {
	if bytes == 0 {
		return "-"
	}
	units := []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB"}
	value, k := float64(bytes), 0
	for ; value >= 1024 && k < len(units)-1; k++ {
		value /= 1024
	}
	return fmt.Sprintf("%.1f%s", value, units[k])
}

func moment(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Local().Format(time.DateTime)
}

func (a *app) storageDetach() *cli.Command {
	return &cli.Command{
		Name: "detach", Usage: "forget an attached store; its files are left alone", ArgsUsage: "NAME",
		Action: func(_ context.Context, cmd *cli.Command) error {
			home, err := a.home(cmd)
			if err != nil {
				return err
			}
			if cmd.Args().Len() != 1 {
				return fmt.Errorf("give the name of one store: got %d arguments", cmd.Args().Len())
			}
			name := cmd.Args().First()
			index := sector.OpenIndex(home)
			sectors := 0
			record, err := index.Get(name)
			switch {
			case errors.Is(err, fs.ErrNotExist):
				return fmt.Errorf("no store is attached under the name %q; `util storage list` tells the names", name)
			case err == nil:
				sectors, _ = record.Sectors()
			}
			if err := index.Remove(name); err != nil {
				return err
			}
			a.log.Info("store detached; its files are as they were", attr.Store(name), attr.SectorCount(sectors))
			a.log.Warn("remove its [[Common.PersistStores]] from the config file")
			return nil
		},
	}
}

func (a *app) storageScan() *cli.Command {
	return &cli.Command{
		Name: "scan", Usage: "scan attached stores again, as they were attached", ArgsUsage: "[NAME ...]",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "all", Usage: "every attached store"},
			&cli.BoolFlag{Name: "force", Usage: "forget the sectors that were known and are not there any more"},
		},
		Action: func(ctx context.Context, cmd *cli.Command) error {
			return a.again(ctx, cmd, func(home string, cfg sector.AttachConfig) error {
				cfg.Force = cmd.Bool("force")
				return a.scanStore(ctx, home, cfg)
			})
		},
	}
}

func (a *app) storageVerify() *cli.Command {
	return &cli.Command{
		Name: "verify", Usage: "hold the files of attached stores against the index, which stays as it is; fails where something is missing",
		ArgsUsage: "[NAME ...]",
		Flags:     []cli.Flag{&cli.BoolFlag{Name: "all", Usage: "every attached store"}},
		Action: func(ctx context.Context, cmd *cli.Command) error {
			return a.again(ctx, cmd, func(home string, cfg sector.AttachConfig) error {
				cfg.DryRun = true
				report, err := a.scanWith(ctx, home, cfg)
				if err != nil && !errors.Is(err, sector.ErrFarFewer) {
					return err
				}
				fmt.Fprintf(a.stdout, "%s: %d sectors known, %d whole, %d known ones not seen, %d left out\n", cfg.Name, report.Was, report.Now, report.Unseen, report.Skipped)
				if report.Unseen+report.Skipped > 0 {
					return fmt.Errorf("store %q: %d known sectors were not seen whole; the log above says which and why", cfg.Name, report.Unseen)
				}
				return nil
			})
		},
	}
}

// again runs work for the named stores, or all, with the settings they were
// attached with. One that fails keeps no other from its turn.
func (a *app) again(ctx context.Context, cmd *cli.Command, work func(home string, cfg sector.AttachConfig) error) error {
	home, err := a.home(cmd)
	if err != nil {
		return err
	}
	names := cmd.Args().Slice()
	if cmd.Bool("all") == (len(names) > 0) {
		return errors.New("give the names of stores, or --all")
	}
	records, listErr := sector.OpenIndex(home).All()
	errs := []error{listErr}
	for _, name := range names {
		if !slices.ContainsFunc(records, func(r *sector.Record) bool { return r.Name == name }) {
			errs = append(errs, fmt.Errorf("no store is attached under the name %q; `util storage list` tells the names", name))
		}
	}
	for _, r := range records {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if len(names) > 0 && !slices.Contains(names, r.Name) {
			continue
		}
		errs = append(errs, work(home, sector.AttachConfig{
			Name: r.Name, Path: r.Path, Strict: r.Strict, AllowSplitted: r.AllowSplitted, FixedSize: r.SectorSize,
		}))
	}
	return errors.Join(errs...)
}
