package sectorfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"

	"wdpost/proofs/merkle"
	"wdpost/proofs/post"
)

// draft is a sector under temporary names, in the directories it will stay in
// so that renaming moves no data.
type draft struct {
	sector         Sector
	replica, cache string
}

// draftPrefix starts the temporary names; no sector name does.
const draftPrefix = ".making-"

// newDraft makes the directories. It refuses a sector of which any part is
// there already; what an interrupted attempt left is removed.
func newDraft(s Sector) (*draft, error) {
	for _, path := range []string{s.Replica(), s.Cache()} {
		if _, err := os.Lstat(path); err == nil {
			return nil, fmt.Errorf("%s: %w; remove it or choose another sector number", path, fs.ErrExist)
		} else if !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	hidden := func(path string) string {
		return filepath.Join(filepath.Dir(path), draftPrefix+filepath.Base(path))
	}
	d := &draft{sector: s, replica: hidden(s.Replica()), cache: hidden(s.Cache())}
	if err := d.discard(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(d.replica), dirMode); err != nil {
		return nil, err
	}
	return d, os.MkdirAll(d.cache, dirMode)
}

// discard removes the draft.
func (d *draft) discard() error {
	return errors.Join(os.RemoveAll(d.replica), os.RemoveAll(d.cache))
}

// commit gives the sector its name, the replica last.
func (d *draft) commit() error {
	if err := os.Rename(d.cache, d.sector.Cache()); err != nil {
		return err
	}
	return os.Rename(d.replica, d.sector.Replica())
}

// make drafts a sector, lets fill write replica and tree files and return the
// roots of the base trees, adds p_aux and commits. drawn is the comm_c to use
// where the sector names none.
func (m *Maker) make(s Sector, drawn [32]byte, fill func(*draft) ([]fr.Element, error)) (commR [32]byte, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("make sector %s: %w", s.Name(), err)
		}
	}()
	shape, err := merkle.ShapeOf(s.Size)
	if err != nil {
		return commR, err
	}
	aux := post.PAux{}
	if aux.CommC, err = m.commC(s, drawn); err != nil {
		return commR, err
	}
	d, err := newDraft(s)
	if err != nil {
		return commR, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.discard())
		}
	}()
	roots, err := fill(d)
	if err != nil {
		return commR, err
	}
	aux.CommRLast = m.hasher.Root(shape, roots)
	if commR, err = m.writePAux(d.cache, aux); err != nil {
		return commR, err
	}
	return commR, d.commit()
}
