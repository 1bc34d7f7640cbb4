package actor

import (
	"errors"
	"fmt"

	"github.com/filecoin-project/go-state-types/exitcode"
)

// Error is a refusal by the actor: the exit code of the receipt and the text a
// node shows in gas estimation.
type Error struct {
	Code exitcode.ExitCode
	Msg  string
}

func (e *Error) Error() string { return fmt.Sprintf("%s (%d)", e.Msg, e.Code) }

func illegalArgument(format string, args ...any) error {
	return &Error{Code: exitcode.ErrIllegalArgument, Msg: fmt.Sprintf(format, args...)}
}

func illegalState(format string, args ...any) error {
	return &Error{Code: exitcode.ErrIllegalState, Msg: fmt.Sprintf(format, args...)}
}

func notFound(format string, args ...any) error {
	return &Error{Code: exitcode.ErrNotFound, Msg: fmt.Sprintf(format, args...)}
}

func forbidden(format string, args ...any) error {
	return &Error{Code: exitcode.ErrForbidden, Msg: fmt.Sprintf(format, args...)}
}

// within puts context before the text of an actor error and keeps its code.
func within(err error, format string, args ...any) error {
	var e *Error
	if !errors.As(err, &e) {
		return fmt.Errorf(format+": %w", append(args, err)...)
	}
	return &Error{Code: e.Code, Msg: fmt.Sprintf(format, args...) + ": " + e.Msg}
}
