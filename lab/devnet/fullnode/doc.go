// Package fullnode answers the JSON-RPC methods of a Lotus node (namespace
// Filecoin, /rpc/v1) from a simulated chain, in the shapes and with the error
// texts of Lotus 1.36.
//
// Source of the shapes and texts: answers recorded from that node, see the
// testdata of internal/lotus, and lotus node/impl/full.
package fullnode
