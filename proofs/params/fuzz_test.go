package params_test

import (
	"bytes"
	"testing"

	"wdpost/proofs/params"
	"wdpost/proofs/post"
)

// What a decoder accepts it must write back the same.

func FuzzParseVK(f *testing.F) {
	key := fakeKey(tiny)
	vk, err := key.VK.MarshalBinary()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(vk)
	f.Add(vk[:868])
	f.Fuzz(func(t *testing.T, b []byte) {
		vk, err := params.ParseVK(b, tiny)
		if err != nil {
			return
		}
		if again, _ := vk.MarshalBinary(); !bytes.Equal(again, b) {
			t.Error("written differently")
		}
	})
}

// The file is large, so the fuzzer edits a valid one.
func FuzzParams(f *testing.F) {
	whole := paramsFile(f, fakeKey(tiny))
	f.Add(uint32(1156), []byte{0, 0, 7, 255}, uint32(len(whole)))
	f.Add(uint32(1160), []byte{0x40}, uint32(len(whole)))
	f.Add(uint32(0), []byte{}, uint32(5000))
	f.Fuzz(func(t *testing.T, at uint32, patch []byte, size uint32) {
		b := bytes.Clone(whole)
		if int(at) < len(b) {
			copy(b[at:], patch)
		}
		b = b[:min(int(size), len(b))]
		key, err := readParams(b, tiny)
		if err == nil && !bytes.Equal(paramsFile(t, key), b) {
			t.Error("written differently")
		}
	})
}

func FuzzOpenRaw(f *testing.F) {
	whole := rawFile(f, fakeKey(tiny), tiny)
	f.Add(uint32(16), []byte{2}, uint32(len(whole)), false)
	f.Add(uint32(424), []byte{0xff, 0xff}, uint32(len(whole)), true)
	f.Add(uint32(136), []byte{0}, uint32(70000), true)
	f.Fuzz(func(t *testing.T, at uint32, patch []byte, size uint32, sealed bool) {
		b := bytes.Clone(whole)
		if int(at) < len(b) {
			copy(b[at:], patch)
		}
		if sealed {
			reseal(b)
		}
		b = b[:min(int(size), len(b))]
		raw, err := params.OpenRaw(b, tiny)
		if err != nil {
			return
		}
		if raw.VerifySections(nil) == nil && !bytes.Equal(rawFile(t, raw.Key(), tiny)[4096:], b[4096:]) {
			// The fill between sections carries no meaning.
			if !bytes.Equal(paramsFile(t, raw.Key()), paramsFile(t, fakeKey(tiny))) {
				t.Error("another key passed its checksums")
			}
		}
	})
}

func FuzzParseMeta(f *testing.F) {
	f.Add([]byte(`{"sector_size":2048}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		size, err := params.ParseMeta(b)
		if err != nil {
			return
		}
		again, err := params.ParseMeta(params.Meta(post.Setup{SectorSize: size}))
		if err != nil || again != size {
			t.Errorf("%d came back as %d, %v", size, again, err)
		}
	})
}
