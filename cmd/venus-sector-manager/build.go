package main

import "wdpost/internal/rpc"

// build names this program's version and commit.
func build() string { return rpc.BuildVersion() }
