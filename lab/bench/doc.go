// Package bench measures the proof system, alone and beside the reference
// implementation: every run is a child process of its own, so that time and
// memory of both are those of a program that proves once, taken in the same
// way and in turns on the same machine, from the same files.
//
// A Job is what one child of ours does. A Place holds the sectors and keys that
// measurements share. Compare runs the table of works, Scale shows how cost
// grows with the circuit, Full proves a whole partition of real size in stages
// that survive an interruption, and Reading times the reading of sectors from a
// slow store.
package bench
