package manager

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"slices"
	"time"

	"wdpost/internal/chain"
	"wdpost/internal/condition"
	"wdpost/internal/config"
	"wdpost/internal/extprover"
)

// settings are both configuration files, as validated.
type settings struct {
	manager config.Manager
	ext     config.ExtProver
	at      time.Time // when they were read
}

// loadSettings reads the files. The warnings are to be logged.
func loadSettings(dir string, extProver bool) (*settings, []string, error) {
	path := filepath.Join(dir, config.ManagerFile)
	s := &settings{at: time.Now()}
	var warnings []string
	var err error
	s.manager, warnings, err = config.LoadManager(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, fmt.Errorf("%s does not exist: run `venus-sector-manager daemon init` and edit it, or give the folder with --home", path)
	}
	if err != nil {
		return nil, nil, err
	}
	if extProver {
		if s.ext, err = config.LoadExtProver(filepath.Join(dir, config.ExtProverFile)); err != nil {
			return nil, nil, err
		}
	}
	return s, warnings, nil
}

// nodeConfig says which nodes to use.
func nodeConfig(api config.API, board *condition.Board, log *slog.Logger) chain.Config {
	endpoints := []string(api.Chain)
	if len(endpoints) == 0 && len(api.Gateway) > 0 {
		endpoints = api.Gateway[:1]
	}
	return chain.Config{Endpoints: endpoints, Token: api.Token, EventInterval: api.ChainEventInterval.D(), Board: board, Log: log}
}

// OpenNode connects to the configured node, for commands.
func OpenNode(api config.API, log *slog.Logger) (*chain.Node, error) {
	return chain.New(nodeConfig(api, nil, log))
}

// hostConfig lists the processors of ext-prover.cfg.
func hostConfig(cfg config.ExtProver, programDir string, log *slog.Logger) extprover.HostConfig {
	processors := func(stage string, entries []config.ExtProcessor) []extprover.Processor {
		var out []extprover.Processor
		for _, e := range entries {
			bin, args := e.Bin, e.Args
			if bin == "" {
				bin, args = filepath.Join(programDir, "damocles-worker"), []string{"processor", stage}
			}
			out = append(out, extprover.Processor{
				Bin: bin, Args: args, Envs: e.Envs, Concurrent: e.Concurrent, Weight: e.Weight, ReadyTimeout: e.ReadyTimeout(),
			})
		}
		return out
	}
	return extprover.HostConfig{
		WindowPoSt:  processors(extprover.StageWindowPoSt, cfg.WdPost),
		WinningPoSt: processors(extprover.StageWinningPoSt, cfg.WinPost),
		Log:         log,
	}
}

// liveKeys take effect at a reload; all others need a restart.
var liveKeys = []string{"Common.PersistStores", "Common.ScanPersistStores", "Common.RescanInterval", "Common.Proving.PartitionCheckTimeout", "Miners"}

// needRestart are those of the changed keys that a reload cannot put in force.
func needRestart(changed []string) []string {
	return slices.DeleteFunc(slices.Clone(changed), func(key string) bool { return slices.Contains(liveKeys, key) })
}
