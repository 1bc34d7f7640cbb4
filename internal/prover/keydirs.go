package prover

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"wdpost/proofs/params"
	"wdpost/proofs/post"
)

// Default places of key files.
const (
	// DefaultParamsDir is that of rust-fil-proofs. Spec section 9.
	DefaultParamsDir = "/var/tmp/filecoin-proof-parameters"
	// DefaultRawDir is where gen_cache_and_param_blst puts raw caches.
	DefaultRawDir = "/dev/shm"
)

// Environment variables of rust-fil-proofs that are understood here.
const (
	EnvParamsDir        = "FIL_PROOFS_PARAMETER_CACHE"
	EnvVerifyProduction = "FIL_PROOFS_VERIFY_PRODUCTION_PARAMS"
)

// KeyConfig says where key files lie and how they are trusted.
type KeyConfig struct {
	// ParamsDir holds .params, .vk and .meta files. Default DefaultParamsDir.
	ParamsDir string
	// RawDirs are searched for raw caches, in this order. Default
	// DefaultRawDir, then ParamsDir.
	RawDirs []string
	// VerifyProduction accepts only keys whose digests are those of the
	// network's published files. Development keys are refused then.
	VerifyProduction bool
	// MemoryLimit is the most that keys without a raw cache may take of the
	// memory of this process, in bytes. 0: half of what is available.
	MemoryLimit uint64
	// Workers decode points. Default: all cores.
	Workers int
	// Log gets one line for each key loaded and each file refused.
	Log *slog.Logger
}

// KeyConfigFromEnv reads the settings that rust-fil-proofs takes from the
// environment; getenv is os.Getenv.
func KeyConfigFromEnv(getenv func(string) string) (KeyConfig, error) {
	cfg := KeyConfig{ParamsDir: getenv(EnvParamsDir)}
	if v := getenv(EnvVerifyProduction); v != "" {
		on, err := strconv.ParseBool(v)
		if err != nil {
			return cfg, fmt.Errorf("environment variable %s=%q: use true or false", EnvVerifyProduction, v)
		}
		cfg.VerifyProduction = on
	}
	return cfg, nil
}

// withDefaults fills what was left open.
func (c KeyConfig) withDefaults() KeyConfig {
	if c.ParamsDir == "" {
		c.ParamsDir = DefaultParamsDir
	}
	if c.RawDirs == nil {
		c.RawDirs = []string{DefaultRawDir, c.ParamsDir}
	}
	if c.Workers < 1 {
		c.Workers = runtime.GOMAXPROCS(0)
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.MemoryLimit == 0 {
		if available, err := AvailableMemory(); err == nil {
			c.MemoryLimit = available / 2
		}
	}
	return c
}

// path is the place of a key file in the parameter cache.
func (c KeyConfig) path(s post.Setup, ext string) string {
	return filepath.Join(c.ParamsDir, params.CacheID(s)+ext)
}

// Dir is the parameter directory in force.
func (c KeyConfig) Dir() string { return c.withDefaults().ParamsDir }

// Files lists what the proving key of a circuit could be taken from, the first
// choice first: raw caches that can be mapped, and a .params file of the right
// length. The error names files that are there and not whole; their content is
// not read.
func (c KeyConfig) Files(s post.Setup) (found []string, err error) {
	c = c.withDefaults()
	for _, dir := range c.RawDirs {
		path := filepath.Join(dir, params.CacheID(s)+params.RawExt)
		if !exists(path) {
			continue
		}
		raw, openErr := OpenRawFile(path, s)
		if openErr == nil {
			found, openErr = append(found, path), raw.Close()
		}
		err = errors.Join(err, openErr)
	}
	path := c.path(s, params.ParamsExt)
	info, statErr := os.Stat(path)
	switch {
	case os.IsNotExist(statErr):
	case statErr != nil:
		err = errors.Join(err, statErr)
	case uint64(info.Size()) != params.ParamsBytes(s):
		err = errors.Join(err, fmt.Errorf("%s has %d bytes, a whole one has %d", path, info.Size(), params.ParamsBytes(s)))
	default:
		found = append(found, path)
	}
	return found, err
}

// exists is false where there is no such file, and true where there is one or
// something else is wrong, for the open that follows to tell.
func exists(path string) bool {
	_, err := os.Stat(path)
	return !os.IsNotExist(err)
}

// MissingKeyError says that a circuit's key is nowhere to be found, and how to
// get it.
type MissingKeyError struct {
	Setup   post.Setup
	Dir     string   // the parameter directory
	Paths   []string // where it was looked for
	Refused error    // why files that are there were not taken, if any
}

// Error names the files and the remedy.
func (e *MissingKeyError) Error() string {
	text := fmt.Sprintf("no key for %s: looked for %s; %s", describe(e.Setup), strings.Join(e.Paths, ", "), Remedy(e.Setup, e.Dir))
	if e.Refused != nil {
		text += fmt.Sprintf(" (refused: %v)", e.Refused)
	}
	return text
}

// Unwrap returns why files were refused.
func (e *MissingKeyError) Unwrap() error { return e.Refused }

// Remedy tells an operator how to get the key of a circuit into a parameter
// directory.
func Remedy(s post.Setup, dir string) string {
	published, ok := params.LookupPublished(s)
	if ok && s.SectorSize > MaxGenerated {
		return fmt.Sprintf("put the network's published file %s (%d bytes, BLAKE2b digest %s, CID %s) and its .vk into %s, for example with `lotus fetch-params %s`",
			params.CacheID(s)+params.ParamsExt, params.ParamsBytes(s), published.Params.Digest, published.Params.CID, dir, post.SizeName(s.SectorSize))
	}
	extra := ""
	if standard := standardSectors(s); s.Sectors != standard {
		extra = fmt.Sprintf(" --partition-sectors %d", s.Sectors)
	}
	return fmt.Sprintf("make development keys with `gen_cache_and_param_blst %s --size %s%s --generate --params-dir %s`", command(s), post.SizeName(s.SectorSize), extra, dir)
}

// MaxGenerated is the largest sector size, in bytes, whose development keys
// are made without being asked for: larger ones take very long, and on a real
// network they are worthless.
const MaxGenerated = 8 << 20

// standardSectors is the number of sectors in a partition that the network
// uses for the circuit's kind and size.
func standardSectors(s post.Setup) int {
	if s.Kind() == post.Winning {
		return post.Winning2KiB.Setup().Sectors
	}
	typ, err := post.TypeOf(post.Window, s.SectorSize, post.V1_2_0)
	if err != nil {
		return s.Sectors
	}
	return typ.Setup().Sectors
}

// describe names a circuit for people: "WindowPoSt 32GiB (2349 sectors)".
func describe(s post.Setup) string {
	if s.Kind() == post.Winning {
		return "WinningPoSt " + post.SizeName(s.SectorSize)
	}
	return fmt.Sprintf("WindowPoSt %s (%d sectors in a partition)", post.SizeName(s.SectorSize), s.Sectors)
}
