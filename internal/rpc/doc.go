// Package rpc is the contract between master and slaves over gRPC, and the
// adapters on both sides: [Server] puts it before a queue, [Client] gives it
// to a slave. The contract itself is wdpostv1/wdpost.proto.
package rpc

import "time"

//go:generate protoc --go_out=. --go_opt=paths=source_relative --go-grpc_out=. --go-grpc_opt=paths=source_relative wdpostv1/wdpost.proto

// Contract is the version of the contract, carried by every call.
const Contract = "1"

// Names of the metadata of a call.
const (
	keyContract = "wdpost-contract"
	keyToken    = "authorization"
	bearer      = "Bearer "
)

// Limits of messages in bytes. A question of three full 64 GiB partitions with
// long paths has about 4 MB.
const (
	maxQuestion = 64 << 20
	maxRequest  = 1 << 20  // of what slaves send in one message
	maxAnswer   = 16 << 20 // of a whole answer
	answerPart  = 256 << 10
)

// Limits of the stream of an answer: its pieces, however small, and its time.
const (
	maxPieces = 1024
	maxStream = 10 * time.Minute
)

// maxLeases bounds the tasks that one call of a slave may name.
const maxLeases = 1024

// maxRoles bounds the roles that a claim may name.
const maxRoles = 8
