// Package process reads the file system in a process of its own.
//
// A read of a dead disk, of iSCSI, FUSE or kernel Ceph cannot be interrupted: the
// thread stays in the kernel until the device answers, and with it all that its
// process holds, even after kill -9: the lock of the home, listening ports, the
// pipes of children. So a daemon does not read stores itself. Client starts the
// program's own executable once more (ServeIfAsked, called first in main, makes
// it a reader), which inherits nothing but two pipes, stands in the root folder
// and in a process group of its own, and ends when its input ends. Whatever hangs
// hangs there; the daemon can be killed and started again meanwhile.
//
// One process serves all stores: calls that hang cost it a thread each and nothing
// else, so a second one would isolate nothing more. The Guard above bounds how
// many there are. A reader that dies is started again.
//
//	daemon ── request frames ──▶ reader ──▶ open, pread, stat, readdir
//	       ◀── answer frames ───        (one goroutine for each request)
package process
