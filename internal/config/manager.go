package config

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"wdpost/internal/message"
)

// Manager is sector-manager.cfg.
type Manager struct {
	Common Common
	Miners []Miner
}

// Common is what all miners share.
type Common struct {
	API           API
	PieceStores   []PieceStore `effect:"none"`
	PersistStores []PersistStore
	// ScanPersistStores are folders of which those with a sectorstore.json are
	// stores as well, with the settings in that file; the last part may have
	// wildcards: ["/filecoin/*"]. They need not be attached: they are scanned.
	ScanPersistStores []string
	// RescanInterval is how often each store is scanned for new sectors while the
	// daemon runs; nothing known is forgotten. Default 0: only `util storage
	// attach` and `scan` find new ones.
	RescanInterval Duration
	MongoKVStore   MongoKVStore
	Proving        Proving
	// Notify are receivers of notifications.
	Notify []Notify
	// Settings of newer releases of this program's model, which steer sealing
	// and deals.
	Plugins, PieceStorePreset, PersistStorePreset, DB Foreign `effect:"none"`
}

// Notify is one receiver of notifications: it is told what keeps windows from
// being proven, and when that is over.
type Notify struct {
	// Kind is webhook (Alertmanager's form), dingtalk, feishu, wecom, telegram or
	// slack. Required.
	Kind string
	// URL is that of the webhook or the robot; for telegram
	// https://api.telegram.org/botTOKEN. It is a secret. Required.
	URL string
	// Secret is what robots of DingTalk and Feishu want messages signed with.
	Secret string
	// Chat is the id of Telegram's chat.
	Chat string
	// Least is the mildest cost that is told: window, sectors, money or none.
	// Default money.
	Least string
	// Repeat is how often what stands is told again. Default 6h.
	Repeat Duration
	// Daily is when a summary of the last 24 hours is sent, local time, as 09:00.
	// Default: never.
	Daily string
}

func (n *Notify) setDefaults() { *n = Notify{Least: "money", Repeat: Duration(6 * time.Hour)} }

// API says where the services of the chain are. An address is a multiaddr
// (/ip4/127.0.0.1/tcp/1234/ws) or a url (ws://127.0.0.1:1234/rpc/v1); with
// "token:" before it, the token is used for that address instead of Token.
type API struct {
	// Chain is the node, or a list of nodes of one network: the one with the
	// heaviest head that is fresh by the clock is used, among equals the first
	// one. Where two follow different networks the first one's is right. An http
	// address is polled instead of streamed. Default: the first Gateway.
	Chain Strings `is:"endpoint or list"`
	// Messager signs, sends and watches messages. Default: the first Gateway.
	// "none" sends through the node itself.
	Messager string `is:"endpoint"`
	// Market has no effect here: deals are not made.
	Market string `effect:"none"`
	// Gateway are the services that pass on requests for WinningPoSt.
	Gateway Strings `is:"endpoint or list"`
	// Token is presented to all of them.
	Token string
	// ChainEventInterval is how long the stream of head changes may be silent at
	// most before the head is asked for every few seconds; an epoch and a quarter
	// is enough where that is less. Default 1m.
	ChainEventInterval Duration
}

// PieceStore has no effect here: deals are not made.
type PieceStore struct {
	Name, Path         string
	Meta               map[string]string
	ReadOnly           bool
	Plugin, PluginName string
}

// PersistStore is one folder of sealed sectors, holding cache and sealed, or a
// prefix of an object store with the same files. It must have been attached with
// `util storage attach` under the same name and path.
type PersistStore struct {
	// Name of the store. Default: its Path.
	Name string
	// Path is the folder above cache and sealed; with Plugin = "s3" the URL of
	// bucket and prefix: https://minio.example:9000/bucket/prefix.
	Path string
	// Strict has scans leave out files that are links out of the store.
	Strict bool
	// ReadOnly says that the store is meant to be mounted read-only. One that is
	// without it is told as a condition: a kernel mounts a failing disk so.
	ReadOnly bool
	// Weight orders the copies of a sector that lies in several stores: that in
	// the store with the largest weight is read first. Default 0.
	Weight uint64
	// Plugin is "s3" for an object store; its credentials are in the environment
	// (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY) or in ~/.aws/credentials, on
	// every machine that reads. Default: a folder.
	Plugin string
	// PluginName is the same as Plugin.
	PluginName string
	// AllowMiners are the miners whose sectors are looked for here; empty: all.
	AllowMiners []uint64
	// DenyMiners are the miners whose sectors are never looked for here.
	DenyMiners []uint64
	// Meta is for the operator; the status page shows it.
	Meta map[string]string
}

