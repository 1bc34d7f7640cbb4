package poster

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"

	"wdpost/internal/condition"
	"wdpost/internal/deadline"
	"wdpost/internal/ledger"
	"wdpost/internal/message"
	"wdpost/internal/message/escalate"
)

// MinerConfig is one miner's [Miners.PoSt].
type MinerConfig struct {
	// Miner is the actor ID, the number in t01008.
	Miner abi.ActorID
	// Senders may send for the miner; none means its control addresses and
	// its worker.
	Senders []address.Address
	// AllowWorkerFallback and AllowOwnerFallback let others send where no
	// configured sender can.
	AllowWorkerFallback, AllowOwnerFallback bool
	Fees                                    message.Fees
	// Escalation bounds what is done about a message that does not land.
	Escalation escalate.Limits

	// Confidence is how many epochs deep a message must be to count as landed;
	// 0 means 10.
	Confidence uint64
	// ChallengeConfidence is how many epochs after Challenge proving starts;
	// 0 means 10. The smaller, the earlier, and the likelier to be undone by a
	// fork.
	ChallengeConfidence abi.ChainEpoch
	// SubmitConfidence is how many epochs after Open messages are sent; 0
	// means 4. More than half a window is cut to that, and told.
	SubmitConfidence abi.ChainEpoch
	// Parallel lets the messages of a deadline be proven at the same time
	// instead of one after the other.
	Parallel bool

	// MaxPartitionsPerPoStMessage is how many partitions share one message; 0
	// means as many as the network allows, and more than that is capped.
	MaxPartitionsPerPoStMessage uint64
	// MaxPartitionsPerRecoveryMessage is how many partitions share one
	// declaration of recovered sectors; 0 means all.
	MaxPartitionsPerRecoveryMessage uint64
	// MaxRecoverSectorLimit is how many sectors are declared recovered for one
	// deadline; 0 means no limit.
	MaxRecoverSectorLimit uint64
}

func (c MinerConfig) confidence() uint64 {
	if c.Confidence == 0 {
		return uint64(deadline.DefaultMessageConfidence)
	}
	return c.Confidence
}

func (c MinerConfig) timing() deadline.Confidence {
	return deadline.Confidence{
		Challenge: c.ChallengeConfidence,
		Submit:    c.SubmitConfidence,
		Message:   abi.ChainEpoch(c.confidence()),
	}
}

func (c MinerConfig) validate() error {
	switch {
	case c.ChallengeConfidence < 0:
		return fmt.Errorf("miner %d: ChallengeConfidence is %d; use 0 for the default or a positive number of epochs", c.Miner, c.ChallengeConfidence)
	case c.SubmitConfidence < 0:
		return fmt.Errorf("miner %d: SubmitConfidence is %d; use 0 for the default or a positive number of epochs", c.Miner, c.SubmitConfidence)
	}
	return nil
}

// Config is what a Poster is made of.
type Config struct {
	Chain    Chain
	Prover   Prover
	Verifier Verifier
	Sectors  SectorChecker
	Sender   Sender
	Ledger   ledger.Ledger
	Log      *slog.Logger
	// Board is told what stands between a deadline and its proof; nil discards.
	Board *condition.Board
	// Outcomes is told every outcome and every step that is counted; see
	// Outcome. It must be quick. nil discards.
	Outcomes func(Outcome)
	// Genesis is when epoch 0 began; the zero value means that it is not known,
	// and that there is no clock but the heads.
	Genesis time.Time

	Miners []MinerConfig
	// BlockDelay is the length of an epoch, as the node tells it. It bounds
	// calls and paces retries; what is due when is decided by epochs alone.
	BlockDelay time.Duration
	// CallTimeout bounds one question to the node or the sender, within the
	// time that is left; 0 means 30 seconds.
	CallTimeout time.Duration

	book *ledger.Book
	pace *pace
}

func (c Config) withDefaults() Config {
	if c.CallTimeout == 0 {
		c.CallTimeout = 30 * time.Second
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

func (c Config) validate() error {
	errs := []error{}
	if c.BlockDelay <= 0 {
		errs = append(errs, fmt.Errorf("the block delay is %v; it must be what the node's StateGetNetworkParams tells", c.BlockDelay))
	}
	seen := map[abi.ActorID]bool{}
	for _, m := range c.Miners {
		if seen[m.Miner] {
			errs = append(errs, fmt.Errorf("miner %d is configured twice", m.Miner))
		}
		seen[m.Miner] = true
		errs = append(errs, m.validate())
	}
	return errors.Join(errs...)
}
