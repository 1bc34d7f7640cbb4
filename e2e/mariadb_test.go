//go:build e2e || sick

package e2e

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// mariadb is a private MariaDB server with the guide's account root/password.
type mariadb struct {
	t    *testing.T
	port int
	sock string
}

// startMariaDB makes a data directory, starts mariadbd on a free loopback port
// and gives root the guide's password. The server ends with the test.
func startMariaDB(t *testing.T, dir string) *mariadb {
	t.Helper()
	for _, bin := range []string{"mariadbd", "mariadb-install-db", "mysql"} {
		if _, err := exec.LookPath(bin); err != nil {
			t.Fatalf("%s is not installed: apt-get install mariadb-server", bin)
		}
	}
	data := filepath.Join(dir, "mariadb")
	// Socket paths are limited to 107 bytes, so not under a long test directory.
	sockDir, err := os.MkdirTemp("", "e2edb")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(sockDir) })
	db := &mariadb{t: t, port: freePort(t), sock: filepath.Join(sockDir, "s")}

	user := "--user=root"
	runOK(t, dir, "mariadb-install-db", "--no-defaults", user, "--datadir="+data,
		"--auth-root-authentication-method=normal", "--skip-test-db")
	startProcess(t, "mariadbd", dir, nil, "mariadbd", "--no-defaults", user, "--datadir="+data,
		"--socket="+db.sock, fmt.Sprintf("--port=%d", db.port), "--bind-address=127.0.0.1",
		"--pid-file="+filepath.Join(sockDir, "pid"))
	eventually(t, time.Minute, "mariadbd accepts connections", func() error {
		out, err := exec.Command("mysql", "--no-defaults", "-uroot", "-S", db.sock, "-e", "SELECT 1").CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	})
	runOK(t, dir, "mysql", "--no-defaults", "-uroot", "-S", db.sock, "-e",
		"ALTER USER 'root'@'localhost' IDENTIFIED BY 'password'; "+
			"CREATE OR REPLACE USER 'root'@'127.0.0.1' IDENTIFIED BY 'password'; GRANT ALL ON *.* TO 'root'@'127.0.0.1' WITH GRANT OPTION")
	return db
}

// exec runs SQL with the mysql client, as an operator does, and returns its
// tab-separated output without the header.
func (db *mariadb) exec(database, sql string) string {
	db.t.Helper()
	args := []string{"--no-defaults", "-h", "127.0.0.1", "-P", fmt.Sprint(db.port), "-uroot", "-ppassword", "-N"}
	if database != "" {
		args = append(args, database)
	}
	cmd := exec.Command("mysql", args...)
	cmd.Stdin = strings.NewReader(sql)
	out, err := cmd.CombinedOutput()
	if err != nil {
		db.t.Fatalf("mysql: %v\n%s\nSQL:\n%s", err, out, sql)
	}
	return string(out)
}

func (db *mariadb) url(database string) string {
	return fmt.Sprintf("mysql://root:password@127.0.0.1:%d/%s", db.port, database)
}

func freePort(t *testing.T) int {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer lis.Close()
	return lis.Addr().(*net.TCPAddr).Port
}