// PluginS3 is the one Plugin there is.
const PluginS3 = "s3"

// Root is the store's path as the sector index knows it.
func (p PersistStore) Root() string {
	if p.Plugin == PluginS3 {
		return s3Prefix + strings.TrimPrefix(p.Path, s3Prefix)
	}
	return p.Path
}

// s3Prefix begins the paths of object stores.
const s3Prefix = "s3+"

// LeavesOut names the key that keeps the miner's sectors from being looked for in
// the store; empty if none does.
func (p PersistStore) LeavesOut(miner uint64) string {
	switch {
	case slices.Contains(p.DenyMiners, miner):
		return "DenyMiners"
	case len(p.AllowMiners) > 0 && !slices.Contains(p.AllowMiners, miner):
		return "AllowMiners"
	}
	return ""
}

// MongoKVStore, when enabled, keeps what the manager must not forget in
// MongoDB instead of a file in its home.
type MongoKVStore struct {
	Enable       bool   // default false
	DSN          string // e.g. mongodb://127.0.0.1:27017/?directConnection=true
	DatabaseName string
}

// Proving bounds the sector check and the reading of sector files, which may
// hang for ever on a dead network mount.
type Proving struct {
	// ParallelCheckLimit is how many sectors are checked or read at once.
	// Default 128.
	ParallelCheckLimit int
	// SingleCheckTimeout is how long one sector may take before it is skipped.
	// Default 1m.
	SingleCheckTimeout Duration
	// PartitionCheckTimeout is how long all sectors of one message may take;
	// those not read by then are skipped. Default 20m.
	PartitionCheckTimeout Duration
	// MaxStuck is how many reads may be stuck in one store before the store is
	// set aside. Default 16.
	MaxStuck int
	// WorkerProver belongs to another way of proving; see ext-prover.cfg.
	WorkerProver Foreign `effect:"none"`
}

// Fee is what a message may cost.
type Fee struct {
	// GasOverEstimation multiplies the estimated gas limit. Default 1.2.
	GasOverEstimation float64
	// GasOverPremium multiplies the estimated premium; 0 leaves it to the
	// messager. Default 0.
	GasOverPremium float64
	// GasFeeCap is the most paid for a unit of gas. Default 5 nanoFIL.
	GasFeeCap FIL
	// MaxFeeCap is used where GasFeeCap is zero.
	MaxFeeCap FIL
}

// Fees is what a message may cost, in the words of the senders.
func (p PoSt) Fees() message.Fees {
	return message.Fees{
		GasOverEstimation: p.GasOverEstimation, GasOverPremium: p.GasOverPremium,
		GasFeeCap: p.GasFeeCap.Amount(), MaxFeeCap: p.MaxFeeCap.Amount(), MaxFee: p.MaxFee.Amount(),
	}
}

func defaultFee() Fee { return Fee{GasOverEstimation: 1.2, GasFeeCap: NanoFIL(5)} }

// Miner is one [[Miners]] section.
type Miner struct {
	// Actor is the number of the miner actor: 1008 for t01008. Required.
	Actor      uint64
	Sector     MinerSector `effect:"none"`
	SnapUp     SnapUp      `effect:"none"`
	Commitment Commitment  `effect:"none"`
	PoSt       PoSt
	Proof      Proof
	Sealing    Sealing `effect:"none"`
}

func (m *Miner) setDefaults() {
	*m = Miner{
		PoSt: PoSt{Enabled: true, StrictCheck: true, Fee: defaultFee(), Confidence: 10, EscalateFees: true, AllowWorkerFallback: true},
	}
}

