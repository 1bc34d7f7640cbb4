package daemon

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"wdpost/internal/prover"
	"wdpost/proofs/post"
)

// environment is what the guide's variables say.
type environment struct {
	sectorSize uint64 // FORCE_SECTOR_SIZE; 0: any
	loadSHM    bool   // BELLMAN_LOAD_SHM
	keys       prover.KeyConfig
	idle       []string // variables without effect on the native prover
}

// readEnvironment reads and checks the variables, given as of os.Environ.
func readEnvironment(environ []string) (environment, error) {
	e := environment{idle: withoutEffect(environ)}
	getenv := func(name string) string { return lookUp(environ, name) }
	if v := getenv("FORCE_SECTOR_SIZE"); v != "" {
		size, err := strconv.ParseUint(v, 10, 64)
		if err != nil || !slices.Contains(post.SectorSizes(), size) {
			return e, fmt.Errorf("environment variable FORCE_SECTOR_SIZE=%q: no such sector size; write it in bytes, e.g. 34359738368 for 32GiB", v)
		}
		e.sectorSize = size
	}
	if v := getenv("BELLMAN_LOAD_SHM"); v != "" {
		on, err := strconv.ParseBool(v)
		if err != nil {
			return e, fmt.Errorf("environment variable BELLMAN_LOAD_SHM=%q: use 1 or 0", v)
		}
		e.loadSHM = on
	}
	var err error
	if e.keys, err = prover.KeyConfigFromEnv(getenv); err != nil {
		return e, err
	}
	params := cmp.Or(e.keys.ParamsDir, prover.DefaultParamsDir)
	e.keys.RawDirs = []string{params}
	if e.loadSHM {
		e.keys.RawDirs = []string{prover.DefaultRawDir, params}
	}
	return e, nil
}

// lookUp finds a variable; of several the last.
func lookUp(environ []string, name string) (value string) {
	for _, kv := range environ {
		if v, ok := strings.CutPrefix(kv, name+"="); ok {
			value = v
		}
	}
	return value
}

// sectorSizes is what this slave takes; none means all.
func (e environment) sectorSizes() []uint64 {
	if e.sectorSize == 0 {
		return nil
	}
	return []uint64{e.sectorSize}
}

// withoutEffect names the variables in the environment that only GPU provers
// understand.
func withoutEffect(environ []string) []string {
	var idle []string
	for _, kv := range environ {
		name, _, _ := strings.Cut(kv, "=")
		if strings.HasPrefix(name, "BELLMAN_") && name != "BELLMAN_LOAD_SHM" || name == "CUDA_VISIBLE_DEVICES" {
			idle = append(idle, name)
		}
	}
	slices.Sort(idle)
	return idle
}
