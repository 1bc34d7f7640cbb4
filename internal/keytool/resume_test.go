package keytool_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"

	"wdpost/internal/keytool"
	"wdpost/internal/prover"
	"wdpost/proofs"
	"wdpost/proofs/groth16"
	"wdpost/proofs/params"
	"wdpost/proofs/post"
)

// stepwise hands a key on in small pieces and counts its points; before, if
// set, is called before each piece with the number of points handed on so far.
type stepwise struct {
	groth16.ResumingSink
	piece  int
	there  uint64
	points uint64
	before func(points uint64) error
}

func (s *stepwise) Resume() uint64 {
	s.there = s.ResumingSink.Resume()
	s.points = s.there
	return s.there
}

func (s *stepwise) G1(points []bls.G1Affine) error { return steps(s, points, s.ResumingSink.G1) }
func (s *stepwise) G2(points []bls.G2Affine) error { return steps(s, points, s.ResumingSink.G2) }

func steps[T any](s *stepwise, points []T, hand func([]T) error) error {
	for piece := range slices.Chunk(points, s.piece) {
		if s.before != nil {
			if err := s.before(s.points); err != nil {
				return err
			}
		}
		if err := hand(piece); err != nil {
			return err
		}
		s.points += uint64(len(piece))
	}
	return nil
}

// maker makes real keys and watches how.
type maker struct {
	system *proofs.System
	tool   *keytool.Tool
	before func(points uint64) error
	fixed  bool // secrets are always the same, whatever the tool wants
	log    bytes.Buffer

	calls   int
	made    uint64 // points made in the last call
	secrets []byte // randomness used in the last call
}

const testPiece = 400

// sharedSystem compiles each circuit once.
var sharedSystem = sync.OnceValue(proofs.New)

func newMaker(t *testing.T, out string) *maker {
	m := &maker{fixed: true, system: sharedSystem()}
	m.tool = &keytool.Tool{
		ParamsDir: t.TempDir(), Out: out, MakeKey: m.makeKey, CheckpointBytes: 1,
		Log: slog.New(slog.NewTextHandler(&m.log, nil)),
	}
	return m
}

func (m *maker) makeKey(_ context.Context, s post.Setup, sink groth16.Sink, random io.Reader, progress func(done, total uint64)) error {
	m.calls++
	watch := &stepwise{ResumingSink: sink.(groth16.ResumingSink), piece: testPiece, before: m.before}
	if m.fixed {
		random = rand.NewChaCha8([32]byte{7})
	}
	var used bytes.Buffer
	err := m.system.GenerateKey(s, watch, proofs.KeyConfig{Random: io.TeeReader(random, &used), Workers: 2, Progress: progress})
	m.made, m.secrets = watch.points-watch.there, used.Bytes()
	return err
}

// partial is the path of the unfinished raw cache of a circuit in a directory.
func partial(dir string, s post.Setup) string {
	return filepath.Join(dir, params.CacheID(s)+params.RawExt+".partial")
}

