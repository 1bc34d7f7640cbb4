//go:build conditions

package conditions

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"wdpost/internal/condition"
	"wdpost/lab/devnet/serve"
)

// fault is one thing that goes wrong while all else is well.
type fault struct {
	name  string
	kind  condition.Kind
	about string // in subject, detail or remedy
	plant func(b *bench) (mend func())
}

// replace is a reload with one text in the configuration replaced.
func replace(b *bench, old, new string) (mend func()) {
	before := b.read("home/sector-manager.cfg")
	if !strings.Contains(before, old) {
		b.t.Fatalf("%q is not in the configuration", old)
	}
	err := b.reload(func(text string) string { return strings.ReplaceAll(text, old, new) })
	return func() {
		b.t.Logf("the reload said: %v", err)
		if err := b.reload(func(string) string { return before }); err != nil {
			b.t.Fatal(err)
		}
	}
}

// standing are the faults planted one after the other on one bench.
var standing = []fault{
	{"the only node refuses everything", condition.NodeRefuses, "Common.API.Chain", func(b *bench) func() {
		return b.net.Inject(serve.Fault{Method: "Filecoin.*", Err: "out of order"})
	}},
	{"a configured miner is not on chain", condition.MinerNotAdmitted, "04711", func(b *bench) func() {
		return replace(b, "[[Miners]]", "[[Miners]]\nActor = 4711\n[[Miners]]")
	}},
	{"a configured miner is an account", condition.MinerNotAdmitted, "0100", func(b *bench) func() {
		return replace(b, "[[Miners]]", "[[Miners]]\nActor = 100\n[[Miners]]")
	}},
	{"the stores leave the miner out", condition.MinerNoStore, "01008", func(b *bench) func() {
		return replace(b, "[[Common.PersistStores]]\n", "[[Common.PersistStores]]\nDenyMiners = [1008]\n")
	}},
	{"a store was never attached", condition.StoreNotIndexed, "attach", func(b *bench) func() {
		return replace(b, "[[Miners]]", fmt.Sprintf("[[Common.PersistStores]]\nName = 'new'\nPath = %q\n[[Miners]]", b.dir))
	}},
	{"a store is not mounted", condition.StoreMissing, "one", func(b *bench) func() {
		rename(b, b.stores[0], b.stores[0]+".away")
		return func() { rename(b, b.stores[0]+".away", b.stores[0]) }
	}},
	{"the new configuration is refused", condition.ConfigRefused, "Nonsense", func(b *bench) func() {
		return replace(b, "[Common.API]\n", "[Common.API]\nNonsense = 1\n")
	}},
	{"a changed setting needs a restart", condition.RestartNeeded, "ChainEventInterval", func(b *bench) func() {
		return replace(b, "[Common.API]\n", "[Common.API]\nChainEventInterval = '2m'\n")
	}},
	{"the sender is not of the miner", condition.SenderUnfit, "sender", func(b *bench) func() {
		return replace(b, "Actor = 1008\n", "Actor = 1008\n[Miners.PoSt]\nSender = 't099'\n")
	}},
	{"nobody may pay for the miner", condition.NoSender, "01008", func(b *bench) func() {
		return replace(b, "Actor = 1008\n", "Actor = 1008\n[Miners.PoSt]\nSender = 't099'\nAllowWorkerFallback = false\n")
	}},
	{"the last slave is gone", condition.NoSlave, "wdpost-slave-daemon", func(b *bench) func() {
		b.slave.stop()
		return b.startSlave
	}},
	{"the master's configuration is broken", condition.ProcessorDown, "lissten", func(b *bench) func() {
		good := b.read("master.toml")
		b.write("master.toml", strings.Replace(good, "listen", "lissten", 1))
		b.signalMaster(syscall.SIGTERM)
		return func() { b.write("master.toml", good) }
	}},
	{"another program has the master's port", condition.MasterPortTaken, "listen", func(b *bench) func() {
		b.signalMaster(syscall.SIGTERM)
		var lis net.Listener
		b.await("the port", func() (err error) { lis, err = net.Listen("tcp", b.slaves); return err })
		return func() { _ = lis.Close() } // it served nobody
	}},
	{"the database refuses the user", condition.DatabaseRefuses, "1698", func(b *bench) func() {
		good := b.read("master.toml")
		address := refusingMySQL(b)
		b.write("master.toml", fmt.Sprintf("[server]\nlisten = %q\n[db]\nurl = 'mysql://root:password@%s/wdpost'\n", b.slaves, address))
		b.signalMaster(syscall.SIGTERM)
		return func() { b.write("master.toml", good); b.signalMaster(syscall.SIGTERM) }
	}},
	{"the database is gone", condition.DatabaseAway, "", func(b *bench) func() {
		good := b.read("master.toml")
		b.write("master.toml", fmt.Sprintf("[server]\nlisten = %q\n[db]\nurl = 'mysql://root:password@%s/wdpost'\n", b.slaves, freeAddress(b.t)))
		b.signalMaster(syscall.SIGTERM)
		return func() { b.write("master.toml", good); b.signalMaster(syscall.SIGTERM) }
	}},
	{"the master hangs", condition.ProcessorSilent, "kill", func(b *bench) func() {
		pid := b.masterPID()
		if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
			b.t.Fatal(err)
		}
		return func() { _ = syscall.Kill(pid, syscall.SIGCONT) }
	}},
}

