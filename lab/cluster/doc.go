// Package cluster runs the whole system on one machine as real processes: a
// devnet chain, sector files, development parameters, the manager with its
// master, and slaves, configured through the same files and commands that the
// operator's guide uses. It restarts processes that die, as systemd would,
// draws a live view, and judges the deadlines.
package cluster
