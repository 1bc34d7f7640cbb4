package sectorfile

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"

	"wdpost/internal/sector"
	"wdpost/proofs/merkle"
	"wdpost/proofs/post"
)

// Modes of what is made.
const (
	dirMode  = 0o755
	fileMode = 0o644
)

// Sector says which sector to make and where.
type Sector struct {
	Dir    string // storage directory; sealed/, cache/ and the like are made in it
	Miner  uint64 // actor number
	Number uint64
	Size   uint64 // bytes, one of post.SectorSizes

	// Update makes the files of an updated (snap-deal) replica instead, beneath
	// update/ and update-cache/.
	Update bool
	// CommC is the sector's comm_c, a field element in 32 bytes little-endian.
	// All zero means: that of the sealed sector beside it for an update, which
	// must then exist; otherwise one is made up.
	CommC [32]byte
}

// Name returns the sector's name in the lotus layout, s-t0<miner>-<number>.
func (s Sector) Name() string { return s.id().String() }

func (s Sector) id() sector.ID { return sector.ID{Miner: s.Miner, Number: s.Number} }

// Replica returns the path of the replica file.
func (s Sector) Replica() string {
	sealed, _ := sector.Files(filepath.Clean(s.Dir), s.id(), s.Update)
	return sealed
}

// Cache returns the path of the directory with p_aux and the tree files.
func (s Sector) Cache() string {
	_, cache := sector.Files(filepath.Clean(s.Dir), s.id(), s.Update)
	return cache
}

// sealed returns the sector of which s is the update.
func (s Sector) sealed() Sector {
	s.Update = false
	return s
}

// Maker makes sectors. It is safe for concurrent use for different sectors.
type Maker struct {
	hasher  *merkle.Hasher
	workers int

	mu     sync.Mutex
	models map[kind]string // tree files of faux sectors to link to
}

// NewMaker returns a maker that hashes with the given number of goroutines.
func NewMaker(h *merkle.Hasher, workers int) *Maker {
	return &Maker{hasher: h, workers: workers, models: map[kind]string{}}
}

// Random makes a sector whose replica is filled from content, the two top bits
// of every 32-byte word cleared so that it is a field element; see Seeded. It
// reads 32 bytes more than the sector's size, the first of them for comm_c. It
// returns comm_r.
//
// Every leaf is hashed, which takes tenths of a second for each MiB, so this is
// for small sectors.
func (m *Maker) Random(ctx context.Context, s Sector, content io.Reader) (commR [32]byte, err error) {
	shape, err := merkle.ShapeOf(s.Size)
	if err != nil {
		return commR, fmt.Errorf("make sector %s: %w", s.Name(), err)
	}
	content = &canonical{r: content}
	var drawn [merkle.NodeSize]byte
	if _, err := io.ReadFull(content, drawn[:]); err != nil {
		return commR, fmt.Errorf("make sector %s: read content: %w", s.Name(), err)
	}
	return m.make(s, drawn, func(d *draft) ([]fr.Element, error) {
		replica, err := os.OpenFile(d.replica, os.O_RDWR|os.O_CREATE|os.O_EXCL, fileMode)
		if err != nil {
			return nil, err
		}
		defer replica.Close()
		if _, err := io.CopyN(replica, content, int64(s.Size)); err != nil {
			return nil, fmt.Errorf("fill replica: %w", err)
		}
		b := merkle.Builder{Hasher: m.hasher, Layout: shape.DefaultLayout(), Workers: m.workers, Done: ctx.Done()}
		var roots []fr.Element
		for i, name := range shape.FileNames() {
			tree, err := b.File(replica, i)
			if errors.Is(err, merkle.ErrCanceled) {
				err = context.Cause(ctx)
			}
			if err != nil {
				return nil, err
			}
			if err := os.WriteFile(filepath.Join(d.cache, name), tree, fileMode); err != nil {
				return nil, err
			}
			if roots, err = appendRoot(roots, tree); err != nil {
				return nil, err
			}
		}
		return roots, replica.Close()
	})
}

