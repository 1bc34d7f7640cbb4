package keytool

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"wdpost/internal/prover"
	"wdpost/proofs/groth16"
	"wdpost/proofs/params"
	"wdpost/proofs/post"
)

// convert turns the .params file of a circuit into a raw cache and returns the
// file's digest.
func (t *Tool) convert(ctx context.Context, s post.Setup) (params.Digest, error) {
	path := t.paramsPath(s, params.ParamsExt)
	src, err := os.Open(path)
	if err != nil {
		return params.Digest{}, err
	}
	defer src.Close()
	if err := t.needSpace(t.Out, params.RawBytes(s), "the raw cache"); err != nil {
		return params.Digest{}, err
	}
	out, err := createAside(t.rawPath(s))
	if err != nil {
		return params.Digest{}, fmt.Errorf("raw cache: %w", err)
	}
	raw := params.NewRawWriter(out, s)
	digest, err := t.stream(ctx, "convert "+Name(s), src, raw, s)
	if err == nil {
		err = t.checkDigest(s, digest)
	}
	if err != nil {
		return digest, errors.Join(fmt.Errorf("%s: %w", path, err), out.discard())
	}
	// The header makes it a cache, so all else must be on disk before it.
	err = out.Sync()
	if err == nil {
		err = raw.Finish(digest, params.ParamsBytes(s))
	}
	if err == nil {
		err = out.publish()
	}
	if err != nil {
		return digest, errors.Join(fmt.Errorf("raw cache: %w", err), out.discard())
	}
	return digest, nil
}

// stream reads a whole .params file into a sink and returns its digest.
func (t *Tool) stream(ctx context.Context, stage string, src io.Reader, sink groth16.Sink, s post.Setup) (params.Digest, error) {
	hasher := params.NewHasher()
	total := params.ParamsBytes(s)
	m := &meter{ctx: ctx, r: io.TeeReader(src, hasher), report: func(done uint64) { t.progress(stage, min(done, total), total) }}
	if err := params.Copy(sink, m, params.CopyConfig{Setup: s, Workers: t.workers()}); err != nil {
		return params.Digest{}, err
	}
	return hasher.Digest(), nil
}

// checkDigest refuses a key that has a published name and other content.
// Development keys of small sectors are made locally as a matter of course, so
// they are not held to it.
func (t *Tool) checkDigest(s post.Setup, have params.Digest) error {
	published, ok := params.LookupPublished(s)
	if !ok || t.Trust || s.SectorSize <= prover.MaxGenerated {
		return nil
	}
	if err := published.Params.Check(have); err != nil {
		return fmt.Errorf("%w; fetch the file again, or use --trust if these are development keys of your own (the real network refuses their proofs)", err)
	}
	return nil
}

// current opens the raw cache of a circuit and reports whether it is of the key
// in the parameter directory.
func (t *Tool) current(s post.Setup) (*params.RawHeader, error) {
	raw, err := prover.OpenRawFile(t.rawPath(s), s)
	if err != nil {
		return nil, err
	}
	header := *raw.Header
	have, err := raw.Key().VK.MarshalBinary()
	if err = errors.Join(err, raw.Close()); err != nil {
		return nil, err
	}
	want, err := readHead(t.paramsPath(s, params.ParamsExt), params.VKBytes(s))
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(have, want) {
		return nil, fmt.Errorf("%s is of another key than %s", t.rawPath(s), t.paramsPath(s, params.ParamsExt))
	}
	return &header, nil
}

// publishedRaw reports whether there is a good raw cache of the network's key
// of a circuit, and the digest of its source.
func (t *Tool) publishedRaw(s post.Setup) (params.Digest, bool) {
	published, ok := params.LookupPublished(s)
	if !ok {
		return params.Digest{}, false
	}
	raw, err := prover.OpenRawFile(t.rawPath(s), s)
	if err != nil {
		return params.Digest{}, false
	}
	source := raw.Header.Source
	return source, raw.Close() == nil && published.Params.Check(source) == nil
}

// readHead reads the first n bytes of a file.
func readHead(path string, n uint64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b := make([]byte, n)
	if _, err := io.ReadFull(f, b); err != nil {
		return nil, fmt.Errorf("%s: first %d bytes: %w", path, n, err)
	}
	return b, nil
}

// isFile reports whether path is there; something other than a file is an
// error.
func isFile(path string) (bool, error) {
	info, err := os.Stat(path)
	switch {
	case os.IsNotExist(err):
		return false, nil
	case err != nil:
		return false, err
	case !info.Mode().IsRegular():
		return false, fmt.Errorf("%s: not a regular file", path)
	}
	return true, nil
}