func rename(b *bench, from, to string) {
	b.t.Helper()
	if err := os.Rename(from, to); err != nil {
		b.t.Fatal(err)
	}
}

// refusingMySQL is a MySQL server that lets nobody in, with the error of a stock
// Debian for the operator's guide's own url.
func refusingMySQL(b *bench) string {
	b.t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = lis.Close() })
	go func() {
		for {
			conn, err := lis.Accept()
			if err != nil {
				return
			}
			go refuse(conn)
		}
	}()
	return lis.Addr().String()
}

// refuse greets as MariaDB does, reads the answer and denies access.
func refuse(conn net.Conn) {
	defer conn.Close()
	greeting := "\x0a" + "10.11.19-MariaDB\x00" + "\x01\x00\x00\x00" + "12345678\x00" + "\xff\xf7" + "\x21" + "\x02\x00" + "\xff\x81" + "\x15" + strings.Repeat("\x00", 10) + "123456789012\x00" + "mysql_native_password\x00"
	packet := func(n byte, body string) {
		_, _ = io.WriteString(conn, string([]byte{byte(len(body)), byte(len(body) >> 8), 0, n})+body)
	}
	packet(0, greeting)
	head := make([]byte, 4)
	if _, err := io.ReadFull(conn, head); err != nil {
		return
	}
	if _, err := io.CopyN(io.Discard, conn, int64(head[0])|int64(head[1])<<8|int64(head[2])<<16); err != nil {
		return
	}
	packet(head[3]+1, "\xff\xa2\x06#28000Access denied for user 'root'@'localhost'")
}

// TestFaults plants each fault while all else is well.
func TestFaults(t *testing.T) {
	b := newBench(t, settings{})
	b.quiet()
	for _, f := range standing {
		t.Run(strings.ReplaceAll(f.name, " ", "_"), func(t *testing.T) {
			b.t = t
			mend := f.plant(b)
			func() {
				defer mend()
				b.told(f.kind, f.about)
			}()
			b.over(f.kind)
			b.quiet()
		})
	}
}

// TestStart: what is wrong at the start is told and mended without a restart.
func TestStart(t *testing.T) {
	t.Run("token_refused", func(t *testing.T) {
		var lift func()
		b := newBench(t, settings{prepared: func(b *bench) {
			lift = b.net.Inject(serve.Fault{Status: 401, Body: "401 - token refused"})
		}, chain: func(b *bench) string { return b.net.Node().Multiaddr("http") }})
		b.told(condition.NetworkUnknown, "Common.API.Token")
		lift()
		b.over(condition.NetworkUnknown)
	})
	t.Run("damaged_ledger", func(t *testing.T) {
		b := newBench(t, settings{prepared: func(b *bench) { b.write("home/ledger.db", strings.Repeat("no database ", 1000)) }})
		b.told(condition.LedgerUnusable, "ledger.db")
		if err := os.Remove(filepath.Join(b.home, "ledger.db")); err != nil {
			t.Fatal(err)
		}
		b.over(condition.LedgerUnusable)
	})
	t.Run("no_parameters", func(t *testing.T) {
		empty := t.TempDir()
		b := newBench(t, settings{native: true, params: empty})
		b.told(condition.ParametersMissing, "FIL_PROOFS_PARAMETER_CACHE")
	})
	t.Run("no_slave_at_all", func(t *testing.T) {
		b := newBench(t, settings{noSlave: true})
		b.told(condition.NoSlave, "wdpost-slave-daemon")
		b.startSlave()
		b.over(condition.NoSlave)
		b.quiet()
	})
	t.Run("second_node_speaks_the_old_API", func(t *testing.T) {
		b := newBench(t, settings{chain: func(b *bench) string {
			address := b.net.Node().Multiaddr("ws")
			return address + " http://127.0.0.1:" + strings.Split(address, "/")[4] + "/rpc/v0"
		}})
		b.told(condition.EndpointWrong, "/rpc/v1")
	})
}
