package manager

import (
	"os"
	"testing"

	"wdpost/internal/sector/store/process"
)

func TestMain(m *testing.M) {
	process.ServeIfAsked()
	os.Exit(m.Run())
}
