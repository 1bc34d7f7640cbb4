package sector

import (
	"testing"

	"go.uber.org/goleak"

	"wdpost/internal/sector/store/process"
)

func TestMain(m *testing.M) {
	process.ServeIfAsked()
	goleak.VerifyTestMain(m)
}
