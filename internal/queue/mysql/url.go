package mysql

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
)

// ErrURL is wrapped by every refusal of ParseURL.
var ErrURL = errors.New("bad database url")

// ParseURL reads a database url of the guide's form
//
//	mysql://USER:PASSWORD@HOST[:PORT]/DATABASE[?ssl-mode=MODE&socket=PATH]
//
// also with the scheme mariadb. Special characters of user and password are
// percent-encoded. The port is 3306 unless given. With socket the host is
// ignored. ssl-mode is one of DISABLED, PREFERRED (the default: encrypted if
// the server can), REQUIRED (encrypted, certificate not checked), VERIFY_CA
// and VERIFY_IDENTITY (both check certificate and host name against the
// system's authorities). The password is never part of an error.
func ParseURL(raw string) (*mysql.Config, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return nil, fmt.Errorf("%w: not a url; write mysql://user:password@host/database, special characters percent-encoded", ErrURL)
	}
	if u.Scheme != "mysql" && u.Scheme != "mariadb" {
		return nil, fmt.Errorf("%w: scheme %q, use mysql:// (or sqlite:// for a file)", ErrURL, u.Scheme)
	}
	cfg := mysql.NewConfig()
	cfg.DBName = strings.Trim(u.Path, "/")
	if cfg.DBName == "" || strings.Contains(cfg.DBName, "/") {
		return nil, fmt.Errorf("%w: no database name; write mysql://user:password@host/database", ErrURL)
	}
	if u.Hostname() == "" {
		return nil, fmt.Errorf("%w: no host; write mysql://user:password@host/database", ErrURL)
	}
	cfg.User = u.User.Username()
	cfg.Passwd, _ = u.User.Password()
	port := u.Port()
	if port == "" {
		port = "3306"
	}
	cfg.Net, cfg.Addr = "tcp", net.JoinHostPort(u.Hostname(), port)
	for key, values := range u.Query() {
		value := values[len(values)-1]
		switch key {
		case "ssl-mode", "sslmode":
			if err := setTLS(cfg, value, u.Hostname()); err != nil {
				return nil, err
			}
		case "socket":
			cfg.Net, cfg.Addr = "unix", value
		default:
			return nil, fmt.Errorf("%w: unknown parameter %q, known are ssl-mode and socket", ErrURL, key)
		}
	}
	if cfg.TLSConfig == "" && cfg.TLS == nil && cfg.Net == "tcp" {
		cfg.TLSConfig = "preferred"
	}
	// Guarded updates count the rows they matched, changed or not.
	cfg.ClientFoundRows = true
	// One round trip a statement. Safe: the connection's charset is utf8mb4.
	cfg.InterpolateParams = true
	cfg.Timeout = 5 * time.Second
	// No statement takes this long; a server that went away without a word
	// is noticed.
	cfg.ReadTimeout, cfg.WriteTimeout = 70*time.Second, 30*time.Second
	cfg.MaxAllowedPacket = 0 // ask the server
	cfg.Logger = &mysql.NopLogger{}
	return cfg, nil
}

// setTLS translates an ssl-mode of the MySQL clients.
func setTLS(cfg *mysql.Config, mode, host string) error {
	switch strings.ToUpper(mode) {
	case "DISABLED":
		cfg.TLSConfig = "false"
	case "PREFERRED":
		cfg.TLSConfig = "preferred"
	case "REQUIRED":
		cfg.TLSConfig = "skip-verify"
	case "VERIFY_CA", "VERIFY_IDENTITY":
		cfg.TLS = &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12}
	default:
		return fmt.Errorf("%w: ssl-mode %q, use DISABLED, PREFERRED, REQUIRED, VERIFY_CA or VERIFY_IDENTITY", ErrURL, mode)
	}
	return nil
}
