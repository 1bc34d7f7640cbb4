package params_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"reflect"
	"testing"

	"wdpost/proofs/params"
	"wdpost/proofs/post"
)

func TestRawRoundTrip(t *testing.T) {
	key := fakeKey(tiny)
	b := rawFile(t, key, tiny)
	if uint64(len(b)) != params.RawBytes(tiny) {
		t.Errorf("%d bytes, announced %d", len(b), params.RawBytes(tiny))
	}
	raw, err := params.OpenRaw(b, tiny)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(raw.Key(), key) {
		t.Error("opened another key than written")
	}
	if err := raw.VerifySections(nil); err != nil {
		t.Error(err)
	}
	if raw.Header.Source != (params.Digest{1, 2, 3}) || raw.Header.CacheID != params.CacheID(tiny) {
		t.Errorf("header %+v", raw.Header)
	}
	if !bytes.Equal(paramsFile(t, raw.Key()), paramsFile(t, key)) {
		t.Error("turned back into another .params file")
	}
	stop := errors.New("stop")
	if err := raw.VerifySections(func(uint64) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("stopped check: %v", err)
	}
}

// reseal makes the header checksum right again after an edit.
func reseal(b []byte) []byte {
	sum := sha256.Sum256(b[:4064])
	copy(b[4064:], sum[:])
	return b
}

func TestRawRefused(t *testing.T) {
	key := fakeKey(tiny)
	whole := rawFile(t, key, tiny)
	interrupted := new(memFile)
	if err := params.Push(params.NewRawWriter(interrupted, tiny), key); err != nil {
		t.Fatal(err)
	}
	const page = 1 << 16
	for _, c := range []struct {
		name string
		edit func([]byte) []byte
		want error
	}{
		{"empty", func(b []byte) []byte { return nil }, params.ErrRawTruncated},
		{"half a header", func(b []byte) []byte { return b[:2000] }, params.ErrRawTruncated},
		{"interrupted", func([]byte) []byte { return interrupted.b }, params.ErrRawTruncated},
		{"cut short", func(b []byte) []byte { return b[:len(b)-page] }, params.ErrRawTruncated},
		{"too long", func(b []byte) []byte { return append(b, 0) }, params.ErrRawCorrupt},
		{"another file", func(b []byte) []byte { copy(b, "\x7fELF"); return b }, params.ErrRawForeign},
		{"older version", func(b []byte) []byte { binary.LittleEndian.PutUint32(b[16:], 0); return b }, params.ErrRawVersion},
		{"newer version", func(b []byte) []byte { binary.LittleEndian.PutUint32(b[16:], 2); return b }, params.ErrRawVersion},
		{"header bit flipped", func(b []byte) []byte { b[200] ^= 1; return b }, params.ErrRawCorrupt},
		{"header checksum flipped", func(b []byte) []byte { b[4095] ^= 1; return b }, params.ErrRawCorrupt},
		{"other byte order", func(b []byte) []byte { b[24] ^= 0xff; return reseal(b) }, params.ErrRawForeign},
		{"other Montgomery form", func(b []byte) []byte { b[48] ^= 0xff; return reseal(b) }, params.ErrRawForeign},
		{"other circuit", func(b []byte) []byte { b[168+100] ^= 1; return reseal(b) }, params.ErrRawCircuit},
		{"section moved", func(b []byte) []byte { b[424+48] ^= 1; return reseal(b) }, params.ErrRawCorrupt},
		{"section count", func(b []byte) []byte { b[424+48+8] ^= 1; return reseal(b) }, params.ErrRawCorrupt},
		{"section missing", func(b []byte) []byte { b[20]--; return reseal(b) }, params.ErrRawCorrupt},
		{"vk changed", func(b []byte) []byte { b[page] ^= 1; return b }, params.ErrRawCorrupt},
		{"ic changed", func(b []byte) []byte { b[2*page] ^= 1; return b }, params.ErrRawCorrupt},
		{"first point never written", func(b []byte) []byte { clear(b[3*page : 4*page]); return b }, params.ErrRawCorrupt},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := params.OpenRaw(c.edit(bytes.Clone(whole)), tiny); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
	if _, err := params.OpenRaw(whole, post.Setup{SectorSize: 4 * kib, Challenges: 1, Sectors: 1}); !errors.Is(err, params.ErrRawCircuit) {
		t.Errorf("asked for another circuit: %v", err)
	}

	inside := bytes.Clone(whole)
	inside[3*page+5000] ^= 1
	raw, err := params.OpenRaw(inside, tiny)
	if err != nil {
		t.Fatalf("damage inside a section is for VerifySections to find: %v", err)
	}
	if err := raw.VerifySections(nil); !errors.Is(err, params.ErrRawCorrupt) {
		t.Errorf("damage inside a section: %v", err)
	}
}
