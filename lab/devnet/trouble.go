package devnet

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"

	"wdpost/lab/devnet/serve"
	"wdpost/lab/devnet/simchain"
)

// Trouble is one thing that goes wrong for some epochs.
type Trouble struct {
	From abi.ChainEpoch // first epoch
	For  abi.ChainEpoch // how many epochs; 0 for ever
	Node int            // which node, from 1; 0 for all of them and for other services
	text string
	set  func(n *Network) (end func()) // begins it; nil for what has no end
	once func(context.Context, *Network) error
}

// String is the text that the trouble was read from.
func (t Trouble) String() string { return t.text }

// TroubleHelp describes the form that ParseTrouble reads, for a command's help.
const TroubleHelp = `comma-separated: from=EPOCH, for=EPOCHS (default: for ever), node=N (default: all), and one of
freeze | lag=N | old-heads | cut-off (its messages stay) | mute (its streams) | no-key | restart (its memory) |
delay=TIME | hang | error=TEXT | status=CODE | retry-after=TIME | cut, with method=NAME ("Filecoin.ChainHead", "Message.*"), every=N, after |
base-fee=ATTO | demand=GAS with premium=ATTO | evict | hold | reorg=DEPTH | drop=DEPTH`

// ParseTrouble reads one trouble, like "from=40,for=20,node=1,freeze" or
// "from=30,for=60,status=429,retry-after=2s,every=3".
func ParseTrouble(text string) (Trouble, error) {
	t := Trouble{text: text}
	fields := map[string]string{}
	for _, part := range strings.Split(text, ",") {
		key, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		if _, twice := fields[key]; twice {
			return t, fmt.Errorf("trouble %q: %s is given twice; write it as %s", text, key, TroubleHelp)
		}
		fields[key] = value
	}
	p := troubleParser{fields: fields}
	t.From, t.For, t.Node = abi.ChainEpoch(p.num("from")), abi.ChainEpoch(p.num("for")), int(p.num("node"))
	p.effect(&t)
	if p.err == nil && len(p.fields) > 0 {
		for key := range p.fields {
			p.err = fmt.Errorf("%q has no meaning here", key)
		}
	}
	if p.err == nil && t.set == nil && t.once == nil {
		p.err = fmt.Errorf("it does not say what goes wrong")
	}
	if p.err != nil {
		return t, fmt.Errorf("trouble %q: %w; write it as %s", text, p.err, TroubleHelp)
	}
	return t, nil
}

// troubleParser takes fields away as they are read; the first error stays.
type troubleParser struct {
	fields map[string]string
	err    error
}

func (p *troubleParser) take(key string) (string, bool) {
	v, ok := p.fields[key]
	delete(p.fields, key)
	return v, ok
}

func (p *troubleParser) has(key string) bool {
	_, ok := p.take(key)
	return ok
}

func (p *troubleParser) num(key string) int64 {
	v, ok := p.take(key)
	if !ok {
		return 0
	}
	f, err := strconv.ParseFloat(v, 64) // 9e9 is easier to read than nine zeros
	if err != nil || f < 0 || f > math.MaxInt64/2 || f != math.Trunc(f) {
		p.fail("%s=%q is not a whole number", key, v)
		return 0
	}
	return int64(f)
}

func (p *troubleParser) time(key string) time.Duration {
	v, ok := p.take(key)
	if !ok {
		return 0
	}
	d, err := time.ParseDuration(v)
	if err != nil || d < 0 {
		p.fail("%s=%q is not a time like 2s", key, v)
	}
	return d
}

func (p *troubleParser) fail(format string, args ...any) {
	if p.err == nil {
		p.err = fmt.Errorf(format, args...)
	}
}

