package master

import (
	"fmt"
	"path/filepath"

	"wdpost/internal/config"
	"wdpost/internal/queue"
	"wdpost/internal/queue/mysql"
	"wdpost/internal/rpc"
)

// plan is wdpost_master.toml as the rooms take it.
type plan struct {
	queue            queue.Config
	server           rpc.ServerConfig
	tls              *config.ServerTLS
	listen           string
	debug            string
	partitionSectors int
	database         database
}

// database is where tasks are stored: a file, or a server.
type database struct {
	name   string // for people, without the password
	file   string // of SQLite; empty for a server
	server mysql.Config
}

// defaultFile is the SQLite file beside the config file where no url is set.
const defaultFile = "wdpost_master.db"

// planOf translates the configuration.
func planOf(file config.Master, configPath string) (plan, error) {
	db, err := databaseOf(file.DB, configPath)
	return plan{
		queue: queue.Config{
			Timeout: file.Task.Timeout.D(), HeartbeatTimeout: file.Task.HeartbeatTimeout.D(), MaxRetry: file.Task.MaxRetry,
			RetryInterval: file.Task.RetryJobInterval.D(), ArchiveInterval: file.Task.ArchiveJobInterval.D(),
			ArchiveAfter: file.Task.ShouldArchive.D(),
		},
		server:           rpc.ServerConfig{Token: file.Server.Token, MaxConnections: file.Server.MaxConnections},
		tls:              file.Server.TLS,
		listen:           file.Server.Listen,
		debug:            file.Debug.Listen,
		partitionSectors: file.Task.PartitionSectors,
		database:         db,
	}, err
}

// databaseOf translates [db].
func databaseOf(file config.Database, configPath string) (database, error) {
	url, err := config.ParseDatabaseURL(file.URL)
	if err != nil {
		return database{}, fmt.Errorf("%s: db.url: %w", configPath, err)
	}
	if url.Driver == config.DriverSQLite {
		if url.Path == "" {
			url.Path = filepath.Join(filepath.Dir(configPath), defaultFile)
		}
		return database{name: url.String(), file: url.Path}, nil
	}
	return database{name: url.String(), server: mysql.Config{
		User: url.User, Password: url.Password, Address: url.Host, Database: url.Name, TLS: mysql.TLSMode(url.TLS),
		MinConnections: file.MinConnections, MaxConnections: file.MaxConnections, IdleTimeout: file.IdleTimeout.D(),
	}}, nil
}
