package actor

import "fmt"

// The methods of this file are what happens to a miner besides the messages of
// its prover. Like those, they return the miner as it is afterwards.

// Terminate ends sectors, as TerminateSectors and expiry do: they stay in their
// partitions and are never to be proven again.
func (m *Miner) Terminate(sectors Set) (*Miner, error) {
	return m.change(sectors, func(p *Partition, in Set) {
		p.Terminated = p.Terminated.Union(in)
		p.Faults, p.Recovering, p.Unproven = p.Faults.Minus(in), p.Recovering.Minus(in), p.Unproven.Minus(in)
	})
}

// MarkFaulty takes the power of live sectors, as DeclareFaults does.
func (m *Miner) MarkFaulty(sectors Set) (*Miner, error) {
	return m.change(sectors, func(p *Partition, in Set) {
		in = in.Minus(p.Terminated)
		p.Faults, p.Recovering, p.Unproven = p.Faults.Union(in), p.Recovering.Minus(in), p.Unproven.Minus(in)
	})
}

// change applies f to every partition that holds some of the sectors.
func (m *Miner) change(sectors Set, f func(*Partition, Set)) (*Miner, error) {
	next := m
	left := sectors
	for i := range m.Deadlines {
		for j := range m.Deadlines[i].Partitions {
			in := m.Deadlines[i].Partitions[j].All.And(sectors)
			if len(in) == 0 {
				continue
			}
			var d *Deadline
			next, d = next.withDeadline(uint64(i))
			f(&d.Partitions[j], in)
			left = left.Minus(in)
		}
	}
	if len(left) != 0 {
		return m, fmt.Errorf("miner %d has no sectors %v", m.Info.ID, []uint64(left))
	}
	return next, nil
}

// WithPolicy returns the miner under other rules, as after a network upgrade. The
// lengths of periods and windows must stay.
func (m *Miner) WithPolicy(p *Policy) *Miner {
	c := *m
	c.Policy = p
	return &c
}

// WithInfo returns the miner with other addresses or proof types, as after a
// change of the worker or a network upgrade.
func (m *Miner) WithInfo(change func(*Info)) *Miner {
	c := *m
	info := *m.Info
	change(&info)
	c.Info = &info
	return &c
}