func (p *troubleParser) effect(t *Trouble) {
	_, lag := p.fields["lag"]
	_, fee := p.fields["base-fee"]
	_, demand := p.fields["demand"]
	_, reorg := p.fields["reorg"]
	_, drop := p.fields["drop"]
	switch {
	case lag:
		by := int(p.num("lag"))
		t.onNodes(func(n *simchain.Node, on bool) { n.Lag(by * truth(on)) })
	case p.has("freeze"):
		t.onNodes((*simchain.Node).Freeze)
	case p.has("old-heads"):
		t.onNodes((*simchain.Node).AnswerOld)
	case p.has("cut-off"):
		t.onNodes((*simchain.Node).Cut)
	case p.has("no-key"):
		t.onNodes(func(n *simchain.Node, on bool) {
			for _, a := range n.Chain().Config().Accounts {
				n.SetKey(a.Key, !on)
			}
		})
	case p.has("restart"):
		t.onNodes(func(n *simchain.Node, on bool) {
			if on {
				n.Forget()
			}
		})
	case p.has("mute"):
		node := t.Node
		t.set = func(n *Network) func() { return n.mute(node) }
	case fee:
		p.baseFee(t)
	case demand:
		d := simchain.Demand{Gas: p.num("demand"), Premium: big.NewInt(p.num("premium"))}
		t.set = func(n *Network) func() {
			n.chain.SetDemand(d)
			return func() { n.chain.SetDemand(simchain.Demand{}) }
		}
	case p.has("hold"):
		t.set = func(n *Network) func() { n.HoldMessages(true); return func() { n.HoldMessages(false) } }
	case p.has("evict"):
		t.once = func(_ context.Context, n *Network) error {
			for _, m := range n.chain.Pending() {
				n.chain.Evict(*m.CID)
			}
			return nil
		}
	case reorg, drop:
		depth := int(max(p.num("reorg"), p.num("drop")))
		t.once = func(ctx context.Context, n *Network) error { return n.reorg(ctx, depth, drop) }
	default:
		p.fault(t)
	}
}

func (p *troubleParser) baseFee(t *Trouble) {
	fee, epochs := big.NewInt(p.num("base-fee")), t.For
	t.set = func(n *Network) func() {
		n.chain.SetBaseFee(fee, epochs)
		return func() {}
	}
}

func (p *troubleParser) fault(t *Trouble) {
	f := serve.Fault{
		Delay: p.time("delay"), Hang: p.has("hang"), Status: int(p.num("status")), RetryAfter: p.time("retry-after"),
		Cut: p.has("cut"), After: p.has("after"), Every: int(p.num("every")),
	}
	f.Method, _ = p.take("method")
	f.Err, _ = p.take("error")
	f.Body, _ = p.take("body")
	if f.RetryAfter > 0 && f.Status == 0 {
		f.Status = 429
	}
	if f.Delay == 0 && !f.Hang && f.Err == "" && f.Status == 0 && !f.Cut {
		return // nothing goes wrong
	}
	node := t.Node
	t.set = func(n *Network) func() {
		if node > 0 {
			return n.InjectAt(node-1, f)
		}
		return n.Inject(f)
	}
}

// onNodes sets a state of the trouble's node, or of all.
func (t *Trouble) onNodes(set func(n *simchain.Node, on bool)) {
	which := t.Node
	t.set = func(n *Network) func() {
		all := func(on bool) {
			for i, node := range n.chain.Nodes() {
				if which == 0 || which == i+1 {
					set(node, on)
				}
			}
		}
		all(true)
		return func() { all(false) }
	}
}

func (n *Network) mute(node int) (end func()) {
	all := func(on bool) {
		for i := range n.streams {
			if node == 0 || node == i+1 {
				n.streams[i].Mute(on)
			}
		}
	}
	all(true)
	return func() { all(false) }
}

func truth(b bool) int {
	if b {
		return 1
	}
	return 0
}

// makeTrouble begins and ends what is due at an epoch. The caller holds ticking.
func (n *Network) makeTrouble(ctx context.Context, epoch abi.ChainEpoch) error {
	for i, t := range n.cfg.Troubles {
		if end := n.endings[i]; end != nil && t.For > 0 && epoch >= t.From+t.For {
			n.endings[i] = nil
			n.emit(Event{Kind: TroubleEnds, Text: t.text})
			end()
		}
		if n.begun[i] || epoch < t.From {
			continue
		}
		n.begun[i] = true
		n.emit(Event{Kind: TroubleBegins, Text: t.text})
		if t.once != nil {
			if err := t.once(ctx, n); err != nil {
				return fmt.Errorf("trouble %q: %w", t.text, err)
			}
			continue
		}
		n.endings[i] = t.set(n)
	}
	return nil
}
