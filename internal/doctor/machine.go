package doctor

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"wdpost/internal/prover"
	"wdpost/proofs/params"
	"wdpost/proofs/post"
)

// Machine is what the limits of this machine and this shell are.
type Machine struct {
	OpenFiles uint64 // the most that may be open at once
	Memory    uint64 // bytes that a process could still take
	Home      Room
	HomeMount Mount
	Shm       Room // of /dev/shm
}

// Room is the room of a file system, in bytes and files.
type Room struct {
	Total, Free uint64
	Files       uint64 // that can still be made
	Err         error
}

// RoomOf asks the kernel about the file system of a local path.
func RoomOf(path string) Room {
	var s unix.Statfs_t
	if err := unix.Statfs(path, &s); err != nil {
		return Room{Err: fmt.Errorf("%s: %w", path, err)}
	}
	r := Room{Total: s.Blocks * uint64(s.Bsize), Free: s.Bavail * uint64(s.Bsize), Files: s.Ffree}
	if s.Files == 0 { // a file system that does not count them
		r.Files = unbounded
	}
	return r
}

const unbounded = ^uint64(0)

// Least that is fine.
const (
	leastFiles  = 4096
	leastMemory = 1 << 30
	homeLeast   = 256 << 20 // as the daemon wants it
	homeNone    = 16 << 20
)

// OpenFiles is how many files a process started here may have open: Go raises
// the soft limit to the hard one.
func OpenFiles() (uint64, error) {
	var l unix.Rlimit
	err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l)
	return l.Max, err
}

// Limits judges the machine.
func Limits(m Machine) []Line {
	var lines []Line
	if m.OpenFiles < leastFiles {
		lines = append(lines, doubt("open files", fmt.Sprintf("a process of this shell may open %d files", m.OpenFiles), "raise it to 65536: LimitNOFILE= of the unit, or ulimit -n"))
	} else {
		lines = append(lines, fine("open files", "a process of this shell may open %d", m.OpenFiles))
	}
	if m.Memory < leastMemory {
		lines = append(lines, doubt("memory", size(m.Memory)+" are available here", "end what takes it, or raise the limit of the control group: the kernel kills who takes more"))
	} else {
		lines = append(lines, fine("memory", "%s are available here", size(m.Memory)))
	}
	return append(lines, ofHome(m)...)
}

func ofHome(m Machine) []Line {
	about := "home"
	var lines []Line
	switch r := m.Home; {
	case r.Err != nil:
		lines = append(lines, bad(about, r.Err.Error(), "make the folder, or give the right one with --home"))
	case r.Free < homeNone || r.Files == 0:
		lines = append(lines, bad(about, fmt.Sprintf("its disk is full: %s and %d files are free", size(r.Free), r.Files), "make room: index and records need a little"))
	case r.Free < homeLeast:
		lines = append(lines, doubt(about, fmt.Sprintf("%s of %s are free on its disk", size(r.Free), size(r.Total)), "make room: index and records need a little"))
	default:
		lines = append(lines, fine(about, "%s of %s are free on its disk", size(r.Free), size(r.Total)))
	}
	if m.HomeMount.Remote() {
		lines = append(lines, doubt(about, fmt.Sprintf("it lies on %s (%s): locks and fsync of the ledger depend on that server", m.HomeMount.Type, m.HomeMount.Source), "move it to a local disk"))
	}
	return lines
}

// Keys says whether the keys of a circuit are here: the verifying key, with
// which every proof is looked at before it is sent, and, where this process
// proves itself, the proving key. elsewhere: external processors prove.
func Keys(cfg prover.KeyConfig, s post.Setup, verifying error, elsewhere bool, shm Room) []Line {
	about := fmt.Sprintf("parameters %s %s", s.Kind(), post.SizeName(s.SectorSize))
	var lines []Line
	if verifying != nil {
		lines = append(lines, bad(about, verifying.Error(), "no proof can be verified without it; the text names the files"))
	} else {
		lines = append(lines, fine(about, "the verifying key is here"))
	}
	lines = append(lines, ofManifest(about, cfg, s)...)
	found, err := cfg.Files(s)
	switch {
	case len(found) > 0 && err == nil:
		lines = append(lines, fine(about, "the proving key is here: %s", found[0]))
	case len(found) > 0:
		lines = append(lines, doubt(about, fmt.Sprintf("the proving key is here, %s, and beside it: %v", found[0], err), "remove the file and make it again with gen_cache_and_param_blst"))
	case elsewhere && err == nil:
		lines = append(lines, fine(about, "no proving key is here: the external processors of ext-prover.cfg prove"))
	case elsewhere:
		lines = append(lines, doubt(about, err.Error(), "external processors prove; remove what is not whole"))
	case err != nil:
		lines = append(lines, bad(about, err.Error(), prover.Remedy(s, cfg.Dir())))
	default:
		lines = append(lines, bad(about, "no proving key is in "+cfg.Dir(), prover.Remedy(s, cfg.Dir())))
	}
	if need := params.RawBytes(s); !elsewhere && len(found) == 0 && shm.Err == nil && shm.Free < need {
		lines = append(lines, doubt("/dev/shm", fmt.Sprintf("%s are free, a raw cache needs %s", size(shm.Free), size(need)), "put the raw cache on a fast disk with --out, or enlarge /dev/shm"))
	}
	return lines
}

// ofManifest holds the .vk file against the network's published digest. Keys of
// development networks have sizes for which others may be made here.
func ofManifest(about string, cfg prover.KeyConfig, s post.Setup) []Line {
	published, known := params.LookupPublished(s)
	b, err := os.ReadFile(filepath.Join(cfg.Dir(), params.CacheID(s)+params.VKExt))
	if !known || err != nil {
		return nil // there is nothing to compare; a missing key is told above
	}
	h := params.NewHasher()
	_, _ = h.Write(b) // a hash takes everything
	err = published.VK.Check(h.Digest())
	switch {
	case err == nil:
		return []Line{fine(about, "its .vk is that of the network's manifest")}
	case s.SectorSize > prover.MaxGenerated:
		return []Line{bad(about, fmt.Sprintf(".vk: %v", err), "the network refuses proofs of another key: "+prover.Remedy(s, cfg.Dir()))}
	}
	return []Line{fine(about, "its .vk is one of a development network, not of the manifest")}
}

// size writes bytes for people.
func size(bytes uint64) string {
	if bytes < 1<<30 {
		return fmt.Sprintf("%.1f MiB", float64(bytes)/(1<<20))
	}
	return fmt.Sprintf("%.1f GiB", float64(bytes)/(1<<30))
}
