// Release makes what is published: static binaries for linux/amd64 and arm64,
// an archive, a deb and an rpm of each, a container image from scratch, a bill
// of materials of each program, and checksums of all of it.
//
// The same commit gives the same bytes in any folder: binaries are built with
// -trimpath, every time in an archive is the commit's, and files are in the order
// of their names. It is a module of its own, so that what it needs is no
// dependency of the programs.
//
//	cd lab/release && go run . --out ../../dist
package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// programs are those of an operator; the devnet is published beside them, so
// that the guide can be practised.
var programs = []string{
	"venus-sector-manager", "wdpost-master-daemon", "wdpost-slave-daemon",
	"gen_cache_and_param_blst", "wdpost-devnet",
}

// release is one run.
type release struct {
	root    string // the source tree
	out     string
	version string    // as packages write it: 1.2.3, or 0.0.0-20261128.abcdef0
	time    time.Time // the commit's
}

func main() {
	out := flag.String("out", "../../dist", "folder for the artefacts, made anew")
	archs := flag.String("arch", "amd64,arm64", "architectures, comma-separated")
	flag.Parse()
	if err := run(*out, strings.Split(*archs, ",")); err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

func run(out string, archs []string) error {
	r, err := newRelease(out)
	if err != nil {
		return err
	}
	for _, arch := range archs {
		stage := filepath.Join(r.out, "stage", arch)
		for _, step := range []func(arch, stage string) error{
			r.build, r.layOut, r.archive, r.packages, r.image, r.materials,
		} {
			if err := step(arch, stage); err != nil {
				return fmt.Errorf("%s: %w", arch, err)
			}
		}
	}
	if err := os.RemoveAll(filepath.Join(r.out, "stage")); err != nil {
		return err
	}
	return r.checksums()
}

func newRelease(out string) (*release, error) {
	root, err := filepath.Abs("../..")
	if err != nil {
		return nil, err
	}
	r := &release{root: root}
	if r.out, err = filepath.Abs(out); err != nil {
		return nil, err
	}
	seconds, err := r.git("log", "-1", "--format=%ct")
	if err != nil {
		return nil, err
	}
	unix, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil {
		return nil, err
	}
	r.time = time.Unix(unix, 0).UTC()
	if r.version, err = r.describe(); err != nil {
		return nil, err
	}
	if err := os.RemoveAll(r.out); err != nil {
		return nil, err
	}
	return r, os.MkdirAll(r.out, 0o755)
}

// describe is the version tag of the commit without its v, or a version below
// every release that names day and commit.
func (r *release) describe() (string, error) {
	if tag, err := r.git("describe", "--exact-match", "--match", "v[0-9]*", "--tags"); err == nil {
		return strings.TrimPrefix(tag, "v"), nil
	}
	commit, err := r.git("rev-parse", "--short=12", "HEAD")
	return "0.0.0-" + r.time.Format("20060102150405") + "." + commit, err
}

func (r *release) git(args ...string) (string, error) {
	cmd := exec.Command("git", args...)
	cmd.Dir = r.root
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("git %s: %w", args[0], err)
	}
	return strings.TrimSpace(string(out)), nil
}

// build makes the static binaries.
func (r *release) build(arch, stage string) error {
	args := []string{"build", "-trimpath", "-ldflags", "-s -w", "-o", filepath.Join(stage, "bin") + "/"}
	for _, p := range programs {
		args = append(args, "./cmd/"+p)
	}
	cmd := exec.Command("go", args...)
	cmd.Dir = r.root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch, "GOFLAGS=", "GOAMD64=v1", "GOARM64=v8.0")
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	return cmd.Run()
}
