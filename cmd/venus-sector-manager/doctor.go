package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/urfave/cli/v3"

	"wdpost/internal/config"
	"wdpost/internal/doctor"
	"wdpost/internal/manager"
	"wdpost/internal/prover"
	"wdpost/internal/sector"
	"wdpost/internal/sector/store/reach"
)

// ErrNotFine ends `util doctor` with exit code 1 after its lines.
var ErrNotFine = errors.New("something keeps windows from being proven; what to do stands below each bad line")

// doctorPatience is how long each service and each store may take to answer.
const doctorPatience = 20 * time.Second

// utilDoctor looks at everything now.
func (a *app) utilDoctor() *cli.Command {
	return &cli.Command{
		Name: "doctor", Usage: "look at all that a window depends on, line by line: ok, warn, bad, and what to do; fails where something is bad",
		Description: "Asks the running daemon what it knows, and looks itself at the node, the senders, the stores\n" +
			"and their mounts, the parameters, and the limits of this machine. It changes nothing.\n" +
			"Exit code 0: nothing is bad; 1: something is.",
		Flags: []cli.Flag{
			jsonFlag(),
			&cli.StringFlag{Name: "conf-dir", Usage: "folder of the config files; default: the home", Sources: cli.EnvVars(confDirEnv...)},
		},
		Action: a.doctor,
	}
}

func (a *app) doctor(ctx context.Context, cmd *cli.Command) error {
	home, err := a.home(cmd)
	if err != nil {
		return err
	}
	dir := home
	if d := cmd.String("conf-dir"); d != "" {
		if dir, err = expand(d); err != nil {
			return fmt.Errorf("config folder: %w", err)
		}
	}
	lines := a.examine(ctx, home, dir)
	if cmd.Bool("json") {
		err = a.printJSON(lines)
	} else {
		err = doctor.Print(a.stdout, lines, a.colour())
	}
	if n := doctor.Count(lines, doctor.Bad); err == nil && n > 0 {
		err = fmt.Errorf("%w (%d)", ErrNotFine, n)
	}
	return err
}

// examine makes all checks. One that cannot be made is a line of its own.
func (a *app) examine(ctx context.Context, home, dir string) []doctor.Line {
	mounts := a.mounts()
	homeMount, _ := doctor.MountOf(mounts, home)
	machine := doctor.Machine{Home: doctor.RoomOf(home), HomeMount: homeMount, Shm: doctor.RoomOf(prover.DefaultRawDir)}
	var limitErr, memoryErr error
	machine.OpenFiles, limitErr = doctor.OpenFiles()
	machine.Memory, memoryErr = prover.AvailableMemory()
	lines := doctor.Limits(machine)
	if err := errors.Join(limitErr, memoryErr); err != nil {
		lines = append(lines, doctor.Failed("limits", err, ""))
	}
	path := filepath.Join(dir, config.ManagerFile)
	cfg, warnings, err := config.LoadManager(path)
	if err != nil {
		return append(lines, doctor.Failed("configuration", err, "correct it; `venus-sector-manager daemon init` writes one that explains every key"))
	}
	lines = append(lines, doctor.Configuration(path, warnings))
	ext, err := config.LoadExtProver(filepath.Join(dir, config.ExtProverFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		lines = append(lines, doctor.Failed("configuration", err, "correct it, or leave --ext-prover out"))
	}
	lines = append(lines, a.daemonLines(ctx, home, path)...)
	lines = append(lines, a.storeLines(ctx, home, cfg, mounts)...)
	return append(lines, a.outsideLines(ctx, cfg, len(ext.WdPost) > 0, machine.Shm)...)
}

// mounts is the kernel's table; without it mounts are not judged.
func (a *app) mounts() []doctor.Mount {
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil
	}
	return doctor.ParseMounts(string(b))
}

// daemonLines are what the running daemon knows.
func (a *app) daemonLines(ctx context.Context, home, path string) []doctor.Line {
	ctx, cancel := context.WithTimeout(ctx, doctorPatience)
	defer cancel()
	var s manager.Status
	err := manager.Ask(ctx, home, "/status", nil, &s)
	d := doctor.Daemon{
		Running: err == nil, Err: err, Build: s.Build, Ours: build(), Ready: s.Ready, Started: s.Started,
		ConfigRead: s.ConfigAt, Conditions: s.Conditions,
	}
	d.Absent = errors.Is(err, manager.ErrNotRunning)
	if info, err := os.Stat(path); err == nil {
		d.ConfigWritten = info.ModTime()
	}
	return d.Lines()
}

func (a *app) storeLines(ctx context.Context, home string, cfg config.Manager, mounts []doctor.Mount) []doctor.Line {
	files := reach.New(a.log)
	defer files.Close()
	guard := sector.NewGuard(sector.GuardConfig{Timeout: listPatience, Backend: files})
	look := func(ctx context.Context, path string) sector.Seen { return sector.LookAt(ctx, guard, path) }
	return doctor.Stores(ctx, cfg.Common.PersistStores, sector.OpenIndex(home), look, mounts)
}

// outsideLines ask the node and the service of messages, and look whether the
// parameters of each miner are here.
func (a *app) outsideLines(ctx context.Context, cfg config.Manager, elsewhere bool, shm doctor.Room) []doctor.Line {
	ctx, cancel := context.WithTimeout(ctx, 3*doctorPatience)
	defer cancel()
	out, err := manager.NewOutside(cfg, manager.Rooms(), a.log)
	if err != nil {
		return []doctor.Line{doctor.Failed("node", err, "give its address in Common.API.Chain")}
	}
	defer out.Close()
	nodes := out.Nodes(ctx)
	clock, err := out.Join(ctx)
	lines := doctor.Nodes(nodes, clock, time.Now())
	if err != nil {
		return append(lines, doctor.Failed("network", err, "see to the node first; senders and parameters were not looked at"))
	}
	keyConfig, err := prover.KeyConfigFromEnv(a.getenv)
	if err != nil {
		return append(lines, doctor.Failed("parameters", err, ""))
	}
	keys := prover.NewKeys(keyConfig)
	defer keys.Close()
	miners := 0
	seen := map[string]bool{}
	for _, conf := range cfg.Miners {
		addr, err := address.NewIDAddress(conf.Actor)
		if conf.Actor == 0 || err != nil {
			continue
		}
		miners++
		setups, err := out.Setups(ctx, conf)
		if err != nil {
			lines = append(lines, doctor.Failed("miner "+addr.String(), err, "check Actor in its [[Miners]] section"))
			continue
		}
		for _, s := range setups {
			if seen[s.String()] {
				continue
			}
			seen[s.String()] = true
			_, err := keys.Verifying(ctx, s)
			lines = append(lines, doctor.Keys(keyConfig, s, err, elsewhere, shm)...)
		}
		if conf.PoSt.Enabled {
			payers, err := out.Payers(ctx, conf)
			lines = append(lines, doctor.Payers(addr.String(), payers, err)...)
		}
	}
	if miners == 0 {
		lines = append(lines, doctor.Failed("miner", errors.New("none is configured"), "set Actor in a [[Miners]] section"))
	}
	return slices.Concat(lines, doctor.Standing("asked now:", out.Conditions()))
}
