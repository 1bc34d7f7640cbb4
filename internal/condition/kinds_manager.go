package condition

// Kinds of the manager itself and its processes.
const (
	NetworkUnknown           Kind = "network_unknown"
	MinerNotAdmitted         Kind = "miner_not_admitted"
	ProcessorDown            Kind = "processor_down"
	ProcessorSilent          Kind = "processor_silent"
	ParametersMissing        Kind = "parameters_missing"
	WinningParametersMissing Kind = "winning_parameters_missing"
	LedgerUnusable           Kind = "ledger_unusable"
	HomeFull                 Kind = "home_full"
	PartFailed               Kind = "part_failed"
	ConfigRefused            Kind = "config_refused"
	NotificationsFail        Kind = "notifications_fail"
	RestartNeeded            Kind = "restart_needed"
)

var managerKinds = []Entry{
	{NetworkUnknown, Window, "The node has not answered since the start.",
		"Check Common.API.Chain and that the node runs; it is asked again every few seconds."},
	{MinerNotAdmitted, Window, "Nothing is proven for a configured miner.",
		"Correct its [[Miners]] section and reload, or see to what the detail names; it is tried again every half minute."},
	{ProcessorDown, Window, "An external processor is not ready.",
		"See to what the detail names; its own log lines carry its name. It is started again by itself."},
	{ProcessorSilent, Window, "A processor that reports how it is has fallen silent.",
		"Look whether its process hangs; `kill` it and it is started again."},
	{ParametersMissing, Window, "The parameters of a proof type cannot be loaded.",
		"Fetch the files that the detail names into FIL_PROOFS_PARAMETER_CACHE; they are looked for again every minute."},
	{WinningParametersMissing, Money, "The parameters of WinningPoSt cannot be loaded: blocks that are won are lost.",
		"Fetch the files that the detail names into FIL_PROOFS_PARAMETER_CACHE; they are looked for again every minute."},
	{LedgerUnusable, None, "The ledger cannot be read or written; proving goes on from the chain's own record, history is not kept.",
		"Make room on its disk, start its database, or move a damaged ledger.db away; it is tried again by itself."},
	{HomeFull, None, "The disk of the manager's home is nearly full.",
		"Make room on it: index and records need a little."},
	{PartFailed, Window, "A part of the manager failed and is started again.",
		"Report the log lines with the word panic; a restart of the manager may help meanwhile."},
	{ConfigRefused, None, "The configuration on disk is refused; the former one stays in force.",
		"Correct the line that the detail names and reload again."},
	{RestartNeeded, None, "Changed settings need a restart to take effect.",
		"Restart the manager when no window is about to close; it takes up its work where it was."},
	{NotificationsFail, None, "Notifications are not delivered.",
		"Check URL and Secret of its [[Common.Notify]] and that the receiver can be reached from here; `util notify test` tries it."},
}
