package prover

// Seams for the tests of this package.
var (
	AvailableMemoryIn = availableMemory
	ProofMemory       = proofMemory
)
