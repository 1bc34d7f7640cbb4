package condition

// Kinds of stores and sectors.
const (
	StoreSetAside   Kind = "store_set_aside"
	StoreHangs      Kind = "store_hangs"
	StoreMissing    Kind = "store_missing"
	StoreReadOnly   Kind = "store_read_only"
	StoreNotIndexed Kind = "store_not_indexed"
	StoreShrunk     Kind = "store_shrunk"
	MinerNoStore    Kind = "miner_no_store"
	ReaderProcess   Kind = "store_reader_fails"
)

var sectorKinds = []Entry{
	{StoreHangs, Sectors, "A store does not answer: reads of its files hang, and its sectors are skipped.",
		"Check the mount, the server behind it and the network; the store is tried again by itself and taken back when it answers."},
	{StoreSetAside, Sectors, "A store answers with errors again and again, and its sectors are skipped.",
		"Check the disk, the mount and the server behind it (dmesg tells); the store is tried again by itself and taken back when it answers."},
	{StoreMissing, Sectors, "The folder of a store cannot be seen, and its sectors are skipped.",
		"Mount it, or correct Path of its [[Common.PersistStores]]."},
	{StoreReadOnly, None, "A store that is not configured with ReadOnly = true is mounted read-only; a kernel does that after errors of a disk.",
		"Look at dmesg for errors of the disk; set ReadOnly = true in its [[Common.PersistStores]] where it is meant to be so."},
	{StoreNotIndexed, Sectors, "The sectors of a configured store are not known: it was never attached, or its record in the index is damaged.",
		"It is scanned by itself as soon as it answers; or run `venus-sector-manager util storage attach` for it."},
	{StoreShrunk, Sectors, "A scan saw far fewer sectors in a store than are known to lie there; those that were not seen stay in the index.",
		"Check the mount; where the sectors are gone for good, run `venus-sector-manager util storage attach --force` for the store."},
	{MinerNoStore, Window, "A configured miner is allowed in no store: none of its sectors can be found.",
		"Correct AllowMiners and DenyMiners of the [[Common.PersistStores]]."},
	{ReaderProcess, Window, "This machine is short of something that reading needs: its reading process ends or cannot be started, or files, threads or memory are used up.",
		"Look at the limits of this machine (ulimit -n and -u, TasksMax, MemoryMax)."},
}
