package keytool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"

	"wdpost/internal/prover"
	"wdpost/proofs"
	"wdpost/proofs/groth16"
	"wdpost/proofs/params"
	"wdpost/proofs/post"
)

// generate makes a development key: a raw cache, and from it .params, .vk and
// .meta. The .params file gets its name last but for the raw cache, so whoever
// sees it sees the others. The raw cache is what takes long and resumes; the
// others are copied from it and made anew after an interruption. It returns the
// digest of the .params file.
func (t *Tool) generate(ctx context.Context, s post.Setup) (params.Digest, error) {
	if err := t.keepPublishedVK(s); err != nil {
		return params.Digest{}, err
	}
	if err := t.roomToGenerate(s); err != nil {
		return params.Digest{}, err
	}
	return t.makeRaw(ctx, s, func(k *rawKey) error { return t.export(ctx, k) })
}

// roomToGenerate checks before anything is made that all files will have room.
func (t *Tool) roomToGenerate(s post.Setup) error {
	files, raw := params.ParamsBytes(s)+params.VKBytes(s), params.RawBytes(s)
	raw -= min(raw, allocated(t.rawPath(s)+unfinishedExt))
	if sameFileSystem(t.ParamsDir, t.Out) {
		return t.needSpace(t.ParamsDir, files+raw, "the key with its raw cache")
	}
	if err := t.needSpace(t.Out, raw, "the raw cache"); err != nil {
		return err
	}
	return t.needSpace(t.ParamsDir, files, "the key")
}

// export writes the files of rust-fil-proofs from a raw cache that is whole but
// for its name.
func (t *Tool) export(ctx context.Context, k *rawKey) error {
	raw, err := prover.OpenRawFile(k.file.Name(), k.setup)
	if err != nil {
		return err
	}
	err = t.exportKey(ctx, raw, k.setup)
	if errors.Is(err, params.ErrRawCorrupt) {
		err = errors.Join(err, k.discard())
	}
	return errors.Join(err, raw.Close())
}

func (t *Tool) exportKey(ctx context.Context, raw *prover.RawFile, s post.Setup) error {
	out, err := createAside(t.paramsPath(s, params.ParamsExt))
	if err != nil {
		return err
	}
	hasher, total := params.NewHasher(), params.ParamsBytes(s)
	m := &meter{ctx: ctx, w: io.MultiWriter(out, hasher), report: func(done uint64) { t.progress("write .params of "+Name(s), done, total) }}
	err = params.Push(params.NewWriter(m), raw.Key())
	if err == nil && hasher.Digest() != raw.Header.Source {
		err = fmt.Errorf("raw cache %s: %w: it is not the key that was made", raw.Path, params.ErrRawCorrupt)
	}
	var vk []byte
	if err == nil {
		vk, err = raw.Key().VK.MarshalBinary()
	}
	if err == nil {
		err = writeAside(t.paramsPath(s, params.VKExt), vk)
	}
	if err == nil {
		err = writeAside(t.paramsPath(s, params.MetaExt), params.Meta(s))
	}
	if err == nil {
		err = out.publish()
	}
	if err != nil {
		return errors.Join(err, out.discard())
	}
	return nil
}

// randomKey is the default of MakeKey.
func (t *Tool) randomKey(ctx context.Context, s post.Setup, sink groth16.Sink, random io.Reader, progress func(done, total uint64)) error {
	err := prover.NewSystem().GenerateKey(s, sink, proofs.KeyConfig{Random: random, Workers: t.workers(), Done: ctx.Done(), Progress: progress})
	if errors.Is(err, groth16.ErrCanceled) {
		return context.Cause(ctx)
	}
	return err
}

// keepPublishedVK refuses to overwrite the network's verifying key with one of
// our own.
func (t *Tool) keepPublishedVK(s post.Setup) error {
	published, ok := params.LookupPublished(s)
	if !ok {
		return nil
	}
	path := t.paramsPath(s, params.VKExt)
	f, err := os.Open(path)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	hasher := params.NewHasher()
	if _, err := io.Copy(hasher, f); err != nil {
		return err
	}
	if published.VK.Check(hasher.Digest()) == nil {
		return fmt.Errorf("%s is the network's verifying key and its .params file is missing: fetch that, or choose another --params-dir for development keys", path)
	}
	return nil
}

// discardKey is a sink for keys that are only to be checked.
type discardKey struct{}

func (discardKey) Begin(*groth16.VerifyingKey, groth16.Counts) error { return nil }
func (discardKey) G1([]bls.G1Affine) error                           { return nil }
func (discardKey) G2([]bls.G2Affine) error                           { return nil }
func (discardKey) End() error                                        { return nil }
