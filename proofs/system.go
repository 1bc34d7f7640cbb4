package proofs

import (
	"fmt"
	"io"
	"sync"

	"wdpost/proofs/circuit"
	"wdpost/proofs/groth16"
	"wdpost/proofs/kernel"
	"wdpost/proofs/merkle"
	"wdpost/proofs/post"
)

// System holds what all proofs share: the Poseidon constants and the circuits
// compiled so far, one sector block for each setup. Make one and pass it on; it
// is safe for concurrent use.
type System struct {
	kernel kernel.Kernel
	hasher *merkle.Hasher
	hashes circuit.Hashes

	mu       sync.Mutex // guards circuits
	circuits map[post.Setup]*circuit.Circuit
}

// New generates the constants, for the fastest kernel of this machine. It takes
// some milliseconds.
func New() *System { return NewOn(kernel.Auto) }

// NewOn is New for a given kernel: trees are hashed, keys made, proofs made and
// verified with it.
func NewOn(k kernel.Kernel) *System {
	hasher := merkle.NewHasherOn(k)
	return &System{
		kernel:   k.Resolve(),
		hasher:   hasher,
		hashes:   circuit.Hashes{Arity2: hasher.Poseidon(2), Arity8: hasher.Poseidon(8)},
		circuits: make(map[post.Setup]*circuit.Circuit),
	}
}

// Kernel is what the system computes with, never kernel.Auto.
func (s *System) Kernel() kernel.Kernel { return s.kernel }

// Hasher is the hash of trees and commitments, for post.Open.
func (s *System) Hasher() *merkle.Hasher { return s.hasher }

// Circuit returns the circuit of a setup, compiled at the first call.
func (s *System) Circuit(setup post.Setup) (*circuit.Circuit, error) {
	if err := setup.Validate(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.circuits[setup]; c != nil {
		return c, nil
	}
	shape, err := merkle.ShapeOf(setup.SectorSize)
	if err != nil {
		return nil, err
	}
	c, err := circuit.New(circuit.Config{
		Levels: shape.Levels(), Challenges: setup.Challenges, Sectors: setup.Sectors,
	}, s.hashes)
	if err != nil {
		return nil, err
	}
	s.circuits[setup] = c
	return c, nil
}

// setupOf returns the circuit setup that a statement is proven with.
func setupOf(statement *post.Statement) post.Setup {
	if statement.Setup == (post.Setup{}) {
		return statement.Type.Setup()
	}
	return statement.Setup
}

// KeyConfig says how a key is generated.
type KeyConfig struct {
	Random   io.Reader                // of the secrets; crypto/rand.Reader if nil
	Workers  int                      // goroutines; fewer than one count as one
	Done     <-chan struct{}          // when closed, generation ends with groth16.ErrCanceled
	Progress func(done, total uint64) // points made, called from one goroutine; may be nil
}

// GenerateKey makes a development key of a setup and hands it to sink. The
// secrets behind it are drawn here and forgotten, but nobody else can know
// that: such a key is for networks that agree to trust its maker.
func (s *System) GenerateKey(setup post.Setup, sink groth16.Sink, config KeyConfig) error {
	c, err := s.Circuit(setup)
	if err != nil {
		return fmt.Errorf("generate key: %w", err)
	}
	trapdoor, err := groth16.NewTrapdoor(config.Random)
	if err != nil {
		return fmt.Errorf("generate key: %w", err)
	}
	err = groth16.Setup(c, trapdoor, sink, groth16.SetupConfig{
		Workers: config.Workers, Done: config.Done, Progress: config.Progress, Kernel: s.kernel,
	})
	if err != nil {
		return fmt.Errorf("generate key: %w", err)
	}
	return nil
}
