package keytool

import (
	"errors"

	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"

	"wdpost/proofs/groth16"
)

// twoSinks hands a key to two sinks at once.
type twoSinks [2]groth16.Sink

func (t twoSinks) both(f func(groth16.Sink) error) error {
	second := make(chan error, 1)
	go func() { second <- f(t[1]) }()
	return errors.Join(f(t[0]), <-second)
}

func (t twoSinks) Begin(vk *groth16.VerifyingKey, n groth16.Counts) error {
	return t.both(func(s groth16.Sink) error { return s.Begin(vk, n) })
}

func (t twoSinks) G1(points []bls.G1Affine) error {
	return t.both(func(s groth16.Sink) error { return s.G1(points) })
}

func (t twoSinks) G2(points []bls.G2Affine) error {
	return t.both(func(s groth16.Sink) error { return s.G2(points) })
}

func (t twoSinks) End() error { return t.both(groth16.Sink.End) }