// PoSt is how WindowPoSt is made for one miner.
type PoSt struct {
	// Sender pays for the messages: an owner, worker or control address of the
	// miner. Default: of the control addresses and the worker whose key is at
	// hand, the one with the largest balance.
	Sender Address
	// Senders are several such addresses; of those that can pay, the one with
	// the largest balance is used.
	Senders []Address
	// Enabled false leaves this miner alone. Default true.
	Enabled bool
	// StrictCheck also compares file sizes and reads one leaf of each sector
	// before proving, which costs random reads. Default true.
	StrictCheck bool
	// Parallel proves the messages of a deadline at the same time. Default false.
	Parallel bool
	Fee
	// MaxFee is the most that one message may cost in all while it is raised to
	// get onto the chain in time. 0 means 5 FIL, or what GasFeeCap allows if
	// that is more.
	MaxFee FIL
	// MaxFeePerDay is the most that the raised messages of this miner may cost
	// in 24 hours. 0 means no limit.
	MaxFeePerDay FIL
	// EscalateFees offers a message that does not get onto the chain at a
	// higher price, within MaxFee and MaxFeePerDay. Default true.
	EscalateFees bool
	// AllowWorkerFallback lets the control addresses and the worker pay where
	// no configured sender can. Default true.
	AllowWorkerFallback bool
	// AllowOwnerFallback lets the owner pay where nobody else can. Default false.
	AllowOwnerFallback bool
	// Confidence is how many epochs a message must lie under the head before it
	// counts as landed. Default 10.
	Confidence uint64 `is:"epochs"`
	// SubmitConfidence is how many epochs after the window's opening proofs are
	// sent. 0 means 4.
	SubmitConfidence uint64 `is:"epochs"`
	// ChallengeConfidence is how many epochs after the challenge epoch proving
	// starts. Small is early, but open to forks. 0 means 10.
	ChallengeConfidence uint64 `is:"epochs"`
	// MaxRecoverSectorLimit is how many sectors one recovery message may
	// declare. 0 means no limit.
	MaxRecoverSectorLimit uint64
	// MaxPartitionsPerPoStMessage is how many partitions one message proves. 0
	// means as many as the network allows; more than that is cut to it.
	MaxPartitionsPerPoStMessage uint64
	// MaxPartitionsPerRecoveryMessage is how many partitions one recovery
	// message touches. 0 means all.
	MaxPartitionsPerRecoveryMessage uint64
}

// AllSenders lists Senders and Sender without repetition.
func (p PoSt) AllSenders() []Address {
	var out []Address
	seen := map[Address]bool{}
	for _, a := range append(append([]Address(nil), p.Senders...), p.Sender) {
		if a.IsSet() && !seen[a] {
			seen[a] = true
			out = append(out, a)
		}
	}
	return out
}

// Proof is WinningPoSt of one miner; it also needs `daemon run --miner`.
type Proof struct {
	Enabled bool // default false
}

// DefaultManager returns the settings of an empty sector-manager.cfg.
func DefaultManager() Manager {
	return Manager{Common: Common{
		API: API{ChainEventInterval: Duration(time.Minute)},
		Proving: Proving{
			ParallelCheckLimit:    128,
			SingleCheckTimeout:    Duration(time.Minute),
			PartitionCheckTimeout: Duration(20 * time.Minute),
			MaxStuck:              16,
		},
	}}
}

// LoadManager reads sector-manager.cfg. The warnings are legal but suspicious
// settings, and one that names all keys that have no effect here.
func LoadManager(path string) (m Manager, warnings []string, err error) {
	m = DefaultManager()
	doc, err := load(path, &m)
	if err != nil {
		return Manager{}, nil, err
	}
	c := checker{doc: doc}
	m.check(&c)
	if inert := doc.inertNames(); len(inert) > 0 {
		c.warnings = append(c.warnings, fmt.Sprintf(
			"%s: %s: accepted, but without effect here: sectors are neither sealed nor deals made", path, strings.Join(inert, ", ")))
	}
	return m, c.warnings, c.err()
}

var elementIndex = regexp.MustCompile(`\[\d+\]`)

// inertNames lists the keys without effect that the file sets, each once,
// without element numbers, in alphabetical order.
func (d *document) inertNames() []string {
	var names []string
	for _, n := range d.inert {
		names = append(names, elementIndex.ReplaceAllString(n, ""))
	}
	return sortedUnique(names)
}
