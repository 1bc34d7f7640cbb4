package condition

// Kinds of the queue, its database and the slaves.
var queueKinds = []Entry{}
