package config

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Limits of the mainnet rules used to check settings against each other; the
// daemon takes the real ones from the node.
const (
	windowEpochs    = 60 // length of a proving window
	lookbackEpochs  = 20 // from challenge to opening
	defaultSubmit   = 4  // SubmitConfidence 0
	defaultStart    = 10 // ChallengeConfidence 0
	leastProofEpoch = 20 // a proof needs some of the window's time
)

// check applies the rules between keys; sections that are empty shells of the
// default file (a [[Common.PersistStores]] header with all keys commented) are
// dropped.
func (m *Manager) check(c *checker) {
	c.positive("Common.API.ChainEventInterval", m.Common.API.ChainEventInterval)
	p := m.Common.Proving
	c.require(p.ParallelCheckLimit >= 0, "Common.Proving.ParallelCheckLimit", "must be 0 or more, is %d", p.ParallelCheckLimit)
	c.positive("Common.Proving.SingleCheckTimeout", p.SingleCheckTimeout)
	c.positive("Common.Proving.PartitionCheckTimeout", p.PartitionCheckTimeout)
	c.require(p.MaxStuck > 0, "Common.Proving.MaxStuck", "must be 1 or more, is %d", p.MaxStuck)
	if k := m.Common.MongoKVStore; k.Enable {
		c.require(k.DSN != "" && k.DatabaseName != "", "Common.MongoKVStore", "is enabled, so it needs DSN and DatabaseName")
	}
	m.checkStores(c)
	for i, n := range m.Common.Notify {
		n.check(c, fmt.Sprintf("Common.Notify[%d]", i))
	}
	m.checkMiners(c)
	m.checkLists(c)
}

// checkLists warns of miners that no configured store may hold. Stores of
// ScanPersistStores are not known here.
func (m *Manager) checkLists(c *checker) {
	if len(m.Common.ScanPersistStores) > 0 || len(m.Common.PersistStores) == 0 {
		return
	}
	for i, miner := range m.Miners {
		var reasons []string
		for _, s := range m.Common.PersistStores {
			if key := s.LeavesOut(miner.Actor); key != "" {
				reasons = append(reasons, fmt.Sprintf("%s of the store %q", key, s.Name))
			}
		}
		if miner.Actor != 0 && len(reasons) == len(m.Common.PersistStores) {
			c.warn(fmt.Sprintf("Miners[%d].Actor", i), "%d has no store: %s leave it out, so none of its sectors can be proven", miner.Actor, strings.Join(reasons, ", "))
		}
	}
}

// Kinds of receivers of notifications, and costs of what they are told.
var (
	notifyKinds = []string{"webhook", "dingtalk", "feishu", "wecom", "telegram", "slack"}
	notifyCosts = []string{"window", "sectors", "money", "none"}
)

func (n Notify) check(c *checker, key string) {
	c.require(slices.Contains(notifyKinds, n.Kind), key+".Kind", "%q is none of %s", n.Kind, strings.Join(notifyKinds, ", "))
	c.require(slices.Contains(notifyCosts, n.Least), key+".Least", "%q is none of %s", n.Least, strings.Join(notifyCosts, ", "))
	c.require(strings.HasPrefix(n.URL, "https://") || strings.HasPrefix(n.URL, "http://"), key+".URL", "must begin with https:// or http://")
	c.require(n.Kind != "telegram" || n.Chat != "", key+".Chat", "is needed for telegram: the id of the chat")
	c.positive(key+".Repeat", n.Repeat)
	if n.Daily != "" {
		_, err := time.Parse("15:04", n.Daily)
		c.require(err == nil, key+".Daily", "%q is no time of day, as 09:00", n.Daily)
	}
}

func (m *Manager) checkStores(c *checker) {
	var stores []PersistStore
	names := map[string]int{}
	for i, s := range m.Common.PersistStores {
		key := fmt.Sprintf("Common.PersistStores[%d]", i)
		if s.Path == "" {
			if s.Name != "" {
				c.fail(key+".Path", "is missing for the store %q: the folder above cache and sealed", s.Name)
			} else if c.doc.isSet(key) {
				c.warn(key, "has no Path and is ignored: uncomment Name and Path, or remove the section")
			}
			continue
		}
		if s.Name == "" {
			s.Name = s.Path
		}
		if s.PluginName != "" {
			if s.Plugin != "" && s.Plugin != s.PluginName {
				c.fail(key+".PluginName", "%q is another one than Plugin = %q: give one of them", s.PluginName, s.Plugin)
			}
			s.Plugin = s.PluginName
		}
		if s.Plugin != "" && s.Plugin != PluginS3 {
			c.fail(key+".Plugin", "the store %q uses the plugin %q, which is not known: \"s3\" reads object stores, all others are mounted as folders", s.Name, s.Plugin)
		}
		if s.Plugin == PluginS3 && !strings.Contains(s.Path, "://") {
			c.fail(key+".Path", "the store %q needs the URL of its bucket and prefix, like https://minio.example:9000/bucket/prefix", s.Name)
		}
		if first, taken := names[s.Name]; taken {
			c.fail(key+".Name", "the name %q is already that of Common.PersistStores[%d]: give each store a name of its own", s.Name, first)
		} else {
			names[s.Name] = i
		}
		stores = append(stores, s)
	}
	m.Common.PersistStores = stores
}

func (m *Manager) checkMiners(c *checker) {
	actors := map[uint64]int{}
	for i, miner := range m.Miners {
		key := fmt.Sprintf("Miners[%d]", i)
		if miner.Actor == 0 {
			c.warn(key+".Actor", "is not set: nothing is done for this miner; uncomment Actor and give its number")
		} else if first, taken := actors[miner.Actor]; taken {
			c.fail(key+".Actor", "the miner %d is already Miners[%d]: keep one section for each miner", miner.Actor, first)
		} else {
			actors[miner.Actor] = i
		}
		checkPoSt(c, key+".PoSt", miner.PoSt)
	}
}

func checkPoSt(c *checker, key string, p PoSt) {
	for _, problem := range p.Fees().Problems() { // the sender's own rule
		c.fail(key+"."+problem.Key, "%s", problem.Reason)
	}
	c.require(p.MaxFeePerDay.Amount().Sign() >= 0, key+".MaxFeePerDay", "%s is negative", p.MaxFeePerDay)
	submit, start := p.SubmitConfidence, p.ChallengeConfidence
	if submit == 0 {
		submit = defaultSubmit
	}
	if start == 0 {
		start = defaultStart
	}
	c.require(submit < windowEpochs, key+".SubmitConfidence",
		"%d epochs is not inside the proving window of %d epochs: nothing would ever be sent", submit, windowEpochs)
	c.require(start < lookbackEpochs+windowEpochs-leastProofEpoch, key+".ChallengeConfidence",
		"%d epochs leaves too little of the %d epochs between challenge and the window's close", start, lookbackEpochs+windowEpochs)
}
