package config

import _ "embed"

// Names of the manager's files in its home or config folder.
const (
	ManagerFile   = "sector-manager.cfg"
	ExtProverFile = "ext-prover.cfg"
)

// DefaultManagerText is the sector-manager.cfg that `daemon init` writes: every
// key, commented out.
//
//go:embed defaults/sector-manager.cfg
var DefaultManagerText string

// DefaultExtProverText is the ext-prover.cfg that `daemon init` writes.
//
//go:embed defaults/ext-prover.cfg
var DefaultExtProverText string
