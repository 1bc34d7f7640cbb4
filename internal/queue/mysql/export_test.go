package mysql

// WithoutSkipLocked makes the store treat its server as one that does not know
// SKIP LOCKED.
func (db *DB) WithoutSkipLocked() {
	no := false
	db.skipLocked.Store(&no)
}
