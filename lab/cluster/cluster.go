package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"time"

	"wdpost/internal/prover"
	"wdpost/lab/devnet"
	"wdpost/proofs/post"
)

// Cluster is a chain and the processes that prove for it.
type Cluster struct {
	cfg        Config
	bin        string
	keys       *prover.Keys
	net        *devnet.Network
	miners     []devnet.Miner
	sup        *Supervisor
	masterAddr string
	started    time.Time
	page       atomic.Pointer[string] // of the manager, once it is started
}

// Prepare builds the programs, makes parameters and sector files, and sets up
// the chain. Nothing runs yet.
func Prepare(ctx context.Context, cfg Config) (*Cluster, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	c := &Cluster{cfg: cfg}
	if c.bin, err = cfg.findPrograms(ctx); err != nil {
		return nil, err
	}
	for _, dir := range []string{"params", "logs"} {
		if err := os.MkdirAll(cfg.path(dir), 0o755); err != nil {
			return nil, err
		}
	}
	if err := c.makeParams(ctx); err != nil {
		return nil, err
	}
	c.sup = NewSupervisor(cfg.path("logs"), cfg.Log)
	return c, c.prepareChain(ctx, cfg.path("params"))
}

// PrepareChain makes sector files and sets up the chain alone, for programs
// that somebody else configures and starts. Proofs are checked with the
// parameters in paramsDir, which need not be there yet.
func PrepareChain(ctx context.Context, cfg Config, paramsDir string) (*Cluster, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	c := &Cluster{cfg: cfg}
	return c, c.prepareChain(ctx, paramsDir)
}

func (c *Cluster) prepareChain(ctx context.Context, paramsDir string) (err error) {
	cfg := &c.cfg
	cfg.Log.Info("making sectors", "miners", cfg.Miners, "sectors", cfg.Sectors, "size", post.SizeName(cfg.SectorSize))
	if c.miners, err = cfg.makeSectors(ctx); err != nil {
		return err
	}
	c.keys = prover.NewKeys(prover.KeyConfig{ParamsDir: paramsDir, RawDirs: []string{paramsDir}, Log: cfg.Log})
	c.net, err = devnet.New(cfg.network(c.miners, chainVerifier{c.keys}))
	return err
}

// makeParams makes development parameters with the operator's own tool.
func (c *Cluster) makeParams(ctx context.Context) error {
	size, dir := post.SizeName(c.cfg.SectorSize), c.cfg.path("params")
	window := []string{"wdpost-param", "--size", size, "--params-dir", dir, "--out", dir, "--generate"}
	if c.cfg.PartitionSectors > 0 {
		window = append(window, "--partition-sectors", strconv.Itoa(c.cfg.PartitionSectors))
	} else if c.cfg.SectorSize > maxStandardKeys {
		return fmt.Errorf("the parameters of a whole %s partition of %d sectors cannot be made here in reasonable time; "+
			"prove smaller partitions with --partition-sectors 1", size, c.cfg.setup().Sectors)
	}
	winning := []string{"winpost-param", "--size", size, "--params-dir", dir, "--out", dir, "--generate"}
	for _, args := range [][]string{window, winning} {
		c.cfg.Log.Info("making development parameters", "command", args[0], "size", size)
		if _, err := c.command(ctx, paramProgram, args...); err != nil {
			return err
		}
	}
	return nil
}

// maxStandardKeys is the largest sector whose standard partition has few
// sectors: 1 GiB, see post.ProofType.Setup.
const maxStandardKeys = 1 << 30

// RunChain runs the chain alone until ctx ends.
func (c *Cluster) RunChain(ctx context.Context) error {
	c.started = time.Now()
	if err := c.net.Start(); err != nil {
		return err
	}
	if err := c.writeAccess(); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

// Run starts the chain and the programs and keeps them alive until ctx ends.
// The chain goes on while the programs start, as real chains do.
func (c *Cluster) Run(ctx context.Context) error {
	c.started = time.Now()
	if err := c.net.Start(); err != nil {
		return err
	}
	running, stop := context.WithCancel(ctx)
	defer c.sup.Wait()
	defer stop()
	if err := c.startPrograms(running); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

func (c *Cluster) startPrograms(ctx context.Context) error {
	if err := c.writeFiles(ctx); err != nil {
		return err
	}
	if err := c.attach(ctx); err != nil {
		return err
	}
	port, err := freePort()
	if err != nil {
		return err
	}
	page := "http://" + net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) + "/"
	c.page.Store(&page)
	programs := []Program{{
		Name: "manager", Dir: c.cfg.Workdir, Env: c.env(),
		Argv: []string{
			filepath.Join(c.bin, managerProgram), "--home", c.home(), "daemon", "run", "--poster", "--miner",
			"--listen", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), "--ext-prover",
		},
	}}
	for i := range c.cfg.Slaves {
		programs = append(programs, Program{
			Name: slaveName(i), Dir: c.cfg.Workdir,
			Env:  append(c.env(), fmt.Sprintf("FORCE_SECTOR_SIZE=%d", c.cfg.SectorSize)),
			Argv: []string{filepath.Join(c.bin, slaveProgram), "-c=" + c.slaveConfigPath(i)},
		})
	}
	for _, p := range programs {
		if err := c.sup.Start(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

// Page is the address of the manager's page; empty before the manager starts.
func (c *Cluster) Page() string {
	if page := c.page.Load(); page != nil {
		return *page
	}
	return ""
}

// Close ends the chain. Its report can still be asked for.
func (c *Cluster) Close() error { return errors.Join(c.net.Close(), c.keys.Close()) }

// Workdir is the directory with everything the cluster made.
func (c *Cluster) Workdir() string { return c.cfg.Workdir }

// Network is the simulated chain.
func (c *Cluster) Network() *devnet.Network { return c.net }

// Processes tells about the running programs.
func (c *Cluster) Processes() []ProcessState { return c.sup.States() }
