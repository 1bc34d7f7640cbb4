// Package sectorfile makes sector directories in the lotus layout, for
// development networks, tests and demonstrations:
//
//	sealed/s-t0M-N                         replica
//	cache/s-t0M-N/p_aux                    comm_c ‖ comm_r_last
//	cache/s-t0M-N/t_aux                    empty, nothing here reads it
//	cache/s-t0M-N/sc-02-data-tree-r-last*  tree files
//
// and update/, update-cache/ for updated sectors. These are not sealed sectors:
// no SDR encoding ties the replica to data or miner, so the commitments hold
// only where the chain takes them as given. Proofs of spacetime cannot tell.
//
// Everything is written under temporary names and renamed, the replica last: a
// sector whose replica is there is whole. Nothing is ever overwritten.
package sectorfile
