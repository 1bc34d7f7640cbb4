package poster

import (
	"context"
	"fmt"
	"sync"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"

	"wdpost/internal/ledger"
)

// Poster proves the deadlines of many miners. Miners share nothing but the
// seams: one that fails or hangs costs the others nothing.
type Poster struct {
	cfg    Config
	miners []*miner
}

// New checks the configuration. Nothing runs before Run.
func New(cfg Config) (*Poster, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("poster: %w", err)
	}
	whose := ""
	if len(cfg.Miners) == 1 {
		whose = fmt.Sprintf("miner %d", cfg.Miners[0].Miner)
	}
	cfg.book, cfg.pace = ledger.NewBook(cfg.Ledger, cfg.Log, cfg.Board, whose), &pace{}
	p := &Poster{cfg: cfg}
	for _, mc := range cfg.Miners {
		maddr, err := address.NewIDAddress(uint64(mc.Miner))
		if err != nil {
			return nil, fmt.Errorf("poster: miner %d: %w", mc.Miner, err)
		}
		p.miners = append(p.miners, newMiner(&p.cfg, mc, maddr))
	}
	return p, nil
}

// Run works until ctx ends and everything it started has stopped. It returns
// nil: what is left undone is in the ledger.
func (p *Poster) Run(ctx context.Context) error {
	bookCtx, stop := context.WithCancel(context.WithoutCancel(ctx))
	var book, miners sync.WaitGroup
	book.Go(func() { p.cfg.book.Run(bookCtx) })
	for _, m := range p.miners {
		miners.Go(func() { m.run(ctx) })
	}
	miners.Wait()
	stop() // what the miners left is still written
	book.Wait()
	return nil
}

// OnHead takes in a move of the head. It never blocks: moves that come faster
// than they are worked on are put together.
func (p *Poster) OnHead(h Head) {
	for _, m := range p.miners {
		m.heads.put(h)
	}
}

// mailbox holds at most one head: the latest, with the lowest revert since the
// last take.
type mailbox struct {
	mu      sync.Mutex
	pending *Head
	filled  chan struct{} // holds a token while pending is set
}

func newMailbox() *mailbox { return &mailbox{filled: make(chan struct{}, 1)} }

func (b *mailbox) put(h Head) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.pending != nil {
		h.RevertedFrom = lowest(b.pending.RevertedFrom, h.RevertedFrom)
		h.Reset = h.Reset || b.pending.Reset
	}
	b.pending = &h
	select {
	case b.filled <- struct{}{}:
	default:
	}
}

// putBack puts h under what came in the meantime.
func (b *mailbox) putBack(h Head) {
	b.mu.Lock()
	newer := b.pending
	b.mu.Unlock()
	if newer == nil {
		b.put(h)
		return
	}
	b.put(Head{TipSet: newer.TipSet, RevertedFrom: h.RevertedFrom, Reset: h.Reset})
}

// take returns what came since the last take; ok is false if nothing did.
func (b *mailbox) take() (h Head, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	select {
	case <-b.filled:
	default:
	}
	if b.pending == nil {
		return Head{}, false
	}
	h, b.pending = *b.pending, nil
	return h, true
}

// lowest returns the smaller of two heights of which 0 means none.
func lowest(a, b abi.ChainEpoch) abi.ChainEpoch {
	if a == 0 || b == 0 {
		return a + b
	}
	return min(a, b)
}
