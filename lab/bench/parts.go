package bench

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"time"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"

	"wdpost/internal/prover"
	"wdpost/proofs/groth16"
	"wdpost/proofs/poseidon"
)

// workers is how many goroutines work in parallel.
func workers() int { return runtime.GOMAXPROCS(0) }

// PoseidonJob times the hash of eight elements on one core. Its steps are
// "single" and "batched", for one hash, each the median of Rounds.
type PoseidonJob struct {
	Rounds int `json:"rounds"`
	Hashes int `json:"hashes"` // of a round
}

func (j *PoseidonJob) run() (Result, error) {
	const arity = 8
	on, err := prover.Kernel()
	if err != nil {
		return Result{}, err
	}
	hash := poseidon.NewOn(arity, on)
	nodes := make([]fr.Element, arity*j.Hashes)
	for i := range nodes {
		nodes[i].SetUint64(uint64(i)).Square(&nodes[i]).Inverse(&nodes[i])
	}
	digests := make([]fr.Element, j.Hashes)
	preimage := slices.Clone(nodes[:arity])
	single := median(j.Rounds, func() {
		for i := range j.Hashes {
			preimage[i%arity] = hash.Hash(preimage) // each feeds the next
		}
	})
	batch := hash.NewBatch()
	batched := median(j.Rounds, func() { batch.Hash(digests, nodes) })
	if want := hash.Hash(nodes[:arity]); digests[0] != want {
		return Result{}, fmt.Errorf("poseidon: the batch gives %v, one hash gives %v", digests[0], want)
	}
	n := float64(j.Hashes)
	return Result{Seconds: map[string]float64{"single": single / n, "batched": batched / n}}, nil
}

// median is the middle of the times that work takes, in seconds.
func median(rounds int, work func()) float64 {
	took := make([]float64, max(rounds, 1))
	for i := range took {
		start := time.Now()
		work()
		took[i] = time.Since(start).Seconds()
	}
	return middle(took)
}

// middle is the median of at least one value; it sorts them.
func middle(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/2]
}

// VerifyJob times the verification of proofs of one key. Its steps are "one",
// the first proof alone, and "all", all of them as one batch, each the median
// of Rounds.
type VerifyJob struct {
	VK     string `json:"vk"`
	Proofs string `json:"proofs"` // file of 192 bytes each
	Inputs string `json:"inputs"` // file of the public inputs of each in turn, 32 bytes little-endian
	Rounds int    `json:"rounds"`
}

func (j *VerifyJob) run() (Result, error) {
	verifier, err := j.verifier()
	if err != nil {
		return Result{}, err
	}
	b, err := os.ReadFile(j.Proofs)
	if err != nil {
		return Result{}, err
	}
	parsed, err := groth16.ParseProofs(b)
	if err != nil {
		return Result{}, fmt.Errorf("%s: %w", j.Proofs, err)
	}
	inputs, err := readInputs(j.Inputs, len(parsed), verifier.Inputs())
	if err != nil {
		return Result{}, err
	}
	var failed error
	took := func(n int) float64 {
		return median(j.Rounds, func() {
			if err := verifier.VerifyBatch(parsed[:n], inputs[:n], nil); err != nil {
				failed = err
			}
		})
	}
	return Result{Seconds: map[string]float64{"one": took(1), "all": took(len(parsed))}}, failed
}

func (j *VerifyJob) verifier() (*groth16.Verifier, error) {
	b, err := os.ReadFile(j.VK)
	if err != nil {
		return nil, err
	}
	var vk groth16.VerifyingKey
	if err := vk.UnmarshalBinary(b); err != nil {
		return nil, fmt.Errorf("%s: %w", j.VK, err)
	}
	on, err := prover.Kernel()
	if err != nil {
		return nil, err
	}
	return groth16.NewVerifier(&vk, workers(), on)
}

// readInputs reads the public inputs of proofs, each of n.
func readInputs(path string, proofs, n int) ([][]fr.Element, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if len(b) != proofs*n*fr.Bytes {
		return nil, fmt.Errorf("%s: %d bytes, %d proofs of %d inputs need %d", path, len(b), proofs, n, proofs*n*fr.Bytes)
	}
	inputs := make([][]fr.Element, proofs)
	for i := range inputs {
		inputs[i] = make([]fr.Element, n)
		for k := range inputs[i] {
			word := [fr.Bytes]byte(b[(i*n+k)*fr.Bytes:])
			if inputs[i][k], err = fr.LittleEndian.Element(&word); err != nil {
				return nil, fmt.Errorf("%s: input %d of proof %d: %w", path, k, i, err)
			}
		}
	}
	return inputs, nil
}
