package bench

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
	"golang.org/x/sync/errgroup"

	"wdpost/internal/sectorfile"
	"wdpost/proofs/merkle"
	"wdpost/proofs/post"
)

// challenged makes a sector of any size of which only what one proof reads is
// there: the segments of the replica with the challenged leaves, the groups of
// the tree on their paths and the roots, all random and in agreement. The rest
// of its sparse files is zero.
//
// The witness of a proof is then like that of a real sector. That of an
// all-zero sector repeats the same few values over and over, and a prover that
// notices is measured faster than it is.
type challenged struct {
	hasher     *merkle.Hasher
	layout     merkle.Layout
	sector     sectorfile.Sector
	challenges []uint64
	random     io.Reader
}

// placeOf says where a piece of a file begins.
type placeOf struct {
	file   int // as in merkle.Read
	offset int64
}

// make writes the files and returns comm_r.
func (c *challenged) make() (commR [32]byte, err error) {
	names := c.layout.FileNames()
	if err := errors.Join(os.MkdirAll(c.sector.Cache(), 0o755), os.MkdirAll(filepath.Dir(c.sector.Replica()), 0o755)); err != nil {
		return commR, err
	}
	files := make([]*os.File, len(names)+1) // the replica last
	defer func() {
		for _, f := range files {
			if f != nil {
				err = errors.Join(err, f.Close())
			}
		}
	}()
	for i, name := range names {
		if files[i], err = sparseFile(filepath.Join(c.sector.Cache(), name), c.layout.FileSize()); err != nil {
			return commR, err
		}
	}
	if files[len(names)], err = sparseFile(c.sector.Replica(), int64(c.sector.Size)); err != nil {
		return commR, err
	}
	write := func(at placeOf, nodes []fr.Element) error {
		f := files[len(names)]
		if at.file != merkle.Replica {
			f = files[at.file]
		}
		b := make([]byte, 0, len(nodes)*merkle.NodeSize)
		for _, n := range nodes {
			word := merkle.NodeBytes(n)
			b = append(b, word[:]...)
		}
		_, err := f.WriteAt(b, at.offset)
		return err
	}
	roots, err := c.tree(write)
	if err != nil {
		return commR, err
	}
	aux := post.PAux{CommRLast: c.hasher.Root(c.layout.Shape, roots)}
	if aux.CommC, err = c.node(); err != nil {
		return commR, err
	}
	for name, content := range map[string][]byte{post.PAuxName: aux.Encode(), "t_aux": nil} {
		if err := os.WriteFile(filepath.Join(c.sector.Cache(), name), content, 0o644); err != nil {
			return commR, err
		}
	}
	return merkle.NodeBytes(aux.CommR(c.hasher)), nil
}

// tree makes the rows from the bottom up, hands every piece to write and
// returns the roots of the base trees.
func (c *challenged) tree(write func(at placeOf, nodes []fr.Element) error) ([]fr.Element, error) {
	const arity, arityBits = 8, 3
	plans := make([][]merkle.Read, len(c.challenges))
	for i, challenge := range c.challenges {
		plans[i] = c.layout.Plan(challenge)
	}
	above := make([]fr.Element, len(plans)) // of each challenge, the node over the row below
	for row := range plans[0] {
		pieces := map[placeOf][]fr.Element{}
		var order []placeOf // the random nodes are drawn in the same order at every run
		for i, plan := range plans {
			r := plan[row]
			at := placeOf{r.File, r.Offset}
			if pieces[at] == nil {
				nodes, err := c.nodes(r.Length / merkle.NodeSize)
				if err != nil {
					return nil, err
				}
				pieces[at], order = nodes, append(order, at)
			}
			if row > 0 {
				leaf := c.challenges[i] % c.layout.BaseLeaves()
				pieces[at][leaf>>(arityBits*(c.layout.Discard+row))%arity] = above[i]
			}
		}
		over := map[placeOf]fr.Element{}
		for _, at := range order {
			if err := write(at, pieces[at]); err != nil {
				return nil, err
			}
			over[at] = c.climb(pieces[at])
		}
		for i, plan := range plans {
			above[i] = over[placeOf{plan[row].File, plan[row].Offset}]
		}
	}
	roots, err := c.nodes(c.layout.BaseTrees())
	if err != nil {
		return nil, err
	}
	for i, challenge := range c.challenges {
		roots[challenge/c.layout.BaseLeaves()] = above[i]
	}
	for i := range roots {
		if err := write(placeOf{i, c.layout.FileSize() - merkle.NodeSize}, roots[i:i+1]); err != nil {
			return nil, err
		}
	}
	return roots, nil
}

