package sqlite

import (
	"context"
	"fmt"
)

// Limit bounds the pages of the file, as a full disk does.
func (db *DB) Limit(ctx context.Context, pages int) error {
	_, err := db.write.pool.ExecContext(ctx, fmt.Sprintf(`PRAGMA max_page_count = %d`, pages))
	return err
}
