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

// Behind returns the n-th deadline before di, n at most a period.
func Behind(di dline.Info, n uint64) dline.Info {
	back := At(di, Key{PeriodStart: di.PeriodStart - di.WPoStProvingPeriod, Index: di.Index})
	return Ahead(back, di.WPoStPeriodDeadlines-n)
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
// of more than half the window would leave no time to land, and to repeat what
// failed: it is cut to that.
func (c Confidence) SubmitAt(di dline.Info) abi.ChainEpoch {
	conf := c.Submit
	if conf == 0 {
		conf = min(DefaultSubmitConfidence, di.WPoStChallengeWindow/4)
	}
	return max(di.Open, min(di.Open+min(conf, di.WPoStChallengeWindow/2), lastUseful(di)))
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

// depth is how deep a message must be to count as landed.
func (c Confidence) depth() uint64 {
	if c.Message == 0 {
		return uint64(DefaultMessageConfidence)
	}
	return uint64(c.Message)
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

// Tight says in words what is wrong with a Submit confidence that leaves a
// message of di no time to land or to be repeated, and "" if nothing is. It is
// capped to half the window then: see SubmitAt.
func (c Confidence) Tight(di dline.Info) string {
	if latest := max(di.WPoStChallengeWindow/2, 1); c.Submit > latest {
		return fmt.Sprintf("SubmitConfidence is %d epochs of a window of %d: a message that is sent so late has no time to land; %d are used",
			c.Submit, di.WPoStChallengeWindow, latest)
	}
	return ""
}

// Sane refuses a deadline that no network tells: no lengths, or a proving
// period that is more than a period away from the epoch.
func Sane(di dline.Info) error {
	period := di.WPoStProvingPeriod
	switch {
	case di.WPoStPeriodDeadlines == 0 || di.WPoStChallengeWindow <= 0 || period <= 0,
		abi.ChainEpoch(di.WPoStPeriodDeadlines)*di.WPoStChallengeWindow != period:
		return fmt.Errorf("the node's answer is no deadline: %d deadlines of %d epochs in a period of %d", di.WPoStPeriodDeadlines, di.WPoStChallengeWindow, period)
	case di.Index >= di.WPoStPeriodDeadlines:
		return fmt.Errorf("the node's answer is no deadline: number %d of %d", di.Index, di.WPoStPeriodDeadlines)
	case di.PeriodStart > di.CurrentEpoch+period || di.PeriodStart < di.CurrentEpoch-2*period:
		return fmt.Errorf("the node's answer is no deadline of epoch %d: its proving period starts at %d", di.CurrentEpoch, di.PeriodStart)
	}
	return nil
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