// climb hashes nodes by eights up to the one over all.
func (c *challenged) climb(nodes []fr.Element) fr.Element {
	const arity = 8
	for len(nodes) > 1 {
		parents := make([]fr.Element, len(nodes)/arity)
		for i := range parents {
			parents[i] = c.hasher.Hash(nodes[arity*i : arity*(i+1)])
		}
		nodes = parents
	}
	return nodes[0]
}

// nodes draws n random nodes.
func (c *challenged) nodes(n int) ([]fr.Element, error) {
	out := make([]fr.Element, n)
	for i := range out {
		var err error
		if out[i], err = c.node(); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (c *challenged) node() (fr.Element, error) {
	var word [32]byte
	if _, err := io.ReadFull(c.random, word[:]); err != nil {
		return fr.Element{}, err
	}
	return merkle.Node(post.MaskRandomness(word))
}

// sparseFile makes a file of zeros that takes no room.
func sparseFile(path string, size int64) (*os.File, error) {
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	if err := f.Truncate(size); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// Challenged makes sure that there are n sectors of a proof type of which what
// a proof with the given randomness reads is random, and returns the path of
// their list. Other randomness reads zeros that do not fit.
func (p Place) Challenged(ctx context.Context, typ post.ProofType, n int, randomness [32]byte) (list string, err error) {
	randomness = post.MaskRandomness(randomness)
	dir := p.challengedDir(typ, n, randomness)
	return p.list(dir, typ.SectorSize(), func(content *sectorfile.List) error {
		shape, err := merkle.ShapeOf(typ.SectorSize())
		if err != nil {
			return err
		}
		statement := post.Statement{Type: typ, Randomness: randomness}
		for i := range n {
			statement.Sectors = append(statement.Sectors, post.Sector{Number: uint64(i + 1)})
		}
		hasher, commR := merkle.NewHasher(), make([][32]byte, n)
		group, ctx := errgroup.WithContext(ctx)
		group.SetLimit(runtime.GOMAXPROCS(0))
		for i := range n {
			group.Go(func() (err error) {
				if ctx.Err() != nil {
					return context.Cause(ctx)
				}
				number := uint64(i + 1)
				c := &challenged{
					hasher: hasher, layout: shape.DefaultLayout(), challenges: statement.Challenges(i),
					sector: sectorfile.Sector{Dir: dir, Miner: miner, Number: number, Size: typ.SectorSize()},
					random: sectorfile.Seeded("challenged", miner, number),
				}
				if commR[i], err = c.make(); err != nil {
					return fmt.Errorf("make sector %d: %w", number, err)
				}
				return nil
			})
		}
		if err := group.Wait(); err != nil {
			return err
		}
		for i := range n {
			if err := content.Add(uint64(i+1), commR[i]); err != nil {
				return err
			}
		}
		return nil
	})
}

func (p Place) challengedDir(typ post.ProofType, n int, randomness [32]byte) string {
	seed := binary.BigEndian.Uint32(randomness[:])
	return filepath.Join(p.Dir, fmt.Sprintf("challenged-%s-%s-%d-%08x", typ.Kind(), post.SizeName(typ.SectorSize()), n, seed))
}
