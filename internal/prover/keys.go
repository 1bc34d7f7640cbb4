package prover

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"wdpost/internal/attr"
	"wdpost/proofs/groth16"
	"wdpost/proofs/params"
	"wdpost/proofs/post"
)

// Keys loads the keys of circuits and keeps them. It is safe for concurrent
// use; a key that several ask for is loaded once. What failed to load is tried
// again when it is next asked for.
type Keys struct {
	cfg KeyConfig

	mu    sync.Mutex
	slots map[post.Setup]*keySlot
}

// keySlot holds what is loaded of one circuit. Only the owner of the token in
// turn may touch it.
type keySlot struct {
	turn      chan struct{} // holds one token when nobody is at work
	proving   *ProvingKey
	verifying *groth16.VerifyingKey
	suspect   []*ProvingKey // raw caches that a wrong proof was made with
}

// ProvingKey is a loaded proving key.
type ProvingKey struct {
	*groth16.ProvingKey
	Path string // the file it came from
	// HeapBytes is what it takes of this process's memory: 0 for a raw cache,
	// whose pages belong to the file.
	HeapBytes uint64
	raw       *RawFile
}

// Ahead has memory of the key brought from disk that is read soon, see
// groth16.ProveConfig.
func (k *ProvingKey) Ahead(memory []byte) {
	if k.raw != nil {
		_ = k.raw.ahead(memory) // without it the memory is read when it is needed
	}
}

// NewKeys loads nothing yet.
func NewKeys(cfg KeyConfig) *Keys {
	return &Keys{cfg: cfg.withDefaults(), slots: make(map[post.Setup]*keySlot)}
}

// Close unmaps raw caches. No key may be in use any more.
func (k *Keys) Close() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	var errs []error
	for _, slot := range k.slots {
		for _, key := range append(slot.suspect, slot.proving) {
			if key != nil && key.raw != nil {
				errs = append(errs, key.raw.Close())
			}
		}
	}
	k.slots = make(map[post.Setup]*keySlot)
	return errors.Join(errs...)
}

// Proving returns the proving key of a circuit: from a raw cache if there is a
// good one, else from the .params file. The error is a *MissingKeyError when
// there is neither.
func (k *Keys) Proving(ctx context.Context, s post.Setup) (*ProvingKey, error) {
	slot, release, err := k.enter(ctx, s)
	if err != nil {
		return nil, err
	}
	defer release()
	if slot.proving == nil {
		if slot.proving, err = k.loadProving(ctx, s, slot.suspect); err != nil {
			return nil, err
		}
	}
	return slot.proving, nil
}

// Suspect tells that a proof made with the key was wrong. A raw cache may be
// damaged where no check looks: the next key comes from another file, if there
// is one.
func (k *Keys) Suspect(ctx context.Context, s post.Setup, key *ProvingKey) {
	if key.raw == nil {
		return
	}
	slot, release, err := k.enter(ctx, s)
	if err != nil {
		return // nobody proves any more
	}
	defer release()
	if slot.proving != key {
		return
	}
	slot.suspect = append(slot.suspect, key) // still mapped: others may be proving with it
	other, err := k.loadProving(ctx, s, slot.suspect)
	if err != nil {
		slot.suspect = slot.suspect[:len(slot.suspect)-1]
		k.cfg.Log.Error("a proof made with a raw cache is wrong, and there is no other key", attr.Path(key.Path), attr.Err(err))
		return
	}
	slot.proving = other
	k.cfg.Log.Error("a proof made with a raw cache is wrong; another key is used from now on", attr.Path(key.Path), attr.Used(other.Path),
		attr.Remedy("remove the file and make it again with gen_cache_and_param_blst"))
}

// Verifying returns the verifying key of a circuit: from the .vk file, else
// from the one at the beginning of .params or in a raw cache. The error is a
// *MissingKeyError when there is none of them.
func (k *Keys) Verifying(ctx context.Context, s post.Setup) (*groth16.VerifyingKey, error) {
	slot, release, err := k.enter(ctx, s)
	if err != nil {
		return nil, err
	}
	defer release()
	if slot.verifying == nil {
		if slot.verifying, err = k.loadVerifying(s); err != nil {
			return nil, err
		}
	}
	return slot.verifying, nil
}

// enter waits for the turn to work on a circuit's keys.
func (k *Keys) enter(ctx context.Context, s post.Setup) (slot *keySlot, release func(), err error) {
	if err := s.Validate(); err != nil {
		return nil, nil, fmt.Errorf("keys: %w", err)
	}
	k.mu.Lock()
	slot = k.slots[s]
	if slot == nil {
		slot = &keySlot{turn: make(chan struct{}, 1)}
		slot.turn <- struct{}{}
		k.slots[s] = slot
	}
	k.mu.Unlock()
	select {
	case <-slot.turn:
		return slot, func() { slot.turn <- struct{}{} }, nil
	case <-ctx.Done():
		return nil, nil, fmt.Errorf("wait for the keys of %s: %w", describe(s), context.Cause(ctx))
	}
}

