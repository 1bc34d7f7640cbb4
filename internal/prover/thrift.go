package prover

import (
	"runtime/debug"
	"sync"
)

// thriftyPercent is the garbage collector's target while a proof runs. A proof
// holds a few very large slices without pointers, so that collecting often
// costs next to nothing, while the usual target of 100 would let garbage take
// as much memory again as the proof itself.
const thriftyPercent = 5

// thrift counts the proofs under way in this process and keeps the collector's
// target from before the first of them: the setting is the process's own.
var thrift struct {
	sync.Mutex
	proofs int
	before int
}

// SaveMemory makes the garbage collector leave little garbage lying until
// release is called, once; calls may overlap. A stricter setting is kept, and
// so is a collector that is switched off.
func SaveMemory() (release func()) {
	thrift.Lock()
	defer thrift.Unlock()
	if thrift.proofs++; thrift.proofs == 1 {
		thrift.before = debug.SetGCPercent(thriftyPercent)
		if thrift.before < thriftyPercent {
			debug.SetGCPercent(thrift.before)
		}
	}
	return sync.OnceFunc(func() {
		thrift.Lock()
		defer thrift.Unlock()
		if thrift.proofs--; thrift.proofs == 0 {
			debug.SetGCPercent(thrift.before)
		}
	})
}
