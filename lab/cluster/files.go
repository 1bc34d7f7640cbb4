package cluster

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"text/template"

	"github.com/filecoin-project/go-address"
)

// managerConfig is sector-manager.cfg: the parts of the guide's file that a
// storage provider uncomments.
var managerConfig = template.Must(template.New("manager").Parse(`[Common]
[Common.API]
Chain = [{{range $i, $a := .Chain}}{{if $i}}, {{end}}"{{$a}}"{{end}}]
Messager = "{{.Messager}}"
Gateway = ["{{.Gateway}}"]
Token = "{{.Token}}"
{{range .Stores}}
[[Common.PersistStores]]
Name = "{{.Name}}"
Path = "{{.Path}}"
Strict = false
ReadOnly = false
Weight = 0
{{end}}{{range .Miners}}
[[Miners]]
Actor = {{.ID}}
[Miners.PoSt]
Sender = "{{.Sender}}"
Enabled = true
StrictCheck = false
Confidence = {{$.Confidence}}
SubmitConfidence = {{$.SubmitConfidence}}
ChallengeConfidence = {{$.ChallengeConfidence}}
[Miners.Proof]
Enabled = true
{{end}}`))

var extProverConfig = template.Must(template.New("ext-prover").Parse(`[[WdPost]]
Bin = "{{.Bin}}"
Args = ["-c", "{{.Config}}"]
Concurrent = 50
Weight = 1
ReadyTimeoutSecs = 30
[WdPost.Envs]
RUST_LOG = "info"
`))

var masterConfig = template.Must(template.New("master").Parse(`[server]
listen = '{{.Listen}}'

[db]
url = '{{.URL}}'

[task]
timeout = '5m'
max_retry = 5
heartbeat_timeout = '6s'
retry_job_interval = '1s'
{{with .PartitionSectors}}partition_sectors = {{.}}
{{end}}`))

var slaveConfig = template.Must(template.New("slave").Parse(`[master]
server_addr = '{{.Master}}'
reconnect_interval = '1s'
heartbeat_interval = '1s'

[slave]
name = '{{.Name}}'
concurrent = 1
pull_interval = '1s'
spool = '{{.Spool}}'
{{with .PartitionSectors}}partition_sectors = {{.}}
{{end}}`))

// store is one storage directory in the manager's file.
type store struct{ Name, Path string }

// sender is one miner in the manager's file.
type sender struct {
	ID     uint64
	Sender address.Address
}

// scaled turns a number of epochs of the main network's 60-epoch window into
// one of our window.
func (c *Config) scaled(epochs int64) int64 { return max(1, epochs*int64(c.Window)/60) }

// writeFiles makes the manager's home with the manager's own command, fills in
// its files and writes those of master and slaves.
func (c *Cluster) writeFiles(ctx context.Context) error {
	if _, err := c.command(ctx, managerProgram, "--home", c.home(), "daemon", "init"); err != nil {
		return err
	}
	masterPort, err := freePort()
	if err != nil {
		return err
	}
	c.masterAddr = net.JoinHostPort("127.0.0.1", strconv.Itoa(masterPort))
	if err := c.writeManagerFiles(); err != nil {
		return err
	}
	url := c.cfg.MySQL
	if url == "" {
		url = "sqlite://" + c.cfg.path("queue.db")
	}
	err = render(masterConfig, c.masterConfigPath(), map[string]any{
		"Listen": c.masterAddr, "URL": url, "PartitionSectors": c.cfg.PartitionSectors,
	})
	if err != nil {
		return err
	}
	for i := range c.cfg.Slaves {
		values := map[string]any{
			"Name": slaveName(i), "Master": c.masterAddr, "Spool": c.cfg.path(slaveName(i) + ".spool"), "PartitionSectors": c.cfg.PartitionSectors,
		}
		if err := render(slaveConfig, c.slaveConfigPath(i), values); err != nil {
			return err
		}
	}
	return nil
}

func (c *Cluster) writeManagerFiles() error {
	var stores []store
	for i := range c.cfg.stores() {
		stores = append(stores, store{Name: fmt.Sprintf("storage%d", i+1), Path: c.cfg.storage(i)})
	}
	var senders []sender
	for _, m := range c.miners {
		senders = append(senders, sender{ID: m.ID, Sender: m.Worker})
	}
	values := map[string]any{
		"Chain": c.nodeAddresses(), "Messager": c.messagerAddress(),
		"Gateway": c.net.Gateway().Multiaddr("ws"), "Token": c.net.Token(),
		"Stores": stores, "Miners": senders,
		"Confidence": c.cfg.scaled(10), "SubmitConfidence": c.cfg.scaled(4), "ChallengeConfidence": c.cfg.scaled(10),
	}
	if err := render(managerConfig, filepath.Join(c.home(), "sector-manager.cfg"), values); err != nil {
		return err
	}
	return render(extProverConfig, filepath.Join(c.home(), "ext-prover.cfg"), map[string]any{
		"Bin": filepath.Join(c.bin, masterProgram), "Config": c.masterConfigPath(),
	})
}

// attach makes the manager scan the storage directories, as the guide does.
func (c *Cluster) attach(ctx context.Context) error {
	for i := range c.cfg.stores() {
		_, err := c.command(ctx, managerProgram, "--home", c.home(), "util", "storage", "attach",
			"--verbose", fmt.Sprintf("--name=storage%d", i+1), c.cfg.storage(i))
		if err != nil {
			return err
		}
	}
	return nil
}

func (c *Cluster) home() string                 { return c.cfg.path("manager") }
func (c *Cluster) masterConfigPath() string     { return c.cfg.path("wdpost_master.toml") }
func (c *Cluster) slaveConfigPath(i int) string { return c.cfg.path(slaveName(i) + ".toml") }
func slaveName(i int) string                    { return fmt.Sprintf("slave%d", i+1) }

func render(t *template.Template, path string, values any) error {
	var b bytes.Buffer
	if err := t.Execute(&b, values); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return os.WriteFile(path, b.Bytes(), 0o600) // the manager's file holds the node's token
}

// freePort returns a TCP port that is free at the moment.
func freePort() (int, error) {
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	defer lis.Close()
	return lis.Addr().(*net.TCPAddr).Port, nil
}
