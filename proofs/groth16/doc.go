// Package groth16 is the Groth16 proof system over BLS12-381 in the dialect of
// bellperson: keys, setup, prove, verify and batch verify.
package groth16
