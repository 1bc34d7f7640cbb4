package devnet

import "context"

// Drive runs the clock of a network without listeners, for simulated time.
func (n *Network) Drive(ctx context.Context) { n.drive(ctx) }
