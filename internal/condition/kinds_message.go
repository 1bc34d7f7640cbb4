package condition

// Kinds of messages, senders and fees.
const (
	NoSender           Kind = "no_sender"
	SenderNoKey        Kind = "sender_no_key"
	SenderNoRight      Kind = "sender_no_right"
	SenderNoFunds      Kind = "sender_no_funds"
	SenderUnfit        Kind = "sender_unfit"
	FeeCapBelowBaseFee Kind = "fee_cap_below_base_fee"
	FeeLimitReached    Kind = "fee_limit_reached"
	MessageStuck       Kind = "message_stuck"
	MessageFailed      Kind = "message_failed"
	MessagesDelayed    Kind = "message_service_away"
	GatewayAway        Kind = "gateway_away"
	WinningFailed      Kind = "winning_failed"
)

var messageKinds = []Entry{
	{NoSender, Window, "no address can send messages for the miner", "set Miners.PoSt.Sender to the worker or a control address whose key the message service has, and fund it"},
	{SenderNoKey, Window, "the message service cannot sign for the sender", "import the sender's key into the wallet of the node or messager, or name another sender in Miners.PoSt.Sender"},
	{SenderNoRight, Window, "the token does not allow to sign and send messages", "give the manager a token with the permission sign (node) or write (messager): Common.API.Token"},
	{SenderNoFunds, Window, "the sender's balance does not pay for the next messages", "send FIL to the sender"},
	{SenderUnfit, Window, "the configured sender cannot send for the miner", "set Miners.PoSt.Sender to the owner, the worker or a control address of the miner"},
	{FeeCapBelowBaseFee, Window, "the message's fee cap is below the network's base fee, so that no block takes it", "raise Miners.PoSt.GasFeeCap, or MaxFee where escalation has reached it"},
	{FeeLimitReached, Window, "a message would have to cost more than the limit allows", "raise Miners.PoSt.MaxFee or MaxFeePerDay"},
	{MessageStuck, Window, "a message was handed over and does not get onto the chain", "see its reason; docs/OPERATOR.md tells what to do for each"},
	{MessageFailed, Window, "a message was executed without success", "see the exit code in the detail"},
	{MessagesDelayed, Window, "the message service does not answer", "look after the messager, or the node where there is none"},
	{GatewayAway, Money, "a gateway does not answer, block rewards are lost", "look after the gateway and its address in Common.API.Gateway"},
	{WinningFailed, Money, "winning proofs fail, block rewards are lost", "see the detail: sectors that cannot be read, or proofs that come too late"},
}
