// Package extprover speaks the external-processor protocol, both sides.
//
// A host starts a child process for each configured processor. The child prints
// one line when it is ready,
//
//	window_post processor ready
//
// and from then on both sides write one JSON object a line, the host to the
// child's stdin and the child to its stdout:
//
//	{"id":1,"task":{"miner_id":1008,"proof_type":"…","replicas":[…],"seed":[…]}}
//	{"id":1,"err_msg":null,"output":{"proofs":["base64"],"faults":[]}}
//
// Answers come in any order. The child's stderr is its log.
//
// One addition of ours lets a request be withdrawn. A host that knows it says
// so by WDPOST_EXTPROVER_CANCEL=1 in the child's environment; a child that
// knows it then prints {"hello":{"cancel":true}} after the ready line, and only
// such a child is ever sent {"id":1,"cancel":true}. Programs that know nothing
// of it never see any of this. A child whose hello says "vanilla":true is given
// the vanilla proofs of the replicas, where the host has them, and reads no
// files; all others get the question without them.
//
// Another lets a child of ours tell its host how it is: see Report and StatusEnv.
//
// Source: damocles damocles-manager/pkg/extproc and vc-processors.
package extprover
