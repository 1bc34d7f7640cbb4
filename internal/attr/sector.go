package attr

import "log/slog"

// mostSectors bounds a list of sectors in one line.
const mostSectors = 100

// Sector is a sector's number.
func Sector(n uint64) slog.Attr { return slog.Uint64("sector", n) }

// SectorCount is a number of sectors.
func SectorCount(n int) slog.Attr { return slog.Int("sectors", n) }

// SectorList are sector numbers, ascending, the first hundred of them.
func SectorList(list []uint64) slog.Attr {
	return slog.String("sectorList", someNumbers(list, mostSectors))
}

// Good is a number of sectors that can be proven from, Bad of those that cannot.
func Good(n int) slog.Attr { return slog.Int("good", n) }

// Bad is a number of sectors that cannot be proven from.
func Bad(n int) slog.Attr { return slog.Int("bad", n) }

// Skipped is the number of sectors that a proof leaves out.
func Skipped(n int) slog.Attr { return slog.Int("skipped", n) }

// SkippedList are the numbers of the sectors that a proof leaves out.
func SkippedList(list []uint64) slog.Attr {
	return slog.String("skippedList", someNumbers(list, mostSectors))
}

// Store is a store's name.
func Store(name string) slog.Attr { return slog.String("store", name) }

// Path is a file or folder.
func Path(p string) slog.Attr { return slog.String("path", p) }

// SectorSize is a sector's size as operators write it: 32GiB.
func SectorSize(s string) slog.Attr { return slog.String("sectorSize", s) }

// Bytes is a size in bytes.
func Bytes[T ~int | ~int64 | ~uint64](n T) slog.Attr { return slog.Uint64("bytes", uint64(n)) }

// Blame says whose trouble an unreadable sector is: "data" (the sector's own),
// "unseen" (this machine's) or "store".
func Blame(kind string) slog.Attr { return slog.String("blame", kind) }

// File is the name of a file or of a sector's files: s-t01008-1.
func File(name string) slog.Attr { return slog.String("file", name) }

// Updated says whether files are those of a snap update.
func Updated(yes bool) slog.Attr { return slog.Bool("updated", yes) }

// Replica says whether a sector's replica is there.
func Replica(yes bool) slog.Attr { return slog.Bool("replica", yes) }

// Cache says whether a sector's cache is there.
func Cache(yes bool) slog.Attr { return slog.Bool("cache", yes) }

// Was is a count before, beside the one that is now.
func Was(n int) slog.Attr { return slog.Int("was", n) }

// Unseen is a number of sectors that are known and were not seen.
func Unseen(n int) slog.Attr { return slog.Int("unseen", n) }

// Now is a count now, beside the one before.
func Now(n int) slog.Attr { return slog.Int("now", n) }

// UpdatedCount is a number of sectors with a snap update.
func UpdatedCount(n int) slog.Attr { return slog.Int("updatedSectors", n) }

// LeftOut is a number of sectors whose files are not whole.
func LeftOut(n int) slog.Attr { return slog.Int("leftOut", n) }

// Forgotten is a number of sectors that were dropped from the index.
func Forgotten(n int) slog.Attr { return slog.Int("forgotten", n) }
