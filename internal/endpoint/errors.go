package endpoint

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/filecoin-project/go-jsonrpc"
)

// Kinds of failure of a call; errors.Is tells them apart.
var (
	// ErrToken: the service refused the token. Asking again is in vain.
	ErrToken = errors.New("token refused")
	// ErrPermission: the token is good but does not allow this method.
	ErrPermission = errors.New("permission missing")
	// ErrUnreachable: no usable answer came. The call may or may not have
	// taken effect.
	ErrUnreachable = errors.New("no answer")
	// ErrNoMethod: the service does not know the method.
	ErrNoMethod = errors.New("method not known")
	// ErrAnswered: the service understood the call and answered with an error.
	ErrAnswered = errors.New("refused by the service")
	// ErrLimited: the service has had too many calls; see RetryAfter. It is a
	// kind of ErrUnreachable that certainly had no effect.
	ErrLimited = fmt.Errorf("%w: too many calls", ErrUnreachable)
	// ErrNonsense: the answer cannot be true. It is a kind of ErrUnreachable.
	ErrNonsense = fmt.Errorf("%w that could be used", ErrUnreachable)
	// ErrForeign: the address is that of another network or of a service of
	// another kind, and is not used.
	ErrForeign = errors.New("not the service that is needed")
)

// JSON-RPC error codes that have a meaning of their own here.
const (
	codeMethodNotFound = -32601
	codeConnectionLost = -1111111 // go-jsonrpc's own, for a websocket that went away
)

// CallError is a failed call. Kind is one of the errors above.
type CallError struct {
	Service  string
	Method   string // with its namespace
	Endpoint string // without token
	Kind     error
	Err      error
	NoToken  bool // none was sent
}

// Error says what failed, where, and for the operator's own mistakes what to do.
func (e *CallError) Error() string {
	where := fmt.Sprintf("%s on %s %s", e.Method, e.Service, e.Endpoint)
	if e.NoToken && (e.Kind == ErrToken || e.Kind == ErrPermission) {
		return fmt.Sprintf("%s: the %s wants a token and none is set (%v); set it in Common.API.Token or as TOKEN:ADDRESS", where, e.Service, e.Err)
	}
	switch e.Kind {
	case ErrToken:
		return fmt.Sprintf("%s: the %s refused the token (%v): it is not valid, or the auth service behind the %s is away; check that service, or set a valid token in Common.API.Token or as TOKEN:ADDRESS", where, e.Service, e.Err, e.Service)
	case ErrPermission:
		return fmt.Sprintf("%s: the token has not the permission it needs (%v); ask the %s's operator for a token with it", where, e.Err, e.Service)
	case ErrNoMethod:
		return fmt.Sprintf("%s: the %s does not know this method (%v); is the address that of a %s?", where, e.Service, e.Err, e.Service)
	}
	return fmt.Sprintf("%s: %v", where, e.Err)
}

// Unwrap gives both the kind and the cause.
func (e *CallError) Unwrap() []error { return []error{e.Kind, e.Err} }

// Explain wraps the error of one call of method (without its namespace) on e.
// A nil error stays nil; an error already explained is returned as it is.
func (e *Endpoint) Explain(method string, err error) error {
	if err == nil {
		return nil
	}
	var done *CallError
	if errors.As(err, &done) {
		return err
	}
	name := method
	if e.svc.Namespace != "" {
		name = e.svc.Namespace + "." + method
	}
	return &CallError{Service: e.svc.Name, Method: name, Endpoint: e.String(), Kind: kindOf(err), Err: bare(err), NoToken: e.token == ""}
}

func kindOf(err error) error {
	var answer *jsonrpc.JSONRPCError
	for _, kind := range []error{ErrToken, ErrForeign, ErrNonsense, ErrLimited} {
		if errors.Is(err, kind) {
			return kind
		}
	}
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return ErrUnreachable
	case !errors.As(err, &answer):
		return ErrUnreachable
	case answer.Code == codeMethodNotFound:
		return ErrNoMethod
	case answer.Code == codeConnectionLost:
		return ErrUnreachable
	case strings.Contains(answer.Message, "missing permission"):
		return ErrPermission
	}
	return ErrAnswered
}

// bare drops the layers that go-jsonrpc puts around a cause, which only repeat
// that a request failed.
func bare(err error) error {
	var client *jsonrpc.ErrClient
	if !errors.As(err, &client) {
		return err
	}
	var t *transportError
	if errors.As(err, &t) {
		return t.err
	}
	return client.Unwrap()
}

// transportError marks what this package's own HTTP round trip reported.
type transportError struct{ err error }

func (e *transportError) Error() string { return e.err.Error() }
func (e *transportError) Unwrap() error { return e.err }
