package condition

// Kinds that the poster and the ledger tell: what keeps a deadline from being
// proven or told.
const (
	DeadlineLate     Kind = "deadline_late"
	DeadlineMissed   Kind = "deadline_missed"
	PartitionStuck   Kind = "partition_unproven"
	SectorsSkipped   Kind = "sectors_skipped"
	SectorsAllFaulty Kind = "deadline_all_faulty"
	RecoveryStuck    Kind = "recovery_undeclared"
	RecoveryUseless  Kind = "recovery_useless"
	MessageRefused   Kind = "message_refused"
	HeadSilent       Kind = "head_silent"
	ClockUntrusted   Kind = "clock_untrusted"
	ProvenByAnother  Kind = "proven_by_another"
	SubmitTooLate    Kind = "submit_confidence_late"
	LedgerBehind     Kind = "ledger_behind"
	LedgerDamaged    Kind = "ledger_damaged"
)

var posterKinds = []Entry{
	{DeadlineLate, Window, "An open deadline cannot be worked on: the node does not answer what is needed to plan it.",
		"Look at the error; check the node, and add a second endpoint under Common.API.Chain."},
	{DeadlineMissed, None, "A window was missed in the last day; its sectors are faulty.",
		"Read the reason and remove it; the sectors are declared recovered by themselves before their next window."},
	{PartitionStuck, Window, "Partitions have no proof yet: proving or checking them fails.",
		"Look at the error; check the slaves and the stores of the named sectors."},
	{SectorsSkipped, Sectors, "Sectors were left out of a proof, since no copy of them could be read by anyone.",
		"Bring back the named store or file; the sectors are declared recovered by themselves then."},
	{SectorsAllFaulty, Sectors, "All sectors of a deadline are faulty and none can be declared recovered.",
		"Bring back the stores of the named sectors."},
	{RecoveryStuck, Sectors, "Faulty sectors could not be declared recovered so far.",
		"Look at the error; it is tried again until the fault cut-off, and in the next proving period."},
	{RecoveryUseless, Money, "Sectors that were declared recovered were skipped again, with unchanged files.",
		"Check that every slave sees the store of the named sectors; they are declared again after some days, or when their files change."},
	{MessageRefused, Window, "A message cannot be handed over.",
		"Look at the error: the key, the balance and the fee settings of the sender."},
	{HeadSilent, Window, "The chain's head stands still: nothing can be started or sent.",
		"Check the node's synchronisation and this machine's clock; add a second endpoint."},
	{ClockUntrusted, None, "This machine's clock and the chain's heads differ by many epochs at a steady pace.",
		"Set the clock of this machine (NTP), or check that the node follows the whole network."},
	{ProvenByAnother, None, "A deadline was proven by a message that is none of this manager's.",
		"Check whether another manager works for the same miner; let only one of them."},
	{SubmitTooLate, None, "SubmitConfidence leaves no time for a message to land in this network's windows; less is used.",
		"Set Miners.PoSt.SubmitConfidence to less than half a window."},
	{LedgerBehind, None, "What was done waits to be written to the ledger; work goes on from memory.",
		"Bring the database or its disk back; see Common.Ledger."},
	{LedgerDamaged, None, "The ledger was damaged and moved aside; a new one was begun.",
		"Keep or delete the file that was moved aside; nothing else is to be done."},
}
