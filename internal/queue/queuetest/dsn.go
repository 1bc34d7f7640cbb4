package queuetest

import (
	"fmt"
	"net/url"
	"testing"
)

// dsn turns a server's url into the form of the Go client.
func dsn(t testing.TB, server, name string) string {
	t.Helper()
	user, password, address := Server(t, server)
	return fmt.Sprintf("%s:%s@tcp(%s)/%s?interpolateParams=true", user, password, address, name)
}

// Server takes a server's url apart; the address has a port.
func Server(t testing.TB, server string) (user, password, address string) {
	t.Helper()
	u, err := url.Parse(server)
	if err != nil {
		t.Fatalf("%s: %v", EnvDSN, err)
	}
	address = u.Host
	if u.Port() == "" {
		address += ":3306"
	}
	password, _ = u.User.Password()
	return u.User.Username(), password, address
}
