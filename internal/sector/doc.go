// Package sector knows where the files of sectors lie and whether they can be
// read.
//
// Stores are folders in the lotus layout (sealed, cache, update, update-cache).
// Attach scans a store and writes what it found to the Index, one small file
// for each store in the manager's home, which may be replaced while the daemon
// runs. A Locator answers from the index where the files of a sector are,
// Checker whether they are there, Reader makes vanilla proofs from them.
//
// Stores are often network mounts, and a read of a dead mount hangs for ever.
// So every access runs under a Guard: on a goroutine of its own, with a
// time-out, with a bounded number in flight for each store; a store in which
// too many reads hang or fail is set aside and costs its users nothing more.
// Files are only ever opened for reading.
package sector
