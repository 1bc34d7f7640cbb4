package keytool

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"unsafe"

	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"

	"wdpost/internal/attr"
	"wdpost/internal/prover"
	"wdpost/proofs/groth16"
	"wdpost/proofs/params"
	"wdpost/proofs/post"
)

// checkpointBytes is how much of a key is made between two checkpoints: some
// seconds of work, and more than any key has that is made unasked.
const checkpointBytes = 256 << 20

// MakeRaw makes a development key of a circuit as a raw cache and nothing else:
// a .params file as large beside it would double the disk that it needs. It
// replaces a raw cache that is there. After an interruption, however hard, the
// next call goes on where the last checkpoint was.
func (t *Tool) MakeRaw(ctx context.Context, s post.Setup) error {
	if err := s.Validate(); err != nil {
		return err
	}
	err := errWaited
	for errors.Is(err, errWaited) {
		_, err = t.makeRaw(ctx, s, func(*rawKey) error { return nil })
	}
	if err != nil {
		return fmt.Errorf("%s: make development key: %w", Name(s), err)
	}
	return nil
}

// errWaited says that another process was at work on the same key and has ended:
// what is there now is to be looked at again.
var errWaited = errors.New("waited for another process")

// makeRaw makes a key, lets use work with it before it has its name, and
// returns the digest of its .params form.
func (t *Tool) makeRaw(ctx context.Context, s post.Setup, use func(*rawKey) error) (digest params.Digest, err error) {
	file, waited, err := openUnfinished(ctx, t.rawPath(s), t.log())
	if err != nil {
		return digest, err
	}
	if waited {
		return digest, errors.Join(errWaited, file.leave())
	}
	k := &rawKey{tool: t, ctx: ctx, setup: s, file: file}
	defer func() {
		if err != nil {
			err = errors.Join(err, k.giveUp())
		}
		err = errors.Join(err, file.Close())
	}()
	if err := k.make(); err != nil {
		return digest, err
	}
	if err := use(k); err != nil {
		return digest, err
	}
	return k.digest, file.publish()
}

// rawKey makes a development key as an unfinished raw cache. It is a
// groth16.ResumingSink.
type rawKey struct {
	tool   *Tool
	ctx    context.Context
	setup  post.Setup
	file   *unfinished
	whole  bool          // the raw cache is finished and lacks only its name
	digest params.Digest // of the .params form, once whole

	body   *body
	raw    *params.RawWriter
	hasher params.Hasher // of the .params form, which is not written
	sinks  twoSinks      // raw and hasher
	made   uint64        // points
	since  uint64        // bytes since the last checkpoint
	saving chan error    // gets the outcome of the checkpoint under way; nil if there is none
}

// make makes the key or what it lacks.
func (k *rawKey) make() error {
	if k.foundWhole() {
		return k.file.forget()
	}
	if err := k.open(); err != nil {
		return err
	}
	if err := k.needSpace(); err != nil {
		return err
	}
	makeKey := k.tool.MakeKey
	if makeKey == nil {
		makeKey = k.tool.randomKey
	}
	stage := "generate " + Name(k.setup)
	err := makeKey(k.ctx, k.setup, k, rand.NewChaCha8(k.file.seed), func(done, points uint64) {
		k.progress(stage, done, points)
	})
	if err = errors.Join(err, k.settle()); err != nil {
		return err
	}
	return k.finish()
}

// foundWhole finds a raw cache that an earlier run finished without naming it.
func (k *rawKey) foundWhole() bool {
	raw, err := prover.OpenRawFile(k.file.Name(), k.setup)
	if err != nil {
		return false
	}
	k.whole, k.digest = true, raw.Header.Source
	return raw.Close() == nil
}

// open finds out how far an earlier run came.
func (k *rawKey) open() error {
	info, err := k.file.Stat()
	if err != nil {
		return err
	}
	if err := k.file.load(k.setup); err != nil {
		if info.Size() > 0 {
			k.tool.log().Warn("an unfinished key cannot be continued: it is made anew", attr.Path(k.file.Name()), attr.Err(err))
		}
		return k.file.begin()
	}
	// A header that was being written when the run ended.
	_, err = k.file.WriteAt(make([]byte, min(info.Size(), params.RawHeaderBytes)), 0)
	return err
}

// needSpace checks that the rest of the key has room.
func (k *rawKey) needSpace() error {
	need := params.RawBytes(k.setup)
	return k.tool.needSpace(k.tool.Out, need-min(need, allocated(k.file.Name())), "the raw cache")
}

// finish makes the file a raw cache, and then forgets the secrets.
func (k *rawKey) finish() error {
	// The header makes it a cache, so all else must be on disk before it.
	if err := k.file.Sync(); err != nil {
		return err
	}
	k.digest = k.hasher.Digest()
	if err := k.raw.Finish(k.digest, params.ParamsBytes(k.setup)); err != nil {
		return err
	}
	if err := k.file.Sync(); err != nil {
		return err
	}
	k.whole = true
	return k.file.forget()
}

// percent is a part of a whole as text.
func percent(part, whole uint64) string {
	return fmt.Sprintf("%.1f%%", 100*float64(part)/float64(max(whole, 1)))
}

// giveUp ends an attempt that failed. What a later one can go on with stays.
func (k *rawKey) giveUp() error {
	switch {
	case k.whole:
		k.tool.log().Info("the key is made but lacks its name; the next run gives it that", attr.Path(k.file.Name()))
	case k.file.at.Points > 0:
		total := params.CountsOf(k.setup).Points()
		k.tool.log().Info("the unfinished key is kept; the next run continues with it", attr.Path(k.file.Name()), attr.Made(percent(k.file.at.Points, total)))
	default:
		return k.file.discard()
	}
	return nil
}