// snapshot copies an unfinished key as a power cut at this moment could leave
// it to a directory of its own.
func snapshot(t *testing.T, dir string, s post.Setup) string {
	t.Helper()
	to := t.TempDir()
	for _, ext := range []string{"-progress", "-secret", ""} {
		b, err := os.ReadFile(partial(dir, s) + ext)
		if os.IsNotExist(err) {
			continue
		}
		if err == nil {
			err = os.WriteFile(partial(to, s)+ext, b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return to
}

// wholeKey is the raw cache that a maker with fixed secrets makes when nobody
// interrupts it.
func wholeKey(t *testing.T, s post.Setup) []byte {
	t.Helper()
	m := newMaker(t, t.TempDir())
	if err := m.tool.MakeRaw(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	return m.result(t, s)
}

// result is the finished raw cache; nothing may lie beside it.
func (m *maker) result(t *testing.T, s post.Setup) []byte {
	t.Helper()
	name := params.CacheID(s) + params.RawExt
	if got := files(t, m.tool.Out); len(got) != 1 || got[0] != name {
		t.Errorf("in the directory of the finished key: %v", got)
	}
	return read(t, filepath.Join(m.tool.Out, name))
}

var errStop = errors.New("stop")

// TestResumeAnywhere ends the making of a key at many points, in every vector
// and between any two of them, the hard way and the gentle one: the next run
// makes only what lacks, and the file is that of an uninterrupted run.
func TestResumeAnywhere(t *testing.T) {
	whole := wholeKey(t, tiny)
	counts := params.CountsOf(tiny)
	total := counts.Points()

	var killed []string // directories as they were before each piece
	var at []uint64
	m := newMaker(t, t.TempDir())
	m.before = func(points uint64) error {
		killed, at = append(killed, snapshot(t, m.tool.Out, tiny)), append(at, points)
		return nil
	}
	if err := m.tool.MakeRaw(t.Context(), tiny); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(m.result(t, tiny), whole) {
		t.Fatal("two keys of the same secrets differ")
	}
	boundary := uint64(0)
	for _, n := range []uint64{counts.H, counts.L, counts.A, counts.B} {
		if boundary += n; !slices.Contains(at, boundary) {
			t.Errorf("no interruption between two vectors, at %d points", boundary)
		}
	}
	for i, out := range killed {
		if raw, err := prover.OpenRawFile(partial(out, tiny), tiny); err == nil {
			t.Errorf("killed at %d points: taken for whole", at[i])
			raw.Close()
		}
		m := newMaker(t, out)
		if err := m.tool.MakeRaw(t.Context(), tiny); err != nil {
			t.Errorf("killed at %d points: %v", at[i], err)
			continue
		}
		if !bytes.Equal(m.result(t, tiny), whole) {
			t.Errorf("killed at %d points: another file", at[i])
		}
		// The checkpoint of the last piece may not have been through.
		if most := total - at[i] + testPiece; i > 1 && m.made > most {
			t.Errorf("killed at %d points of %d: %d were made afterwards", at[i], total, m.made)
		}
	}

	m = newMaker(t, t.TempDir())
	for _, stop := range at {
		m.before = func(points uint64) error {
			if points >= stop {
				return errStop
			}
			return nil
		}
		if err := m.tool.MakeRaw(t.Context(), tiny); !errors.Is(err, errStop) {
			t.Fatalf("stopped at %d points: %v", stop, err)
		}
		if m.made > testPiece+(counts.A-1)%testPiece { // the last stop was one piece before
			t.Errorf("stopped at %d points: made %d for one piece", stop, m.made)
		}
	}
	m.before = nil
	if err := m.tool.MakeRaw(t.Context(), tiny); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(m.result(t, tiny), whole) {
		t.Error("stopped after every piece: another file")
	}
}

// edit changes bytes of a file in place.
func edit(t *testing.T, path string, change func(b []byte) []byte) {
	t.Helper()
	if err := os.WriteFile(path, change(read(t, path)), 0o600); err != nil {
		t.Fatal(err)
	}
}

func flip(at int) func([]byte) []byte {
	return func(b []byte) []byte { b[at] ^= 1; return b }
}

// editProgress changes a field of the checkpoint.
func editProgress(field string, value any) func([]byte) []byte {
	return func(b []byte) []byte {
		content := map[string]any{}
		if err := json.Unmarshal(b, &content); err != nil {
			panic(err)
		}
		content[field] = value
		b, err := json.Marshal(content)
		if err != nil {
			panic(err)
		}
		return b
	}
}

// TestUnfinishedKeys: what cannot be trusted is made anew and said so; what can
// be is continued.
func TestUnfinishedKeys(t *testing.T) {
	whole := wholeKey(t, tiny)
	counts := params.CountsOf(tiny)
	interrupted := func(s post.Setup, fraction float64) string {
		m := newMaker(t, t.TempDir())
		var dir string
		m.before = func(points uint64) error {
			if float64(points) > fraction*float64(params.CountsOf(s).Points()) {
				dir = snapshot(t, m.tool.Out, s)
				return errStop
			}
			return nil
		}
		if err := m.tool.MakeRaw(t.Context(), s); !errors.Is(err, errStop) {
			t.Fatal(err)
		}
		return dir
	}
	const page = 1 << 16
	other := post.Setup{SectorSize: 4 << 10, Challenges: 1, Sectors: 1}
	for _, c := range []struct {
		name string
		ext  string // of the file beside the unfinished key; empty: the key itself
		edit func([]byte) []byte
		anew string // reason why it is made anew; empty: it is continued
	}{
		{"untouched", "", func(b []byte) []byte { return b }, ""},
		{"torn piece at the end", "", func(b []byte) []byte { return append(b, 1, 2, 3) }, ""},
		{"header of a run that ended while writing it", "", func(b []byte) []byte { copy(b, "wdpost raw key\r\nxxx"); return b }, ""},
		{"cut short", "", func(b []byte) []byte { return b[:len(b)/2] }, "cut short"},
		{"empty", "", func([]byte) []byte { return nil }, "EOF"},
		{"verifying key changed", "", flip(page + 5), "its bytes"},
		{"public inputs changed", "", flip(2*page + 5), "its bytes"},
		{"point changed", "", flip(3*page + 5), "digest"},
		{"padding changed", "", flip(3*page - 1), "its bytes"},
		{"first bytes changed", "", flip(page - 1), "its bytes"},
		{"checkpoint of another format", "-progress", editProgress("format", 0), "format 0"},
		{"checkpoint of another circuit", "-progress", editProgress("cache_id", params.CacheID(other)), "another circuit"},
		{"checkpoint beyond the end", "-progress", editProgress("points", counts.Points()+1), "points of"},
		{"checkpoint later than the bytes", "-progress", editProgress("points", counts.Points()), "cut short"},
		{"checkpoint earlier than the bytes", "-progress", editProgress("points", counts.H), "digest"},
		{"checkpoint torn", "-progress", func(b []byte) []byte { return b[:len(b)/2] }, "JSON"},
		{"secrets cut short", "-secret", func(b []byte) []byte { return b[:31] }, "31 bytes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			out := interrupted(tiny, 0.7)
			edit(t, partial(out, tiny)+c.ext, c.edit)
			m := newMaker(t, out)
			if err := m.tool.MakeRaw(t.Context(), tiny); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(m.result(t, tiny), whole) {
				t.Error("another file")
			}
			if resumed := m.made < counts.Points(); resumed != (c.anew == "") {
				t.Errorf("made %d of %d points", m.made, counts.Points())
			}
			if text := m.log.String(); c.anew == "" && !strings.Contains(text, "continuing") ||
				c.anew != "" && (!strings.Contains(text, "made anew") || !strings.Contains(text, c.anew)) {
				t.Errorf("said %q, want the reason %q", text, c.anew)
			}
		})
	}
	for _, missing := range []string{"-progress", "-secret"} {
		t.Run("without its "+missing, func(t *testing.T) {
			out := interrupted(tiny, 0.7)
			if err := os.Remove(partial(out, tiny) + missing); err != nil {
				t.Fatal(err)
			}
			m := newMaker(t, out)
			if err := m.tool.MakeRaw(t.Context(), tiny); err != nil || m.made != counts.Points() || !strings.Contains(m.log.String(), "made anew") {
				t.Errorf("made %d points, %v, said %q", m.made, err, m.log.String())
			}
			if !bytes.Equal(m.result(t, tiny), whole) {
				t.Error("another file")
			}
		})
	}
	t.Run("of another circuit", func(t *testing.T) {
		from, out := interrupted(other, 0.5), t.TempDir()
		for _, ext := range []string{"", "-progress", "-secret"} {
			if err := os.Rename(partial(from, other)+ext, partial(out, tiny)+ext); err != nil {
				t.Fatal(err)
			}
		}
		m := newMaker(t, out)
		if err := m.tool.MakeRaw(t.Context(), tiny); err != nil || m.made != counts.Points() {
			t.Errorf("made %d points, %v", m.made, err)
		}
		if !bytes.Equal(m.result(t, tiny), whole) {
			t.Error("another file")
		}
	})
}

// TestSecrets: the next run uses the secrets of the one before, nobody else can
// read them, and nothing is left of them in the end; a key that is made anew
// has new ones.
func TestSecrets(t *testing.T) {
	out := t.TempDir()
	m := newMaker(t, out)
	m.fixed = false
	secret := partial(out, tiny) + "-secret"
	half := params.CountsOf(tiny).Points() / 2
	m.before = func(points uint64) error {
		if points > half {
			return errStop
		}
		return nil
	}
	if err := m.tool.MakeRaw(t.Context(), tiny); !errors.Is(err, errStop) {
		t.Fatal(err)
	}
	first := m.secrets
	if info, err := os.Stat(secret); err != nil || info.Mode() != 0o600 {
		t.Errorf("file of the secrets: %v, %v", info, err)
	}
	dir := snapshot(t, out, tiny)
	m.before = nil
	if err := m.tool.MakeRaw(t.Context(), tiny); err != nil {
		t.Fatal(err)
	}
	m.result(t, tiny)
	if !bytes.Equal(m.secrets, first) || m.made > half+2*testPiece {
		t.Errorf("went on with %d points and other secrets: %t", m.made, !bytes.Equal(m.secrets, first))
	}

	// Other secrets than those of the points that are there.
	m = newMaker(t, dir)
	m.fixed = false
	edit(t, partial(dir, tiny)+"-secret", flip(3))
	if err := m.tool.MakeRaw(t.Context(), tiny); err != nil || m.made != params.CountsOf(tiny).Points() || !strings.Contains(m.log.String(), "made anew") {
		t.Errorf("foreign secrets: made %d points, %v, said %q", m.made, err, m.log.String())
	}
	raw, err := prover.OpenRawFile(filepath.Join(dir, params.CacheID(tiny)+params.RawExt), tiny)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(raw.VerifySections(nil), raw.Close()); err != nil {
		t.Error(err)
	}

	// What is made in less than a checkpoint never writes them.
	m = newMaker(t, t.TempDir())
	m.tool.CheckpointBytes = params.RawBytes(tiny)
	m.before = func(uint64) error {
		if got := files(t, m.tool.Out); len(got) != 1 {
			t.Errorf("beside a small key: %v", got)
		}
		return nil
	}
	if err := m.tool.MakeRaw(t.Context(), tiny); err != nil {
		t.Fatal(err)
	}
	m.before = func(points uint64) error { return errStop }
	if err := m.tool.MakeRaw(t.Context(), tiny); !errors.Is(err, errStop) {
		t.Fatal(err)
	}
	m.result(t, tiny) // of the first run
}

// TestOneMaker: only one process works on an unfinished key, and others leave
// it alone.
func TestOneMaker(t *testing.T) {
	m := newMaker(t, t.TempDir())
	looked := false
	m.before = func(points uint64) error {
		if points < 4*testPiece || looked {
			return nil
		}
		looked = true
		other := newMaker(t, m.tool.Out)
		impatient, cancel := context.WithCancelCause(t.Context())
		cancel(errStop)
		if err := other.tool.MakeRaw(impatient, tiny); !errors.Is(err, keytool.ErrBusy) || !errors.Is(err, errStop) || other.calls > 0 {
			return fmt.Errorf("a second maker: %w", err)
		}
		if _, err := other.tool.Make(impatient, tiny); !errors.Is(err, keytool.ErrBusy) {
			return fmt.Errorf("a second tool: %w", err)
		}
		before := files(t, m.tool.Out)
		if _, err := other.tool.Remove(tiny); err != nil {
			return err
		}
		for _, name := range before {
			if strings.HasSuffix(name, "-new") {
				continue // a checkpoint is under way
			}
			if _, err := os.Stat(filepath.Join(m.tool.Out, name)); err != nil {
				return err
			}
		}
		return nil
	}
	if err := m.tool.MakeRaw(t.Context(), tiny); err != nil || !looked {
		t.Fatal(looked, err)
	}
	m.result(t, tiny)
}

// TestSecondMakerWaits: who wants a key that another process is making gets that
// one.
func TestSecondMakerWaits(t *testing.T) {
	first := newMaker(t, t.TempDir())
	second := newMaker(t, first.tool.Out)
	second.tool.ParamsDir = first.tool.ParamsDir
	waiting := make(chan struct{})
	second.tool.Log = slog.New(signal{slog.DiscardHandler, sync.OnceFunc(func() { close(waiting) })})
	var made sync.WaitGroup
	begun := false
	first.before = func(points uint64) error {
		if points >= 4*testPiece && !begun {
			begun = true
			made.Go(func() {
				if result, err := second.tool.Make(t.Context(), tiny); err != nil || !result.Kept || second.calls > 0 {
					t.Errorf("the second: %+v, %v, %d keys made", result, err, second.calls)
				}
			})
			<-waiting
		}
		return nil
	}
	if result, err := first.tool.Make(t.Context(), tiny); err != nil || !result.Generated || !begun {
		t.Errorf("the first: %+v, %v", result, err)
	}
	made.Wait()
	if _, err := os.Stat(partial(first.tool.Out, tiny)); !os.IsNotExist(err) {
		t.Errorf("something unfinished is left: %v", err)
	}
}

// signal calls f at the first line of a log.
type signal struct {
	slog.Handler
	f func()
}

func (s signal) Enabled(context.Context, slog.Level) bool { s.f(); return true }

// TestRemoveUnfinished: --list shows an unfinished key, --remove removes all of
// it.
func TestRemoveUnfinished(t *testing.T) {
	m := newMaker(t, t.TempDir())
	m.before = func(points uint64) error {
		if points > 4*testPiece {
			return errStop
		}
		return nil
	}
	if err := m.tool.MakeRaw(t.Context(), tiny); !errors.Is(err, errStop) {
		t.Fatal(err)
	}
	entries, err := m.tool.List()
	if err != nil || len(entries) != 1 || entries[0].Path != partial(m.tool.Out, tiny) || entries[0].Err == nil {
		t.Errorf("listed as %+v, %v", entries, err)
	}
	if m.tool.Unfinished(tiny) == 0 {
		t.Error("takes no room")
	}
	if removed, err := m.tool.Remove(tiny); err != nil || !removed {
		t.Fatalf("removed %t, %v", removed, err)
	}
	if left := files(t, m.tool.Out); len(left) != 0 || m.tool.Unfinished(tiny) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

// TestResumeUnnamed: a key that was made but not named yet is named, and the
// other files are made from it.
func TestResumeUnnamed(t *testing.T) {
	m := newMaker(t, t.TempDir())
	ctx, cancel := context.WithCancelCause(t.Context())
	m.tool.Progress = func(stage string, done, _ uint64) {
		if strings.HasPrefix(stage, "write .params") && done > 100_000 {
			cancel(errStop)
		}
	}
	if _, err := m.tool.Make(ctx, tiny); !errors.Is(err, errStop) {
		t.Fatal(err)
	}
	if got := append(files(t, m.tool.ParamsDir), files(t, m.tool.Out)...); len(got) != 1 || got[0] != filepath.Base(partial("", tiny)) {
		t.Errorf("after an interruption: %v", got)
	}
	damaged := read(t, partial(m.tool.Out, tiny))
	m.tool.Progress = nil
	result, err := m.tool.Make(t.Context(), tiny)
	if err != nil || !result.Generated || m.calls != 1 {
		t.Errorf("%+v, %v; the key was made %d times", result, err, m.calls)
	}
	hasher := params.NewHasher()
	hasher.Write(read(t, filepath.Join(m.tool.ParamsDir, params.CacheID(tiny)+params.ParamsExt)))
	if hasher.Digest() != result.Source {
		t.Error("the .params file is of another key than the raw cache")
	}
	m.result(t, tiny)

	// One that was damaged meanwhile is found out when the files are written.
	m = newMaker(t, t.TempDir())
	damaged[3<<16+5000] ^= 1
	if err := os.WriteFile(partial(m.tool.Out, tiny), damaged, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := m.tool.Make(t.Context(), tiny); !errors.Is(err, params.ErrRawCorrupt) {
		t.Errorf("damaged: %v", err)
	}
	if got := append(files(t, m.tool.ParamsDir), files(t, m.tool.Out)...); len(got) != 0 {
		t.Errorf("left of a damaged key: %v", got)
	}
}
