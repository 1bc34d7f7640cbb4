package condition

// Kinds of the chain's nodes. Where another endpoint serves, those that cost a
// window are set with the cost None.
const (
	NodeGone        Kind = "node_gone"
	NodeAuth        Kind = "node_auth"
	NodeStandsStill Kind = "node_stands_still"
	NodeLags        Kind = "node_lags"
	NodeOldHeads    Kind = "node_old_heads"
	NodeClock       Kind = "node_clock"
	NodeLimited     Kind = "node_limited"
	NodeRefuses     Kind = "node_refuses"
	EndpointForeign Kind = "endpoint_foreign"
	EndpointWrong   Kind = "endpoint_wrong"
)

var chainKinds = []Entry{
	{NodeGone, Window, "A chain node gives no usable answer.",
		"See whether the node runs and can be reached from this machine at the address in Common.API.Chain; add a second node there."},
	{NodeAuth, Window, "A chain node refuses the token.",
		"See whether the auth service behind the node is up; if it is, set a valid token in Common.API.Token or as TOKEN:ADDRESS."},
	{NodeStandsStill, Window, "A chain node answers and its head does not move.",
		"See the node's peers and its log (lotus net peers, lotus sync status), restart it, and add a second node to Common.API.Chain."},
	{NodeLags, Window, "A chain node is behind the chain.",
		"Wait until it is in sync (lotus sync wait), and see whether its disk and network keep up; use another node until then."},
	{NodeOldHeads, Window, "A chain node answers with an old head although its stream brings new ones.",
		"Restart the node, or the proxy or balancer in front of it: one address must be one node."},
	{NodeClock, None, "The chain is ahead of this machine's clock.",
		"Set this machine's clock by a time service (timedatectl, chronyc tracking)."},
	{NodeLimited, None, "A chain node turns calls away because there are too many.",
		"Raise the limit of this account at the service, or use a node of your own in Common.API.Chain."},
	{NodeRefuses, Window, "Every chain node refuses a call that is needed.",
		"Read the error: a pruned or damaged state needs a new snapshot, an old node an update; add a node that answers to Common.API.Chain."},
	{EndpointForeign, None, "An address in Common.API.Chain is a node of another network, and is not used.",
		"Remove the address from Common.API.Chain, or point it to a node of the right network."},
	{EndpointWrong, Window, "An address in Common.API.Chain is not the API of a full node, and is not used.",
		"Write the address of a full node's API, with the path /rpc/v1 or with none."},
}
