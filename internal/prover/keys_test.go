package prover_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"

	"wdpost/internal/prover"
	"wdpost/proofs/groth16"
	"wdpost/proofs/params"
	"wdpost/proofs/post"
)

// tiny is the smallest circuit there is: 0.7 MB of .params.
var tiny = post.Setup{SectorSize: 2 << 10, Challenges: 1, Sectors: 1}

// fakeKey has the right form and multiples of the generators for points; other
// seeds give other keys.
func fakeKey(s post.Setup, seed int) *groth16.ProvingKey {
	_, _, g1, g2 := bls.Generators()
	for range seed {
		g1.Double(&g1)
		g2.Double(&g2)
	}
	c := params.CountsOf(s)
	fill := func(n uint64) []bls.G1Affine {
		points := make([]bls.G1Affine, n)
		for i := range points {
			points[i] = g1
		}
		return points
	}
	key := &groth16.ProvingKey{
		VK: groth16.VerifyingKey{Alpha1: g1, Beta1: g1, Delta1: g1, Beta2: g2, Gamma2: g2, Delta2: g2, IC: fill(c.IC)},
		H:  fill(c.H), L: fill(c.L), A: fill(c.A), B1: fill(c.B),
		B2: make([]bls.G2Affine, c.B),
	}
	for i := range key.B2 {
		key.B2[i] = g2
	}
	return key
}

// keyDir is a parameter directory and one of raw caches.
type keyDir struct {
	t           *testing.T
	params, raw string
	log         bytes.Buffer
}

func newKeyDir(t *testing.T) *keyDir {
	return &keyDir{t: t, params: t.TempDir(), raw: t.TempDir()}
}

func (d *keyDir) path(ext string) string {
	dir := d.params
	if ext == params.RawExt {
		dir = d.raw
	}
	return filepath.Join(dir, params.CacheID(tiny)+ext)
}

func (d *keyDir) write(ext string, key *groth16.ProvingKey) {
	d.t.Helper()
	f, err := os.Create(d.path(ext))
	if err != nil {
		d.t.Fatal(err)
	}
	switch ext {
	case params.ParamsExt:
		err = params.Push(params.NewWriter(f), key)
	case params.VKExt:
		var b []byte
		if b, err = key.VK.MarshalBinary(); err == nil {
			_, err = f.Write(b)
		}
	case params.RawExt:
		w := params.NewRawWriter(f, tiny)
		if err = params.Push(w, key); err == nil {
			err = w.Finish(params.Digest{}, params.ParamsBytes(tiny))
		}
	}
	if err := errors.Join(err, f.Close()); err != nil {
		d.t.Fatal(err)
	}
}

// damage flips a bit; a negative offset cuts the file there.
func (d *keyDir) damage(ext string, at int) {
	d.t.Helper()
	b, err := os.ReadFile(d.path(ext))
	if err != nil {
		d.t.Fatal(err)
	}
	if at < 0 {
		b = b[:-at]
	} else {
		b[at] ^= 1
	}
	if err := os.WriteFile(d.path(ext), b, 0o644); err != nil {
		d.t.Fatal(err)
	}
}

func (d *keyDir) keys(edit func(*prover.KeyConfig)) *prover.Keys {
	cfg := prover.KeyConfig{
		ParamsDir: d.params, RawDirs: []string{d.raw}, Workers: 2,
		Log: slog.New(slog.NewTextHandler(&d.log, nil)),
	}
	if edit != nil {
		edit(&cfg)
	}
	k := prover.NewKeys(cfg)
	d.t.Cleanup(func() {
		if err := k.Close(); err != nil {
			d.t.Error(err)
		}
	})
	return k
}

