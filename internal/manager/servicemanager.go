package manager

import (
	"context"
	"fmt"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"wdpost/internal/attr"
	"wdpost/internal/patience"
)

// tellServiceManager tells systemd, where it asks for it, how the manager is:
// READY once a window that opened now could be proven, and the verdict as the
// status line. The watchdog is fed as long as the verdict is made: a manager
// that hangs is started again.
func (m *Manager) tellServiceManager(ctx context.Context) error {
	every := 5 * time.Second
	if limit, err := daemon.SdWatchdogEnabled(false); err == nil && limit > 0 {
		every = min(every, limit/3)
	}
	told := false
	for {
		state := "STATUS=" + m.statusLine()
		if m.Ready() == nil && !told {
			state, told = state+"\n"+daemon.SdNotifyReady, true
		}
		if time.Since(time.Unix(0, m.folded.Load())) < 3*every+10*time.Second {
			state += "\n" + daemon.SdNotifyWatchdog
		}
		asked, err := daemon.SdNotify(false, state)
		if err != nil {
			m.log.Debug("systemd not told", attr.Err(err))
		} else if !asked {
			return nil // nobody wants to know
		}
		if patience.Sleep(ctx, every) != nil {
			_, err := daemon.SdNotify(false, daemon.SdNotifyStopping)
			return err
		}
	}
}

// statusLine is the verdict in one line.
func (m *Manager) statusLine() string {
	if err := m.Ready(); err != nil {
		return "not ready: " + oneLine(err)
	}
	standing := m.board.List()
	if len(standing) == 0 {
		return "ready, nothing stands in the way"
	}
	return fmt.Sprintf("ready, %d conditions stand, the worst: %s", len(standing), conditionLine(standing[0]))
}
