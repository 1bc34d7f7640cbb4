package cluster

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/filecoin-project/go-state-types/abi"

	"wdpost/internal/keytool"
	"wdpost/lab/devnet"
	"wdpost/lab/devnet/actor"
	"wdpost/proofs/post"
)

// NetworkName is the name of a cluster's chain.
const NetworkName = devnet.NetworkName

// Config describes a cluster on one machine. The zero value of each field has
// the stated meaning.
type Config struct {
	Workdir    string // a new directory under the system's temporary one
	BinDir     string // our programs; built into Workdir/bin when empty
	SectorSize uint64 // bytes; 2 KiB
	Miners     int    // 1
	// Sectors is how many each miner has. 0: as many as give every deadline of
	// a period one partition, or 4 where a sector is large.
	Sectors int
	// Spread puts the sectors of each miner into so many deadlines instead of
	// where the actor's rules put them. 0: by the rules.
	Spread int
	// PartitionSectors is how many sectors one partition holds. 0: what the
	// network uses. Other numbers need development parameters of their own.
	PartitionSectors int
	// Faulty is how many sectors of each miner start as faults, so that they
	// must be recovered.
	Faulty int
	Slaves int    // 2
	MySQL  string // database of the queue, mysql://…; empty: an embedded file

	PeriodDeadlines uint64         // deadlines in a proving period; 48
	Window          abi.ChainEpoch // epochs in a deadline's window; 30
	Epoch           time.Duration  // 1 second
	FirstOpen       abi.ChainEpoch // the first window with sectors opens; 0: ten epochs after its challenge can be drawn
	NullEvery       int            // one epoch in so many is a null round; 0: none
	ReorgEvery      abi.ChainEpoch // a reorganisation every so many epochs; 0: none
	Nodes           int            // full nodes; 1
	NodeMode        bool           // messages go through the nodes, not through the messager
	Troubles        []devnet.Trouble
	WinningEvery    abi.ChainEpoch // a winning proof is asked for every so many epochs; 0: none

	Log *slog.Logger
}

// withDefaults fills in the zero values and refuses what cannot work.
func (c Config) withDefaults() (Config, error) {
	set := func(v *int, def int) {
		if *v == 0 {
			*v = def
		}
	}
	set(&c.Miners, 1)
	set(&c.Slaves, 2)
	if c.SectorSize == 0 {
		c.SectorSize = 2 << 10
	}
	if c.PeriodDeadlines == 0 {
		c.PeriodDeadlines = 48
	}
	if c.Window == 0 {
		c.Window = 30
	}
	if c.Epoch == 0 {
		c.Epoch = time.Second
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if err := c.setup().Validate(); err != nil {
		return c, err
	}
	if c.Sectors == 0 {
		c.Sectors = 4
		if c.SectorSize <= 32<<10 {
			c.Sectors = int(c.PeriodDeadlines) * c.setup().Sectors
		}
	}
	for _, n := range []int{c.Miners, c.Sectors, c.Slaves, c.Spread + 1, c.Faulty + 1} {
		if n < 1 {
			return c, errors.New("the numbers of miners, sectors, slaves, spread deadlines and faults cannot be negative")
		}
	}
	// The programs start while the first epochs pass; the manager must be there
	// when the confidence in the first challenge is reached.
	if soonest := c.policy().ChallengeLookback + 10; c.FirstOpen == 0 {
		c.FirstOpen = soonest
	} else if c.FirstOpen < soonest {
		return c, fmt.Errorf("the first window cannot open in epoch %d: its challenge must lie in the chain; the soonest is %d", c.FirstOpen, soonest)
	}
	if uint64(c.Spread) > c.PeriodDeadlines {
		return c, fmt.Errorf("cannot spread sectors over %d deadlines: a period has %d", c.Spread, c.PeriodDeadlines)
	}
	if err := c.policy().Validate(); err != nil {
		return c, err
	}
	return c, c.makeWorkdir()
}

// makeWorkdir makes the work directory and an absolute path of it. A directory
// that was used before is refused: its chain is gone and cannot be continued.
func (c *Config) makeWorkdir() (err error) {
	if c.Workdir == "" {
		c.Workdir, err = os.MkdirTemp("", "wdpost-devnet-")
		return err
	}
	if c.Workdir, err = filepath.Abs(c.Workdir); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(c.Workdir, "storage")); err == nil {
		return fmt.Errorf("work directory %s holds an earlier devnet, whose chain ended with it; remove it or name another", c.Workdir)
	}
	return os.MkdirAll(c.Workdir, 0o755)
}

// setup is the circuit of the cluster's window proofs.
func (c *Config) setup() post.Setup {
	s := keytool.StandardSetup(post.Window, c.SectorSize)
	if c.PartitionSectors > 0 {
		s = s.WithSectors(c.PartitionSectors)
	}
	return s
}

func (c *Config) policy() actor.Policy { return actor.Scaled(c.PeriodDeadlines, c.Window) }

// path is a path in the work directory.
func (c *Config) path(elem ...string) string {
	return filepath.Join(append([]string{c.Workdir}, elem...)...)
}

// network is the description of the chain for miners with given sectors.
func (c *Config) network(miners []devnet.Miner, verifier actor.Verifier) devnet.Config {
	return devnet.Config{
		NetworkName:   NetworkName,
		Seed:          c.Workdir,
		EpochDuration: c.Epoch,
		Policy:        c.policy(),
		Miners:        miners,
		Verifier:      verifier,
		FirstOpen:     c.FirstOpen,
		NullEvery:     c.NullEvery,
		ReorgEvery:    c.ReorgEvery,
		WinningEvery:  c.WinningEvery,
		Nodes:         c.Nodes,
		Troubles:      c.Troubles,
		Log:           c.Log.With("room", "devnet"),
	}
}

// workers is how many goroutines hash and make keys.
func workers() int { return runtime.NumCPU() }
