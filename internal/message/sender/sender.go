// Package sender chooses the address that pays for a miner's messages.
//
// Candidates are the configured senders; then, where that is allowed, the
// control addresses and the worker, then the owner. Each is asked for all that
// can go wrong before a window needs it: whether the miner actor accepts it,
// whether the service has its key and may use it, whether its balance pays.
// What is wrong with a candidate stands as a condition until it is mended.
package sender

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/big"

	"wdpost/internal/attr"
	"wdpost/internal/condition"
	"wdpost/internal/endpoint"
	"wdpost/internal/lotus"
	"wdpost/internal/message"
)

// State is what a Chooser needs of the chain.
type State interface {
	StateMinerInfo(context.Context, address.Address, lotus.TipSetKey) (*lotus.MinerInfo, error)
	StateLookupID(context.Context, address.Address, lotus.TipSetKey) (address.Address, error)
	StateAccountKey(context.Context, address.Address, lotus.TipSetKey) (address.Address, error)
	StateGetActor(context.Context, address.Address, lotus.TipSetKey) (*lotus.Actor, error)
}

// Service says which addresses can be signed for; a message.Sender does.
type Service interface {
	CanSign(ctx context.Context, from address.Address) error
}

// Config is what a Chooser is made of.
type Config struct {
	State   State
	Service Service
	// Keep is how long an answer of the chain is kept, so that it is not asked
	// before every message; half an epoch is a good value.
	Keep  time.Duration
	Board *condition.Board
	Log   *slog.Logger
}

// signKeep is how long a service's word is kept that it signs for an address.
const signKeep = 10 * time.Minute

// Chooser chooses senders. It is safe for concurrent use.
type Chooser struct {
	cfg Config

	mu     sync.Mutex
	seen   map[address.Address]seen                  // by miner
	signs  map[address.Address]time.Time             // until when its key is known to be there
	raised map[address.Address][]condition.Condition // by miner
	told   map[address.Address]string                // the last fallback that was logged, by miner
}

// seen is what was found out about a miner's candidates.
type seen struct {
	among      []address.Address
	candidates []examined
	until      time.Time
}

// examined is a candidate and what is wrong with it.
type examined struct {
	message.Candidate
	name    address.Address // as it was configured
	problem error           // nil, or why it will not do
	unasked error           // why the service could not be asked for its key
}

// New returns a Chooser.
func New(cfg Config) *Chooser {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Chooser{
		cfg: cfg, seen: map[address.Address]seen{}, signs: map[address.Address]time.Time{},
		raised: map[address.Address][]condition.Condition{}, told: map[address.Address]string{},
	}
}

// The definite reasons against a candidate. All others mean that it could not
// be found out, and leave it in.
var (
	errNotAccepted = errors.New("it is not the owner, the worker or a control address of the miner")
	errSignsNot    = errors.New("it is a multisig or a contract, which signs nothing by itself; name the worker or a control address")
	errEthereum    = errors.New("it is an Ethereum account, whose signature covers no miner call; name the worker or a control address")
	errUnknown     = errors.New("the chain does not know it")
)

func definite(err error) bool {
	for _, kind := range []error{errNotAccepted, errSignsNot, errEthereum, errUnknown, message.ErrNoKey, message.ErrNoRight} {
		if errors.Is(err, kind) {
			return true
		}
	}
	return false
}

