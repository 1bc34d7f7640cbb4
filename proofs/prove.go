package proofs

import (
	"fmt"

	"wdpost/proofs/circuit"
	"wdpost/proofs/groth16"
	"wdpost/proofs/post"
	"wdpost/proofs/work"
)

// Task is a statement with the witness for it.
type Task struct {
	Statement *post.Statement
	// Vanilla[i] is the vanilla proof of Statement.Sectors[i]. Those of sectors
	// outside the partition that is proven may be nil.
	Vanilla []*post.Vanilla
}

// ProveConfig says how a proof is made.
type ProveConfig struct {
	Workers  int                      // goroutines; fewer than one count as one
	Done     <-chan struct{}          // when closed, proving ends with groth16.ErrCanceled
	Progress func(done, total uint64) // work done, never called concurrently; may be nil

	// Blinding of the proofs; the zero value is right for proofs of spacetime,
	// see groth16.Blinding.
	Blinding groth16.Blinding
	// Ahead is told what memory of the key is read soon, see
	// groth16.ProveConfig; may be nil.
	Ahead func(memory []byte)
	// Observer is told of every piece of work on a partition; may be nil.
	Observer groth16.Observer
}

// Prove proves all partitions of a statement, one after the other, and returns
// their proofs concatenated: 192 bytes for each partition.
//
// Every vanilla proof is first checked against the statement, for winning with
// all its 66 challenges. Errors wrap post.ErrStatement, post.ErrInvalidVanilla
// (naming the sector), groth16.ErrMalformedKey, groth16.ErrUnsatisfied or
// groth16.ErrCanceled. A proof that is returned verifies, given a sound key.
func (s *System) Prove(key *groth16.ProvingKey, task *Task, config ProveConfig) ([]byte, error) {
	if err := task.validate(); err != nil {
		return nil, fmt.Errorf("prove: %w", err)
	}
	partitions := task.Statement.Partitions()
	out := make([]byte, 0, partitions*groth16.ProofSize)
	for p := range partitions {
		part := config
		if report := config.Progress; report != nil {
			part.Progress = func(done, total uint64) {
				report(uint64(p)*total+done, uint64(partitions)*total)
			}
		}
		proof, err := s.provePartition(key, task, p, part)
		if err != nil {
			return nil, err
		}
		out = append(out, proof...)
	}
	return out, nil
}

// ProvePartition is Prove for one partition: 192 bytes.
func (s *System) ProvePartition(key *groth16.ProvingKey, task *Task, partition int, config ProveConfig) ([]byte, error) {
	if err := task.validate(); err != nil {
		return nil, fmt.Errorf("prove: %w", err)
	}
	if n := task.Statement.Partitions(); partition < 0 || partition >= n {
		return nil, fmt.Errorf("prove: %w: partition %d of %d", post.ErrStatement, partition, n)
	}
	return s.provePartition(key, task, partition, config)
}

// validate checks what can be checked without reading a vanilla proof.
func (t *Task) validate() error {
	if err := t.Statement.Validate(); err != nil {
		return err
	}
	if len(t.Vanilla) != len(t.Statement.Sectors) {
		return fmt.Errorf("%w: %d vanilla proofs for %d sectors", post.ErrInvalidVanilla, len(t.Vanilla), len(t.Statement.Sectors))
	}
	return nil
}

func (s *System) provePartition(key *groth16.ProvingKey, task *Task, partition int, config ProveConfig) ([]byte, error) {
	blocks := task.Statement.Blocks(partition)
	if err := s.checkVanilla(task, blocks, config); err != nil {
		return nil, fmt.Errorf("prove: partition %d: %w", partition, err)
	}
	c, assignment, err := s.assign(task, blocks)
	if err != nil {
		return nil, fmt.Errorf("prove: %w", err)
	}
	proof, err := groth16.Prove(key, c, assignment, groth16.ProveConfig{
		Workers: config.Workers, Done: config.Done, Progress: config.Progress, Kernel: s.kernel,
		Blinding: config.Blinding, Ahead: config.Ahead, Observer: config.Observer,
	})
	if err != nil {
		return nil, fmt.Errorf("partition %d: %w", partition, err)
	}
	b := proof.Bytes()
	return b[:], nil
}

// assign returns the circuit of the statement and the witness of the blocks,
// which is arranged from the vanilla proofs when it is asked for.
func (s *System) assign(task *Task, blocks []post.Block) (*circuit.Circuit, *circuit.Assignment, error) {
	setup := setupOf(task.Statement)
	c, err := s.Circuit(setup)
	if err != nil {
		return nil, nil, err
	}
	return c, c.Assign(func(block int) (*circuit.Sector, error) {
		b := blocks[block]
		return witness(task.Vanilla[b.Sector], b.First, setup.Challenges), nil
	}), nil
}

// checkVanilla checks the vanilla proof of every sector in blocks once.
func (s *System) checkVanilla(task *Task, blocks []post.Block, config ProveConfig) error {
	sectors := distinctSectors(blocks)
	return work.Run(len(sectors), config.Workers, config.Done, func(_, k int) error {
		i := sectors[k]
		if task.Vanilla[i] == nil {
			return fmt.Errorf("%w: sector %d has none", post.ErrInvalidVanilla, task.Statement.Sectors[i].Number)
		}
		return task.Statement.Check(s.hasher, i, task.Vanilla[i])
	})
}

// distinctSectors lists the sectors of blocks, each once. Equal ones are
// adjacent.
func distinctSectors(blocks []post.Block) []int {
	var out []int
	for _, b := range blocks {
		if len(out) == 0 || out[len(out)-1] != b.Sector {
			out = append(out, b.Sector)
		}
	}
	return out
}

// witness arranges n inclusion proofs of a vanilla proof, from first on, as the
// private side of a sector block.
func witness(v *post.Vanilla, first, n int) *circuit.Sector {
	w := &circuit.Sector{CommR: v.CommR, CommC: v.CommC, CommRLast: v.CommRLast, Openings: make([]circuit.Opening, n)}
	for i := range w.Openings {
		p := &v.Inclusion[first+i]
		levels := make([]circuit.Level, len(p.Path))
		for k, l := range p.Path {
			levels[k] = circuit.Level{Index: l.Index, Siblings: l.Siblings}
		}
		w.Openings[i] = circuit.Opening{Leaf: p.Leaf, Levels: levels}
	}
	return w
}
