package mysql

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/go-sql-driver/mysql"

	"wdpost/internal/queue"
)

// Server error numbers that are looked for by name (mysql: mysqld_ername.h,
// MariaDB: the same and more, TiDB: errno.go).
const (
	errDuplicateKey    = 1062
	errSyntax          = 1064
	errUnknownVariable = 1193
	errNotSupported    = 1235
)

// conflicts are the errors after which the same transaction may succeed at
// once.
var conflicts = map[uint16]bool{
	1213: true,                                                 // deadlock; also a failed certification in Galera
	1205: true,                                                 // lock wait time-out
	1020: true,                                                 // MariaDB: snapshot conflict
	1180: true,                                                 // error during COMMIT: another node was first
	3101: true,                                                 // Group Replication: rolled back for another node's transaction
	3572: true,                                                 // NOWAIT
	8002: true, 8005: true, 8022: true, 8028: true, 9007: true, // TiDB: write conflicts
}

// sort is what an error of the server means.
type sort int

const (
	refuses sort = iota // it answers and cannot do it now; also all that are not known
	setup               // only an operator can mend it, before anything works
	away                // it goes, comes, or has no place for us
)

// known are the errors of servers whose meaning, and remedy, is known. What is
// not listed is no passing trouble: it is shown with its own words at once.
var known = map[uint16]struct {
	sort   sort
	remedy string
}{
	1045: {setup, "check user and password in [db] url"},
	1698: {setup, "this account may only log in through the server's socket (unix_socket, auth_socket): give it a password, ALTER USER … IDENTIFIED BY '…', or make another account for wdpost"},
	1251: {setup, "let the account use mysql_native_password or caching_sha2_password: ALTER USER … IDENTIFIED WITH …"},
	2059: {setup, "let the account use mysql_native_password or caching_sha2_password: ALTER USER … IDENTIFIED WITH …"},
	1130: {setup, "allow this host to connect: CREATE USER 'name'@'host' …"},
	3159: {setup, "the server wants encryption: add ?ssl-mode=REQUIRED to [db] url"},
	1044: {setup, "grant the user all rights on the database"},
	1142: {setup, "grant the user all rights on the database"},
	1143: {setup, "grant the user all rights on the database"},
	1227: {setup, "grant the user all rights on the database"},
	1370: {setup, "grant the user all rights on the database"},
	1049: {setup, "create it: CREATE DATABASE …"},
	1146: {setup, "run wdpost-master-daemon migrate"},
	1054: {setup, "run wdpost-master-daemon migrate"},
	1356: {setup, "run wdpost-master-daemon migrate"},
	3098: {setup, "every table of the database needs a primary key under Group Replication"},

	1153: {refuses, packetRemedy},
	8025: {refuses, "a question is larger than a row may be: raise performance.txn-entry-size-limit of TiDB to 64MB, or set MaxPartitionsPerPoStMessage = 1"},
	8004: {refuses, "raise performance.txn-total-size-limit of TiDB"},
	3100: {refuses, "raise group_replication_transaction_size_limit of the servers"},
	1290: {refuses, "the server is read-only: SET GLOBAL read_only = 0, or name the primary server in [db] url"},
	1792: {refuses, "the server is read-only: SET GLOBAL read_only = 0, or name the primary server in [db] url"},
	1836: {refuses, "the server is read-only: SET GLOBAL read_only = 0, or name the primary server in [db] url"},
	1021: {refuses, "the disk of the database is full: make room there"},
	1114: {refuses, "the disk or the table space of the database is full: make room there"},
	1026: {refuses, "the database cannot write to its disk: look at its log"},
	1030: {refuses, "the storage of the database reports an error: look at its log"},
	1206: {refuses, "raise innodb_buffer_pool_size of the server"},
	1205: {refuses, lockRemedy},
	1223: {refuses, lockRemedy},
	1099: {refuses, lockRemedy},
	1213: {refuses, "the database loses conflicts again and again: look whether another program changes the tasks"},
	1180: {refuses, "the database cannot commit: look at its log"},
	3101: {refuses, "the database cannot commit: look at the state of its cluster"},

	1040: {away, "raise max_connections of the server, or lower [db] max_connections of the masters"},
	1203: {away, "raise max_user_connections of the server, or lower [db] max_connections of the masters"},
	1226: {away, "raise the limits of the account, or lower [db] max_connections of the masters"},
	1129: {away, "the server blocks this host: FLUSH HOSTS there"},
	1047: {away, quorumRemedy},
	3796: {away, quorumRemedy}, // Group Replication: consistency cannot be kept
	3797: {away, quorumRemedy},
	1053: {away, "the server shuts down"},
	1077: {away, "the server shuts down"},
	1079: {away, "the server shuts down"},
	1317: {away, "somebody interrupted the statement"},
	1927: {away, "somebody killed the connection"},
	3024: {away, "the server is too slow"},
	1969: {away, "the server is too slow"},
	1158: {away, ""}, 1159: {away, ""}, 1160: {away, ""}, 1161: {away, ""}, // the connection
	9001: {away, "look whether PD runs"}, 9002: {away, "look whether TiKV runs"}, 9003: {away, "TiKV is busy"},
	9004: {away, "TiKV is busy"}, 9005: {away, "look whether TiKV runs"}, 8027: {away, "look whether PD runs"},
}

