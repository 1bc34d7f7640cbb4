package condition

// Kinds of the queue, its database and the slaves.
const (
	DatabaseAway        Kind = "database_away"
	DatabaseRefuses     Kind = "database_refuses"
	DatabasePacketLimit Kind = "database_packet_limit"
	ClockJumped         Kind = "database_clock_jumped"
	NoSlave             Kind = "no_slave"
	NoSlaveForSize      Kind = "no_slave_for_sector_size"
	StoreUnseen         Kind = "store_unseen_by_slaves"
	SlaveNameTwice      Kind = "slave_name_twice"
	SlaveFails          Kind = "slave_fails"
	SlaveWaits          Kind = "slave_waits"
	TokenInPlainText    Kind = "token_in_plain_text"
	MasterPortTaken     Kind = "master_port_taken"
)

var queueKinds = []Entry{
	{DatabaseAway, Window, "the task database does not answer, so no task can be handed out", "start the database or mend the way to it; tasks and answers wait meanwhile"},
	{DatabaseRefuses, Window, "the task database answers with an error", "mend what the database names; the master tries again by itself"},
	{DatabasePacketLimit, Window, "the database takes no packet as large as the largest question", "set max_allowed_packet = 64M on the database server"},
	{ClockJumped, None, "the clock of the database's host jumped", "let ntpd or chronyd keep the clock of the database's host"},
	{NoSlave, Window, "no slave is there that takes tasks", "start wdpost-slave-daemon on a proving machine, or look why those that run take no task"},
	{NoSlaveForSize, Window, "tasks wait for a sector size that no slave proves", "start a slave with FORCE_SECTOR_SIZE of that size, or without it"},
	{StoreUnseen, Sectors, "no slave can read a store in which sectors of waiting tasks lie", "mount the store on a slave, under the path that the manager names"},
	{SlaveNameTwice, None, "two slaves run under one name", "give each slave a [slave] name of its own"},
	{SlaveFails, None, "a slave fails again and again", "look at the log of that slave, or drain it: wdpost-master-daemon slaves drain"},
	{SlaveWaits, None, "a slave takes no tasks", "mend what the slave names"},
	{MasterPortTaken, Window, "the address on which a master serves slaves is taken by another program", "end the program that has it, or choose another [server] listen"},
	{TokenInPlainText, None, "the token of the slaves travels in plain text", "set [server.tls] of the master and [master.tls] of the slaves, or listen on an address of your own network only"},
}
