package condition

// Kinds of the chain's nodes.
var chainKinds = []Entry{}
