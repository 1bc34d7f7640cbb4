package groth16

import (
	"crypto/rand"
	"fmt"
	"io"
	"math/big"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
)

// Trapdoor holds the secrets of a setup. Whoever knows them can forge proofs:
// keys made here are for development, and the secrets are to be forgotten.
type Trapdoor struct {
	Alpha, Beta, Gamma, Delta, Tau fr.Element
}

// NewTrapdoor draws the five secrets uniformly from the non-zero field
// elements. random is crypto/rand.Reader if nil.
func NewTrapdoor(random io.Reader) (*Trapdoor, error) {
	if random == nil {
		random = rand.Reader
	}
	var t Trapdoor
	for _, x := range t.all() {
		for x.IsZero() {
			n, err := rand.Int(random, fr.Modulus())
			if err != nil {
				return nil, fmt.Errorf("trapdoor: randomness: %w", err)
			}
			x.SetBigInt(n)
		}
	}
	return &t, nil
}

// all lists the secrets.
func (t *Trapdoor) all() [5]*fr.Element {
	return [...]*fr.Element{&t.Alpha, &t.Beta, &t.Gamma, &t.Delta, &t.Tau}
}

// check refuses secrets that make no key: a zero, or a τ inside the domain of m
// points. It returns τ^m − 1. Spec 8.6.
func (t *Trapdoor) check(m int) (vanishing fr.Element, err error) {
	for _, x := range t.all() {
		if x.IsZero() {
			return vanishing, fmt.Errorf("%w: a secret is zero", ErrTrapdoor)
		}
	}
	var one fr.Element
	one.SetOne()
	vanishing.Exp(t.Tau, big.NewInt(int64(m)))
	vanishing.Sub(&vanishing, &one)
	if vanishing.IsZero() {
		return vanishing, fmt.Errorf("%w: tau lies in the FFT domain of %d points", ErrTrapdoor, m)
	}
	return vanishing, nil
}
