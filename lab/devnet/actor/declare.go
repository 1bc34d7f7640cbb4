package actor

import (
	"slices"

	minertypes "github.com/filecoin-project/go-state-types/builtin/v18/miner"
)

// DeclareFaultsRecovered executes method 11: the named faulty sectors will be
// proven in their deadline's next window. Sectors that are healthy or declared
// already are passed over. It is refused from the fault cut-off of that window
// on.
func (m *Miner) DeclareFaultsRecovered(rt *Runtime, params *minertypes.DeclareFaultsRecoveredParams) (*Miner, error) {
	targets, err := m.collectRecoveries(params)
	if err != nil {
		return m, err
	}
	if err := m.authorise(rt); err != nil {
		return m, err
	}
	next := m
	for _, t := range targets {
		window := m.Policy.info(m.DeadlineInfo(rt.Epoch).PeriodStart, t.deadline, rt.Epoch).NextNotElapsed()
		if window.FaultCutoffPassed() {
			return m, illegalArgument("failed recovery declaration at deadline %d: late fault or recovery declaration", t.deadline)
		}
		var dl *Deadline
		next, dl = next.withDeadline(t.deadline)
		if t.partition >= uint64(len(dl.Partitions)) {
			return m, notFound("failed to declare recoveries for deadline %d: no such partition %d", t.deadline, t.partition)
		}
		p := &dl.Partitions[t.partition]
		if !p.All.Contains(t.sectors) {
			return m, illegalArgument("failed to declare recoveries for deadline %d: failed to add recoveries: failed fault declaration: not all sectors are assigned to the partition", t.deadline)
		}
		p.Recovering = p.Recovering.Union(t.sectors.And(p.Faults))
	}
	return next, nil
}

// recoveries are the declared sectors of one partition.
type recoveries struct {
	deadline, partition uint64
	sectors             Set
}

// collectRecoveries joins the declarations by partition, in ascending order,
// and checks their number.
func (m *Miner) collectRecoveries(params *minertypes.DeclareFaultsRecoveredParams) ([]recoveries, error) {
	var out []recoveries
	var sectors uint64
	for _, r := range params.Recoveries {
		set, err := setOf(r.Sectors, m.Policy.AddressedSectorsMax)
		switch {
		case err != nil:
			return nil, illegalArgument("failed to process deadline %d, partition %d: %v", r.Deadline, r.Partition, err)
		case r.Deadline >= m.Policy.PeriodDeadlines:
			return nil, illegalArgument("failed to process deadline %d, partition %d: invalid deadline %d", r.Deadline, r.Partition, r.Deadline)
		}
		sectors += uint64(len(set))
		same := func(o recoveries) bool { return o.deadline == r.Deadline && o.partition == r.Partition }
		if i := slices.IndexFunc(out, same); i >= 0 {
			out[i].sectors = out[i].sectors.Union(set)
		} else {
			out = append(out, recoveries{deadline: r.Deadline, partition: r.Partition, sectors: set})
		}
	}
	if n := uint64(len(out)); n > m.Policy.AddressedPartitionsMax {
		return nil, illegalArgument("cannot process requested parameters: too many partitions %d, max %d", n, m.Policy.AddressedPartitionsMax)
	}
	if sectors > m.Policy.AddressedSectorsMax {
		return nil, illegalArgument("cannot process requested parameters: too many sectors %d, max %d", sectors, m.Policy.AddressedSectorsMax)
	}
	slices.SortStableFunc(out, func(a, b recoveries) int {
		if a.deadline != b.deadline {
			return int(a.deadline) - int(b.deadline)
		}
		return int(a.partition) - int(b.partition)
	})
	return out, nil
}
