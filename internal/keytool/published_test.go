package keytool_test

import (
	"crypto/sha256"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"wdpost/proofs/params"
	"wdpost/proofs/post"
)

// passForPublished makes the raw cache in a file say that it comes from the
// network's .params file.
func passForPublished(t *testing.T, path string, s post.Setup) {
	t.Helper()
	published, ok := params.LookupPublished(s)
	if !ok {
		t.Fatal("no published key")
	}
	edit(t, path, func(b []byte) []byte {
		copy(b[152:], published.Params.Digest[:])
		sum := sha256.Sum256(b[:4064])
		copy(b[4064:], sum[:])
		return b
	})
}

// TestPublishedRawIsEnough: whoever has removed the .params file keeps a raw
// cache of the network's key; development keys never take its place.
func TestPublishedRawIsEnough(t *testing.T) {
	s := post.Winning2KiB.Setup()
	tool := newTool(t)
	result, err := tool.Make(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	passForPublished(t, result.Raw, s)
	for _, name := range files(t, tool.ParamsDir) {
		if err := os.Remove(filepath.Join(tool.ParamsDir, name)); err != nil {
			t.Fatal(err)
		}
	}
	for _, tool.Generate = range []bool{false, true} {
		again, err := tool.Make(t.Context(), s)
		if err != nil || !again.Kept || !again.Published || again.Generated {
			t.Errorf("with --generate %t: %+v, %v", tool.Generate, again, err)
		}
	}
}

// TestKeptCacheIsHeldToTheDigest: a raw cache that an earlier run made of keys
// that are not the network's is no reason to accept them now.
func TestKeptCacheIsHeldToTheDigest(t *testing.T) {
	if testing.Short() {
		t.Skip("writes 400 MB")
	}
	s := post.Winning512MiB.Setup()
	tool := newTool(t)
	tool.Generate = true
	if _, err := tool.Make(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	if again, err := tool.Make(t.Context(), s); err != nil || !again.Kept {
		t.Errorf("with --generate: %+v, %v", again, err)
	}
	tool.Generate = false
	if _, err := tool.Make(t.Context(), s); !errors.Is(err, params.ErrDigest) {
		t.Errorf("development keys where the network's are expected: %v", err)
	}
	tool.Trust = true
	if again, err := tool.Make(t.Context(), s); err != nil || !again.Kept || again.Published {
		t.Errorf("with --trust: %+v, %v", again, err)
	}
}

// TestListTellsWhatProversTell: what is listed as whole can be mapped.
func TestListTellsWhatProversTell(t *testing.T) {
	s := post.Winning2KiB.Setup()
	tool := newTool(t)
	result, err := tool.Make(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	whole := read(t, result.Raw)
	for name, c := range map[string]struct {
		edit func([]byte) []byte
		want error
	}{
		"whole":                       {func(b []byte) []byte { return b }, nil},
		"longer than its header says": {func(b []byte) []byte { return append(b, 0) }, params.ErrRawCorrupt},
		"shorter":                     {func(b []byte) []byte { return b[:len(b)-1] }, params.ErrRawTruncated},
		"verifying key damaged":       {flip(1 << 16), params.ErrRawCorrupt},
		"another file":                {func(b []byte) []byte { copy(b, "\x7fELF"); return b }, params.ErrRawForeign},
		"older":                       {func(b []byte) []byte { b[16]--; return b }, params.ErrRawVersion},
	} {
		if err := os.WriteFile(result.Raw, c.edit(append([]byte(nil), whole...)), 0o644); err != nil {
			t.Fatal(err)
		}
		entries, err := tool.List()
		if err != nil || len(entries) != 1 || !errors.Is(entries[0].Err, c.want) || (c.want == nil) != (entries[0].Err == nil) {
			t.Errorf("%s: listed as %+v, %v", name, entries, err)
		}
	}
}
