package params_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"

	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"

	"wdpost/lab/golden"
	"wdpost/proofs/groth16"
	"wdpost/proofs/params"
	"wdpost/proofs/post"
)

func TestGoldenVK(t *testing.T) {
	for _, c := range []struct {
		size uint64
		kind post.Kind
	}{
		{2 * kib, post.Window}, {4 * kib, post.Window}, {16 * kib, post.Window}, {32 * kib, post.Window},
		{8 * mib, post.Window}, {2 * kib, post.Winning}, {32 * gib, post.Winning},
	} {
		s := setup(t, c.size, c.kind)
		b, err := os.ReadFile(filepath.Join("testdata", params.CacheID(s)+params.VKExt))
		if err != nil {
			t.Fatal(err)
		}
		vk, err := params.ParseVK(b, s)
		if err != nil {
			t.Errorf("%s: %v", s, err)
			continue
		}
		if again, _ := vk.MarshalBinary(); !bytes.Equal(again, b) {
			t.Errorf("%s: written differently", s)
		}
	}
}

// The golden proving key is 11.5 MB, so it stays outside the repository.
func TestGoldenParams(t *testing.T) {
	s := setup(t, 2*kib, post.Window)
	b, err := os.ReadFile(filepath.Join(golden.Dir(t), "params", params.CacheID(s)+params.ParamsExt))
	if err != nil {
		t.Fatal(err)
	}
	key, err := readParams(b, s)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(paramsFile(t, key), b) {
		t.Error("written differently")
	}
	raw, err := params.OpenRaw(rawFile(t, key, s), s)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(raw.Key(), key) {
		t.Error("the raw cache holds another key")
	}
}

func TestParamsRoundTrip(t *testing.T) {
	key := fakeKey(tiny)
	b := paramsFile(t, key)
	if got, want := uint64(len(b)), params.ParamsBytes(tiny); got != want {
		t.Fatalf("%d bytes, want %d", got, want)
	}
	got, err := readParams(b, tiny)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, key) {
		t.Error("read another key than written")
	}
	var progress []uint64
	var m params.Memory
	err = params.Copy(&m, iotest.OneByteReader(bytes.NewReader(b)), params.CopyConfig{
		Setup: tiny, Workers: 3,
		Progress: func(n uint64) { progress = append(progress, n) },
	})
	if err != nil || !reflect.DeepEqual(m.Key(), key) {
		t.Errorf("read byte by byte: %v", err)
	}
	if last := progress[len(progress)-1]; last != params.CountsOf(tiny).Points() {
		t.Errorf("progress ends at %d", last)
	}
}

// Where the vectors of the tiny key's .params begin, counts excluded.
func offsets(c groth16.Counts) map[string]int {
	at := int(params.VKBytes(tiny))
	out := map[string]int{"ic": 868}
	for _, v := range []struct {
		name string
		len  uint64
	}{{"h", c.H}, {"l", c.L}, {"a", c.A}, {"b_g1", c.B}, {"b_g2", c.B}} {
		at += 4
		out[v.name] = at
		at += int(v.len) * 96
	}
	return out
}

