//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// access is how the devnet's chain is reached.
type access struct {
	Chain, Messager, Gateway, Token string
	Stores                          []string
	Miners                          []struct {
		Actor  uint64
		Sender string
	}
}

// operator is a storage provider at the keyboard: a machine's directory with
// the programs in dist/bin, as in the guide.
type operator struct {
	t      *testing.T
	g      *guide
	root   string // stands for /root in the guide
	dist   string // stands for /root/venus-cluster/dist/bin
	params string
	chain  *process
	access access
	db     *mariadb
	grpc   int // port of the master
	http   int // port of the manager
}

func newOperator(t *testing.T, chainFlags ...string) *operator {
	t.Helper()
	root := t.TempDir()
	o := &operator{t: t, g: readGuide(t), root: root, params: filepath.Join(root, "params")}
	o.dist = filepath.Join(root, "venus-cluster", "dist", "bin")
	o.grpc, o.http = freePort(t), freePort(t)
	if err := os.MkdirAll(o.dist, 0o755); err != nil {
		t.Fatal(err)
	}
	programs, err := os.ReadDir(binDir)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range programs {
		if err := os.Symlink(filepath.Join(binDir, p.Name()), filepath.Join(o.dist, p.Name())); err != nil {
			t.Fatal(err)
		}
	}
	o.makeParams()
	work := filepath.Join(root, "chain")
	o.chain = startProcess(t, "chain", root, o.env(), append([]string{filepath.Join(o.dist, "wdpost-devnet"), "chain",
		"--workdir", work, "--winning-every", "10", "--first-open", "40"}, chainFlags...)...)
	eventually(t, 2*time.Minute, "the chain listens", func() error {
		b, err := os.ReadFile(filepath.Join(work, "access.json"))
		if err != nil {
			return err
		}
		return json.Unmarshal(b, &o.access)
	})
	return o
}

// env is the operator's shell environment.
func (o *operator) env() []string {
	return []string{"HOME=" + o.root, "FIL_PROOFS_PARAMETER_CACHE=" + o.params}
}

// sh runs a command of the guide in the directory of the programs.
func (o *operator) sh(words []string) string {
	o.t.Helper()
	return runEnv(o.t, o.dist, o.env(), words...)
}

// start runs a daemon of the guide; leading NAME=value words are environment.
func (o *operator) start(name string, words []string) *process {
	o.t.Helper()
	env := o.env()
	for len(words) > 0 && strings.Contains(words[0], "=") && !strings.HasPrefix(words[0], "./") {
		env, words = append(env, words[0]), words[1:]
	}
	return startProcess(o.t, name, o.dist, env, words...)
}

// makeParams follows "预生成WD文件" and does the same for winning proofs.
func (o *operator) makeParams() {
	cmd := o.g.commandLine("./gen_cache_and_param_blst", "32GiB", "2KiB")
	o.sh(cmd)
	o.t.Cleanup(func() { runEnv(o.t, o.dist, o.env(), append(cmd, "--remove")...) })
	o.sh([]string{"./gen_cache_and_param_blst", "winpost-param", "--size", "2KiB", "--out", o.params})
}

// initManager follows "init初始化cluster" and "修改cluster配置文件".
func (o *operator) initManager() {
	o.t.Helper()
	o.sh(o.g.commandLine("./venus-sector-manager daemon init"))
	home := filepath.Join(o.root, ".venus-sector-manager")
	cfg := o.g.block("# Default config:", "[Common.API]")
	miner := o.access.Miners[0]
	cfg = o.g.replaced(cfg,
		`Chain = "/ip4/127.0.0.1/tcp/1234/ws"`, fmt.Sprintf("Chain = %q", o.access.Chain),
		`Messager = "/dns/cali-messager.example.com/tcp/82/wss"`, fmt.Sprintf("Messager = %q", o.access.Messager),
		`Market = "/ip4/127.0.0.1/tcp/41235"`, fmt.Sprintf("Market = %q", o.access.Chain),
		`Gateway = ["/dns/cali-gateway.example.com/tcp/83/wss"]`, fmt.Sprintf("Gateway = [%q]", o.access.Gateway),
		`Token = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.example.token"`, fmt.Sprintf("Token = %q", o.access.Token),
		"#Actor = 1447", fmt.Sprintf("Actor = %d", miner.Actor),
		"[Miners.PoSt]\nSender = \"f3sc7rocifuabifirjul34bcpq2m2vvrg6yz2pghbbikd4aylnvhfs7dkeoaydmprzj7m4ptiff7k436x4slqa\"",
		fmt.Sprintf("[Miners.PoSt]\nSender = %q", miner.Sender),
	)
	o.attachStores()
	cfg = o.withStores(cfg)
	writeFile(o.t, cfg, home, "sector-manager.cfg")
	ext := o.g.replaced(o.g.block("[[WdPost]]", "ReadyTimeoutSecs"), "/root/venus-cluster/dist/bin", o.dist)
	writeFile(o.t, ext, home, "ext-prover.cfg")
}

