package parts

import (
	"fmt"

	"wdpost/internal/prover"
	"wdpost/internal/task"
	"wdpost/proofs/merkle"
	"wdpost/proofs/post"
)

// Split makes a question for each partition of what was read of q, its replicas
// ascending and with their vanilla proofs: the proofs of the questions, one after
// the other, are the proof of what was read. ok is false for proof types whose
// challenges depend on the place of a sector in the message.
func Split(q task.Question, read *prover.Reading) (questions []task.Question, ok bool, err error) {
	s := read.Task.Statement
	if s.Type.APIVersion() != post.V1_2_0 {
		return nil, false, nil
	}
	shape, err := merkle.ShapeOf(s.Type.SectorSize())
	if err != nil {
		return nil, false, err
	}
	of := make(map[uint64]task.Replica, len(q.Replicas))
	for _, r := range q.Replicas {
		of[r.SectorID] = r
	}
	for p := range s.Partitions() {
		part := q
		part.AllowSkip = false
		part.Replicas = nil
		for i := p * s.Setup.Sectors; i < min((p+1)*s.Setup.Sectors, len(s.Sectors)); i++ {
			r, asked := of[s.Sectors[i].Number]
			if !asked {
				return nil, false, fmt.Errorf("sector %d was read but not asked about", s.Sectors[i].Number)
			}
			r.Vanilla = read.Task.Vanilla[i].Encode(shape)
			part.Replicas = append(part.Replicas, r)
		}
		questions = append(questions, part)
	}
	return questions, true, nil
}
