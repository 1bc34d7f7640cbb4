package devnet

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/network"

	"wdpost/lab/devnet/actor"
)

// NetworkName is what the chain calls itself. Venus services accept a network
// that they do not know only where its name contains "localnet-".
const NetworkName = "localnet-devnet"

// Config describes a network. Miners and Verifier must be given; the zero value
// of every other field has the stated meaning.
type Config struct {
	NetworkName    string          // NetworkName
	NetworkVersion network.Version // 28
	Seed           string          // everything random follows from it
	GenesisTime    time.Time       // now
	EpochDuration  time.Duration   // 1 second; below a second is fine
	Policy         actor.Policy    // actor.Mainnet(); see actor.Scaled for demonstrations
	Miners         []Miner
	Verifier       actor.Verifier
	Optimistic     bool // take window proofs on trust as the main network does

	// FirstOpen is the epoch at which the first window with sectors of a miner
	// opens. 0 means five epochs after the earliest at which its challenge is
	// drawn after genesis.
	FirstOpen abi.ChainEpoch

	Nodes        int            // full nodes; 1
	SingleBlocks bool           // never two blocks in a tipset
	NullEvery    int            // about one epoch in so many is a null round; 0 for none
	ReorgEvery   abi.ChainEpoch // a reorganisation every so many epochs; 0 for none
	ReorgDepth   int            // tipsets it reverts; 0 means 1
	BaseFee      big.Int        // attoFIL a unit of gas; 100
	History      abi.ChainEpoch // epochs that can be looked back; 4000

	// Troubles go wrong at their epochs.
	Troubles []Trouble

	// GatewayPaths are where the gateway serves. Default: /rpc/v2, /rpc/v1 and
	// /rpc/v0; gateways up to v1.8 had no /rpc/v2.
	GatewayPaths []string
	// WinningEvery asks every miner that listens at the gateway for a winning
	// proof each so many epochs; 0 asks only through Network.AskWinning.
	WinningEvery abi.ChainEpoch
	// WinningTimeout bounds such a request. 0 means 30 seconds.
	WinningTimeout time.Duration

	// NodeAddr (of the first node), MessagerAddr and GatewayAddr are host:port;
	// empty means a free port on 127.0.0.1.
	NodeAddr, MessagerAddr, GatewayAddr string
	// Token is the bearer token that allows everything; empty makes one up. It
	// may be any text without spaces.
	Token string
	// OpenReads lets calls without a token read, as a Lotus node does. Otherwise
	// they may do nothing.
	OpenReads bool

	// Manual leaves time to the caller: epochs begin with Step only.
	Manual bool
	Log    *slog.Logger // silent
}

// Miner describes a miner and what it has sealed.
type Miner struct {
	ID         uint64 // 1000 and up by position
	SectorSize uint64 // bytes; one of the ten sizes with proof types, 2 KiB when 0
	// PartitionSectors is how many sectors a partition holds; 0 means what the
	// network uses for the size.
	PartitionSectors uint64
	Sectors          []Sector
	// Owner and Worker are account addresses (t1 or t3) that the miner's messages
	// may come from; Undef makes one up.
	Owner, Worker address.Address
	Control       []address.Address
	FirstOpen     abi.ChainEpoch // overrides Config.FirstOpen
}

// Sector is one sealed sector.
type Sector struct {
	Number   uint64
	CommR    [32]byte // little-endian field element
	Deadline *uint64  // nil: spread by the rules of the actor
	Faulty   bool     // starts as a fault
	Unproven bool     // starts without power
}

// withDefaults fills in the zero values and checks the relations.
func (c Config) withDefaults() (Config, error) {
	if c.Verifier == nil {
		return c, errors.New("devnet: Config.Verifier is missing; the chain cannot take proofs without one")
	}
	if c.NetworkName == "" {
		c.NetworkName = NetworkName
	}
	if c.NetworkVersion == 0 {
		c.NetworkVersion = 28
	}
	if len(c.GatewayPaths) == 0 {
		c.GatewayPaths = []string{"/rpc/v2", "/rpc/v1", "/rpc/v0"}
	}
	if c.GenesisTime.IsZero() {
		c.GenesisTime = time.Now()
	}
	if c.EpochDuration == 0 {
		c.EpochDuration = time.Second
	}
	if c.Policy.PeriodDeadlines == 0 {
		c.Policy = actor.Mainnet()
	}
	if err := c.Policy.Validate(); err != nil {
		return c, fmt.Errorf("devnet: %w", err)
	}
	if c.FirstOpen == 0 {
		c.FirstOpen = c.Policy.ChallengeLookback + 6
	}
	c.Nodes = max(c.Nodes, 1)
	for _, t := range c.Troubles {
		if t.Node > c.Nodes {
			return c, fmt.Errorf("devnet: trouble %q is for node %d of %d", t, t.Node, c.Nodes)
		}
	}
	if c.ReorgDepth == 0 {
		c.ReorgDepth = 1
	}
	if c.WinningTimeout == 0 {
		c.WinningTimeout = 30 * time.Second
	}
	for _, a := range []*string{&c.NodeAddr, &c.MessagerAddr, &c.GatewayAddr} {
		if *a == "" {
			*a = "127.0.0.1:0"
		}
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c, nil
}
