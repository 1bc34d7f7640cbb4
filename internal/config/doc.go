// Package config is the manual of the configuration files: one struct for each
// file, its fields documented with default, unit and limits, a strict decoder
// that refuses unknown keys by name and line, and the checks of values against
// each other.
//
//	sector-manager.cfg   Manager      venus-sector-manager
//	ext-prover.cfg       ExtProver    venus-sector-manager
//	wdpost_master.toml   Master       wdpost-master-daemon
//	slave.toml           Slave        wdpost-slave-daemon
//
// A Load function applies the defaults, decodes over them and validates. What
// is legal but suspicious comes back as Warnings, to be logged once at start.
// The package does no I/O besides reading the named file.
package config
