package post

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"

	"wdpost/proofs/merkle"
	"wdpost/proofs/work"
)

// PAuxName is the name of the file with a sector's commitments in its cache
// directory; PAuxSize is how many of its bytes count.
const (
	PAuxName = "p_aux"
	PAuxSize = 64
)

// PAux is the content of p_aux: the commitments that make up comm_r.
type PAux struct {
	CommC     fr.Element
	CommRLast fr.Element
}

// ParsePAux reads p_aux: comm_c ‖ comm_r_last. Like the reference it ignores
// what may follow. Errors are *merkle.FileError for PAuxName. Spec 2.2.
func ParsePAux(data []byte) (PAux, error) {
	if len(data) < PAuxSize {
		return PAux{}, &merkle.FileError{File: PAuxName, Offset: -1,
			Err: fmt.Errorf("%w: %d bytes, want %d", merkle.ErrShort, len(data), PAuxSize)}
	}
	var aux PAux
	for i, dst := range []*fr.Element{&aux.CommC, &aux.CommRLast} {
		e, err := merkle.Node([merkle.NodeSize]byte(data[i*merkle.NodeSize:]))
		if err != nil {
			return PAux{}, &merkle.FileError{File: PAuxName, Offset: int64(i * merkle.NodeSize), Err: err}
		}
		*dst = e
	}
	return aux, nil
}

// Encode returns the 64 bytes of the file.
func (a PAux) Encode() []byte {
	c, r := merkle.NodeBytes(a.CommC), merkle.NodeBytes(a.CommRLast)
	return append(c[:], r[:]...)
}

// CommR returns the commitment that the chain keeps, H(comm_c, comm_r_last).
func (a PAux) CommR(h *merkle.Hasher) fr.Element { return h.HashPair(a.CommC, a.CommRLast) }

// ErrOtherSector means that a sector's files are sound in themselves but hold
// another replica than the chain expects.
var ErrOtherSector = errors.New("files belong to another replica")

// SectorFiles are the opened files of one sector, of either a sealed or an
// updated replica: both have the same form.
type SectorFiles struct {
	merkle.Files
	PAux []byte // content of p_aux
}

// OpenSector is a sector whose commitments have been read and checked and whose
// leaves can be opened. It is immutable and safe for concurrent use, as far as
// its files are.
type OpenSector struct {
	files SectorFiles
	tree  *merkle.Tree
	aux   PAux
	commR fr.Element
}

// Open reads the upper part of a sector's tree (one small read for each tree
// file) and checks it against p_aux. sectorSize is in bytes. Errors in files
// are *merkle.FileError.
func Open(h *merkle.Hasher, sectorSize uint64, files SectorFiles) (*OpenSector, error) {
	shape, err := merkle.ShapeOf(sectorSize)
	if err != nil {
		return nil, err
	}
	aux, err := ParsePAux(files.PAux)
	if err != nil {
		return nil, err
	}
	tree, err := merkle.Open(h, shape, files.Files)
	if err != nil {
		return nil, err
	}
	if tree.Root() != aux.CommRLast {
		return nil, &merkle.FileError{File: PAuxName, Offset: merkle.NodeSize,
			Err: fmt.Errorf("%w: comm_r_last is not the root of the tree files", merkle.ErrMismatch)}
	}
	return &OpenSector{files: files, tree: tree, aux: aux, commR: aux.CommR(h)}, nil
}

// CommR returns the commitment that the files add up to.
func (o *OpenSector) CommR() [32]byte { return merkle.NodeBytes(o.commR) }

// Tree returns the sector's tree. Its Layout plans the reads of a challenge and
// Assemble makes the inclusion proof from their results, for callers that
// schedule reads themselves; they end with NewVanilla.
func (o *OpenSector) Tree() *merkle.Tree { return o.tree }

// NewVanilla joins inclusion proofs of the sector's tree, in the order of the
// challenges, to a vanilla proof. The error wraps ErrOtherSector when the files
// do not hold the replica the chain knows.
func (o *OpenSector) NewVanilla(sector Sector, inclusion []merkle.Proof) (*Vanilla, error) {
	if got := o.CommR(); got != sector.CommR {
		return nil, fmt.Errorf("%w: comm_r %x, the chain has %x", ErrOtherSector, got, sector.CommR)
	}
	return &Vanilla{
		Sector: sector.Number, CommR: o.commR,
		CommC: o.aux.CommC, CommRLast: o.aux.CommRLast,
		Inclusion: inclusion,
	}, nil
}

// VanillaConfig says which vanilla proof to make and how.
type VanillaConfig struct {
	Sector     Sector
	Challenges []uint64        // leaf indices
	Workers    int             // challenges read at once; at least 1
	Done       <-chan struct{} // closed to stop between reads; may be nil
}

// Vanilla reads the challenged leaves, in the order in which they lie in the
// replica, and makes the vanilla proof. Every proof returned would pass
// Vanilla.Verify. It stops with merkle.ErrCanceled when Done closes, but not
// inside a read.
func (o *OpenSector) Vanilla(cfg VanillaConfig) (*Vanilla, error) {
	inclusion := make([]merkle.Proof, len(cfg.Challenges))
	vanilla, err := o.NewVanilla(cfg.Sector, inclusion)
	if err != nil {
		return nil, err
	}
	order := make([]int, len(inclusion))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(cfg.Challenges[a], cfg.Challenges[b]) })
	err = work.Run(len(order), cfg.Workers, cfg.Done, func(_, at int) (err error) {
		i := order[at]
		inclusion[i], err = o.tree.Prove(o.files.Files, cfg.Challenges[i], cfg.Done)
		return err
	})
	if err != nil {
		return nil, err
	}
	return vanilla, nil
}
