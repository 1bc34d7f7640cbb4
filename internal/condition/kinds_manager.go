package condition

// Kinds of the manager itself and its processes.
var managerKinds = []Entry{}
