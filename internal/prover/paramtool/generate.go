package paramtool

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"

	"wdpost/proofs"
	"wdpost/proofs/groth16"
	"wdpost/proofs/params"
	"wdpost/proofs/post"
)

// sink is groth16.Sink under a short name.
type sink = groth16.Sink

// generate makes a development key: .params, .vk and .meta. The .params file
// gets its name last, so whoever sees it sees the others.
func (t *Tool) generate(ctx context.Context, s post.Setup) error {
	if err := t.keepPublishedVK(s); err != nil {
		return err
	}
	if err := t.needSpace(t.ParamsDir, params.ParamsBytes(s)+params.VKBytes(s), "the key"); err != nil {
		return err
	}
	out, err := createAside(t.paramsPath(s, params.ParamsExt))
	if err != nil {
		return err
	}
	writer := &headKeeper{Sink: params.NewWriter(out)}
	stage, total := "generate "+Name(s), params.ParamsBytes(s)
	makeKey := t.MakeKey
	if makeKey == nil {
		makeKey = t.randomKey
	}
	err = makeKey(ctx, s, writer, func(done, points uint64) {
		t.progress(stage, uint64(float64(total)*float64(done)/float64(max(points, 1))), total)
	})
	if err == nil {
		err = writeAside(t.paramsPath(s, params.VKExt), writer.vk)
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
func (t *Tool) randomKey(ctx context.Context, s post.Setup, sink groth16.Sink, progress func(done, total uint64)) error {
	err := proofs.New().GenerateKey(s, sink, proofs.KeyConfig{Workers: t.workers(), Done: ctx.Done(), Progress: progress})
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

// headKeeper passes a key on and keeps the bytes of its verifying key.
type headKeeper struct {
	groth16.Sink
	vk []byte
}

func (h *headKeeper) Begin(vk *groth16.VerifyingKey, counts groth16.Counts) error {
	b, err := vk.MarshalBinary()
	if err != nil {
		return err
	}
	h.vk = bytes.Clone(b)
	return h.Sink.Begin(vk, counts)
}

// discardKey is a sink for keys that are only to be checked.
type discardKey struct{}

func (discardKey) Begin(*groth16.VerifyingKey, groth16.Counts) error { return nil }
func (discardKey) G1([]bls.G1Affine) error                           { return nil }
func (discardKey) G2([]bls.G2Affine) error                           { return nil }
func (discardKey) End() error                                        { return nil }
