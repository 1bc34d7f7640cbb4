package prover

import (
	"context"
	"fmt"

	"wdpost/internal/task"
	"wdpost/proofs/merkle"
	"wdpost/proofs/post"
)

// GivenFirst takes the vanilla proofs that come with replicas and reads only
// the others. What is given is checked like what is read: the engine trusts no
// reader.
type GivenFirst struct{ Next VanillaReader }

// ReadVanilla implements VanillaReader.
func (g GivenFirst) ReadVanilla(ctx context.Context, sectorSize uint64, replica task.Replica, challenges []uint64) (*post.Vanilla, error) {
	if replica.Vanilla == nil {
		return g.Next.ReadVanilla(ctx, sectorSize, replica, challenges)
	}
	shape, err := merkle.ShapeOf(sectorSize)
	if err != nil {
		return nil, err
	}
	v, err := post.DecodeVanilla(shape, len(challenges), replica.Vanilla)
	if err != nil {
		return nil, &task.FaultError{Kind: task.FaultData, Err: fmt.Errorf("vanilla proof given with sector %d: %w", replica.SectorID, err)}
	}
	return v, nil
}
