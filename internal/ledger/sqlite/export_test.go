package sqlite

import "context"

// Pragma reads a setting of the connection.
func Pragma(ctx context.Context, l *Ledger, name string) (value string, err error) {
	err = l.db.QueryRowContext(ctx, "PRAGMA "+name).Scan(&value)
	return value, err
}
