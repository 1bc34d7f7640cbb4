package bench

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"math/big"
	"os"
	"path/filepath"

	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"

	"wdpost/proofs/groth16"
)

// simulated is a verifying key whose secrets are known, with proofs made from
// them instead of from a witness: verification cannot tell, and neither keys
// nor proofs of that size have to be made to time it.
type simulated struct {
	vk                        groth16.VerifyingKey
	alpha, beta, gamma, delta fr.Element
	ic                        []fr.Element
}

// Simulate writes a key of the given number of sectors, as in a window
// partition, and valid proofs for it, to dir, and returns the job that verifies
// them. The inputs are like real ones: of each sector a commitment and ten leaf
// indices.
func Simulate(dir string, sectors, proofs int) (*VerifyJob, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	const indices = 10
	s, err := newSimulated(sectors * (1 + indices))
	if err != nil {
		return nil, err
	}
	var proofBytes, inputBytes []byte
	for range proofs {
		inputs := make([]fr.Element, len(s.ic)-1)
		for i := range inputs {
			if _, err := inputs[i].SetRandom(); err != nil {
				return nil, err
			}
			if i%(1+indices) != 0 {
				var b [4]byte
				_, _ = rand.Read(b[:]) // never fails
				inputs[i].SetUint64(uint64(binary.LittleEndian.Uint32(b[:]) >> 2))
			}
			var word [fr.Bytes]byte
			fr.LittleEndian.PutElement(&word, inputs[i])
			inputBytes = append(inputBytes, word[:]...)
		}
		proof, err := s.prove(inputs)
		if err != nil {
			return nil, err
		}
		b := proof.Bytes()
		proofBytes = append(proofBytes, b[:]...)
	}
	vk, err := s.vk.MarshalBinary()
	if err != nil {
		return nil, err
	}
	name := fmt.Sprintf("simulated-%d", proofs)
	job := &VerifyJob{
		VK: filepath.Join(dir, name+".vk"), Proofs: filepath.Join(dir, name+".proofs"), Inputs: filepath.Join(dir, name+".inputs"),
	}
	for path, b := range map[string][]byte{job.VK: vk, job.Proofs: proofBytes, job.Inputs: inputBytes} {
		if err := os.WriteFile(path, b, 0o644); err != nil {
			return nil, err
		}
	}
	return job, nil
}

func newSimulated(inputs int) (*simulated, error) {
	s := &simulated{ic: make([]fr.Element, inputs+1)}
	for _, e := range []*fr.Element{&s.alpha, &s.beta, &s.gamma, &s.delta} {
		if _, err := e.SetRandom(); err != nil {
			return nil, err
		}
	}
	for i := range s.ic {
		if _, err := s.ic[i].SetRandom(); err != nil {
			return nil, err
		}
	}
	_, _, g1, _ := bls.Generators()
	s.vk = groth16.VerifyingKey{
		Alpha1: g1Times(&s.alpha), Beta1: g1Times(&s.beta), Delta1: g1Times(&s.delta),
		Beta2: g2Times(&s.beta), Gamma2: g2Times(&s.gamma), Delta2: g2Times(&s.delta),
		IC: bls.BatchScalarMultiplicationG1(&g1, s.ic),
	}
	return s, nil
}

// prove solves A·B = α·β + γ·Σ inputs·ic + δ·C for C, with A and B at random.
func (s *simulated) prove(inputs []fr.Element) (*groth16.Proof, error) {
	var a, b, c, t fr.Element
	if _, err := a.SetRandom(); err != nil {
		return nil, err
	}
	if _, err := b.SetRandom(); err != nil {
		return nil, err
	}
	sum := s.ic[0]
	for i := range inputs {
		sum.Add(&sum, t.Mul(&inputs[i], &s.ic[i+1]))
	}
	c.Mul(&a, &b)
	c.Sub(&c, t.Mul(&s.alpha, &s.beta))
	c.Sub(&c, t.Mul(&s.gamma, &sum))
	c.Div(&c, &s.delta)
	return &groth16.Proof{A: g1Times(&a), B: g2Times(&b), C: g1Times(&c)}, nil
}

func g1Times(k *fr.Element) bls.G1Affine {
	var p bls.G1Affine
	p.ScalarMultiplicationBase(k.BigInt(new(big.Int)))
	return p
}

func g2Times(k *fr.Element) bls.G2Affine {
	var p bls.G2Affine
	p.ScalarMultiplicationBase(k.BigInt(new(big.Int)))
	return p
}
