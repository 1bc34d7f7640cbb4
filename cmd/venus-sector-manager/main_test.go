package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"wdpost/internal/sector/store/process"

	"wdpost/lab/golden"
)

func TestMain(m *testing.M) {
	process.ServeIfAsked()
	testscript.Main(m, map[string]func(){"venus-sector-manager": func() { os.Exit(realMain()) }})
}

// TestScripts runs the command lines of testdata/script. In each work folder
// lie store1 (sectors 1, 2, 3) and store2 (sectors 4, 5, 6) of miner t01008,
// sectors.json with their commitments, and guide.cfg, the operator's guide's
// config file. GOLDEN names the reference data.
func TestScripts(t *testing.T) {
	data := golden.Dir(t)
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			env.Setenv("HOME", env.WorkDir)
			env.Setenv("GOLDEN", data)
			env.Setenv("FIL_PROOFS_PARAMETER_CACHE", filepath.Join(data, "params"))
			return layOut(env.WorkDir)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"append": appendFile},
	})
}

// appendFile is the script command `append FROM TO`.
func appendFile(ts *testscript.TestScript, _ bool, args []string) {
	text := ts.ReadFile(args[1]) + ts.ReadFile(args[0])
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(text), 0o644))
}

// layOut copies six golden sectors into two stores.
func layOut(dir string) error {
	const sectors = "../../internal/sector/testdata/2KiB"
	for number, store := range map[string]string{"1": "store1", "2": "store1", "3": "store1", "4": "store2", "5": "store2", "6": "store2"} {
		name := "s-t01008-" + number
		for _, f := range []string{"sealed/" + name, "cache/" + name + "/p_aux", "cache/" + name + "/sc-02-data-tree-r-last.dat"} {
			if err := copyFile(filepath.Join(sectors, f), filepath.Join(dir, store, f)); err != nil {
				return err
			}
		}
	}
	if err := copyFile(filepath.Join(sectors, "sectors-1008-1.json"), filepath.Join(dir, "sectors.json")); err != nil {
		return err
	}
	return copyFile("../../internal/config/testdata/guide/sector-manager.cfg", filepath.Join(dir, "guide.cfg"))
}

func copyFile(from, to string) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	return os.WriteFile(to, b, 0o644)
}

func TestParseMiner(t *testing.T) {
	for _, s := range []string{"1008", "t01008", "f01008"} {
		if got, err := parseMiner(s); err != nil || got != 1008 {
			t.Errorf("%q: %d, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "t1008x", "f3abc", "-1"} {
		if _, err := parseMiner(s); err == nil || !strings.Contains(err.Error(), "t01008") {
			t.Errorf("%q: %v", s, err)
		}
	}
}
