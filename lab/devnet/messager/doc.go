// Package messager plays a Venus messager (sophon-messager): clients hand it
// messages under an id of their own; at each new head it estimates, signs and
// sends those that wait, follows them onto the chain and back off it after a
// reorganisation, and replaces them on request. JSON-RPC namespace Message.
//
// A message that the chain refuses in gas estimation stays in the state
// UnFillMsg with the refusal in ErrorMsg and is tried again at each head, until
// its expiry epoch: the caller is not told, as with the real one.
//
// Source: sophon-messager service/message_service.go and message_selector.go,
// venus-shared/types/messager/message.go.
package messager
