// Package serve is what the simulated services have in common: a JSON-RPC
// listener over HTTP and websocket with the bearer tokens of a Lotus node, and
// faults that a test or an operator injects: an endpoint that is down, calls
// that hang, are slow, fail, or fail although they had their effect.
package serve
