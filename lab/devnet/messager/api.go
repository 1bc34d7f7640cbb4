package messager

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-jsonrpc/auth"
	"github.com/google/uuid"
	"github.com/ipfs/go-cid"

	"wdpost/internal/lotus"
	"wdpost/lab/devnet/serve"
)

// VenusNamespace is the header value by which the messager is addressed.
const VenusNamespace = "messager.IMessager"

// Needs lists the methods that need more than reading.
func Needs() map[string]auth.Permission {
	return map[string]auth.Permission{
		"PushMessage":       serve.Write,
		"PushMessageWithId": serve.Write,
		"ReplaceMessage":    serve.Write,
		"MarkBadMessage":    serve.Write,
	}
}

// API is what the messager serves: its exported methods are the RPC methods.
type API struct {
	m    *Messager
	gate *serve.Gate
}

// NewAPI returns the RPC methods of a messager.
func NewAPI(m *Messager, gate *serve.Gate) *API { return &API{m: m, gate: gate} }

// PushMessage stores a message under a new id.
func (a *API) PushMessage(ctx context.Context, msg *lotus.Message, meta *SendSpec) (string, error) {
	return serve.Call(a.gate, ctx, "PushMessage", func() (string, error) {
		return a.push(uuid.NewString(), msg, meta)
	})
}

// PushMessageWithId stores a message under the caller's id.
func (a *API) PushMessageWithId(ctx context.Context, id string, msg *lotus.Message, meta *SendSpec) (string, error) {
	return serve.Call(a.gate, ctx, "PushMessageWithId", func() (string, error) { return a.push(id, msg, meta) })
}

func (a *API) push(id string, msg *lotus.Message, meta *SendSpec) (string, error) {
	if msg == nil {
		return "", errors.New("no message to push")
	}
	if err := a.m.push(id, *msg, meta); err != nil {
		return "", err
	}
	return id, nil
}

// HasMessageByUid reports whether an id is known.
func (a *API) HasMessageByUid(ctx context.Context, id string) (bool, error) {
	return serve.Call(a.gate, ctx, "HasMessageByUid", func() (bool, error) {
		_, err := a.m.get(id)
		return err == nil, nil
	})
}

// GetMessageByUid returns a message.
func (a *API) GetMessageByUid(ctx context.Context, id string) (*Message, error) {
	return serve.Call(a.gate, ctx, "GetMessageByUid", func() (*Message, error) {
		msg, err := a.m.get(id)
		if err != nil {
			return nil, fmt.Errorf("get message by id error: %w", err)
		}
		return msg, nil
	})
}

// WaitMessage waits until a message has more than the given confidence, failed,
// or was replaced.
func (a *API) WaitMessage(ctx context.Context, id string, confidence uint64) (*Message, error) {
	return serve.Call(a.gate, ctx, "WaitMessage", func() (*Message, error) {
		if _, err := a.m.get(id); err != nil {
			return nil, fmt.Errorf("get message by id error: %w", err)
		}
		return a.m.wait(ctx, id, confidence)
	})
}

// ReplaceMessage sends a message again for another price and returns its new CID.
func (a *API) ReplaceMessage(ctx context.Context, p *ReplaceParams) (cid.Cid, error) {
	return serve.Call(a.gate, ctx, "ReplaceMessage", func() (cid.Cid, error) {
		if p == nil {
			return cid.Undef, errors.New("params is nil")
		}
		return a.m.replace(ctx, *p)
	})
}

// MarkBadMessage gives a message up, whatever its state; an unknown id is no
// error. A signed message stays in the node's pool.
func (a *API) MarkBadMessage(ctx context.Context, id string) error {
	return serve.Do(a.gate, ctx, "MarkBadMessage", func() error {
		if _, err := a.m.get(id); err == nil {
			a.m.update(id, func(m *Message) { m.State = FailedMsg })
		}
		return nil
	})
}

// ListMessageByFromState returns a page of a sender's messages in a state, by
// the time of their push, those older than age.
func (a *API) ListMessageByFromState(ctx context.Context, from address.Address, state State, ascending bool, page, size int, age time.Duration) ([]*Message, error) {
	return serve.Call(a.gate, ctx, "ListMessageByFromState", func() ([]*Message, error) {
		all := slices.DeleteFunc(a.m.All(), func(m *Message) bool {
			return m.State != state || from != address.Undef && m.From != from || age != 0 && time.Since(m.CreatedAt) < age
		})
		if !ascending {
			slices.Reverse(all)
		}
		first := min(max(page-1, 0)*size, len(all))
		return all[first:min(first+size, len(all))], nil
	})
}

// ListMessageByAddress returns the messages of a sender, oldest first.
func (a *API) ListMessageByAddress(ctx context.Context, from address.Address) ([]*Message, error) {
	return serve.Call(a.gate, ctx, "ListMessageByAddress", func() ([]*Message, error) {
		want, _ := a.m.chain.Account(from)
		var out []*Message
		for _, msg := range a.m.All() {
			if id, _ := a.m.chain.Account(msg.From); id == want {
				out = append(out, msg)
			}
		}
		return out, nil
	})
}

// WalletHas reports whether the messager can sign for an address.
func (a *API) WalletHas(ctx context.Context, addr address.Address) (bool, error) {
	return serve.Call(a.gate, ctx, "WalletHas", func() (bool, error) {
		return a.m.signs(addr), nil
	})
}
