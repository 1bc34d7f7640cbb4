package queuetest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	_ "github.com/go-sql-driver/mysql" // the client
)

// EnvDSN names the variable with the url of a server to test against, in the
// guide's form without a database: mysql://root:password@localhost. Tests
// create and drop databases of their own there.
const EnvDSN = "WDPOST_TEST_MYSQL_DSN"

// MariaDB is a private database server: its own directory, a free port on
// loopback, no durability across a power cut less than the default.
type MariaDB struct {
	dir  string
	port int
	more []string // arguments besides those of start
	cmd  *exec.Cmd
}

// ErrNoMariaDB means that the programs of a MariaDB server are not installed.
var ErrNoMariaDB = errors.New("no mariadbd on this machine (Debian: apt-get install mariadb-server)")

// StartMariaDB initialises a server in dir, which must be empty or hold an
// earlier server's files, and starts it, with further arguments. The caller
// stops it.
func StartMariaDB(dir string, more ...string) (*MariaDB, error) {
	m, err := install(dir)
	if err != nil {
		return nil, err
	}
	m.more = more
	if err := m.start(); err != nil {
		return nil, err
	}
	return m, m.letIn()
}

// install makes the files of a server in dir, unless they are there.
func install(dir string) (*MariaDB, error) {
	if _, err := findDaemon(); err != nil {
		return nil, err
	}
	program, err := find("mariadb-install-db", "/usr/bin/mariadb-install-db")
	if err != nil {
		return nil, err
	}
	data := filepath.Join(dir, "data")
	if _, err := os.Stat(data); err != nil {
		out, err := exec.Command(program, "--no-defaults", "--datadir="+data, "--auth-root-authentication-method=normal",
			"--skip-test-db", "--skip-name-resolve").CombinedOutput()
		if err != nil {
			return nil, fmt.Errorf("%s: %w: %s", program, err, out)
		}
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	return &MariaDB{dir: dir, port: port}, nil
}

func findDaemon() (string, error) {
	return find("mariadbd", "/usr/sbin/mariadbd", "/usr/libexec/mariadbd")
}

func find(name string, places ...string) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	for _, p := range places {
		if _, err := os.Stat(p); err == nil {
			return p, nil
		}
	}
	return "", ErrNoMariaDB
}

func freePort() (int, error) {
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	defer lis.Close()
	return lis.Addr().(*net.TCPAddr).Port, nil
}

// start runs the daemon and waits until it takes connections.
func (m *MariaDB) start() error {
	daemon, err := findDaemon()
	if err != nil {
		return err
	}
	log, err := os.Create(filepath.Join(m.dir, "mariadbd.log"))
	if err != nil {
		return fmt.Errorf("log of mariadbd: %w", err)
	}
	defer log.Close()
	args := []string{"--no-defaults", "--datadir=" + filepath.Join(m.dir, "data"),
		"--socket=" + filepath.Join(m.dir, "sock"), "--pid-file=" + filepath.Join(m.dir, "pid"),
		fmt.Sprintf("--port=%d", m.port), "--bind-address=127.0.0.1", "--skip-name-resolve",
		"--innodb-buffer-pool-size=64M", "--max-connections=200"}
	if os.Geteuid() == 0 {
		args = append(args, "--user=root")
	}
	m.cmd = exec.Command(daemon, append(args, m.more...)...)
	m.cmd.Stdout, m.cmd.Stderr = log, log
	m.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // never outlive the tests
	if err := m.cmd.Start(); err != nil {
		return fmt.Errorf("start mariadbd: %w", err)
	}
	db, err := m.admin()
	if err != nil {
		return errors.Join(err, m.Kill())
	}
	defer db.Close()
	if err := within(60*time.Second, db.PingContext); err != nil {
		return errors.Join(fmt.Errorf("mariadbd does not answer: %w; the end of its log:\n%s", err, end(log.Name())), m.Kill())
	}
	return nil
}

// end returns the last of a log.
func end(log string) []byte {
	text, err := os.ReadFile(log)
	if err != nil {
		return []byte(err.Error())
	}
	return text[max(0, len(text)-3000):]
}

// within repeats try until it succeeds, or returns its last error.
func within(limit time.Duration, try func(context.Context) error) error {
	for begin := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		err := try(ctx)
		cancel()
		if err == nil || time.Since(begin) > limit {
			return err
		}
	}
}

// admin connects through the server's socket, where root needs no password.
func (m *MariaDB) admin() (*sql.DB, error) {
	return sql.Open("mysql", fmt.Sprintf("root@unix(%s)/mysql", filepath.Join(m.dir, "sock")))
}

// letIn makes the user of URL. A server that cannot is ended.
func (m *MariaDB) letIn() error {
	db, err := m.admin()
	if err != nil {
		return errors.Join(err, m.Kill())
	}
	defer db.Close()
	_, err = db.Exec(`CREATE OR REPLACE USER 'root'@'127.0.0.1' IDENTIFIED BY 'password'`)
	if err == nil {
		_, err = db.Exec(`GRANT ALL ON *.* TO 'root'@'127.0.0.1' WITH GRANT OPTION`)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("user of the test server: %w", err), m.Kill())
	}
	return nil
}

// URL returns the url of a database on the server, in the guide's form; an
// empty name gives the server's own url.
func (m *MariaDB) URL(database string) string {
	return fmt.Sprintf("mysql://root:password@127.0.0.1:%d/%s?ssl-mode=DISABLED", m.port, database)
}

// Kill ends the server as a power cut would.
func (m *MariaDB) Kill() error {
	_ = m.cmd.Process.Kill() // it may be gone already
	_ = m.cmd.Wait()         // killed: always an error
	return nil
}

// Restart starts a killed server again on the same port and files.
func (m *MariaDB) Restart() error { return m.start() }

// Database creates an empty database for one test, dropped at its end, on a
// server given by its url, and returns a plain connection to it.
func Database(t testing.TB, server, name string) *sql.DB {
	t.Helper()
	admin, err := sql.Open("mysql", dsn(t, server, ""))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := admin.Exec("DROP DATABASE IF EXISTS " + name); err != nil {
		t.Fatal(err)
	}
	if _, err := admin.Exec("CREATE DATABASE " + name); err != nil {
		t.Fatal(err)
	}
	plain, err := sql.Open("mysql", dsn(t, server, name)+"&multiStatements=true")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = plain.Close()
		_, _ = admin.Exec("DROP DATABASE " + name) // the server may have been killed by the test
		_ = admin.Close()
	})
	return plain
}
