package mysql

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"

	"wdpost/internal/queue"
)

// Every error of a server has a meaning: by default that it refuses, with its
// own words; what only an operator can mend is no passing trouble, and what is
// known says what to do (operator, F3, F21; storage and queue, F8).
func TestErrorsAreClassified(t *testing.T) {
	db := &DB{name: "u@h/d"}
	const passing, hindered, final = "passing", "hindered", "final"
	for number, want := range map[uint16]struct{ class, remedy string }{
		1698: {final, "socket"}, 1045: {final, "password"}, 1251: {final, "IDENTIFIED WITH"}, 2059: {final, "IDENTIFIED WITH"},
		1130: {final, "host"}, 1049: {final, "CREATE DATABASE"}, 1044: {final, "grant"}, 1142: {final, "grant"}, 1146: {final, "migrate"},
		1054: {final, "migrate"}, 3159: {final, "ssl-mode"},
		1290: {hindered, "read-only"}, 1792: {hindered, "read-only"}, 1836: {hindered, "read-only"},
		1021: {hindered, "disk"}, 1114: {hindered, "full"}, 1030: {hindered, "log"}, 1205: {hindered, "locked"}, 1223: {hindered, "locked"},
		3101: {hindered, "cluster"}, 1180: {hindered, "commit"}, 8025: {hindered, "txn-entry-size-limit"}, 3100: {hindered, "transaction_size_limit"},
		1153: {hindered, "max_allowed_packet"}, 1105: {hindered, ""}, 9999: {hindered, ""}, 1366: {hindered, ""},
		1040: {passing, "max_connections"}, 1047: {passing, "majority"}, 1053: {passing, "shuts down"}, 9005: {passing, "TiKV"},
	} {
		err := db.explain(fmt.Errorf("statement: %w", &mysql.MySQLError{Number: number, Message: "its own words"}))
		class := final
		switch {
		case errors.Is(err, queue.ErrAway):
			class = passing
		case errors.Is(err, queue.ErrUnavailable):
			class = hindered
		}
		remedy := ""
		if r := queue.Remedy(nil); errors.As(err, &r) {
			remedy = r.Remedy()
		}
		if class != want.class || !strings.Contains(remedy, want.remedy) || (remedy == "") != (want.remedy == "") || !strings.Contains(err.Error(), "its own words") || !strings.Contains(err.Error(), "u@h/d") {
			t.Errorf("%d: %s, %q: %v", number, class, remedy, err)
		}
	}
	long := db.explain(&mysql.MySQLError{Number: 1105, Message: "Parameter of prepared statement which is set through mysql_send_long_data() is longer than 'max_allowed_packet' bytes"})
	if !strings.Contains(long.Error(), "raise max_allowed_packet") {
		t.Error(long)
	}
	for _, err := range []error{mysql.ErrUnknownPlugin, mysql.ErrNativePassword, mysql.ErrNoTLS} {
		if got := db.explain(err); errors.Is(got, queue.ErrUnavailable) || !strings.Contains(got.Error(), ";") {
			t.Error(got)
		}
	}
	for _, err := range []error{mysql.ErrInvalidConn, context.DeadlineExceeded} {
		if got := db.explain(err); !errors.Is(got, queue.ErrAway) || !errors.Is(got, queue.ErrUnavailable) {
			t.Error(got)
		}
	}
	for _, n := range []uint16{1213, 1205, 1020, 1180, 3101, 8028, 9007} {
		if !conflict(&mysql.MySQLError{Number: n}) {
			t.Errorf("%d is not tried again", n)
		}
	}
}
