package condition

// Kinds of stores and sectors.
var sectorKinds = []Entry{}