func TestParamsRefused(t *testing.T) {
	whole := paramsFile(t, fakeKey(tiny))
	at := offsets(params.CountsOf(tiny))
	_, _, g1, g2 := bls.Generators()
	offCurve1, offCurve2 := g1, g2
	offCurve1.Y.Double(&offCurve1.Y)
	offCurve2.Y.Double(&offCurve2.Y)
	notSubgroup := bls.G1Affine{} // (0, 2) is on the curve y² = x³ + 4
	notSubgroup.Y.SetUint64(2)

	patch := func(offset int, with []byte) func([]byte) []byte {
		return func(b []byte) []byte { copy(b[offset:], with); return b }
	}
	count := func(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }
	infinity := append([]byte{0x40}, make([]byte, 191)...)
	for _, c := range []struct {
		name string
		edit func([]byte) []byte
		want error
		says string
	}{
		{"empty", func(b []byte) []byte { return nil }, params.ErrTruncated, "verifying key"},
		{"ends in the vk", func(b []byte) []byte { return b[:800] }, params.ErrTruncated, "verifying key"},
		{"ends before a count", func(b []byte) []byte { return b[:at["h"]-4] }, params.ErrTruncated, "h"},
		{"ends in a point", func(b []byte) []byte { return b[:at["a"]+100] }, params.ErrTruncated, "a"},
		{"last byte missing", func(b []byte) []byte { return b[:len(b)-1] }, params.ErrTruncated, "b_g2"},
		{"one byte more", func(b []byte) []byte { return append(b, 0) }, params.ErrTrailing, ""},
		{"ic count", patch(at["ic"]-4, count(4)), params.ErrCount, "ic"},
		{"h count", patch(at["h"]-4, count(2048)), params.ErrCount, "h"},
		{"huge count", patch(at["b_g2"]-4, count(1<<32-1)), params.ErrCount, "b_g2"},
		{"identity in ic", patch(at["ic"]+96, infinity[:96]), groth16.ErrMalformedKey, "ic"},
		{"ic off the subgroup", patch(at["ic"], groth16.AppendG1(nil, &notSubgroup)), groth16.ErrMalformedKey, "ic"},
		{"alpha off the curve", patch(0, groth16.AppendG1(nil, &offCurve1)), groth16.ErrMalformedKey, "alpha"},
		{"identity in l", patch(at["l"]+96*7, infinity[:96]), params.ErrIdentity, "l[7]"},
		{"zero bytes in l", patch(at["l"]+96*7, make([]byte, 96)), params.ErrIdentity, "l[7]"},
		{"identity in b_g2", patch(at["b_g2"], infinity), params.ErrIdentity, "b_g2[0]"},
		{"compressed flag", patch(at["h"]+96, []byte{0x80}), params.ErrEncoding, "h[1]"},
		{"sign flag", patch(at["h"]+96, []byte{0x20}), params.ErrEncoding, "h[1]"},
		{"coordinate too large", patch(at["h"], bytes.Repeat([]byte{0x1f, 0xff}, 24)), params.ErrEncoding, "h[0]"},
		{"off the curve", patch(at["b_g1"], groth16.AppendG1(nil, &offCurve1)), params.ErrNotOnCurve, "b_g1[0]"},
		{"off the twist", patch(at["b_g2"]+192, groth16.AppendG2(nil, &offCurve2)), params.ErrNotOnCurve, "b_g2[1]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := readParams(c.edit(bytes.Clone(whole)), tiny)
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want %v naming %q", err, c.want, c.says)
			}
		})
	}
	if _, err := readParams(whole, post.Setup{SectorSize: 32 * kib, Challenges: 1, Sectors: 1}); !errors.Is(err, params.ErrCount) {
		t.Errorf("key of another circuit: %v", err)
	}
	broken := errors.New("disk on fire")
	var m params.Memory
	src := iotest.TimeoutReader(bytes.NewReader(whole))
	if err := params.Copy(&m, src, params.CopyConfig{Setup: tiny}); !errors.Is(err, iotest.ErrTimeout) {
		t.Errorf("failing source: %v", err)
	}
	if err := params.Copy(failingSink{broken}, bytes.NewReader(whole), params.CopyConfig{Setup: tiny}); !errors.Is(err, broken) {
		t.Errorf("failing sink: %v", err)
	}
}

// failingSink fails at the first point.
type failingSink struct{ err error }

func (f failingSink) Begin(*groth16.VerifyingKey, groth16.Counts) error { return nil }
func (f failingSink) G1([]bls.G1Affine) error                           { return f.err }
func (f failingSink) G2([]bls.G2Affine) error                           { return f.err }
func (f failingSink) End() error                                        { return f.err }

// All sinks refuse keys that are not what was announced.
func TestSinkOrder(t *testing.T) {
	key := fakeKey(tiny)
	counts := params.CountsOf(tiny)
	for name, open := range map[string]func() groth16.Sink{
		"memory": func() groth16.Sink { return new(params.Memory) },
		"params": func() groth16.Sink { return params.NewWriter(new(bytes.Buffer)) },
		"raw":    func() groth16.Sink { return params.NewRawWriter(new(memFile), tiny) },
	} {
		t.Run(name, func(t *testing.T) {
			if err := open().G1(key.H[:1]); err == nil {
				t.Error("points before the beginning")
			}
			if err := open().End(); err == nil {
				t.Error("nothing at all")
			}
			s := open()
			if err := s.Begin(&key.VK, counts); err != nil {
				t.Fatal(err)
			}
			if err := s.Begin(&key.VK, counts); err == nil {
				t.Error("begun twice")
			}
			if err := s.End(); err == nil {
				t.Error("no points")
			}
			if err := s.G2(key.B2[:1]); err == nil {
				t.Error("G2 in h")
			}
			if err := s.G1(append(key.H, key.L[0])); err == nil {
				t.Error("more points than h has")
			}
			short := *key
			short.VK.IC = key.VK.IC[1:]
			if err := open().Begin(&short.VK, counts); err == nil {
				t.Error("short ic")
			}
			short = *key
			short.B2 = key.B2[1:]
			if err := params.Push(open(), &short); err == nil {
				t.Error("short b_g2")
			}
		})
	}
	holed := *key
	holed.L = append([]bls.G1Affine{}, key.L...)
	holed.L[5] = bls.G1Affine{}
	if err := params.Push(params.NewWriter(new(bytes.Buffer)), &holed); !errors.Is(err, params.ErrIdentity) {
		t.Errorf("identity written: %v", err)
	}
}