func (k *Keys) loadProving(ctx context.Context, s post.Setup, suspect []*ProvingKey) (*ProvingKey, error) {
	start := time.Now()
	log := k.cfg.Log.With(attr.Circuit(describe(s)))
	missing := &MissingKeyError{Setup: s, Dir: k.cfg.ParamsDir}
	for _, dir := range k.cfg.RawDirs {
		path := filepath.Join(dir, params.CacheID(s)+params.RawExt)
		if !exists(path) {
			missing.Paths = append(missing.Paths, path)
			continue
		}
		if slices.ContainsFunc(suspect, func(key *ProvingKey) bool { return key.Path == path }) {
			continue
		}
		raw, err := k.openRaw(path, s)
		if err != nil {
			log.Warn("raw cache refused, falling back to the .params file", attr.Err(err),
				attr.Remedy("remove the file and make it again with gen_cache_and_param_blst"))
			missing.Refused = errors.Join(missing.Refused, err)
			continue
		}
		log.Info("proving key mapped", attr.Path(path), attr.Took(time.Since(start)))
		return &ProvingKey{ProvingKey: raw.Key(), Path: path, raw: raw}, nil
	}
	path := k.cfg.path(s, params.ParamsExt)
	if missing.Paths = append(missing.Paths, path); !exists(path) {
		return nil, missing
	}
	key, err := k.readParams(ctx, path, s)
	if err != nil {
		return nil, err
	}
	log.Info("proving key read from .params", attr.Path(path), attr.Took(time.Since(start)),
		attr.Memory(gib(key.HeapBytes)), attr.Remedy("gen_cache_and_param_blst makes a raw cache that loads at once and takes no memory"))
	return key, nil
}

// openRaw maps a raw cache and makes sure that it is the key that the files in
// the parameter directory are of.
func (k *Keys) openRaw(path string, s post.Setup) (*RawFile, error) {
	raw, err := OpenRawFile(path, s)
	if err != nil {
		return nil, err
	}
	if err := k.checkRaw(raw, s); err != nil {
		return nil, fmt.Errorf("raw cache %s: %w", path, errors.Join(err, raw.Close()))
	}
	return raw, nil
}

func (k *Keys) checkRaw(raw *RawFile, s post.Setup) error {
	if k.cfg.VerifyProduction {
		published, ok := params.LookupPublished(s)
		if !ok {
			return errNotPublished
		}
		if err := published.Params.Check(raw.Header.Source); err != nil {
			return err
		}
	}
	want, from, err := k.verifyingKeyBytes(s)
	if err != nil || want == nil {
		return err
	}
	have, err := raw.Key().VK.MarshalBinary()
	if err != nil {
		return err
	}
	if !bytes.Equal(have, want) {
		return fmt.Errorf("made from another key than %s", from)
	}
	return nil
}

// verifyingKeyBytes reads the verifying key in the parameter directory, that of
// .params first; it is nil where there is none.
func (k *Keys) verifyingKeyBytes(s post.Setup) (vk []byte, path string, err error) {
	for _, ext := range []string{params.ParamsExt, params.VKExt} {
		path := k.cfg.path(s, ext)
		f, err := os.Open(path)
		if os.IsNotExist(err) {
			continue
		}
		if err != nil {
			return nil, "", err
		}
		vk := make([]byte, params.VKBytes(s))
		_, err = io.ReadFull(f, vk)
		f.Close()
		if err != nil {
			return nil, "", fmt.Errorf("%s: verifying key of %d bytes: %w", path, len(vk), err)
		}
		return vk, path, nil
	}
	return nil, "", nil
}

// errNotPublished refuses development keys where only the network's count.
var errNotPublished = errors.New("not among the network's published keys, and " + EnvVerifyProduction + " asks for one of them")

