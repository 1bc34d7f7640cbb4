package master

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"

	"wdpost/internal/attr"
	"wdpost/internal/condition"
	"wdpost/internal/config"
	"wdpost/internal/queue"
	"wdpost/internal/queue/mysql"
	"wdpost/internal/queue/sqlite"
)

// Store is a queue.Store that can be migrated.
type Store interface {
	queue.Store
	Migrate(ctx context.Context) (version int64, err error)
	MigrateDown(ctx context.Context, version int64) (int64, error)
}

// OpenStore prepares the configured database without connecting, for commands.
// create allows a missing SQLite file to be made.
func OpenStore(file config.Master, configPath string, create bool, log *slog.Logger) (Store, error) {
	db, err := databaseOf(file.DB, configPath)
	if err != nil {
		return nil, err
	}
	return db.open(create, log)
}

// open prepares the database without connecting.
func (d database) open(create bool, log *slog.Logger) (Store, error) {
	if d.file == "" {
		return mysql.OpenUnmigrated(d.server, log)
	}
	if _, err := os.Stat(d.file); errors.Is(err, fs.ErrNotExist) {
		if !create {
			return nil, fmt.Errorf("no tasks yet: %w; the daemon makes the file when it starts", err)
		}
		log.Info("a new task database is made: no file was there", attr.Path(d.file))
	}
	return sqlite.OpenUnmigrated(d.file, log)
}

// packetNeeded is the least max_allowed_packet: the largest question, three
// full partitions of 64 GiB sectors with long paths, has about 4 MB, and twice
// that with its special characters escaped.
const packetNeeded = 16 << 20

// packets is a database that limits the size of a packet.
type packets interface {
	MaxPacket(ctx context.Context) (int64, error)
}

// prepare migrates the database and looks whether it is fit. A host that does
// not exist is a mistake in the url, not a server that is away.
func (m *Master) prepare(ctx context.Context) error {
	version, err := m.db.Migrate(ctx)
	var dns *net.DNSError
	switch {
	case errors.As(err, &dns) && dns.IsNotFound:
		return fmt.Errorf("%s: db.url: %w; correct the host", m.cfg.Path, dns)
	case err != nil:
		return err
	}
	if db, ok := m.db.(packets); ok {
		limit, err := db.MaxPacket(ctx)
		if err != nil {
			return err
		}
		detail := fmt.Sprintf("max_allowed_packet of the database is %d bytes, a question of a full message may need %d", limit, packetNeeded)
		if limit < packetNeeded {
			m.cfg.Log.Warn("the database takes no packet as large as the largest question: set max_allowed_packet = 64M there", attr.Limit(limit))
		}
		m.board.When(limit < packetNeeded, condition.Condition{Kind: condition.DatabasePacketLimit, Detail: detail})
	}
	m.cfg.Log.Info("database ready", attr.Database(m.plan.database.name), attr.SchemaVersion(version))
	return nil
}
