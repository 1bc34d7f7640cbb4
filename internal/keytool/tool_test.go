package keytool_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"

	"wdpost/internal/keytool"
	"wdpost/internal/prover"
	"wdpost/proofs/groth16"
	"wdpost/proofs/params"
	"wdpost/proofs/post"
)

// tiny is the smallest circuit there is: 0.7 MB of .params.
var tiny = post.Setup{SectorSize: 2 << 10, Challenges: 1, Sectors: 1}

// big has the name of a published key without its size in the tests that only
// look at names.
var big = post.Window32GiBV1_1.Setup()

// makeFake makes keys of the right form from a multiple of the generator; other
// seeds give other keys.
func makeFake(seed uint64) func(context.Context, post.Setup, groth16.Sink, io.Reader, func(done, total uint64)) error {
	return func(_ context.Context, s post.Setup, sink groth16.Sink, _ io.Reader, progress func(done, total uint64)) error {
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
		progress(c.Points(), c.Points())
		return params.Push(sink, key)
	}
}

func newTool(t *testing.T) *keytool.Tool {
	return &keytool.Tool{ParamsDir: t.TempDir(), Out: t.TempDir(), MakeKey: makeFake(1), Workers: 2}
}

func files(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestMakeGeneratesAndConverts(t *testing.T) {
	tool := newTool(t)
	stages := map[string]bool{}
	tool.Progress = func(stage string, done, total uint64) {
		if done > total {
			t.Errorf("%s: %d of %d", stage, done, total)
		}
		if done == total {
			stages[strings.Fields(stage)[0]] = true
		}
	}
	result, err := tool.Make(t.Context(), tiny)
	if err != nil {
		t.Fatal(err)
	}
	if !result.Generated || result.Kept || result.Published {
		t.Errorf("first run: %+v", result)
	}
	if !stages["generate"] || !stages["write"] {
		t.Errorf("stages that came to their end: %v", stages)
	}
	id := params.CacheID(tiny)
	if got := strings.Join(files(t, tool.ParamsDir), " "); got != id+".meta "+id+".params "+id+".vk" {
		t.Errorf("parameter directory: %s", got)
	}
	whole := read(t, filepath.Join(tool.ParamsDir, id+params.ParamsExt))
	vk := read(t, filepath.Join(tool.ParamsDir, id+params.VKExt))
	if !bytes.HasPrefix(whole, vk) || uint64(len(whole)) != params.ParamsBytes(tiny) || uint64(len(vk)) != params.VKBytes(tiny) {
		t.Errorf(".vk of %d and .params of %d bytes", len(vk), len(whole))
	}
	if got := string(read(t, filepath.Join(tool.ParamsDir, id+params.MetaExt))); got != `{"sector_size":2048}` {
		t.Errorf(".meta: %s", got)
	}
	hasher := params.NewHasher()
	hasher.Write(whole)
	if result.Source != hasher.Digest() {
		t.Error("digest of the source")
	}
	raw, err := prover.OpenRawFile(result.Raw, tiny)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(raw.VerifySections(nil), raw.Close()); err != nil {
		t.Error(err)
	}

	// The cache that came with the key is the one that its file turns into.
	made := read(t, result.Raw)
	if _, err := tool.Remove(tiny); err != nil {
		t.Fatal(err)
	}
	if back, err := tool.Make(t.Context(), tiny); err != nil || back.Generated || back.Kept || !stages["convert"] {
		t.Errorf("raw cache removed: %+v, %v", back, err)
	}
	if !bytes.Equal(read(t, result.Raw), made) {
		t.Error("the .params file turns into another raw cache than the one made with it")
	}

	again, err := tool.Make(t.Context(), tiny)
	if err != nil || again.Generated || !again.Kept || again.Source != result.Source {
		t.Errorf("second run: %+v, %v", again, err)
	}

	// A cache of the key that was here before is replaced.
	if err := os.Remove(filepath.Join(tool.ParamsDir, id+params.ParamsExt)); err != nil {
		t.Fatal(err)
	}
	tool.MakeKey = makeFake(2)
	other, err := tool.Make(t.Context(), tiny)
	if err != nil || !other.Generated || other.Kept || other.Source == result.Source {
		t.Errorf("after a change of keys: %+v, %v", other, err)
	}
}

// Whatever goes wrong, no file appears under its final name and nothing else
// stays behind.
func TestMakeLeavesNothing(t *testing.T) {
	broken := errors.New("broken")
	for _, c := range []struct {
		name  string
		setup func(t *testing.T, tool *keytool.Tool) context.Context
		says  string
	}{
		{"generation fails", func(t *testing.T, tool *keytool.Tool) context.Context {
			tool.MakeKey = func(ctx context.Context, s post.Setup, sink groth16.Sink, random io.Reader, _ func(_, _ uint64)) error {
				if err := makeFake(1)(ctx, s, sink, random, func(_, _ uint64) {}); err != nil {
					return err
				}
				return broken
			}
			return t.Context()
		}, "broken"},
		{"no room for the key", func(t *testing.T, tool *keytool.Tool) context.Context {
			tool.FreeSpace = func(string) (uint64, error) { return params.ParamsBytes(tiny), nil }
			return t.Context()
		}, "bytes free"},
	} {
		t.Run(c.name, func(t *testing.T) {
			tool := newTool(t)
			_, err := tool.Make(c.setup(t, tool), tiny)
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want %q", err, c.says)
			}
			if left := append(files(t, tool.ParamsDir), files(t, tool.Out)...); len(left) != 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}

	for _, c := range []struct {
		name string
		edit func(t *testing.T, tool *keytool.Tool, paramsFile string) context.Context
		says string
	}{
		{"no room for the cache", func(t *testing.T, tool *keytool.Tool, _ string) context.Context {
			tool.FreeSpace = func(string) (uint64, error) { return params.RawBytes(tiny) - 1, nil }
			return t.Context()
		}, "bytes free"},
		{"parameters cut short", func(t *testing.T, _ *keytool.Tool, path string) context.Context {
			if err := os.Truncate(path, 500_000); err != nil {
				t.Fatal(err)
			}
			return t.Context()
		}, "ends early"},
		{"parameters damaged", func(t *testing.T, _ *keytool.Tool, path string) context.Context {
			b := read(t, path)
			b[400_000] ^= 1
			if err := os.WriteFile(path, b, 0o644); err != nil {
				t.Fatal(err)
			}
			return t.Context()
		}, "["},
		{"cancelled", func(t *testing.T, tool *keytool.Tool, _ string) context.Context {
			ctx, cancel := context.WithCancelCause(t.Context())
			tool.Progress = func(_ string, done, _ uint64) {
				if done > 0 {
					cancel(broken)
				}
			}
			return ctx
		}, "broken"},
		{"out is not a directory", func(t *testing.T, tool *keytool.Tool, path string) context.Context {
			tool.Out = path
			return t.Context()
		}, "not a directory"},
	} {
		t.Run(c.name, func(t *testing.T) {
			tool := newTool(t)
			if _, err := tool.Make(t.Context(), tiny); err != nil {
				t.Fatal(err)
			}
			if _, err := tool.Remove(tiny); err != nil {
				t.Fatal(err)
			}
			out := tool.Out
			ctx := c.edit(t, tool, filepath.Join(tool.ParamsDir, params.CacheID(tiny)+params.ParamsExt))
			_, err := tool.Make(ctx, tiny)
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want %q", err, c.says)
			}
			if left := files(t, out); len(left) != 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

func TestRemainsOfKilledRun(t *testing.T) {
	tool := newTool(t)
	remains := filepath.Join(tool.Out, params.CacheID(tiny)+params.RawExt+".partial-123")
	if err := os.WriteFile(remains, make([]byte, 100), 0o600); err != nil {
		t.Fatal(err)
	}
	entries, err := tool.List()
	if err != nil || len(entries) != 1 || entries[0].Err == nil {
		t.Errorf("listed as %+v, %v", entries, err)
	}
	if _, err := tool.Make(t.Context(), tiny); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(remains); !os.IsNotExist(err) {
		t.Errorf("still there: %v", err)
	}
}

func TestLargeSizesNeedPublishedFiles(t *testing.T) {
	tool := newTool(t)
	_, err := tool.Make(t.Context(), big)
	if err == nil {
		t.Fatal("made 32 GiB keys")
	}
	for _, want := range []string{"32GiB", tool.ParamsDir, params.CacheID(big) + ".params", "60780374232", "2cf49eb26f1fee94c85781a390ddb4c8"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v: does not name %s", err, want)
		}
	}
	if _, err := tool.Make(t.Context(), post.Setup{SectorSize: 3 << 10, Challenges: 10, Sectors: 2}); err == nil {
		t.Error("made keys for 3 KiB")
	}
}

// A verifying key of an earlier development key must not outlive it.
func TestStaleVKIsReplaced(t *testing.T) {
	tool := newTool(t)
	vk := filepath.Join(tool.ParamsDir, params.CacheID(tiny)+params.VKExt)
	if err := os.WriteFile(vk, []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := tool.Make(t.Context(), tiny); err != nil {
		t.Fatal(err)
	}
	if got := len(read(t, vk)); uint64(got) != params.VKBytes(tiny) {
		t.Errorf(".vk of %d bytes", got)
	}
}

func TestVerify(t *testing.T) {
	tool := newTool(t)
	if _, err := tool.Verify(t.Context(), tiny); err == nil {
		t.Error("verified nothing")
	}
	result, err := tool.Make(t.Context(), tiny)
	if err != nil {
		t.Fatal(err)
	}
	verify := func() (bad []string) {
		t.Helper()
		checks, err := tool.Verify(t.Context(), tiny)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range checks {
			if c.Err != nil {
				bad = append(bad, filepath.Ext(c.Path))
			}
		}
		return bad
	}
	if bad := verify(); len(bad) != 0 {
		t.Errorf("whole files found bad: %v", bad)
	}
	damage := func(path string, at int) (restore func()) {
		b := read(t, path)
		c := bytes.Clone(b)
		c[at] ^= 1
		if err := os.WriteFile(path, c, 0o644); err != nil {
			t.Fatal(err)
		}
		return func() {
			if err := os.WriteFile(path, b, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	id := filepath.Join(tool.ParamsDir, params.CacheID(tiny))
	for _, c := range []struct {
		path string
		at   int
		want string
	}{
		{result.Raw, 5<<16 + 777, params.RawExt},
		{id + params.ParamsExt, 600_000, params.ParamsExt},
		{id + params.VKExt, 900, params.VKExt},
	} {
		restore := damage(c.path, c.at)
		if bad := verify(); len(bad) != 1 || bad[0] != c.want {
			t.Errorf("damage in %s: found %v", c.want, bad)
		}
		restore()
	}
	// Files of two keys.
	tool.MakeKey = makeFake(2)
	if err := os.Remove(id + params.ParamsExt); err != nil {
		t.Fatal(err)
	}
	if _, err := (&keytool.Tool{ParamsDir: tool.ParamsDir, Out: t.TempDir(), MakeKey: makeFake(2)}).Make(t.Context(), tiny); err != nil {
		t.Fatal(err)
	}
	if bad := verify(); len(bad) != 1 || bad[0] != params.RawExt {
		t.Errorf("cache of an older key: found %v", bad)
	}
}

func TestListAndRemove(t *testing.T) {
	tool := newTool(t)
	result, err := tool.Make(t.Context(), tiny)
	if err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(tool.Out, params.CacheID(big)+params.RawExt)
	if err := os.WriteFile(other, read(t, result.Raw), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(tool.Out, "note.txt"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	entries, err := tool.List()
	if err != nil || len(entries) != 2 {
		t.Fatalf("%+v, %v", entries, err)
	}
	for _, e := range entries {
		switch e.Path {
		case result.Raw:
			if e.Err != nil || e.Bytes != result.Bytes || e.Source != result.Source {
				t.Errorf("%+v", e)
			}
		case other:
			if !errors.Is(e.Err, params.ErrRawCircuit) || e.Name != "window 32GiB" {
				t.Errorf("a cache under another's name: %+v", e)
			}
		}
	}
	if removed, err := tool.Remove(tiny); err != nil || !removed {
		t.Errorf("removed %t, %v", removed, err)
	}
	if removed, err := tool.Remove(tiny); err != nil || removed {
		t.Errorf("removed twice: %t, %v", removed, err)
	}
}
