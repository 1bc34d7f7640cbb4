//go:build !galera

package mysql_test

import "wdpost/internal/queue/queuetest"

// startServer starts the private server.
func startServer(dir string) (stop func() error, err error) {
	if private, err = queuetest.StartMariaDB(dir); err != nil {
		return nil, err
	}
	server = private.URL("")
	return private.Kill, nil
}