// readParams converts a .params file into memory.
func (k *Keys) readParams(ctx context.Context, path string, s post.Setup) (*ProvingKey, error) {
	size := params.ParamsBytes(s)
	if size > k.cfg.MemoryLimit {
		return nil, fmt.Errorf("proving key %s: in memory it would take %s, and %s may be used; make a raw cache, which takes none, with `gen_cache_and_param_blst %s --size %s --out DIR`",
			path, gib(size), gib(k.cfg.MemoryLimit), command(s), post.SizeName(s.SectorSize))
	}
	published, ok := params.LookupPublished(s)
	if k.cfg.VerifyProduction && !ok {
		return nil, fmt.Errorf("proving key %s: %w", path, errNotPublished)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("proving key: %w", err)
	}
	defer f.Close()
	var src io.Reader = contextReader{ctx, f}
	hasher := params.NewHasher()
	if k.cfg.VerifyProduction {
		src = io.TeeReader(src, hasher)
	}
	var key params.Memory
	if err := params.Copy(&key, src, params.CopyConfig{Setup: s, Workers: k.cfg.Workers}); err != nil {
		return nil, fmt.Errorf("proving key %s: %w; fetch or make the file again", path, err)
	}
	if k.cfg.VerifyProduction {
		if err := published.Params.Check(hasher.Digest()); err != nil {
			return nil, fmt.Errorf("proving key %s: %w", path, err)
		}
	}
	return &ProvingKey{ProvingKey: key.Key(), Path: path, HeapBytes: size}, nil
}

func (k *Keys) loadVerifying(s post.Setup) (*groth16.VerifyingKey, error) {
	path := k.cfg.path(s, params.VKExt)
	b, err := os.ReadFile(path)
	if err == nil {
		var vk *groth16.VerifyingKey
		if vk, err = k.parseVK(b, s); err == nil {
			k.cfg.Log.Info("verifying key read", attr.Circuit(describe(s)), attr.Path(path))
			return vk, nil
		}
		err = fmt.Errorf("verifying key %s: %w", path, err)
	}
	if k.cfg.VerifyProduction && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	vk, from, fallbackErr := k.embeddedVK(s)
	if fallbackErr != nil {
		return nil, errors.Join(err, fallbackErr)
	}
	level := slog.LevelInfo
	if !errors.Is(err, os.ErrNotExist) {
		level = slog.LevelWarn
	}
	k.cfg.Log.Log(context.Background(), level, "verifying key taken from the proving key", attr.Circuit(describe(s)), attr.Path(from), attr.Err(err))
	return vk, nil
}

// parseVK reads a .vk file, whose digest must be the published one where that
// is asked for.
func (k *Keys) parseVK(b []byte, s post.Setup) (*groth16.VerifyingKey, error) {
	if k.cfg.VerifyProduction {
		published, ok := params.LookupPublished(s)
		if !ok {
			return nil, errNotPublished
		}
		hasher := params.NewHasher()
		hasher.Write(b)
		if err := published.VK.Check(hasher.Digest()); err != nil {
			return nil, err
		}
	}
	return params.ParseVK(b, s)
}

// embeddedVK takes the verifying key out of a proving key's file.
func (k *Keys) embeddedVK(s post.Setup) (vk *groth16.VerifyingKey, path string, err error) {
	missing := &MissingKeyError{Setup: s, Dir: k.cfg.ParamsDir}
	for _, dir := range k.cfg.RawDirs {
		missing.Paths = append(missing.Paths, filepath.Join(dir, params.CacheID(s)+params.RawExt))
	}
	missing.Paths = append(missing.Paths, k.cfg.path(s, params.VKExt), k.cfg.path(s, params.ParamsExt))
	if !k.cfg.VerifyProduction {
		b, from, err := k.verifyingKeyBytes(s)
		if err != nil {
			return nil, "", err
		}
		if b != nil && from == k.cfg.path(s, params.ParamsExt) {
			vk, err := k.parseVK(b, s)
			if err != nil {
				return nil, "", fmt.Errorf("verifying key in %s: %w", from, err)
			}
			return vk, from, nil
		}
	}
	for _, dir := range k.cfg.RawDirs {
		path := filepath.Join(dir, params.CacheID(s)+params.RawExt)
		if !exists(path) {
			continue
		}
		vk, err := k.rawVK(path, s)
		if err != nil {
			return nil, "", err
		}
		return vk, path, nil
	}
	return nil, "", missing
}

// rawVK copies the verifying key out of a raw cache.
func (k *Keys) rawVK(path string, s post.Setup) (*groth16.VerifyingKey, error) {
	raw, err := k.openRaw(path, s)
	if err != nil {
		return nil, err
	}
	vk := raw.Key().VK
	vk.IC = append(vk.IC[:0:0], vk.IC...)
	return &vk, raw.Close()
}

// command is the subcommand of gen_cache_and_param_blst for a circuit.
func command(s post.Setup) string {
	if s.Kind() == post.Winning {
		return "winpost-param"
	}
	return "wdpost-param"
}

// contextReader fails once its context has ended.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c contextReader) Read(b []byte) (int, error) {
	if c.ctx.Err() != nil {
		return 0, context.Cause(c.ctx)
	}
	return c.r.Read(b)
}
