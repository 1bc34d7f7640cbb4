package manager

import (
	"context"

	"github.com/filecoin-project/go-address"

	"wdpost/internal/chain"
	"wdpost/internal/condition"
	"wdpost/internal/extprover"
	"wdpost/internal/ledger"
	"wdpost/internal/ledger/mongo"
	"wdpost/internal/ledger/sqlite"
	"wdpost/internal/message"
	"wdpost/internal/message/messager"
	"wdpost/internal/message/node"
	payers "wdpost/internal/message/sender"
	"wdpost/internal/notify"
	"wdpost/internal/poster"
	"wdpost/internal/prover"
	"wdpost/internal/sector"
	"wdpost/internal/task"
	"wdpost/internal/winning"
	"wdpost/proofs/post"
)

// Node is the chain as the manager uses it.
type Node interface {
	poster.Chain
	node.API
	payers.State
	StateNetworkName(ctx context.Context) (string, error)
	Clock(ctx context.Context) (chain.Clock, error)
	Run(ctx context.Context) error
	Probe(ctx context.Context)
	Follow(ctx context.Context, handle func(context.Context, chain.HeadEvent)) error
	Status() []chain.EndpointStatus
	Close()
}

// Host keeps external processors and asks them.
type Host interface {
	Run(ctx context.Context)
	Has(stage string) bool
	Status() (children []extprover.ChildStatus, waiting map[string]int)
	WindowProver
	WinningProver
}

// WindowProver makes WindowPoSt.
type WindowProver interface {
	ProveWindowPoSt(context.Context, task.Question) (task.Answer, error)
}

// WinningProver makes WinningPoSt.
type WinningProver interface {
	ProveWinningPoSt(context.Context, task.Question) (task.Answer, error)
}

// Engine proves in this process.
type Engine interface {
	WindowProver
	WinningProver
	WarmUp(ctx context.Context, types ...post.ProofType) error
	Close() error
}

// Verifier checks proofs.
type Verifier interface {
	VerifyWindowPoSt(ctx context.Context, q task.Question, a task.Answer) error
	VerifyWinningPoSt(ctx context.Context, q task.Question, a task.Answer) error
}

// Checker looks whether sectors can be proven from.
type Checker interface {
	Check(ctx context.Context, miner uint64, wanted []sector.Wanted, strict bool) []sector.Checked
	Candidates(miner, number uint64, updated bool) ([]sector.Location, error)
	Doubt(miner, number uint64, sealedFile string, challenges []uint64, why error)
}

// Poster keeps the deadlines of one miner.
type Poster interface {
	Run(ctx context.Context) error
	OnHead(poster.Head)
	Status() []poster.MinerStatus
}

// Winning answers the proof requests of one miner.
type Winning interface {
	Run(ctx context.Context) error
	Status() []winning.Registration
	Healthy() error
}

// Notifier tells people.
type Notifier interface {
	Run(ctx context.Context) error
	Changed(condition.Change)
	Event(notify.Event)
	Test(ctx context.Context) map[string]error
}

// Payers say who can pay for a message.
type Payers interface {
	Senders(ctx context.Context, wish message.Wish) ([]message.Candidate, error)
	Known() []payers.Account
	Forget(miner address.Address)
	Doubt(sender address.Address)
}

// Parts makes the rooms that the manager joins: their constructors in Rooms,
// stand-ins in tests.
type Parts struct {
	Node       func(chain.Config) (Node, error)
	Messager   func(messager.Config) (message.Sender, error)
	NodeSender func(node.Config) message.Sender
	Payers     func(payers.Config) Payers
	SQLite     func(context.Context, sqlite.Config) (ledger.Ledger, error)
	Mongo      func(context.Context, mongo.Config) (ledger.Ledger, error)
	Host       func(extprover.HostConfig) (Host, error)
	Engine     func(prover.Config) (Engine, error)
	Verifier   func(keys *prover.Keys, partitionSectors int) Verifier
	Guard      func(sector.GuardConfig) *sector.Guard
	Checker    func(*sector.Locator, *sector.Guard) Checker
	Poster     func(poster.Config) (Poster, error)
	Winning    func(winning.Config) (Winning, error)
	Notifier   func(notify.Config) (Notifier, error)
}

// Rooms are the real parts.
func Rooms() Parts {
	return Parts{
		Node:       func(c chain.Config) (Node, error) { return orNil[Node](chain.New(c)) },
		Messager:   func(c messager.Config) (message.Sender, error) { return orNil[message.Sender](messager.New(c)) },
		NodeSender: func(c node.Config) message.Sender { return node.New(c) },
		Payers:     func(c payers.Config) Payers { return payers.New(c) },
		SQLite: func(ctx context.Context, c sqlite.Config) (ledger.Ledger, error) {
			return orNil[ledger.Ledger](sqlite.Open(ctx, c))
		},
		Mongo: func(ctx context.Context, c mongo.Config) (ledger.Ledger, error) {
			return orNil[ledger.Ledger](mongo.Open(ctx, c))
		},
		Host:     func(c extprover.HostConfig) (Host, error) { return orNil[Host](extprover.NewHost(c)) },
		Engine:   func(c prover.Config) (Engine, error) { return orNil[Engine](prover.New(c)) },
		Verifier: func(k *prover.Keys, n int) Verifier { return prover.NewVerifier(k, n) },
		Guard:    sector.NewGuard,
		Checker:  func(l *sector.Locator, g *sector.Guard) Checker { return sector.NewChecker(l, g) },
		Poster:   func(c poster.Config) (Poster, error) { return orNil[Poster](poster.New(c)) },
		Winning:  func(c winning.Config) (Winning, error) { return orNil[Winning](winning.New(c)) },
		Notifier: func(c notify.Config) (Notifier, error) { return orNil[Notifier](notify.New(c)) },
	}
}

// orNil makes an interface of a constructor's result, nil beside an error.
func orNil[I any, T any](v T, err error) (I, error) {
	if err != nil {
		var none I
		return none, err
	}
	return any(v).(I), nil
}
