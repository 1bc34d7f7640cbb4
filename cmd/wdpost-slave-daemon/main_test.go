package main

import (
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"wdpost/internal/sector/store/process"
)

func TestMain(m *testing.M) {
	process.ServeIfAsked()
	testscript.Main(m, map[string]func(){
		"wdpost-slave-daemon": func() { os.Exit(realMain()) },
	})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{Dir: "testdata/script"})
}
