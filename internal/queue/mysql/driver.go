package mysql

import (
	"context"
	"crypto/tls"
	"database/sql/driver"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
)

// TLSMode says how the connection to the server is protected, in the words of
// the MySQL clients.
type TLSMode string

// The modes.
const (
	TLSDisabled  TLSMode = "DISABLED"        // plain text
	TLSPreferred TLSMode = "PREFERRED"       // encrypted if the server can
	TLSRequired  TLSMode = "REQUIRED"        // encrypted, certificate not checked
	TLSVerify    TLSMode = "VERIFY_IDENTITY" // certificate and host name checked against the system's authorities
)

// driverConfig translates the configuration for the client library.
func driverConfig(in Config) (*mysql.Config, error) {
	cfg := mysql.NewConfig()
	cfg.User, cfg.Passwd, cfg.DBName = in.User, in.Password, in.Database
	cfg.Net, cfg.Addr = "tcp", in.Address
	if strings.HasPrefix(in.Address, "/") {
		cfg.Net = "unix"
	}
	switch in.TLS {
	case TLSDisabled:
	case TLSPreferred, "":
		if cfg.Net == "tcp" {
			cfg.TLSConfig = "preferred"
		}
	case TLSRequired:
		cfg.TLSConfig = "skip-verify"
	case TLSVerify:
		host, _, err := net.SplitHostPort(in.Address)
		if err != nil {
			return nil, fmt.Errorf("database address %q: %w; write host:port", in.Address, err)
		}
		cfg.TLS = &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12}
	default:
		return nil, fmt.Errorf("database %s: unknown TLS mode %q", in.Address, in.TLS)
	}
	// The character set is set by a statement: a server may overlook what the
	// client asks for when it connects (skip-character-set-client-handshake), and
	// in another set than this the quotes of a text would not hold.
	if err := cfg.Apply(mysql.Charset("utf8mb4", "utf8mb4_general_ci")); err != nil {
		return nil, fmt.Errorf("database %s: %w", in.Address, err)
	}
	// Guarded updates count the rows they matched, changed or not.
	cfg.ClientFoundRows = true
	// One round trip a statement. Safe under the character set above.
	cfg.InterpolateParams = true
	cfg.Timeout = 5 * time.Second
	// No statement takes this long; a server that went away without a word
	// is noticed.
	cfg.ReadTimeout, cfg.WriteTimeout = 70*time.Second, 30*time.Second
	cfg.MaxAllowedPacket = 0 // ask the server
	cfg.Logger = &mysql.NopLogger{}
	return cfg, nil
}

// sessions prepares each new connection once, instead of each transaction.
type sessions struct{ driver.Connector }

// session are the statements that do so, and the server error that each may
// meet where it has no meaning.
var session = []struct {
	statement string
	unless    uint16
}{
	// Under the default, REPEATABLE READ, claims would lock gaps.
	{"SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED", 0},
	// A table that a backup has locked is told of, instead of waited for without
	// a word: the default of lock_wait_timeout is a day, or a year.
	{"SET SESSION lock_wait_timeout = 15", errUnknownVariable},
	{"SET SESSION innodb_lock_wait_timeout = 15", errUnknownVariable},
	// A node of Galera, or of Group Replication, first applies what the others
	// have committed. Without this a slave that went on with another master could
	// be told that its lease does not exist.
	{"SET SESSION wsrep_sync_wait = 7", errUnknownVariable},
	{"SET SESSION group_replication_consistency = 'BEFORE'", errUnknownVariable},
}

// Connect implements driver.Connector.
func (c sessions) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	execer, ok := conn.(driver.ExecerContext)
	if !ok {
		return nil, errors.Join(errors.New("the MySQL client cannot execute statements"), conn.Close())
	}
	for _, s := range session {
		_, err := execer.ExecContext(ctx, s.statement, nil)
		if err != nil && (s.unless == 0 || code(err) != s.unless) {
			return nil, errors.Join(err, conn.Close())
		}
	}
	return conn, nil
}