// Remedies that several errors share.
const (
	packetRemedy = "raise max_allowed_packet of the server to 64M"
	lockRemedy   = "a table is locked: by a backup (use mysqldump --single-transaction) or by hand; it goes on when the lock ends"
	quorumRemedy = "this node is not part of the cluster, or the cluster has no majority: start the other nodes, or look at the network between them"
)

// clients are errors of the client library that only an operator can mend.
var clients = map[error]string{
	mysql.ErrUnknownPlugin:     known[2059].remedy,
	mysql.ErrNativePassword:    known[2059].remedy,
	mysql.ErrOldPassword:       known[2059].remedy,
	mysql.ErrCleartextPassword: known[2059].remedy,
	mysql.ErrNoTLS:             "the server has no TLS: set ssl-mode in [db] url to PREFERRED or DISABLED, or give the server a certificate",
}

// remedied is an error with what to do about it.
type remedied struct {
	error
	remedy string
}

// Remedy implements queue.Remedy.
func (r remedied) Remedy() string { return r.remedy }

// Unwrap returns the error.
func (r remedied) Unwrap() error { return r.error }

// code returns the server's error number, 0 for other errors.
func code(err error) uint16 {
	var me *mysql.MySQLError
	if errors.As(err, &me) {
		return me.Number
	}
	return 0
}

func conflict(err error) bool { return conflicts[code(err)] }

// meaning says what an error of the database means and what to do; ours is
// false for errors that are not the database's.
func meaning(err error) (s sort, remedy string, ours bool) {
	var me *mysql.MySQLError
	var ne net.Error
	switch {
	case errors.Is(err, mysql.ErrPktTooLarge):
		return refuses, packetRemedy, true
	case errors.As(err, &me):
		k := known[me.Number]
		if strings.Contains(me.Message, "max_allowed_packet") { // 1105 through prepared statements
			k.remedy = packetRemedy
		}
		return k.sort, k.remedy, true
	case errors.As(err, &ne), errors.Is(err, mysql.ErrInvalidConn), errors.Is(err, driver.ErrBadConn),
		errors.Is(err, sql.ErrConnDone), errors.Is(err, sql.ErrTxDone), errors.Is(err, io.EOF),
		errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return away, "", true
	}
	for e, remedy := range clients {
		if errors.Is(err, e) {
			return setup, remedy, true
		}
	}
	return 0, "", false
}

// explain names the database in errors that are its own, with the remedy where
// it is known: as queue.ErrUnavailable, except those that are a matter of
// setup. Errors of the queue's rules pass.
func (db *DB) explain(err error) error {
	if err == nil || errors.Is(err, queue.ErrUnavailable) {
		return err
	}
	sort, remedy, ours := meaning(err)
	if !ours {
		return err
	}
	text := ""
	if remedy != "" {
		text = "; " + remedy
	}
	switch sort {
	case setup:
		err = fmt.Errorf("database %s: %w%s", db.name, err, text)
	case away:
		err = fmt.Errorf("%w: %s: %w%s", queue.ErrAway, db.name, err, text)
	default:
		err = fmt.Errorf("%w: %s refuses: %w%s", queue.ErrUnavailable, db.name, err, text)
	}
	if remedy == "" {
		return err
	}
	return remedied{err, remedy}
}
