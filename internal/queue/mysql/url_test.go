package mysql_test

import (
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"testing"

	"wdpost/internal/queue/mysql"
)

// explain returns the plan of a statement as one line.
func explain(t *testing.T, url, query string) string {
	t.Helper()
	cfg, err := mysql.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("mysql", cfg.FormatDSN())
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	rows, err := db.Query(query)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	cols, err := rows.Columns()
	if err != nil {
		t.Fatal(err)
	}
	var plan []string
	for rows.Next() {
		values := make([]sql.NullString, len(cols))
		dest := make([]any, len(cols))
		for i := range values {
			dest[i] = &values[i]
		}
		if err := rows.Scan(dest...); err != nil {
			t.Fatal(err)
		}
		for i, v := range values {
			plan = append(plan, fmt.Sprintf("%s=%s", cols[i], v.String))
		}
	}
	return strings.Join(plan, " ")
}

func TestParseURL(t *testing.T) {
	for raw, want := range map[string]string{
		"mysql://root:password@localhost/wdpost":                                "root password tcp localhost:3306 wdpost preferred",
		"mysql://root:password@localhost/wdpost?ssl-mode=DISABLED":              "root password tcp localhost:3306 wdpost false",
		"mariadb://u%40x:p%2Fq%23@10.0.0.1:3307/db?ssl-mode=required":           "u@x p/q# tcp 10.0.0.1:3307 db skip-verify",
		"mysql://u@[::1]:3306/db":                                               "u  tcp [::1]:3306 db preferred",
		"mysql://root:password@localhost/wdpost?socket=/run/mysqld/mysqld.sock": "root password unix /run/mysqld/mysqld.sock wdpost ",
	} {
		c, err := mysql.ParseURL(raw)
		if err != nil {
			t.Errorf("%s: %v", raw, err)
			continue
		}
		if got := fmt.Sprintf("%s %s %s %s %s %s", c.User, c.Passwd, c.Net, c.Addr, c.DBName, c.TLSConfig); got != want {
			t.Errorf("%s: %q, want %q", raw, got, want)
		}
	}
	for _, raw := range []string{
		"", "wdpost", "postgres://a:sesame@b/c", "mysql://a:sesame@b", "mysql://a:sesame@/c", "mysql://a:sesame@b/c/d",
		"mysql://a:sesame@b/c?ssl-mode=MAYBE", "mysql://a:sesame@b/c?tls=true", "mysql://a:ses#ame@b/c", "mysql://a:%zzsesame@b/c",
	} {
		_, err := mysql.ParseURL(raw)
		if !errors.Is(err, mysql.ErrURL) || strings.Contains(err.Error(), "sesame") {
			t.Errorf("%q: %v", raw, err)
		}
	}
}

func FuzzParseURL(f *testing.F) {
	f.Add("mysql://root:password@localhost/wdpost?ssl-mode=DISABLED")
	f.Fuzz(func(t *testing.T, raw string) {
		c, err := mysql.ParseURL(raw)
		if err == nil && (c.DBName == "" || c.Addr == "" && c.Net == "tcp") {
			t.Fatalf("%q gives %+v", raw, c)
		}
	})
}