// discard gives up a key that turned out to be damaged after all.
func (k *rawKey) discard() error {
	k.whole = false
	return k.file.discard()
}

// Begin reads back what is there of the key and checks it; if it is not what
// the same secrets and circuit make, all is made anew.
func (k *rawKey) Begin(vk *groth16.VerifyingKey, counts groth16.Counts) error {
	if k.file.at.Points > 0 {
		err := k.replay(vk, counts)
		if err == nil {
			k.tool.log().Info("continuing with an unfinished key", attr.Path(k.file.Name()), attr.Made(percent(k.made, counts.Points())))
			return nil
		}
		if k.ctx.Err() != nil {
			return context.Cause(k.ctx)
		}
		k.tool.log().Warn("an unfinished key is damaged: it is made anew", attr.Path(k.file.Name()), attr.Err(err))
		if err := k.file.rewind(); err != nil {
			return err
		}
	}
	k.start(false)
	return k.sinks.Begin(vk, counts)
}

// start makes the sinks, over a file that has the bytes already if comparing.
func (k *rawKey) start(comparing bool) {
	k.made, k.since = 0, 0
	k.body = &body{file: k.file.File, comparing: comparing}
	k.raw, k.hasher = params.NewRawWriter(k.body, k.setup), params.NewHasher()
	k.sinks = twoSinks{k.raw, params.NewWriter(k.hasher)}
}

// replay brings the sinks to where they were at the checkpoint, from the bytes
// of the file alone, and checks that those are the right ones.
func (k *rawKey) replay(vk *groth16.VerifyingKey, counts groth16.Counts) error {
	k.start(true)
	if err := k.sinks.Begin(vk, counts); err != nil {
		return err
	}
	if err := params.ReplayRaw(replayed{k}, k.file, k.setup, k.file.at.Points); err != nil {
		return err
	}
	if have := k.hasher.Digest().String(); have != k.file.at.Digest {
		return fmt.Errorf("digest %s, the checkpoint has %s", have, k.file.at.Digest)
	}
	k.body.comparing = false
	return k.file.Truncate(k.body.at)
}

// replayed takes the points that are read back.
type replayed struct{ *rawKey }

func (r replayed) G1(points []bls.G1Affine) error {
	r.add(len(points))
	return errors.Join(context.Cause(r.ctx), r.sinks.G1(points))
}

func (r replayed) G2(points []bls.G2Affine) error {
	r.add(len(points))
	return errors.Join(context.Cause(r.ctx), r.sinks.G2(points))
}

func (r replayed) add(points int) {
	r.made += uint64(points)
	r.progress("check what is made of "+Name(r.setup), r.made, r.file.at.Points)
}

// progress reports points in bytes of the raw cache.
func (k *rawKey) progress(stage string, done, points uint64) {
	total := params.RawBytes(k.setup)
	if all := params.CountsOf(k.setup).Points(); points < all {
		total = uint64(float64(total) * float64(points) / float64(all))
	}
	k.tool.progress(stage, uint64(float64(total)*float64(done)/float64(max(points, 1))), total)
}

// Resume returns the points that were read back.
func (k *rawKey) Resume() uint64 { return k.made }

// G1 keeps points of h, l, a or b_g1.
func (k *rawKey) G1(points []bls.G1Affine) error {
	if err := k.sinks.G1(points); err != nil {
		return err
	}
	return k.count(len(points), int(unsafe.Sizeof(bls.G1Affine{})))
}

// G2 keeps points of b_g2.
func (k *rawKey) G2(points []bls.G2Affine) error {
	if err := k.sinks.G2(points); err != nil {
		return err
	}
	return k.count(len(points), int(unsafe.Sizeof(bls.G2Affine{})))
}

// End checks that the key is whole.
func (k *rawKey) End() error { return k.sinks.End() }

// count counts points of a size in bytes, and begins a checkpoint now and then.
func (k *rawKey) count(points, size int) error {
	k.made += uint64(points)
	k.since += uint64(points * size)
	every := k.tool.CheckpointBytes
	if every == 0 {
		every = checkpointBytes
	}
	if k.since < every {
		return nil
	}
	if err := k.settle(); err != nil {
		return err
	}
	k.since = 0
	at := checkpoint{Format: checkpointFormat, CacheID: params.CacheID(k.setup), Points: k.made, Digest: k.hasher.Digest().String()}
	saving := make(chan error, 1)
	k.saving = saving
	go func() { saving <- k.file.save(at) }() // the disk works while the key grows on
	return nil
}

// settle waits for the checkpoint under way.
func (k *rawKey) settle() error {
	if k.saving == nil {
		return nil
	}
	err := <-k.saving
	k.saving = nil
	if err != nil {
		return fmt.Errorf("checkpoint of %s: %w", k.file.Name(), err)
	}
	return nil
}

// body is a params.RawFile over the file of an unfinished key.
type body struct {
	file      *os.File
	at        int64 // where the next Write goes
	comparing bool  // the bytes are there and must be the same
	buffer    []byte
}

var errDiffers = errors.New("its bytes are not those of this circuit, its secrets and its checkpoint")

func (b *body) Write(content []byte) (int, error) {
	if !b.comparing {
		n, err := b.file.WriteAt(content, b.at)
		b.at += int64(n)
		return n, err
	}
	if len(b.buffer) < len(content) {
		b.buffer = make([]byte, len(content))
	}
	there := b.buffer[:len(content)]
	if _, err := b.file.ReadAt(there, b.at); err != nil {
		return 0, err
	}
	if !bytes.Equal(there, content) {
		return 0, errDiffers
	}
	b.at += int64(len(content))
	return len(content), nil
}

func (b *body) WriteAt(content []byte, at int64) (int, error) { return b.file.WriteAt(content, at) }