// Senders lists the addresses that can send as wished, the best first: by role
// (configured, control and worker, owner), and among those by balance; those
// that cannot pay what is needed behind all that can, those to avoid last. When
// there is none the error is message.ErrNoSender and says why for each; a
// question that was not answered is told as that, and never as ErrNoSender.
func (c *Chooser) Senders(ctx context.Context, wish message.Wish) ([]message.Candidate, error) {
	all, err := c.examineAll(ctx, wish)
	if err != nil {
		return nil, fmt.Errorf("choosing a sender for %s: %w", wish.Miner, err)
	}
	var usable []message.Candidate
	var why []error
	var unanswered error
	for _, e := range all {
		if e.problem != nil {
			why = append(why, fmt.Errorf("%s (%s): %w", e.name, e.Role, e.problem))
			if !definite(e.problem) {
				unanswered = e.problem
			}
			continue
		}
		if !allowed(e.Role, wish) {
			continue
		}
		e.Short = e.Balance.Sign() <= 0 || !wish.Need.Nil() && e.Balance.LessThan(wish.Need)
		e.Avoided = slices.Contains(wish.Avoid, e.Address)
		usable = append(usable, e.Candidate)
	}
	slices.SortStableFunc(usable, better)
	c.raise(wish, all, usable)
	switch {
	case len(usable) > 0:
		c.tell(wish, usable[0], why)
		return usable, nil
	case unanswered != nil:
		return nil, fmt.Errorf("choosing a sender for %s: %w", wish.Miner, errors.Join(why...))
	}
	return nil, fmt.Errorf("%w for %s; set Miners.PoSt.Sender to its worker or a control address whose key the message service has: %w",
		message.ErrNoSender, wish.Miner, errors.Join(why...))
}

// allowed reports whether candidates of a role may be taken.
func allowed(role string, wish message.Wish) bool {
	switch role {
	case "configured":
		return true
	case "owner":
		return wish.OwnerFallback
	}
	return wish.WorkerFallback || len(wish.Configured) == 0
}

// better orders candidates, the better first.
func better(a, b message.Candidate) int {
	rank := func(c message.Candidate) int {
		r := map[string]int{"configured": 0, "control": 1, "worker": 1, "owner": 2}[c.Role]
		if c.Short {
			r += 10
		}
		if c.Avoided {
			r += 100
		}
		return r
	}
	if d := rank(a) - rank(b); d != 0 {
		return d
	}
	return big.Cmp(b.Balance, a.Balance)
}

// examineAll looks at every candidate, or remembers what it saw a moment ago.
func (c *Chooser) examineAll(ctx context.Context, wish message.Wish) ([]examined, error) {
	c.mu.Lock()
	s, ok := c.seen[wish.Miner]
	c.mu.Unlock()
	if ok && slices.Equal(s.among, wish.Configured) && time.Now().Before(s.until) {
		return s.candidates, nil
	}
	info, err := c.cfg.State.StateMinerInfo(ctx, wish.Miner, lotus.TipSetKey{})
	if err != nil {
		return nil, err
	}
	type named struct {
		addr address.Address
		role string
	}
	var list []named
	for _, a := range wish.Configured {
		list = append(list, named{a, "configured"})
	}
	for _, a := range info.ControlAddresses {
		list = append(list, named{a, "control"})
	}
	list = append(list, named{info.Worker, "worker"}, named{info.Owner, "owner"})
	accepted := append([]address.Address{info.Worker, info.Owner}, info.ControlAddresses...)
	out := make([]examined, len(list))
	var group sync.WaitGroup
	for i, n := range list {
		group.Go(func() { out[i] = c.examine(ctx, n.addr, n.role, accepted) })
	}
	group.Wait()
	out = once(out)
	if !slices.ContainsFunc(out, func(e examined) bool { return e.unasked != nil || e.problem != nil && !definite(e.problem) }) {
		c.mu.Lock()
		c.seen[wish.Miner] = seen{among: slices.Clone(wish.Configured), candidates: out, until: time.Now().Add(c.cfg.Keep)}
		c.mu.Unlock()
	}
	return out, nil
}

// once leaves out a candidate that is there already under a better role.
func once(list []examined) []examined {
	var out []examined
	for _, e := range list {
		double := slices.ContainsFunc(out, func(o examined) bool {
			return o.name == e.name || o.Address != address.Undef && o.Address == e.Address
		})
		if e.name != address.Undef && !double {
			out = append(out, e)
		}
	}
	return out
}

