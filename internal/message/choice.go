package message

import (
	"errors"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/big"
)

// ErrNoSender says that no address may or can send for a miner. A question that
// was not answered is never told as this.
var ErrNoSender = errors.New("no usable sender")

// Wish says for what a sender is wanted.
type Wish struct {
	Miner address.Address
	// Configured are the addresses of the config file (Sender, Senders), in any
	// form; none means the control addresses and the worker.
	Configured []address.Address
	// Avoid are key addresses that failed already; they come last.
	Avoid []address.Address
	// Need is what it should be able to pay, in attoFIL; nil or zero means
	// anything at all.
	Need big.Int
	// WorkerFallback allows the control addresses and the worker where no
	// configured sender can send, OwnerFallback the owner.
	WorkerFallback, OwnerFallback bool
}

// Candidate is an address that can send: the miner actor accepts it and the
// service signs for it.
type Candidate struct {
	Address address.Address // the key address that signs
	Role    string          // "configured", "control", "worker", "owner"
	Balance big.Int         // attoFIL
	Short   bool            // the balance is less than Wish.Need
	Avoided bool            // one of Wish.Avoid
}
