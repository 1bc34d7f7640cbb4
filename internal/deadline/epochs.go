// Package deadline holds the timing of WindowPoSt: epoch arithmetic over what a
// node says about a proving deadline, and the state machine that carries every
// deadline of one miner from its challenge to exactly one outcome.
//
// The package is pure. Events go in, actions come out; nothing here waits,
// reads a clock or talks to anybody. All lengths (window, lookback, cut-off,
// deadlines per period) come from dline.Info, never from constants, because
// development networks choose their own.
//
// An epoch is the height of the head: a message pushed while the head is at
// epoch e is executed at e+1 at the earliest.
package deadline

import (
	"fmt"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/dline"
)

// Defaults of Confidence, in epochs.
const (
	DefaultChallengeConfidence abi.ChainEpoch = 10
	DefaultSubmitConfidence    abi.ChainEpoch = 4
	DefaultMessageConfidence   abi.ChainEpoch = 10
)

// settleMargin is how many epochs beyond the message confidence a message sent
// before Close may take to be seen on the chain.
const settleMargin abi.ChainEpoch = 20

// Confidence says how deep the chain must have grown over an epoch before it
// is acted on. Zero values mean the defaults; on networks too small for a
// default (a lookback under 20 epochs, a window under 16) the default shrinks
// with the network, so that a deadline can always be proven.
type Confidence struct {
	Challenge abi.ChainEpoch // proving starts at Challenge + this
	Submit    abi.ChainEpoch // messages are sent from Open + this on
	Message   abi.ChainEpoch // a message this deep is taken as landed
}

// Key names one deadline of one miner for all time.
type Key struct {
	PeriodStart abi.ChainEpoch // first epoch of the proving period
	Index       uint64         // deadline in the period
}

// String is the form used in logs, for example "2880/7".
func (k Key) String() string { return fmt.Sprintf("%d/%d", k.PeriodStart, k.Index) }

// KeyOf returns the name of the deadline that di describes.
func KeyOf(di dline.Info) Key { return Key{PeriodStart: di.PeriodStart, Index: di.Index} }

// Ahead returns the n-th deadline after di, across the ends of proving periods,
// with di's current epoch.
func Ahead(di dline.Info, n uint64) dline.Info {
	if di.WPoStPeriodDeadlines == 0 {
		return di
	}
	index := di.Index + n
	period := di.PeriodStart + abi.ChainEpoch(index/di.WPoStPeriodDeadlines)*di.WPoStProvingPeriod
	return At(di, Key{PeriodStart: period, Index: index % di.WPoStPeriodDeadlines})
}

// Current returns the deadline whose window epoch lies in, on the grid of
// periods that di belongs to.
func Current(di dline.Info, epoch abi.ChainEpoch) dline.Info {
	if di.WPoStProvingPeriod <= 0 || di.WPoStChallengeWindow <= 0 {
		return di
	}
	offset := (epoch - di.PeriodStart) % di.WPoStProvingPeriod
	if offset < 0 {
		offset += di.WPoStProvingPeriod
	}
	di.CurrentEpoch = epoch
	return At(di, Key{PeriodStart: epoch - offset, Index: uint64(offset / di.WPoStChallengeWindow)})
}

// At returns the deadline named by key, with the network parameters and the
// current epoch of di.
func At(di dline.Info, key Key) dline.Info {
	return *dline.NewInfo(key.PeriodStart, key.Index, di.CurrentEpoch, di.WPoStPeriodDeadlines, di.WPoStProvingPeriod,
		di.WPoStChallengeWindow, di.WPoStChallengeLookback, di.FaultDeclarationCutoff)
}

// StartAt is the first epoch at which proving of di begins. A confidence that
// reaches past the window is cut to the window's last useful epoch.
func (c Confidence) StartAt(di dline.Info) abi.ChainEpoch {
	conf := c.Challenge
	if conf == 0 {
		conf = min(DefaultChallengeConfidence, di.WPoStChallengeLookback/2)
	}
	return min(di.Challenge+conf, lastUseful(di))
}

// SubmitAt is the first epoch at which messages for di are sent. A confidence
// that reaches past the window is cut to the window's last useful epoch.
func (c Confidence) SubmitAt(di dline.Info) abi.ChainEpoch {
	conf := c.Submit
	if conf == 0 {
		conf = min(DefaultSubmitConfidence, di.WPoStChallengeWindow/4)
	}
	return max(di.Open, min(di.Open+conf, lastUseful(di)))
}

// settling is for how many epochs after Close a message that was sent before
// is still watched.
func (c Confidence) settling() abi.ChainEpoch {
	conf := c.Message
	if conf == 0 {
		conf = DefaultMessageConfidence
	}
	return conf + settleMargin
}

// lastUseful is the last head from which a message can still be executed
// inside the window: one executed at Close is refused by the actor.
func lastUseful(di dline.Info) abi.ChainEpoch { return di.Close - 2 }

// ShouldRun reports whether di is to be worked on while the head is at epoch.
func (c Confidence) ShouldRun(di dline.Info, epoch abi.ChainEpoch) bool {
	return epoch >= c.StartAt(di) && epoch < di.Close
}

// CanSubmit reports whether a message for di sent while the head is at epoch
// can still be executed inside the window.
func (c Confidence) CanSubmit(di dline.Info, epoch abi.ChainEpoch) bool {
	return epoch >= c.SubmitAt(di) && epoch <= lastUseful(di)
}

// MustAbort reports whether a revert that took the tipset at height from (and
// all above it) off the chain may have changed the challenge of di.
func MustAbort(di dline.Info, from abi.ChainEpoch) bool { return from <= di.Challenge }

// RecoveryTarget returns the deadline whose faults are looked at while di is
// open: two deadlines ahead, or further where the network's cut-off for
// declarations lies further ahead than that.
func RecoveryTarget(di dline.Info) dline.Info {
	for n := uint64(2); n < di.WPoStPeriodDeadlines; n++ {
		if target := Ahead(di, n); target.FaultCutoff > di.Open {
			return target
		}
	}
	return Ahead(di, 2)
}