// Faux makes a sector of any size whose replica is a sparse file of zeros, in a
// moment. The tree files of all faux sectors of one size that a Maker makes in
// one directory are hard links to one file where the file system allows it. It
// returns comm_r, which differs between sectors as comm_c does.
func (m *Maker) Faux(s Sector) (commR [32]byte, err error) {
	shape, err := merkle.ShapeOf(s.Size)
	if err != nil {
		return commR, fmt.Errorf("make sector %s: %w", s.Name(), err)
	}
	commR, err = m.make(s, fauxCommC(s), func(d *draft) ([]fr.Element, error) {
		if err := sparse(d.replica, int64(s.Size)); err != nil {
			return nil, err
		}
		tree := merkle.ZeroFile(m.hasher, shape.DefaultLayout())
		root, err := merkle.FileRoot(tree)
		if err != nil {
			return nil, err
		}
		model := m.model(s)
		for _, name := range shape.FileNames() {
			path := filepath.Join(d.cache, name)
			if model == "" || os.Link(model, path) != nil {
				if err := os.WriteFile(path, tree, fileMode); err != nil {
					return nil, err
				}
			}
			model = path
		}
		return slices.Repeat([]fr.Element{root}, shape.BaseTrees()), nil
	})
	if err == nil {
		m.setModel(s, filepath.Join(s.Cache(), shape.FileNames()[0]))
	}
	return commR, err
}

// fauxCommC makes up a comm_c that differs between sectors and is the same
// whenever a sector is made again.
func fauxCommC(s Sector) [32]byte {
	msg := binary.LittleEndian.AppendUint64([]byte("faux sector comm_c"), s.Miner)
	return post.MaskRandomness(sha256.Sum256(binary.LittleEndian.AppendUint64(msg, s.Number)))
}

// appendRoot appends the root of the base tree in a tree file's content.
func appendRoot(roots []fr.Element, tree []byte) ([]fr.Element, error) {
	root, err := merkle.FileRoot(tree)
	return append(roots, root), err
}

// sparse makes a file of zeros that takes no room.
func sparse(path string, size int64) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, fileMode)
	if err != nil {
		return err
	}
	if err := f.Truncate(size); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

// kind tells apart the faux sectors that can share tree files.
type kind struct {
	dir  string
	size uint64
}

// model returns an earlier tree file that a faux sector's can be links to, or
// "" when there is none yet.
func (m *Maker) model(s Sector) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.models[kind{s.Dir, s.Size}]
}

func (m *Maker) setModel(s Sector, path string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.models[kind{s.Dir, s.Size}] = path
}

// commC chooses the sector's comm_c; drawn is the one made up for it.
func (m *Maker) commC(s Sector, drawn [32]byte) (fr.Element, error) {
	switch {
	case s.CommC != [32]byte{}:
		drawn = s.CommC
	case s.Update:
		path := filepath.Join(s.sealed().Cache(), post.PAuxName)
		raw, err := os.ReadFile(path)
		if err != nil {
			return fr.Element{}, fmt.Errorf("comm_c of the sealed sector: %w", err)
		}
		aux, err := post.ParsePAux(raw)
		if err != nil {
			return fr.Element{}, fmt.Errorf("comm_c of the sealed sector: %s: %w", path, err)
		}
		return aux.CommC, nil
	}
	c, err := merkle.Node(drawn)
	if err != nil {
		return fr.Element{}, fmt.Errorf("comm_c: %w", err)
	}
	return c, nil
}

// canonical clears the two top bits of every 32nd byte of a stream.
type canonical struct {
	r  io.Reader
	at int // place in the current word
}

func (c *canonical) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	for i := range p[:n] {
		if c.at++; c.at == merkle.NodeSize {
			p[i] &= 0x3f
			c.at = 0
		}
	}
	return n, err
}

// writePAux writes p_aux and an empty t_aux and returns comm_r.
func (m *Maker) writePAux(dir string, aux post.PAux) ([32]byte, error) {
	commR := merkle.NodeBytes(aux.CommR(m.hasher))
	if err := os.WriteFile(filepath.Join(dir, post.PAuxName), aux.Encode(), fileMode); err != nil {
		return commR, err
	}
	return commR, os.WriteFile(filepath.Join(dir, "t_aux"), nil, fileMode)
}
