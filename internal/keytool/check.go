package keytool

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"wdpost/internal/prover"
	"wdpost/proofs/params"
	"wdpost/proofs/post"
)

// Check is what Verify found out about one file.
type Check struct {
	Path   string
	Digest params.Digest // of the .params file; for a raw cache that of its source
	Err    error         // nil: whole and right
}

// Verify reads every file of a circuit's key from end to end: points of .vk and
// .params, digests against the network's, checksums of the raw cache, and that
// all are of one key. The error is for what kept it from looking; what it found
// is in the checks. No file at all is an error.
func (t *Tool) Verify(ctx context.Context, s post.Setup) ([]Check, error) {
	if err := s.Validate(); err != nil {
		return nil, err
	}
	var checks []Check
	for _, file := range []struct {
		path  string
		check func(context.Context, post.Setup, *Check) error
	}{
		{t.paramsPath(s, params.VKExt), t.verifyVK},
		{t.paramsPath(s, params.ParamsExt), t.verifyParams},
		{t.rawPath(s), t.verifyRaw},
	} {
		if present, err := isFile(file.path); err != nil {
			return checks, err
		} else if !present {
			continue
		}
		c := Check{Path: file.path}
		c.Err = file.check(ctx, s, &c)
		if ctx.Err() != nil {
			return checks, context.Cause(ctx)
		}
		checks = append(checks, c)
	}
	if len(checks) == 0 {
		return nil, fmt.Errorf("%s: neither key files in %s nor a raw cache in %s", Name(s), t.ParamsDir, t.Out)
	}
	return checks, nil
}

func (t *Tool) verifyVK(_ context.Context, s post.Setup, c *Check) error {
	b, err := os.ReadFile(c.Path)
	if err != nil {
		return err
	}
	hasher := params.NewHasher()
	hasher.Write(b)
	c.Digest = hasher.Digest()
	if _, err := params.ParseVK(b, s); err != nil {
		return err
	}
	if published, ok := params.LookupPublished(s); ok && !t.Trust && s.SectorSize > prover.MaxGenerated {
		if err := published.VK.Check(c.Digest); err != nil {
			return err
		}
	}
	head, err := readHead(t.paramsPath(s, params.ParamsExt), params.VKBytes(s))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err == nil && string(head) != string(b) {
		err = errors.New("not the verifying key of the .params file beside it")
	}
	return err
}

func (t *Tool) verifyParams(ctx context.Context, s post.Setup, c *Check) error {
	f, err := os.Open(c.Path)
	if err != nil {
		return err
	}
	defer f.Close()
	if c.Digest, err = t.stream(ctx, "verify .params of "+Name(s), f, discardKey{}, s); err != nil {
		return err
	}
	return t.checkDigest(s, c.Digest)
}

func (t *Tool) verifyRaw(ctx context.Context, s post.Setup, c *Check) error {
	raw, err := prover.OpenRawFile(c.Path, s)
	if err != nil {
		return err
	}
	c.Digest = raw.Header.Source
	err = raw.VerifySections(func(done uint64) error {
		t.progress("verify raw cache of "+Name(s), done, raw.Header.FileBytes)
		return context.Cause(ctx)
	})
	if err == nil {
		err = t.checkDigest(s, c.Digest)
	}
	if err == nil {
		if present, _ := isFile(t.paramsPath(s, params.ParamsExt)); present {
			_, err = t.current(s)
		}
	}
	return errors.Join(err, raw.Close())
}

// Entry is one raw cache found by List.
type Entry struct {
	Path      string
	Name      string // of the circuit; empty for one that has no standard partition
	Bytes     uint64
	Source    params.Digest
	Published bool  // made from the network's keys
	Err       error // why it is of no use
}

