//go:build galera

package queuetest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Galera is a cluster of private MariaDB servers on loopback that replicate to
// each other. Its writes are ordered and certified as those of a real one; the
// network between the nodes is faster.
type Galera struct {
	Nodes []*MariaDB
}

// ErrNoGalera means that a cluster cannot be made on this machine.
var ErrNoGalera = fmt.Errorf("%w with Galera (Debian: apt-get install mariadb-server galera-4 rsync)", ErrNoMariaDB)

// StartGalera makes a cluster of n nodes in dir. The first node is a new
// server; the others take its whole state over, as new members do.
func StartGalera(dir string, n int) (*Galera, error) {
	if _, err := findDaemon(); err != nil {
		return nil, ErrNoGalera
	}
	provider, err := find("", "/usr/lib/galera/libgalera_smm.so", "/usr/lib64/galera-4/libgalera_smm.so")
	if err != nil {
		return nil, ErrNoGalera
	}
	if _, err := exec.LookPath("rsync"); err != nil { // carries the state to a new member
		return nil, ErrNoGalera
	}
	first, err := install(filepath.Join(dir, "node0"))
	if err != nil {
		return nil, err
	}
	g := &Galera{Nodes: []*MariaDB{first}}
	for i := 1; i < n; i++ {
		m := &MariaDB{dir: filepath.Join(dir, fmt.Sprintf("node%d", i))}
		if m.port, err = freePort(); err != nil {
			return nil, err
		}
		if err := m.room(); err != nil {
			return nil, fmt.Errorf("node %d: %w", i, err)
		}
		g.Nodes = append(g.Nodes, m)
	}
	if err := g.configure(provider); err != nil {
		return nil, err
	}
	for i, m := range g.Nodes {
		if err := g.join(m, i == 0); err != nil {
			return nil, errors.Join(fmt.Errorf("node %d: %w", i, err), g.Kill())
		}
	}
	if err := first.letIn(); err != nil {
		return nil, errors.Join(err, g.Kill())
	}
	return g, nil
}

// room makes an empty folder for the state that a node takes over. Where the
// tests are root, rsync writes there as nobody.
func (m *MariaDB) room() error {
	data := filepath.Join(m.dir, "data")
	if err := os.MkdirAll(data, 0o755); err != nil {
		return err
	}
	if os.Geteuid() != 0 {
		return nil
	}
	nobody, err := user.Lookup("nobody")
	if err != nil {
		return err
	}
	uid, err := strconv.Atoi(nobody.Uid)
	if err != nil {
		return err
	}
	return errors.Join(os.Chown(data, uid, -1), os.Chmod(filepath.Dir(m.dir), 0o755))
}

// configure gives every node its place in the cluster.
func (g *Galera) configure(provider string) error {
	var members []string
	ports := make([][3]int, len(g.Nodes)) // group, incremental and full state transfer
	for i := range g.Nodes {
		for k := range ports[i] {
			var err error
			if ports[i][k], err = freePort(); err != nil {
				return err
			}
		}
		members = append(members, fmt.Sprintf("127.0.0.1:%d", ports[i][0]))
	}
	for i, m := range g.Nodes {
		m.more = []string{
			"--wsrep-on=ON", "--wsrep-provider=" + provider, "--wsrep-cluster-name=wdpost",
			"--wsrep-cluster-address=gcomm://" + strings.Join(members, ","),
			fmt.Sprintf("--wsrep-node-name=node%d", i), "--wsrep-node-address=127.0.0.1",
			"--wsrep-sst-method=rsync", fmt.Sprintf("--wsrep-sst-receive-address=127.0.0.1:%d", ports[i][2]),
			fmt.Sprintf("--wsrep-provider-options=base_host=127.0.0.1;base_port=%d;gmcast.listen_addr=tcp://127.0.0.1:%d;"+
				"ist.recv_addr=127.0.0.1:%d;gcache.size=64M", ports[i][0], ports[i][0], ports[i][1]),
			"--binlog-format=ROW", "--innodb-autoinc-lock-mode=2",
		}
	}
	return nil
}

// join starts a node and waits until it has everything that the others have.
// A cluster begins with a node that is the first.
func (g *Galera) join(m *MariaDB, first bool) error {
	lasting := m.more
	defer func() { m.more = lasting }()
	if first {
		m.more = append(m.more, "--wsrep-new-cluster")
	} else if _, err := os.Stat(filepath.Join(m.dir, "data", "ibdata1")); err == nil {
		position, err := m.position()
		if err != nil {
			return err
		}
		m.more = append(m.more, "--wsrep-start-position="+position)
	}
	if err := m.start(); err != nil {
		return err
	}
	return within(60*time.Second, func(ctx context.Context) error {
		state, err := m.Status(ctx, "wsrep_local_state_comment")
		if err == nil && state != "Synced" {
			err = fmt.Errorf("the state of the node is %q, see %s", state, filepath.Join(m.dir, "mariadbd.log"))
		}
		return err
	})
}

// recovered is how the server logs the last transaction that it kept.
var recovered = regexp.MustCompile(`Recovered position: (\S+)`)

// position asks the files of a node that was killed for its last transaction,
// as systemd's unit does, so that it needs only what it missed.
func (m *MariaDB) position() (string, error) {
	daemon, err := findDaemon()
	if err != nil {
		return "", err
	}
	log := filepath.Join(m.dir, "recover.log")
	args := []string{"--no-defaults", "--datadir=" + filepath.Join(m.dir, "data"), "--wsrep-recover", "--log-error=" + log}
	if os.Geteuid() == 0 {
		args = append(args, "--user=root")
	}
	out, err := exec.Command(daemon, append(args, m.more...)...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("position of a killed node: %w: %s", err, out)
	}
	text, err := os.ReadFile(log)
	if err != nil {
		return "", fmt.Errorf("position of a killed node: %w", err)
	}
	found := recovered.FindAllSubmatch(text, -1)
	if found == nil {
		return "", fmt.Errorf("no position of a killed node in %s", log)
	}
	return string(found[len(found)-1][1]), nil
}

// Return starts a killed node again and waits until it has caught up.
func (g *Galera) Return(node int) error { return g.join(g.Nodes[node], false) }

// Kill ends all nodes.
func (g *Galera) Kill() error {
	for _, m := range g.Nodes {
		if m.cmd != nil {
			_ = m.Kill()
		}
	}
	return nil
}

// Status reads one of the server's status variables.
func (m *MariaDB) Status(ctx context.Context, name string) (value string, err error) {
	db, err := m.admin()
	if err != nil {
		return "", err
	}
	defer db.Close()
	err = db.QueryRowContext(ctx, `SHOW GLOBAL STATUS LIKE '`+name+`'`).Scan(&name, &value)
	return value, err
}
