// Package messager plays a Venus messager (sophon-messager v1.20): clients hand
// it messages under an id of their own; at each new head it estimates, signs
// and sends those that wait, follows them onto the chain and back off it after
// a reorganisation, and replaces them on request. JSON-RPC namespace Message.
//
// It answers as the real one does, in its words:
//
//   - A push whose sender no wallet signs for is refused.
//   - A message that the chain refuses in gas estimation stays in the state
//     UnFillMsg with the refusal in ErrorMsg and is tried again at each head,
//     for ever: ExpireEpoch is not looked at.
//   - Of one sender's messages the newest is signed first, and at most twenty
//     are signed ahead of the chain.
//   - A message without a MaxFee of its own may cost 0.07 FIL.
//   - What the node refused of a signed message stays in ErrorMsg, also after
//     it has landed.
//   - Until a message is on chain its receipt has the exit code -1.
//
// Source: sophon-messager service/message_service.go and message_selector.go,
// venus-shared/types/messager/message.go.
package messager
