package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"wdpost/internal/prover"
	"wdpost/internal/sectorfile"
	"wdpost/internal/task"
	"wdpost/proofs/merkle"
	"wdpost/proofs/params"
	"wdpost/proofs/post"
)

// Circuit names a partition's circuit: a proof type and, for window, a number
// of sectors in the partition other than the network's.
type Circuit struct {
	Type             string `json:"type"` // post.ProofType by name
	PartitionSectors int    `json:"partition_sectors,omitempty"`
}

// circuitOf is the circuit of a registered type; partitionSectors 0 is the
// network's number.
func circuitOf(typ post.ProofType, partitionSectors int) Circuit {
	return Circuit{Type: typ.String(), PartitionSectors: partitionSectors}
}

// String describes the circuit: "window 32GiB, 19 sectors".
func (c Circuit) String() string {
	typ, err := post.ParseProofType(c.Type)
	if err != nil {
		return c.Type
	}
	name := fmt.Sprintf("%s %s", typ.Kind(), post.SizeName(typ.SectorSize()))
	if c.PartitionSectors > 0 {
		name = fmt.Sprintf("%s, %d sectors", name, c.PartitionSectors)
	}
	return name
}

func (c Circuit) setup() (post.Setup, error) {
	typ, err := post.ParseProofType(c.Type)
	if err != nil {
		return post.Setup{}, err
	}
	s := typ.Setup()
	if c.PartitionSectors > 0 && !typ.IsWinning() {
		s = s.WithSectors(c.PartitionSectors)
	}
	return s, s.Validate()
}

// miner owns all sectors made here.
const miner = 1008

// maxRandom is the largest size of which whole random sectors are made: every
// leaf has to be hashed.
const maxRandom = 8 << 20

// Place is a directory with the sectors and keys that measurements share. What
// is there is used again.
type Place struct {
	Dir   string
	Spawn Spawner
}

// KeyDir is the directory of all keys.
func (p Place) KeyDir() string { return filepath.Join(p.Dir, "keys") }

// listName is the name of a list beside the files of its sectors.
const listName = "sectors.json"

// list returns the path of the list in a directory of sectors, and lets fill
// make the sectors and the content unless it is there.
func (p Place) list(dir string, size uint64, fill func(content *sectorfile.List) error) (string, error) {
	path := filepath.Join(dir, listName)
	if _, err := sectorfile.ReadList(path); err == nil {
		return path, nil
	} else if !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	// The list is written last: without it whatever lies there is unfinished.
	if err := os.RemoveAll(dir); err != nil {
		return "", fmt.Errorf("clear unfinished sectors: %w", err)
	}
	content := &sectorfile.List{Miner: miner, SectorSize: size}
	if err := fill(content); err != nil {
		return "", err
	}
	return path, content.Write(path)
}

// Sectors makes sure that there are n sectors of a size in bytes and returns
// the path of their list: random ones, or all-zero ones where that would take
// too long.
func (p Place) Sectors(ctx context.Context, size uint64, n int) (list string, err error) {
	dir := filepath.Join(p.Dir, fmt.Sprintf("sectors-%s-%d", post.SizeName(size), n))
	return p.list(dir, size, func(content *sectorfile.List) error {
		maker := sectorfile.NewMaker(merkle.NewHasher(), runtime.GOMAXPROCS(0))
		for i := range n {
			s := sectorfile.Sector{Dir: dir, Miner: miner, Number: uint64(i + 1), Size: size}
			var commR [32]byte
			var err error
			if size > maxRandom {
				commR, err = maker.Faux(s)
			} else {
				commR, err = maker.Random(ctx, s, sectorfile.Seeded("bench", miner, s.Number))
			}
			if err == nil {
				err = content.Add(s.Number, commR)
			}
			if err == nil {
				err = ctx.Err()
			}
			if err != nil {
				return fmt.Errorf("make sector %d: %w", s.Number, err)
			}
		}
		return nil
	})
}

// ToProve is Sectors for one proof: random ones of any size, of which large
// ones serve proofs with the given randomness alone.
func (p Place) ToProve(ctx context.Context, typ post.ProofType, n int, randomness [32]byte) (list string, err error) {
	if typ.SectorSize() > maxRandom {
		return p.Challenged(ctx, typ, n, randomness)
	}
	return p.Sectors(ctx, typ.SectorSize(), n)
}

// Key makes sure that there is a development key of a circuit: a raw cache, and
// a .params file with its .vk and .meta unless rawOnly.
func (p Place) Key(ctx context.Context, c Circuit, rawOnly bool) error {
	setup, err := c.setup()
	if err != nil {
		return err
	}
	if p.hasKey(setup, rawOnly) {
		return nil
	}
	_, _, err = p.Spawn.Run(ctx, Job{Key: &KeyJob{Circuit: c, Dir: p.KeyDir(), RawOnly: rawOnly}}, 0)
	return err
}

func (p Place) hasKey(s post.Setup, rawOnly bool) bool {
	raw, err := prover.OpenRawFile(rawPath(p.KeyDir(), s), s)
	if err != nil || raw.Close() != nil {
		return false
	}
	if rawOnly {
		return true
	}
	info, err := os.Stat(filepath.Join(p.KeyDir(), params.CacheID(s)+params.ParamsExt))
	return err == nil && uint64(info.Size()) == params.ParamsBytes(s)
}

// rawPath is where the raw cache of a circuit lies in a directory of keys.
func rawPath(dir string, s post.Setup) string {
	return filepath.Join(dir, params.CacheID(s)+params.RawExt)
}

// questionOf is the task of proving all sectors of a list that lies beside
// their files.
func questionOf(typ post.ProofType, list *sectorfile.List, path string, randomness [32]byte) task.Question {
	q := task.Question{
		MinerID: list.Miner, ProofType: typ.String(), Seed: task.Hash32(post.MaskRandomness(randomness)),
	}
	for _, e := range list.Sectors {
		s := sectorfile.Sector{Dir: filepath.Dir(path), Miner: list.Miner, Number: e.Number}
		q.Replicas = append(q.Replicas, task.Replica{
			SectorID: e.Number, CommR: task.Hash32(e.CommR), CacheDir: s.Cache(), SealedFile: s.Replica(),
		})
	}
	return q
}
