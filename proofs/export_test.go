package proofs

import "wdpost/proofs/circuit"

// Assignment is the witness that Prove uses for a partition.
func (s *System) Assignment(task *Task, partition int) (*circuit.Circuit, *circuit.Assignment, error) {
	return s.assign(task, task.Statement.Blocks(partition))
}
