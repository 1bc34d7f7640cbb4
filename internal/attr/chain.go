package attr

import (
	"log/slog"
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
)

// Miner is a storage provider's actor, as its address: t01000 or f01000.
func Miner[T abi.ActorID | address.Address](m T) slog.Attr {
	switch m := any(m).(type) {
	case address.Address:
		return slog.String("miner", m.String())
	case abi.ActorID:
		if a, err := address.NewIDAddress(uint64(m)); err == nil {
			return slog.String("miner", a.String())
		}
		return slog.Uint64("miner", uint64(m))
	}
	panic("unreachable")
}

// Deadline is the index of a deadline in its period, 0 to 47.
func Deadline(index uint64) slog.Attr { return slog.Uint64("deadline", index) }

// Partition is the index of one partition of a deadline.
func Partition(index uint64) slog.Attr { return slog.Uint64("partition", index) }

// Partitions are indices of partitions of a deadline, ascending: "0-2,5".
func Partitions[T ~uint64 | ~int | ~uint](indices []T) slog.Attr {
	return slog.String("partitions", numbers(indices))
}

// PartitionCount is a number of partitions.
func PartitionCount(n int) slog.Attr { return slog.Int("partitionCount", n) }

// OnChain is how many partitions the chain shows as proven already.
func OnChain(n int) slog.Attr { return slog.Int("onChain", n) }

// Cutoff is the fault cut-off: the first epoch at which a declaration is refused.
func Cutoff(e abi.ChainEpoch) slog.Attr { return slog.Int64("faultCutoff", int64(e)) }

// Price is what a message offers, in words.
func Price(s string) slog.Attr { return slog.String("price", s) }

// MessageCount is a number of messages.
func MessageCount(n int) slog.Attr { return slog.Int("messages", n) }

// Epoch is the height of the chain at which the thing happened.
func Epoch(e abi.ChainEpoch) slog.Attr { return slog.Int64("epoch", int64(e)) }

// Height is the height of a tipset.
func Height(e abi.ChainEpoch) slog.Attr { return slog.Int64("height", int64(e)) }

// PeriodStart is the first epoch of a proving period.
func PeriodStart(e abi.ChainEpoch) slog.Attr { return slog.Int64("periodStart", int64(e)) }

// Open is the first epoch of a window.
func Open(e abi.ChainEpoch) slog.Attr { return slog.Int64("open", int64(e)) }

// Close is the first epoch after a window.
func Close(e abi.ChainEpoch) slog.Attr { return slog.Int64("close", int64(e)) }

// Challenge is the epoch whose randomness a proof answers.
func Challenge(e abi.ChainEpoch) slog.Attr { return slog.Int64("challenge", int64(e)) }

// Message is a message's CID on chain.
func Message(cid string) slog.Attr { return slog.String("message", cid) }

// MessageID is the name under which a message was handed over, before its CID.
func MessageID(id string) slog.Attr { return slog.String("messageID", id) }

// Sender is the address that pays for a message.
func Sender(a address.Address) slog.Attr { return slog.String("sender", a.String()) }

// Nonce is the sender's running number of a message.
func Nonce(n uint64) slog.Attr { return slog.Uint64("nonce", n) }

// ExitCode is how a message ended on chain.
func ExitCode[T ~int64 | ~int](c T) slog.Attr { return slog.Int64("exitCode", int64(c)) }

// Endpoint is the address of a node, messager or gateway.
func Endpoint(address string) slog.Attr { return slog.String("endpoint", address) }

// Method is a remote procedure's name.
func Method(name string) slog.Attr { return slog.String("method", name) }

// Network is a network's name or version.
func Network(name string) slog.Attr { return slog.String("network", name) }

// BlockDelay is the length of an epoch.
func BlockDelay(d time.Duration) slog.Attr { return slog.Duration("blockDelay", d) }

// WindowPoSt says whether WindowPoSt is made.
func WindowPoSt(on bool) slog.Attr { return slog.Bool("windowPoSt", on) }

// WinningPoSt says whether WinningPoSt requests are answered.
func WinningPoSt(on bool) slog.Attr { return slog.Bool("winningPoSt", on) }

// Before is what stood in the place of what the line is about.
func Before(what string) slog.Attr { return slog.String("before", what) }
