package message

import (
	"fmt"

	"github.com/filecoin-project/go-state-types/exitcode"
)

// ExitText says an exit code in words, with its number: for the codes that a
// PoSt or recovery message meets, what they usually mean there. Source: the
// FVM's system codes and go-state-types/exitcode.
func ExitText(code exitcode.ExitCode) string {
	if words := exitWords(code); words != "" {
		return fmt.Sprintf("exit code %d, %s", code, words)
	}
	return fmt.Sprintf("exit code %d", code)
}

func exitWords(code exitcode.ExitCode) string {
	switch code {
	case exitcode.Ok:
		return "success"
	case exitcode.SysErrSenderInvalid:
		return "the sender's account does not exist or cannot send"
	case exitcode.SysErrSenderStateInvalid:
		return "the sender's nonce or balance did not allow it"
	case exitcode.SysErrIllegalInstruction, exitcode.SysErrIllegalExitCode, exitcode.SysErrFatal, exitcode.SysErrMissingReturn:
		return "the actor broke down inside"
	case exitcode.SysErrInvalidReceiver:
		return "there is no such miner actor, or it lacks the method"
	case exitcode.SysErrInsufficientFunds:
		return "the sender's balance does not pay for it"
	case exitcode.SysErrOutOfGas:
		return "out of gas: the gas limit was too low"
	case exitcode.ErrIllegalArgument:
		return "illegal argument: the window is closed, the partition is proven already, or the parameters are wrong"
	case exitcode.ErrNotFound:
		return "not found: the miner has no such deadline, partition or sector"
	case exitcode.ErrForbidden:
		return "forbidden: the sender is not the owner, the worker or a control address of the miner"
	case exitcode.ErrInsufficientFunds:
		return "the miner actor's own balance does not suffice"
	case exitcode.ErrIllegalState:
		return "the miner actor is in a state that does not allow it"
	case exitcode.ErrSerialization:
		return "the parameters could not be read"
	case exitcode.ErrUnhandledMessage:
		return "the actor does not know the method"
	case exitcode.ErrAssertionFailed:
		return "an assertion of the actor failed"
	}
	return ""
}

// OutOfGas reports the exit code of a message whose gas limit was too low.
func OutOfGas(code exitcode.ExitCode) bool { return code == exitcode.SysErrOutOfGas }
