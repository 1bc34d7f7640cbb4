package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// The programs of a cluster.
const (
	managerProgram = "venus-sector-manager"
	masterProgram  = "wdpost-master-daemon"
	slaveProgram   = "wdpost-slave-daemon"
	paramProgram   = "gen_cache_and_param_blst"
)

// findPrograms returns the directory of our programs: the configured one, else
// the one of the running executable if they lie beside it, else one they are
// built into from the source tree around the current directory.
func (c *Config) findPrograms(ctx context.Context) (string, error) {
	if c.BinDir != "" {
		return filepath.Abs(c.BinDir)
	}
	if self, err := os.Executable(); err == nil {
		if dir := filepath.Dir(self); hasPrograms(dir) {
			return dir, nil
		}
	}
	root, err := sourceRoot()
	if err != nil {
		return "", err
	}
	dir := c.path("bin")
	c.Log.Info("building the programs", "dir", dir)
	cmd := exec.CommandContext(ctx, "go", "build", "-o", dir+string(os.PathSeparator), "./cmd/...")
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the programs in %s: %w\n%s", root, err, out)
	}
	return dir, nil
}

func hasPrograms(dir string) bool {
	for _, name := range []string{managerProgram, masterProgram, slaveProgram, paramProgram} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			return false
		}
	}
	return true
}

// sourceRoot walks up to the directory of this module's go.mod.
func sourceRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		_, errMod := os.Stat(filepath.Join(dir, "go.mod"))
		_, errCmd := os.Stat(filepath.Join(dir, "cmd", managerProgram))
		if errMod == nil && errCmd == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("neither the programs nor the source tree is here: run this in the source tree, " +
				"put the programs beside it, or name their directory with --bin")
		}
		dir = parent
	}
}

// command runs one of our programs to its end.
func (c *Cluster) command(ctx context.Context, program string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(c.bin, program), args...)
	cmd.Dir, cmd.Env = c.cfg.Workdir, append(os.Environ(), c.env()...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s %v: %w\n%s", program, args, err, out)
	}
	return string(out), nil
}

// env is what all our programs are told beside their files.
func (c *Cluster) env() []string {
	return []string{"FIL_PROOFS_PARAMETER_CACHE=" + c.cfg.path("params")}
}
