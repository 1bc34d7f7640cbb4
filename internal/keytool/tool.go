// Package keytool is what gen_cache_and_param_blst does: it makes development
// keys, turns .params files into raw caches, and checks, lists and removes
// them.
//
// Every file is written aside under a name of its own, made durable and then
// renamed; a run that is interrupted, however hard, leaves nothing that could
// be taken for whole. The next one goes on with an unfinished development key
// and clears all other remains away.
package keytool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"runtime"

	"wdpost/internal/prover"
	"wdpost/proofs/groth16"
	"wdpost/proofs/params"
	"wdpost/proofs/post"
)

// Progress is told how far a stage is. Calls come from one goroutine at a
// time; the last one of a stage has done == total.
type Progress func(stage string, done, total uint64)

// Tool works on one parameter directory and one directory of raw caches.
type Tool struct {
	ParamsDir string // .params, .vk and .meta files
	Out       string // raw caches
	// Trust accepts .params files of published circuits whose digest is not
	// the published one.
	Trust bool
	// Generate makes development keys where a .params file is missing, for any
	// sector size. Without it that is done up to prover.MaxGenerated.
	Generate bool
	Workers  int      // goroutines; fewer than 1: all cores
	Progress Progress // may be nil
	// MakeKey makes a development key of a circuit and feeds it to a sink.
	// The same random gives the same key; sink is a groth16.ResumingSink.
	// Default: one from secrets drawn from random.
	MakeKey func(ctx context.Context, s post.Setup, sink groth16.Sink, random io.Reader, progress func(done, total uint64)) error
	// CheckpointBytes is how much of a development key is made between two
	// checkpoints. Default: 256 MiB.
	CheckpointBytes uint64
	Log             *slog.Logger // of what becomes of unfinished keys; may be nil
	// FreeSpace is the number of bytes that can be written to a directory.
	// Default: what the file system says.
	FreeSpace func(dir string) (uint64, error)
}

func (t *Tool) workers() int {
	if t.Workers < 1 {
		return runtime.GOMAXPROCS(0)
	}
	return t.Workers
}

func (t *Tool) progress(stage string, done, total uint64) {
	if t.Progress != nil {
		t.Progress(stage, done, total)
	}
}

func (t *Tool) log() *slog.Logger {
	if t.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return t.Log
}

func (t *Tool) paramsPath(s post.Setup, ext string) string {
	return filepath.Join(t.ParamsDir, params.CacheID(s)+ext)
}

func (t *Tool) rawPath(s post.Setup) string {
	return filepath.Join(t.Out, params.CacheID(s)+params.RawExt)
}

// needSpace refuses work for which a directory has no room.
func (t *Tool) needSpace(dir string, bytes uint64, what string) error {
	free := t.FreeSpace
	if free == nil {
		free = FreeSpace
	}
	have, err := free(dir)
	if err != nil {
		return err
	}
	if have < bytes {
		return fmt.Errorf("%s has %d bytes free, %s needs %d: free space there or choose another directory", dir, have, what, bytes)
	}
	return nil
}

// Name is how the tool calls a circuit: "window 32GiB".
func Name(s post.Setup) string {
	kind := s.Kind()
	name := fmt.Sprintf("%s %s", kind, post.SizeName(s.SectorSize))
	if s != StandardSetup(kind, s.SectorSize) {
		name += fmt.Sprintf(" with %d sectors in a partition", s.Sectors)
	}
	return name
}

// StandardSetup is the network's circuit of a kind and a known sector size.
func StandardSetup(kind post.Kind, sectorSize uint64) post.Setup {
	version := post.V1_0_0 // the version has no part in the circuit
	typ, err := post.TypeOf(kind, sectorSize, version)
	if err != nil {
		return post.Setup{}
	}
	return typ.Setup()
}

// Result tells what Make found and did.
type Result struct {
	Setup     post.Setup
	Raw       string        // path of the raw cache
	Bytes     uint64        // its size
	Source    params.Digest // of the .params file
	Generated bool          // development keys were made
	Published bool          // the keys are the network's
	Kept      bool          // the raw cache was there already and is of this key
}

// Make makes sure that there is a raw cache of a circuit: it makes development
// keys where there are none and that is allowed, and turns the .params file
// into a raw cache unless that has been done. A raw cache of the network's key
// is enough without the .params file, and is never replaced by development keys.
func (t *Tool) Make(ctx context.Context, s post.Setup) (Result, error) {
	if err := s.Validate(); err != nil {
		return Result{Setup: s}, err
	}
	result := Result{Setup: s, Raw: t.rawPath(s), Bytes: params.RawBytes(s)}
	if present, err := isFile(t.paramsPath(s, params.ParamsExt)); err != nil {
		return result, err
	} else if !present {
		if result.Source, result.Kept = t.publishedRaw(s); result.Kept {
			result.Published = true
			return result, nil
		}
		if !t.Generate && s.SectorSize > prover.MaxGenerated {
			return result, fmt.Errorf("%s: no %s in %s; keys of this size cannot be made here: %s",
				Name(s), params.CacheID(s)+params.ParamsExt, t.ParamsDir, prover.Remedy(s, t.ParamsDir))
		}
		source, err := t.generate(ctx, s)
		if errors.Is(err, errWaited) {
			return t.Make(ctx, s)
		}
		if err != nil {
			return result, fmt.Errorf("%s: make development keys: %w", Name(s), err)
		}
		result.Generated, result.Source = true, source
		return result, nil
	}
	if header, err := t.current(s); err == nil {
		if !t.Generate {
			if err := t.checkDigest(s, header.Source); err != nil {
				return result, fmt.Errorf("%s: %s: %w", Name(s), t.rawPath(s), err)
			}
		}
		result.Kept, result.Source = true, header.Source
	} else {
		source, err := t.convert(ctx, s)
		if err != nil {
			return result, fmt.Errorf("%s: %w", Name(s), err)
		}
		result.Source = source
	}
	published, ok := params.LookupPublished(s)
	result.Published = ok && published.Params.Digest == result.Source
	return result, nil
}

// Unfinished is the number of bytes that an unfinished development key of a
// circuit takes in Out; making the key needs so much less.
func (t *Tool) Unfinished(s post.Setup) uint64 { return allocated(t.rawPath(s) + unfinishedExt) }
