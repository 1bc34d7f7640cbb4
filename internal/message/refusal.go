package message

import (
	"errors"
	"fmt"
	"strings"
)

// The words in which services refuse, by what they mean. Source: lotus
// chain/messagepool and chain/wallet, sophon-messager service, venus wallet.
var (
	fundsWords = []string{"not enough funds", "insufficient funds", "insufficient balance", "mpool: balance", "balance too low"}
	keyWords   = []string{
		"key not found", "key info not found", "no key", "can't find a wallet", "cannot find a wallet", "not exist in user",
		"signer address", "permission deny", "is forbidden", "wallet disappear", "missing permission", "sign message failed", "failed to sign",
	}
	unheardWords = []string{"could not find", "not found", "failed to load message", "no such", "does not exist"}
)

// Refuse marks the answer of a service that turned a call down: ErrRefused, and
// what the words tell of the cause. nil stays nil.
func Refuse(err error) error {
	switch {
	case err == nil:
		return nil
	case LacksFunds(err.Error()):
		return fmt.Errorf("%w: %w: %w", ErrRefused, ErrNoFunds, err)
	case LacksKey(err.Error()):
		return fmt.Errorf("%w: %w: %w", ErrRefused, ErrNoKey, err)
	}
	return fmt.Errorf("%w: %w", ErrRefused, err)
}

// IsRefused reports an error after which it is certain that nothing was sent.
func IsRefused(err error) bool { return errors.Is(err, ErrRefused) }

// LacksFunds reports words of a service that mean an empty sender.
func LacksFunds(words string) bool { return contains(words, fundsWords) }

// LacksKey reports words of a service that mean that it cannot or may not sign
// for the sender.
func LacksKey(words string) bool { return contains(words, keyWords) }

// Unheard reports words of a service that mean that it does not have what it
// was asked for.
func Unheard(words string) bool { return contains(words, unheardWords) }

func contains(words string, list []string) bool {
	words = strings.ToLower(words)
	for _, w := range list {
		if strings.Contains(words, w) {
			return true
		}
	}
	return false
}
