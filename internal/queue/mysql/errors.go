package mysql

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/go-sql-driver/mysql"

	"wdpost/internal/queue"
)

// Server error numbers (mysql: mysqld_ername.h, TiDB: errno.go).
const (
	errAccessDenied    = 1045
	errNotReady        = 1047 // Galera: the node is not part of the cluster
	errUnknownDB       = 1049
	errDuplicateKey    = 1062
	errSyntax          = 1064
	errNoSuchTable     = 1146
	errUnknownVariable = 1193
	errPacketTooLarge  = 1153
	errLockTimeout     = 1205
	errDeadlock        = 1213 // also a failed certification in Galera
	errNotSupported    = 1235
	errDBAccessDenied  = 1044
	errRecordChanged   = 1020 // MariaDB: snapshot conflict
	errNoSuchColumn    = 1054
	errDenied          = 1142
)

// conflicts are the errors after which the same transaction may succeed.
var conflicts = map[uint16]bool{
	errDeadlock: true, errLockTimeout: true, errRecordChanged: true,
	8002: true, 8022: true, 8028: true, 9007: true, // TiDB: write conflicts
}

// setup are the errors that only an operator can mend, and how.
var setup = map[uint16]string{
	errAccessDenied:   "check user and password in [db] url",
	errDBAccessDenied: "grant the user all rights on the database",
	errDenied:         "grant the user all rights on the database",
	errUnknownDB:      "create it: CREATE DATABASE …",
	errNoSuchTable:    "run wdpost-master-daemon migrate",
	errNoSuchColumn:   "run wdpost-master-daemon migrate",
	errPacketTooLarge: "raise max_allowed_packet of the server to 64M",
}

// code returns the server's error number, 0 for other errors.
func code(err error) uint16 {
	var me *mysql.MySQLError
	if errors.As(err, &me) {
		return me.Number
	}
	return 0
}

func conflict(err error) bool { return conflicts[code(err)] }

// explain names the database in errors that are its own: with the remedy if
// it is a matter of setup, as queue.ErrUnavailable otherwise. Errors of the
// queue's rules pass.
func (db *DB) explain(err error) error {
	if err == nil || errors.Is(err, queue.ErrUnavailable) {
		return err
	}
	var me *mysql.MySQLError
	var ne net.Error
	switch {
	case setup[code(err)] != "":
		return fmt.Errorf("database %s: %w; %s", db.name, err, setup[code(err)])
	case errors.As(err, &me), errors.As(err, &ne),
		errors.Is(err, mysql.ErrInvalidConn), errors.Is(err, driver.ErrBadConn),
		errors.Is(err, sql.ErrConnDone), errors.Is(err, sql.ErrTxDone), errors.Is(err, io.EOF),
		errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%w: %s: %w", queue.ErrUnavailable, db.name, err)
	}
	return err
}
