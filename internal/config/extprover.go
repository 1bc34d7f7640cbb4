package config

import (
	"fmt"
	"time"
)

// ExtProver is ext-prover.cfg: the external processors that prove for the
// manager.
type ExtProver struct {
	WdPost  []ExtProcessor // for WindowPoSt
	WinPost []ExtProcessor // for WinningPoSt
}

// ExtProcessor is one child process of the manager.
type ExtProcessor struct {
	// Bin is the program. Default: damocles-worker beside the manager, with the
	// arguments "processor window_post" or "processor winning_post".
	Bin string
	// Args are its arguments; only with Bin.
	Args []string
	// Concurrent is how many requests the child has at once. Default 1.
	Concurrent int
	// Weight is the child's share of the requests among several. Default 1.
	Weight int
	// ReadyTimeoutSecs is how many seconds the child may take to print that it
	// is ready. Default 5.
	ReadyTimeoutSecs int `is:"seconds"`
	// Envs are set in its environment, on top of the manager's own.
	Envs map[string]string
}

func (p *ExtProcessor) setDefaults() {
	*p = ExtProcessor{Concurrent: 1, Weight: 1, ReadyTimeoutSecs: 5}
}

// maxReadySecs is the longest ReadyTimeoutSecs: a day.
const maxReadySecs = 24 * 60 * 60

// ReadyTimeout is ReadyTimeoutSecs as a length of time.
func (p ExtProcessor) ReadyTimeout() time.Duration {
	return time.Duration(p.ReadyTimeoutSecs) * time.Second
}

// LoadExtProver reads ext-prover.cfg. Numbers left out or 0 are their defaults.
func LoadExtProver(path string) (ExtProver, error) {
	var e ExtProver
	doc, err := load(path, &e)
	if err != nil {
		return ExtProver{}, err
	}
	c := checker{doc: doc}
	for list, procs := range map[string][]ExtProcessor{"WdPost": e.WdPost, "WinPost": e.WinPost} {
		for i := range procs {
			procs[i].check(&c, fmt.Sprintf("%s[%d]", list, i))
		}
	}
	return e, c.err()
}

func (p *ExtProcessor) check(c *checker, key string) {
	var fallback ExtProcessor
	fallback.setDefaults()
	for _, n := range []struct {
		name     string
		value    *int
		fallback int
	}{
		{"Concurrent", &p.Concurrent, fallback.Concurrent}, {"Weight", &p.Weight, fallback.Weight},
		{"ReadyTimeoutSecs", &p.ReadyTimeoutSecs, fallback.ReadyTimeoutSecs},
	} {
		c.require(*n.value >= 0, key+"."+n.name, "must be 0 or more, is %d", *n.value)
		if *n.value == 0 {
			*n.value = n.fallback
		}
	}
	c.require(p.ReadyTimeoutSecs <= maxReadySecs, key+".ReadyTimeoutSecs", "must be at most %d, is %d", maxReadySecs, p.ReadyTimeoutSecs)
	if p.Bin == "" && len(p.Args) > 0 {
		c.fail(key+".Args", "is given without Bin: name the program too")
	}
}
