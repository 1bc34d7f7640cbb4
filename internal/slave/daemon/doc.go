// Package daemon is what runs in wdpost-slave-daemon: it reads what slave.toml
// and the environment say, joins the rooms accordingly, and runs them.
//
//	slave.toml ┐                    ┌─▶ rpc.Client ──▶ master
//	           ├─▶ plan ─▶ Daemon ──┼─▶ slave.Worker ─▶ paths ─▶ prover or processors
//	environment┘                    └─▶ debug pages, status
//
// plan is the only place that knows which key means what; it makes no
// connection and opens no file, so a test walks every key of the file and sees
// its value arrive.
package daemon
