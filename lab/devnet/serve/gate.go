package serve

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/filecoin-project/go-jsonrpc/auth"
)

// Permissions, each of which contains the ones before it.
const (
	Read  auth.Permission = "read"
	Write auth.Permission = "write"
	Sign  auth.Permission = "sign"
	Admin auth.Permission = "admin"
)

// AllPermissions is what an administrator's token carries.
func AllPermissions() []auth.Permission { return []auth.Permission{Read, Write, Sign, Admin} }

// Gate is what every call of one service passes: permission, then faults.
type Gate struct {
	Namespace string                     // "Filecoin"
	Needs     map[string]auth.Permission // by method; the others need Read
	Faults    *Faults
	Own       *Faults // of this service alone, before those; may be nil
	// OpenReads lets calls without a token read, as a Lotus node does by
	// default; otherwise they may do nothing.
	OpenReads bool
	Log       *slog.Logger
}

// Call runs one method of the service behind the gate. What it does must be in
// do, so that a fault can prevent it or follow it.
func Call[T any](g *Gate, ctx context.Context, method string, do func() (T, error)) (T, error) {
	var none T
	need, ok := g.Needs[method]
	if !ok {
		need = Read
	}
	var defaults []auth.Permission
	if g.OpenReads {
		defaults = []auth.Permission{Read}
	}
	if !auth.HasPerm(ctx, defaults, need) {
		return none, fmt.Errorf("missing permission to invoke '%s' (need '%s')", method, need)
	}
	name := g.Namespace + "." + method
	fault := g.Own.take(name, false)
	if fault == nil {
		fault = g.Faults.take(name, false)
	}
	if fault != nil && !fault.After {
		g.Log.Debug("call hit by a fault", "method", name)
		if err := fault.strike(ctx); err != nil {
			return none, err
		}
	}
	out, err := do()
	if fault != nil && fault.After {
		g.Log.Debug("answer hit by a fault", "method", name)
		if err := fault.strike(ctx); err != nil {
			return none, err
		}
	}
	return out, err
}

// Do is Call for a method without an answer.
func Do(g *Gate, ctx context.Context, method string, do func() error) error {
	_, err := Call(g, ctx, method, func() (struct{}, error) { return struct{}{}, do() })
	return err
}
