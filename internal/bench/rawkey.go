package bench

import (
	"context"
	"errors"
	"fmt"
	"os"

	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"
	"golang.org/x/sys/unix"

	"wdpost/proofs"
	"wdpost/proofs/groth16"
	"wdpost/proofs/params"
	"wdpost/proofs/post"
)

// partialExt marks a raw cache that is being made.
const partialExt = ".partial"

// makeRawKey makes a development key as a raw cache and nothing else: a .params
// file as large beside it would double the disk that a full partition needs.
// The cache gets its name when it is whole and durable.
func makeRawKey(ctx context.Context, dir string, s post.Setup, progress func(done, total uint64)) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if free, err := freeBytes(dir); err != nil {
		return err
	} else if need := params.RawBytes(s); free < need {
		return fmt.Errorf("the key takes %s and %s has %s free; choose another directory or fewer sectors", bytesText(need), dir, bytesText(free))
	}
	path := rawPath(dir, s)
	f, err := os.Create(path + partialExt)
	if err != nil {
		return fmt.Errorf("raw cache: %w", err)
	}
	err = writeRawKey(ctx, f, s, progress)
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(fmt.Errorf("raw cache %s: %w", f.Name(), err), os.Remove(f.Name()))
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return fmt.Errorf("raw cache: %w", err)
	}
	return nil
}

func writeRawKey(ctx context.Context, f *os.File, s post.Setup, progress func(done, total uint64)) error {
	raw, hasher := params.NewRawWriter(f, s), params.NewHasher()
	// The cache names the .params file of its key by digest: this one is hashed
	// and never written.
	sink := twoSinks{raw, params.NewWriter(hasher)}
	err := proofs.New().GenerateKey(s, sink, proofs.KeyConfig{Workers: workers(), Done: ctx.Done(), Progress: progress})
	if err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := raw.Finish(hasher.Digest(), params.ParamsBytes(s)); err != nil {
		return err
	}
	return f.Sync()
}

// twoSinks hands a key to two sinks at once.
type twoSinks [2]groth16.Sink

func (t twoSinks) both(f func(groth16.Sink) error) error {
	second := make(chan error, 1)
	go func() { second <- f(t[1]) }()
	return errors.Join(f(t[0]), <-second)
}

func (t twoSinks) Begin(vk *groth16.VerifyingKey, n groth16.Counts) error {
	return t.both(func(s groth16.Sink) error { return s.Begin(vk, n) })
}

func (t twoSinks) G1(points []bls.G1Affine) error {
	return t.both(func(s groth16.Sink) error { return s.G1(points) })
}

func (t twoSinks) G2(points []bls.G2Affine) error {
	return t.both(func(s groth16.Sink) error { return s.G2(points) })
}

func (t twoSinks) End() error { return t.both(groth16.Sink.End) }

// freeBytes is what an ordinary user can still write to a directory.
func freeBytes(dir string) (uint64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, fmt.Errorf("free space of %s: %w", dir, err)
	}
	return st.Bavail * uint64(st.Bsize), nil
}
