package keytool

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"wdpost/internal/attr"
	"wdpost/proofs/params"
	"wdpost/proofs/post"
)

// Names of an unfinished development key: the raw cache itself and, once it is
// large enough for that to matter, what it takes to go on with it.
const (
	unfinishedExt = ".partial"
	progressExt   = unfinishedExt + "-progress"
	secretExt     = unfinishedExt + "-secret"
)

// ErrBusy means that another process is at work on the same key.
var ErrBusy = errors.New("another process is making this key")

// unfinished is a development key in the making, locked against other
// processes as long as its maker lives.
//
// To go on with it one needs the secrets of the setup. They are never part of
// the raw cache; they lie beside it in a file that only its owner can read,
// from the first checkpoint until the key is whole or given up, and are then
// overwritten and removed. Whoever can read that file can as well replace the
// whole key by one of his own, so a development key is worth no less for it
// while it is made; afterwards the secrets are gone, as far as the file system
// allows. On /dev/shm they never reach a disk.
type unfinished struct {
	*os.File
	target string
	seed   [32]byte // all secrets follow from it
	kept   bool     // seed is in its file
	at     checkpoint
}

// checkpoint is what of an unfinished key is durable.
type checkpoint struct {
	Format  int    `json:"format"`
	CacheID string `json:"cache_id"`
	Points  uint64 `json:"points"`
	// Digest of the .params form of the key up to the last of the points.
	Digest string `json:"digest"`
}

// checkpointFormat changes with the raw cache, the way from seed to secrets and
// the meaning of a checkpoint.
const checkpointFormat = 1

// busyPoll is how often a key that another process is making is looked at.
const busyPoll = 200 * time.Millisecond

// openUnfinished opens or begins the unfinished key that will be target, and
// clears other remains away. While another process is at work on it, it waits;
// waited says so. The error wraps ErrBusy if that lasted until ctx ended.
func openUnfinished(ctx context.Context, target string, log *slog.Logger) (u *unfinished, waited bool, err error) {
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return nil, false, err
	}
	if err := removeAsides(target); err != nil {
		return nil, false, err
	}
	for {
		f, err := lockFile(target+unfinishedExt, os.O_RDWR|os.O_CREATE)
		if err == nil {
			return &unfinished{File: f, target: target}, waited, nil
		}
		if !errors.Is(err, ErrBusy) {
			return nil, waited, err
		}
		if !waited {
			log.Info("another process is making this key: waiting for it", attr.Path(target))
			waited = true
		}
		select {
		case <-time.After(busyPoll):
		case <-ctx.Done():
			return nil, waited, fmt.Errorf("%w: %w", err, context.Cause(ctx))
		}
	}
}

// leave lets go of the key as it is.
func (u *unfinished) leave() error {
	info, err := u.Stat()
	if err == nil && info.Size() == 0 { // begun by opening it
		err = remove(u.Name())
	}
	return errors.Join(err, u.Close())
}

// lockFile opens a file and locks it. The error wraps ErrBusy if another
// process has the lock.
func lockFile(path string, flag int) (*os.File, error) {
	for {
		f, err := os.OpenFile(path, flag, 0o600)
		if err != nil {
			return nil, err
		}
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if errors.Is(err, unix.EWOULDBLOCK) {
			err = ErrBusy
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), f.Close())
		}
		mine, err := f.Stat()
		if err != nil {
			return nil, errors.Join(err, f.Close())
		}
		if there, err := os.Stat(path); err == nil && os.SameFile(mine, there) {
			return f, nil
		}
		// It was renamed or removed before it was locked.
		if err := f.Close(); err != nil {
			return nil, err
		}
	}
}

// load reads the checkpoint and the seed. An error says why the key cannot be
// continued.
func (u *unfinished) load(s post.Setup) error {
	b, err := os.ReadFile(u.target + progressExt)
	if err != nil {
		return err
	}
	var at checkpoint
	if err := json.Unmarshal(b, &at); err != nil {
		return fmt.Errorf("%s: %w", u.target+progressExt, err)
	}
	if at.Format != checkpointFormat {
		return fmt.Errorf("it has format %d, this program makes %d", at.Format, checkpointFormat)
	}
	if id := params.CacheID(s); at.CacheID != id {
		return fmt.Errorf("it is of another circuit: %s", at.CacheID)
	}
	if most := params.CountsOf(s).Points(); at.Points > most {
		return fmt.Errorf("%s: %d points of %d", u.target+progressExt, at.Points, most)
	}
	seed, err := os.ReadFile(u.target + secretExt)
	if err != nil {
		return err
	}
	if len(seed) != len(u.seed) {
		return fmt.Errorf("%s: %d bytes", u.target+secretExt, len(seed))
	}
	u.at, u.seed, u.kept = at, [32]byte(seed), true
	return nil
}

// begin empties the file and draws new secrets.
func (u *unfinished) begin() error {
	if err := errors.Join(u.forget(), u.Truncate(0)); err != nil {
		return err
	}
	_, err := rand.Read(u.seed[:])
	return err
}

// rewind gives up what is made and keeps the secrets.
func (u *unfinished) rewind() error {
	u.at = checkpoint{}
	return errors.Join(remove(u.target+progressExt), u.Truncate(0))
}

// save makes a checkpoint durable after all that was written before the call.
func (u *unfinished) save(at checkpoint) error {
	if err := u.Sync(); err != nil {
		return err
	}
	if !u.kept {
		if err := writeDurable(u.target+secretExt, u.seed[:]); err != nil {
			return err
		}
		u.kept = true
	}
	content, err := json.Marshal(at)
	if err != nil {
		return err
	}
	if err := writeDurable(u.target+progressExt, append(content, '\n')); err != nil {
		return err
	}
	u.at = at
	return nil
}

// forget removes the checkpoint and the secrets.
func (u *unfinished) forget() error {
	u.at, u.kept = checkpoint{}, false
	return forget(u.target)
}

// forget removes what it takes to go on with the unfinished key of target, the
// secrets overwritten first.
func forget(target string) error {
	var errs []error
	for _, path := range []string{target + secretExt, target + secretExt + newExt} {
		errs = append(errs, overwrite(path))
	}
	for _, path := range []string{target + progressExt, target + progressExt + newExt, target + secretExt, target + secretExt + newExt} {
		errs = append(errs, remove(path))
	}
	return errors.Join(errs...)
}

// publish gives the whole key its name.
func (u *unfinished) publish() error {
	err := u.Chmod(0o644)
	if err == nil {
		err = u.Sync()
	}
	if err == nil {
		err = os.Rename(u.Name(), u.target)
	}
	if err == nil {
		err = syncDir(filepath.Dir(u.target))
	}
	return err
}

// discard removes all there is of the key.
func (u *unfinished) discard() error {
	return errors.Join(u.forget(), remove(u.Name()))
}

// isCompanion reports whether a path is that of a file beside an unfinished key.
func isCompanion(path string) bool {
	path = strings.TrimSuffix(path, newExt)
	return strings.HasSuffix(path, progressExt) || strings.HasSuffix(path, secretExt)
}

// newExt marks a small file that is about to replace the one without the mark.
const newExt = "-new"

// writeDurable replaces a small file that only one process writes, in whole or
// not at all. Only its owner can read it.
func writeDurable(path string, content []byte) error {
	f, err := os.OpenFile(path+newExt, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(path+newExt, path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// overwrite replaces the content of a file, if it is there, by zeros.
func overwrite(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err == nil {
		_, err = f.Write(make([]byte, info.Size()))
	}
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// remove removes a file if it is there.
func remove(path string) error {
	err := os.Remove(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}