// List finds the raw caches in Out, and the remains of interrupted runs, which
// it reports as errors. It looks no further into them than a prover does when it
// maps them.
func (t *Tool) List() ([]Entry, error) {
	names := map[string]post.Setup{}
	for _, size := range post.SectorSizes() {
		for _, kind := range []post.Kind{post.Window, post.Winning} {
			s := StandardSetup(kind, size)
			names[params.CacheID(s)] = s
		}
	}
	files, err := os.ReadDir(t.Out)
	if err != nil {
		return nil, err
	}
	var entries []Entry
	for _, f := range files {
		if id, _, ok := strings.Cut(f.Name(), params.RawExt); ok && strings.HasPrefix(id, "v28-") && !isCompanion(f.Name()) {
			s, known := names[id]
			entries = append(entries, t.entry(filepath.Join(t.Out, f.Name()), id, s, known))
		}
	}
	return entries, nil
}

func (t *Tool) entry(path, id string, s post.Setup, known bool) Entry {
	e := Entry{Path: path}
	info, err := os.Stat(path)
	if err != nil {
		e.Err = err
		return e
	}
	e.Bytes = uint64(info.Size())
	if known {
		e.Name = Name(s)
	}
	if strings.Contains(filepath.Base(path), params.RawExt+unfinishedExt) {
		e.Err = errors.New("not finished: in the making, or left by a run that was interrupted; see --generate and --remove")
		return e
	}
	header, err := readRawHeader(path)
	switch {
	case err != nil:
		e.Err = err
		return e
	case header.CacheID != id:
		e.Err = fmt.Errorf("%w: %s", params.ErrRawCircuit, header.CacheID)
	case header.FileBytes > e.Bytes:
		e.Err = fmt.Errorf("%w: %d bytes of %d", params.ErrRawTruncated, e.Bytes, header.FileBytes)
	case header.FileBytes < e.Bytes:
		e.Err = fmt.Errorf("%w: %d bytes, its header says %d", params.ErrRawCorrupt, e.Bytes, header.FileBytes)
	case known:
		e.Err = openable(path, s)
	}
	e.Source = header.Source
	if published, ok := params.LookupPublished(s); known && ok {
		e.Published = published.Params.Digest == e.Source
	}
	return e
}

// openable returns why provers refuse a raw cache of a circuit, if they do.
func openable(path string, s post.Setup) error {
	raw, err := prover.OpenRawFile(path, s)
	if err != nil {
		return err
	}
	return raw.Close()
}

func readRawHeader(path string) (*params.RawHeader, error) {
	b, err := readHead(path, params.RawHeaderBytes)
	if err != nil {
		return nil, err
	}
	return params.ParseRawHeader(b)
}

// Remove removes the raw cache of a circuit from Out, with an unfinished one and
// the remains of interrupted runs, and reports whether there was a cache, whole
// or unfinished. Key files are never removed.
func (t *Tool) Remove(s post.Setup) (bool, error) {
	if err := s.Validate(); err != nil {
		return false, err
	}
	unfinished, err := isFile(t.rawPath(s) + unfinishedExt)
	if err != nil {
		return false, err
	}
	if err := removeRemains(t.rawPath(s)); err != nil {
		return false, err
	}
	if err := os.Remove(t.rawPath(s)); os.IsNotExist(err) {
		return unfinished, nil
	} else if err != nil {
		return false, err
	}
	return true, nil
}

// Present lists the network's circuits that have a .params file in ParamsDir or
// a raw cache in Out, in order of size.
func (t *Tool) Present() ([]post.Setup, error) {
	var present []post.Setup
	for _, size := range post.SectorSizes() {
		for _, kind := range []post.Kind{post.Window, post.Winning} {
			s := StandardSetup(kind, size)
			key, err := isFile(t.paramsPath(s, params.ParamsExt))
			if err != nil {
				return nil, err
			}
			raw, err := isFile(t.rawPath(s))
			if err != nil {
				return nil, err
			}
			if key || raw {
				present = append(present, s)
			}
		}
	}
	return present, nil
}