// examine resolves one candidate to its key and balance, or says why it will
// not do.
func (c *Chooser) examine(ctx context.Context, name address.Address, role string, accepted []address.Address) examined {
	e := examined{Candidate: message.Candidate{Role: role}, name: name}
	id, err := c.cfg.State.StateLookupID(ctx, name, lotus.TipSetKey{})
	switch {
	case err != nil && message.Unheard(err.Error()) && !errors.Is(err, endpoint.ErrUnreachable):
		e.problem = fmt.Errorf("%w: %w", errUnknown, err)
	case err != nil:
		e.problem = err
	case !slices.Contains(accepted, id):
		e.problem = errNotAccepted
	}
	if e.problem != nil {
		return e
	}
	if e.Address, err = c.cfg.State.StateAccountKey(ctx, id, lotus.TipSetKey{}); err != nil {
		if e.problem = err; !errors.Is(err, endpoint.ErrUnreachable) && ctx.Err() == nil {
			e.problem = fmt.Errorf("%w: %w", errSignsNot, err)
		}
		return e
	}
	if e.Address.Protocol() == address.Delegated {
		e.problem = errEthereum
		return e
	}
	switch err := c.canSign(ctx, e.Address); {
	case err != nil && definite(err):
		e.problem = err
		return e
	case err != nil:
		e.unasked = err
	}
	actor, err := c.cfg.State.StateGetActor(ctx, id, lotus.TipSetKey{})
	switch {
	case err != nil:
		e.problem = err
	case actor == nil || actor.Balance.Nil():
		e.problem = errors.New("the node does not tell its balance")
	default:
		e.Balance = actor.Balance
	}
	return e
}

// canSign asks the service, and keeps a good answer for a while.
func (c *Chooser) canSign(ctx context.Context, key address.Address) error {
	c.mu.Lock()
	known := time.Now().Before(c.signs[key])
	c.mu.Unlock()
	if known {
		return nil
	}
	if err := c.cfg.Service.CanSign(ctx, key); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.signs[key] = time.Now().Add(signKeep)
	return nil
}

// Account is a candidate as it was seen last, for dashboards.
type Account struct {
	Miner   address.Address `json:"miner"`
	Name    address.Address `json:"sender"` // as it was configured, or its ID address
	Role    string          `json:"role"`
	Balance big.Int         `json:"balance"`           // attoFIL; zero where it was not asked for
	Problem string          `json:"problem,omitempty"` // why it will not do
}

// Known lists the candidates of all miners as they were seen last, by miner and
// in the order of their roles.
func (c *Chooser) Known() []Account {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []Account
	for miner, s := range c.seen {
		for _, e := range s.candidates {
			a := Account{Miner: miner, Name: e.name, Role: e.Role, Balance: zeroIfNil(e.Balance)}
			if e.problem != nil {
				a.Problem = e.problem.Error()
			}
			out = append(out, a)
		}
	}
	slices.SortStableFunc(out, func(a, b Account) int { return cmp.Compare(a.Miner.String(), b.Miner.String()) })
	return out
}

// Forget drops a miner that is not worked for any more, with its conditions.
func (c *Chooser) Forget(miner address.Address) {
	c.mu.Lock()
	before := c.raised[miner]
	delete(c.raised, miner)
	delete(c.seen, miner)
	delete(c.told, miner)
	c.mu.Unlock()
	for _, b := range before {
		c.cfg.Board.Clear(b.Kind, b.Subject)
	}
}

// Doubt drops what is remembered of a sender's key: a push just failed for
// want of it.
func (c *Chooser) Doubt(key address.Address) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.signs, key)
	clear(c.seen)
}

// tell logs, once, that another than a configured sender is used.
func (c *Chooser) tell(wish message.Wish, best message.Candidate, why []error) {
	c.mu.Lock()
	used := ""
	if len(wish.Configured) > 0 && best.Role != "configured" {
		used = best.Address.String()
	}
	changed := c.told[wish.Miner] != used
	c.told[wish.Miner] = used
	c.mu.Unlock()
	if changed && used != "" {
		c.cfg.Log.Error("no configured sender can be used; correct Miners.PoSt.Sender", attr.Miner(wish.Miner), attr.Sender(best.Address), attr.Err(errors.Join(why...)))
	}
}
