package cluster

import (
	"encoding/json"
	"os"
)

// Access is what the operator of a chain's miners must know, written to
// access.json in the work directory once the chain listens.
type Access struct {
	Chain    string   `json:"chain"` // multiaddr of the first node
	Nodes    []string `json:"nodes"` // multiaddrs of all nodes
	Messager string   `json:"messager"`
	Gateway  string   `json:"gateway"`
	Token    string   `json:"token"`
	Stores   []string `json:"stores"` // storage directories
	Miners   []struct {
		Actor  uint64 `json:"actor"`
		Sender string `json:"sender"`
	} `json:"miners"`
}

// Access tells how to reach the chain, which must have been started.
func (c *Cluster) Access() Access {
	a := Access{
		Chain: c.net.Node().Multiaddr("ws"), Messager: c.net.Messager().Multiaddr("ws"),
		Gateway: c.net.Gateway().Multiaddr("ws"), Token: c.net.Token(), Nodes: c.nodeAddresses(),
	}
	for i := range c.cfg.stores() {
		a.Stores = append(a.Stores, c.cfg.storage(i))
	}
	for _, m := range c.miners {
		entry := struct {
			Actor  uint64 `json:"actor"`
			Sender string `json:"sender"`
		}{m.ID, m.Worker.String()}
		a.Miners = append(a.Miners, entry)
	}
	return a
}

// messagerAddress is what the manager's configuration says.
func (c *Cluster) messagerAddress() string {
	if c.cfg.NodeMode {
		return "none"
	}
	return c.net.Messager().Multiaddr("ws")
}

func (c *Cluster) nodeAddresses() []string {
	var out []string
	for _, n := range c.net.Nodes() {
		out = append(out, n.Multiaddr("ws"))
	}
	return out
}

func (c *Cluster) writeAccess() error {
	b, err := json.MarshalIndent(c.Access(), "", "  ")
	if err != nil {
		return err
	}
	// Written aside, so that whoever waits for the file reads it whole.
	tmp := c.cfg.path("access.json.tmp")
	if err := os.WriteFile(tmp, append(b, '\n'), 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, c.cfg.path("access.json"))
}
