package config

import (
	"fmt"
	"net"
	"net/url"
	"strings"
)

// Drivers of a DatabaseURL.
const (
	DriverMySQL  = "mysql"
	DriverSQLite = "sqlite"
)

// TLS modes of a DatabaseURL, named as the MySQL clients name them.
const (
	TLSDisabled  = "DISABLED"
	TLSPreferred = "PREFERRED" // the default: encrypted when the server can
	TLSRequired  = "REQUIRED"  // encrypted, certificate not checked
	TLSVerify    = "VERIFY_IDENTITY"
)

// DatabaseURL is a parsed [db] url.
type DatabaseURL struct {
	Driver string // DriverMySQL or DriverSQLite

	// For MySQL and MariaDB:
	User, Password string
	Host           string // host:port, the port always given
	Name           string // of the database
	TLS            string // one of the TLS modes

	// Path of the SQLite file; empty when the url is: the caller chooses.
	Path string
}

// ParseDatabaseURL reads mysql://user:password@host[:port]/name[?ssl-mode=MODE]
// (also mariadb://) or sqlite://path; empty means SQLite at a path of the
// caller's choice.
func ParseDatabaseURL(s string) (DatabaseURL, error) {
	if s == "" {
		return DatabaseURL{Driver: DriverSQLite}, nil
	}
	if path, ok := strings.CutPrefix(s, "sqlite:"); ok {
		path = strings.TrimPrefix(path, "//")
		if strings.HasPrefix(path, "//") { // four slashes, as others write an absolute path
			path = "/" + strings.TrimLeft(path, "/")
		}
		if path == "" {
			return DatabaseURL{}, fmt.Errorf("it names no file: write it like 'sqlite:///var/lib/wdpost/tasks.db'")
		}
		return DatabaseURL{Driver: DriverSQLite, Path: path}, nil
	}
	u, err := url.Parse(s)
	if err != nil {
		// The error of net/url repeats the text, password included.
		return DatabaseURL{}, fmt.Errorf("it is no url: write it like 'mysql://root:password@localhost/wdpost', with special characters of the password as %%XX")
	}
	if u.Scheme != "mysql" && u.Scheme != "mariadb" {
		return DatabaseURL{}, fmt.Errorf("the kind of database %q is not known: mysql:// and sqlite:// are", u.Scheme)
	}
	return mysqlURL(u)
}

func mysqlURL(u *url.URL) (DatabaseURL, error) {
	out := DatabaseURL{
		Driver: DriverMySQL,
		User:   u.User.Username(),
		Host:   u.Host,
		Name:   strings.TrimPrefix(u.Path, "/"),
		TLS:    TLSPreferred,
	}
	out.Password, _ = u.User.Password()
	if u.Hostname() == "" || out.Name == "" || strings.Contains(out.Name, "/") {
		return DatabaseURL{}, fmt.Errorf("it names no host or no database: write it like 'mysql://root:password@localhost/wdpost', and in user and password %%23 for #, %%2F for /, %%3F for ?, %%40 for @")
	}
	if u.Port() == "" {
		out.Host = net.JoinHostPort(u.Hostname(), "3306")
	}
	for key, values := range u.Query() {
		if key != "ssl-mode" && key != "sslmode" {
			return DatabaseURL{}, fmt.Errorf("the option %q is not known: ssl-mode is", key)
		}
		mode := strings.ToUpper(values[len(values)-1])
		switch mode {
		case TLSDisabled, TLSPreferred, TLSRequired, TLSVerify:
			out.TLS = mode
		case "VERIFY_CA":
			out.TLS = TLSVerify
		default:
			return DatabaseURL{}, fmt.Errorf("ssl-mode %q is not one of DISABLED, PREFERRED, REQUIRED, VERIFY_IDENTITY", mode)
		}
	}
	return out, nil
}

// String is the url without the password, for logs.
func (d DatabaseURL) String() string {
	if d.Driver == DriverSQLite {
		return "sqlite://" + d.Path
	}
	return fmt.Sprintf("mysql://%s@%s/%s", d.User, d.Host, d.Name)
}
