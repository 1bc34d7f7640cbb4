package condition

// Kinds of messages, senders and fees.
var messageKinds = []Entry{}