func TestProvingKeySources(t *testing.T) {
	for _, c := range []struct {
		name  string
		setup func(d *keyDir)
		want  string // extension of the file used; empty: an error
		says  string // in the log, or in the error
	}{
		{"raw cache preferred", func(d *keyDir) {
			d.write(params.ParamsExt, fakeKey(tiny, 1))
			d.write(params.RawExt, fakeKey(tiny, 1))
		}, params.RawExt, "mapped"},
		{"raw cache alone", func(d *keyDir) { d.write(params.RawExt, fakeKey(tiny, 1)) }, params.RawExt, "mapped"},
		{"params alone", func(d *keyDir) { d.write(params.ParamsExt, fakeKey(tiny, 1)) }, params.ParamsExt, "raw cache that loads at once"},
		{"raw cache of another key", func(d *keyDir) {
			d.write(params.ParamsExt, fakeKey(tiny, 1))
			d.write(params.RawExt, fakeKey(tiny, 2))
		}, params.ParamsExt, "made from another key"},
		{"raw cache of another key than the .vk", func(d *keyDir) {
			d.write(params.VKExt, fakeKey(tiny, 1))
			d.write(params.RawExt, fakeKey(tiny, 2))
		}, "", "made from another key"},
		{"raw cache cut short", func(d *keyDir) {
			d.write(params.ParamsExt, fakeKey(tiny, 1))
			d.write(params.RawExt, fakeKey(tiny, 1))
			d.damage(params.RawExt, -500_000)
		}, params.ParamsExt, "cut short"},
		{"raw cache of another version", func(d *keyDir) {
			d.write(params.ParamsExt, fakeKey(tiny, 1))
			d.write(params.RawExt, fakeKey(tiny, 1))
			d.damage(params.RawExt, 16)
		}, params.ParamsExt, "another version"},
		{"raw cache empty", func(d *keyDir) {
			d.write(params.ParamsExt, fakeKey(tiny, 1))
			if err := os.WriteFile(d.path(params.RawExt), nil, 0o644); err != nil {
				d.t.Fatal(err)
			}
		}, params.ParamsExt, "it is empty"},
		{"nothing", func(*keyDir) {}, "", "winpost-param --size 2KiB"},
		{"params cut short", func(d *keyDir) {
			d.write(params.ParamsExt, fakeKey(tiny, 1))
			d.damage(params.ParamsExt, -300_000)
		}, "", "file ends early"},
		{"params with a bad point", func(d *keyDir) {
			d.write(params.ParamsExt, fakeKey(tiny, 1))
			d.damage(params.ParamsExt, 300_000)
		}, "", "proving key"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newKeyDir(t)
			c.setup(d)
			key, err := d.keys(nil).Proving(t.Context(), tiny)
			if c.want == "" {
				if err == nil || !strings.Contains(err.Error(), c.says) {
					t.Errorf("got %v, want an error with %q", err, c.says)
				}
				if err != nil && !strings.Contains(err.Error(), d.params) {
					t.Errorf("%v: names no path", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if key.Path != d.path(c.want) {
				t.Errorf("came from %s", key.Path)
			}
			if !strings.Contains(d.log.String(), c.says) {
				t.Errorf("log %q does not say %q", d.log.String(), c.says)
			}
			if (key.HeapBytes == 0) != (c.want == params.RawExt) {
				t.Errorf("%d bytes of memory from %s", key.HeapBytes, c.want)
			}
			if uint64(len(key.H)) != params.CountsOf(tiny).H || key.B2[0] != fakeKey(tiny, 1).B2[0] {
				t.Error("another key")
			}
		})
	}
}

// TestSuspect: after a wrong proof a raw cache gives way to another file, and
// stays in use where there is none.
func TestSuspect(t *testing.T) {
	for _, alone := range []bool{true, false} {
		d := newKeyDir(t)
		d.write(params.RawExt, fakeKey(tiny, 1))
		want := d.path(params.RawExt)
		if !alone {
			d.write(params.ParamsExt, fakeKey(tiny, 1))
			want = d.path(params.ParamsExt)
		}
		keys := d.keys(nil)
		first, err := keys.Proving(t.Context(), tiny)
		if err != nil || first.Path != d.path(params.RawExt) {
			t.Fatalf("got %+v, %v", first, err)
		}
		keys.Suspect(t.Context(), tiny, first)
		keys.Suspect(t.Context(), tiny, first) // by another proof
		next, err := keys.Proving(t.Context(), tiny)
		if err != nil || next.Path != want {
			t.Errorf("alone %v: got %+v, %v", alone, next, err)
		}
	}
}

func TestProvingKeyLimits(t *testing.T) {
	d := newKeyDir(t)
	d.write(params.ParamsExt, fakeKey(tiny, 1))
	_, err := d.keys(func(c *prover.KeyConfig) { c.MemoryLimit = 1000 }).Proving(t.Context(), tiny)
	if err == nil || !strings.Contains(err.Error(), "raw cache") {
		t.Errorf("key larger than the memory: %v", err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("stop")
	cancel(stop)
	if _, err := d.keys(nil).Proving(ctx, tiny); !errors.Is(err, stop) {
		t.Errorf("cancelled: %v", err)
	}
	if _, err := d.keys(nil).Proving(t.Context(), post.Setup{}); err == nil {
		t.Error("key of no circuit")
	}
}

func TestProductionKeysOnly(t *testing.T) {
	d := newKeyDir(t)
	d.write(params.ParamsExt, fakeKey(tiny, 1))
	d.write(params.RawExt, fakeKey(tiny, 1))
	d.write(params.VKExt, fakeKey(tiny, 1))
	k := d.keys(func(c *prover.KeyConfig) { c.VerifyProduction = true })
	if _, err := k.Proving(t.Context(), tiny); err == nil || !strings.Contains(err.Error(), "published") {
		t.Errorf("development proving key: %v", err)
	}
	if _, err := k.Verifying(t.Context(), tiny); err == nil || !strings.Contains(err.Error(), "published") {
		t.Errorf("development verifying key: %v", err)
	}
}

func TestVerifyingKeySources(t *testing.T) {
	for _, c := range []struct {
		name  string
		setup func(d *keyDir)
		want  int // seed of the key; 0: an error
		says  string
	}{
		{".vk", func(d *keyDir) { d.write(params.VKExt, fakeKey(tiny, 1)) }, 1, ""},
		{".params", func(d *keyDir) { d.write(params.ParamsExt, fakeKey(tiny, 2)) }, 2, ""},
		{"raw cache", func(d *keyDir) { d.write(params.RawExt, fakeKey(tiny, 3)) }, 3, ""},
		{"damaged .vk", func(d *keyDir) {
			d.write(params.VKExt, fakeKey(tiny, 1))
			d.damage(params.VKExt, 50)
			d.write(params.ParamsExt, fakeKey(tiny, 2))
		}, 2, "level=WARN"},
		{"damaged .vk alone", func(d *keyDir) {
			d.write(params.VKExt, fakeKey(tiny, 1))
			d.damage(params.VKExt, -1000)
		}, 0, "file ends early"},
		{"nothing", func(*keyDir) {}, 0, "winpost-param"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newKeyDir(t)
			c.setup(d)
			vk, err := d.keys(nil).Verifying(t.Context(), tiny)
			if c.want == 0 {
				if err == nil || !strings.Contains(err.Error(), c.says) {
					t.Errorf("got %v, want %q", err, c.says)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if vk.Alpha1 != fakeKey(tiny, c.want).VK.Alpha1 || len(vk.IC) != 3 {
				t.Error("another key")
			}
			if !strings.Contains(d.log.String(), c.says) {
				t.Errorf("log %q", d.log.String())
			}
		})
	}
}

// Many askers get one load; a failure is not remembered.
func TestKeysLoadOnce(t *testing.T) {
	d := newKeyDir(t)
	k := d.keys(nil)
	if _, err := k.Proving(t.Context(), tiny); err == nil {
		t.Fatal("loaded nothing")
	}
	d.write(params.ParamsExt, fakeKey(tiny, 1))
	var wg sync.WaitGroup
	got := make([]*prover.ProvingKey, 8)
	for i := range got {
		wg.Go(func() {
			key, err := k.Proving(t.Context(), tiny)
			if err != nil {
				t.Error(err)
			}
			got[i] = key
		})
	}
	wg.Wait()
	for _, key := range got {
		if key != got[0] {
			t.Fatal("loaded more than once")
		}
	}
	if n := strings.Count(d.log.String(), "proving key read"); n != 1 {
		t.Errorf("logged %d loads", n)
	}
}

func TestKeyConfigFromEnv(t *testing.T) {
	env := func(vars map[string]string) func(string) string { return func(k string) string { return vars[k] } }
	cfg, err := prover.KeyConfigFromEnv(env(map[string]string{prover.EnvParamsDir: "/p", prover.EnvVerifyProduction: "true"}))
	if err != nil || cfg.ParamsDir != "/p" || !cfg.VerifyProduction {
		t.Errorf("%+v, %v", cfg, err)
	}
	if _, err := prover.KeyConfigFromEnv(env(map[string]string{prover.EnvVerifyProduction: "perhaps"})); err == nil {
		t.Error("accepted a setting that is neither true nor false")
	}
}

func TestMissingKeyNamesRemedy(t *testing.T) {
	d := newKeyDir(t)
	for _, c := range []struct {
		setup post.Setup
		says  []string
	}{
		{post.Window32GiBV1_1.Setup(), []string{"lotus fetch-params 32GiB", "60780374232", "QmaUmfcJt6pozn8ndq1JVBzLRjRJdHMTPd4foa8iw5sjBZ"}},
		{post.Window32GiBV1_1.Setup().WithSectors(1), []string{"wdpost-param --size 32GiB --partition-sectors 1"}},
		{post.Winning2KiB.Setup(), []string{"winpost-param --size 2KiB"}},
	} {
		_, err := d.keys(nil).Proving(t.Context(), c.setup)
		var missing *prover.MissingKeyError
		if !errors.As(err, &missing) {
			t.Fatalf("%v", err)
		}
		for _, want := range append(c.says, d.params, d.raw, params.CacheID(c.setup)) {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%v: does not say %q", err, want)
			}
		}
	}
}
