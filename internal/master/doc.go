// Package master is what runs in wdpost-master-daemon: the queue over its
// database, the service for slaves, and the protocol with the manager whose
// child the master may be.
//
//	manager ══ stdin/stdout ══▶ Queue ◀══ gRPC ══ slaves
//	   ▲                          │
//	   └── Report, a JSON line ── Board: what keeps tasks from being proven
//
// A value of wdpost_master.toml goes to its room through [planOf] and nowhere
// else; a test holds that each key arrives.
package master