// attachStores runs the guide's attach commands and holds their output against
// the block that the guide shows.
func (o *operator) attachStores() {
	o.t.Helper()
	for i, store := range o.access.Stores {
		path := store + "/"
		mount := fmt.Sprintf("/mnt/mount/nfs/0.0.0.%d/", i)
		name := fmt.Sprintf("--name=storage%d", i+1)
		out := o.sh(o.g.commandLine("./venus-sector-manager util storage attach --verbose "+name, mount, path))
		want := fmt.Sprintf("[[Common.PersistStores]]\nName = \"storage%d\"\nPath = \"%s\"\nStrict = false\nReadOnly = false\n", i+1, path)
		if !strings.Contains(out, want) {
			o.t.Fatalf("attach of %s prints\n%s\nwant the guide's block\n%s", store, out, want)
		}
	}
}

// withStores puts the guide's two stores in the place of its first, sample one.
func (o *operator) withStores(cfg string) string {
	o.t.Helper()
	stores := o.g.block(`Name = "storage1"`, `Name = "storage2"`, "AllowMiners = [1008]")
	stores = o.g.replaced(stores, "[1008]", fmt.Sprintf("[%d]", o.access.Miners[0].Actor))
	for i, store := range o.access.Stores {
		stores = o.g.replaced(stores, fmt.Sprintf("/mnt/mount/nfs/0.0.0.%d/", i), store+"/")
	}
	sample := regexp.MustCompile(`(?s)\[\[Common\.PersistStores\]\].*?\[Common\.PersistStores\.Meta\]`)
	if !sample.MatchString(cfg) {
		o.t.Fatal("the guide's config has no sample store")
	}
	return sample.ReplaceAllLiteralString(cfg, stores+"[Common.PersistStores.Meta]")
}

// makeDatabase follows "创建WD数据库和表" with the mysql client.
func (o *operator) makeDatabase() {
	o.t.Helper()
	o.db = startMariaDB(o.t, o.root)
	sql := o.g.replaced(o.g.block("CREATE DATABASE", "CREATE VIEW tasks_view"), "数据库名;", "wdpost; USE wdpost;")
	o.db.exec("", sql)
}

// writeDaemonFiles follows "wdpost_master 配置" and "wdpost salve配置".
func (o *operator) writeDaemonFiles() {
	o.t.Helper()
	master := o.g.replaced(o.g.block("# rpc 配置", "heartbeat_timeout"),
		"0.0.0.0:4698", fmt.Sprintf("127.0.0.1:%d", o.grpc),
		"mysql://root:password@localhost/wdpost", o.db.url("wdpost"))
	writeFile(o.t, master, o.dist, "wdpost_master.toml")
	slave := o.g.replaced(o.g.block("server_addr", "pull_interval"), "192.168.200.113:4698", fmt.Sprintf("127.0.0.1:%d", o.grpc))
	writeFile(o.t, slave, o.dist, "slave.toml")
}

func (o *operator) startManager() *process {
	o.t.Helper()
	return o.start("manager", o.g.commandLine("./venus-sector-manager daemon run", "0.0.0.0:1789", fmt.Sprintf("127.0.0.1:%d", o.http)))
}

func (o *operator) startSlave(name string) *process {
	o.t.Helper()
	words := o.g.commandLine("FORCE_SECTOR_SIZE=", "34359738368", "2048")
	return o.start(name, words)
}

// TestOperatorGuide follows the guide from the first command to proven windows.
func TestOperatorGuide(t *testing.T) {
	// One sector starts as a fault, so that the recovery of the guide's log key word happens.
	o := newOperator(t, "--sectors", "10", "--faulty", "1", "--period-deadlines", "8")
	o.initManager()
	o.makeDatabase()
	o.writeDaemonFiles()
	manager := o.startManager()
	slave := o.startSlave("slave")

	for _, word := range []string{"Checked sectors", "Submitted window post:", "window post message succeeded:", "declare faults recovered message published"} {
		manager.waitLog(8*time.Minute, word)
	}
	slave.waitLog(time.Minute, "got task:")
	slave.waitLog(time.Minute, "slave: task:")
	closed := regexp.MustCompile(`(?m) closed .*$`)
	eventually(t, 8*time.Minute, "six windows have closed", func() error {
		if n := len(closed.FindAllString(o.chain.log(), -1)); n < 6 {
			return fmt.Errorf("%d windows closed", n)
		}
		return nil
	})

	rows := o.db.exec("wdpost", "SELECT id, started_at, finished_at, slave FROM tasks_view WHERE finished_at IS NOT NULL AND error_reason IS NULL")
	if !regexp.MustCompile(`(?m)^[0-9a-f]{32}\t\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\t\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\t\S+$`).MatchString(rows) {
		t.Fatalf("tasks_view shows no finished task as the guide's SQL has it:\n%s", rows)
	}
	if !regexp.MustCompile(`(?m) winning .*`).MatchString(o.chain.log()) {
		t.Fatalf("no winning proof was asked for:\n%s", o.chain.log())
	}
	o.judge()
}

// judge stops the chain and reads its verdict.
func (o *operator) judge() {
	o.t.Helper()
	o.chain.stop()
	if code := o.chain.cmd.ProcessState.ExitCode(); code != 0 {
		o.t.Fatalf("the chain judges with exit code %d:\n%s", code, o.chain.log())
	}
	o.t.Log(strings.TrimSpace(o.chain.log()[strings.LastIndex(strings.TrimSpace(o.chain.log()), "\n")+1:]))
}
