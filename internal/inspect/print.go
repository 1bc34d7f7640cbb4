package inspect

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
)

// The tables have the columns and labels that users of lotus-miner and damocles
// know. Colour is for terminals alone.

// Printer writes tables.
type Printer struct {
	W      io.Writer
	Colour bool
}

// Escapes of the colours used.
const (
	red    = "\x1b[31m"
	green  = "\x1b[32m"
	yellow = "\x1b[33m"
	plain  = "\x1b[0m"
)

func (p Printer) paint(colour, text string) string {
	if !p.Colour {
		return text
	}
	return colour + text + plain
}

// table writes rows under a head. Colour goes on whole rows, so that widths stay
// those of the text.
func (p Printer) table(head string, rows []string, colours []string) error {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 2, 4, 2, ' ', 0)
	fmt.Fprintln(w, strings.ReplaceAll(strings.ReplaceAll(head, " ", "\t"), "\u00a0", " "))
	for _, r := range rows {
		fmt.Fprintln(w, r)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for i, line := range strings.SplitAfter(b.String(), "\n") {
		if i > 0 && i <= len(colours) && colours[i-1] != "" {
			line = p.paint(colours[i-1], strings.TrimSuffix(line, "\n")) + "\n"
		}
		if _, err := io.WriteString(p.W, line); err != nil {
			return err
		}
	}
	return nil
}

// Epoch writes an epoch with its distance: "1234 (in 10 minutes)".
func Epoch(e, now abi.ChainEpoch, delay time.Duration) string {
	switch d := time.Duration(e-now) * delay; {
	case d > 0:
		return fmt.Sprintf("%d (in %s)", e, d)
	case d < 0:
		return fmt.Sprintf("%d (%s ago)", e, -d)
	}
	return fmt.Sprintf("%d (now)", e)
}

// Info prints `proving info`.
func (p Printer) Info(i Info) error {
	epoch := func(e abi.ChainEpoch) string { return Epoch(e, i.CurrentEpoch, i.BlockDelay) }
	faults := fmt.Sprintf("%d (%.2f%%)", i.Faults, i.FaultPercent)
	if i.Faults > 0 {
		faults = p.paint(red, faults)
	}
	_, err := fmt.Fprintf(p.W, `Miner: %s
Current Epoch:           %d
Proving Period Boundary: %d
Proving Period Start:    %s
Next Period Start:       %s

Sectors:                 %d
Faults:                  %s
Recovering:              %d

Deadline Index:          %d
Deadline Sectors:        %d
Deadline Open:           %s
Deadline Close:          %s
Deadline Challenge:      %s
Deadline FaultCutoff:    %s
`, i.Miner, i.CurrentEpoch, i.PeriodBoundary, epoch(i.PeriodStart), epoch(i.NextPeriodStart), i.Sectors, faults, i.Recovering,
		i.DeadlineIndex, i.DeadlineSectors, epoch(i.DeadlineOpen), epoch(i.DeadlineClose), epoch(i.DeadlineChallenge), epoch(i.DeadlineCutoff))
	return err
}

// Deadlines prints `proving deadlines`.
func (p Printer) Deadlines(miner string, rows []Row) error {
	if _, err := fmt.Fprintln(p.W, "Miner: "+miner); err != nil {
		return err
	}
	var lines, colours []string
	for _, r := range rows {
		current, colour := "", ""
		if r.Current {
			current, colour = " (current)", yellow
		}
		if r.Faults > 0 {
			colour = red
		}
		lines = append(lines, fmt.Sprintf("%d\t%s\t%d\t%d (%d)\t%d%s", r.Deadline, r.OpensAt.Local().Format("15:04:05"), r.Partitions, r.Sectors, r.Faults, r.Proven, current))
		colours = append(colours, colour)
	}
	return p.table("deadline open partitions sectors\u00a0(faults) proven\u00a0partitions", lines, colours)
}

// Deadline prints `proving deadline N`.
func (p Printer) Deadline(d Detail) error {
	if _, err := fmt.Fprintf(p.W, "Deadline Index:    %d\nDeadline Open:     %d\nPartitions:        %d\nProven Partitions: %d\nCurrent:           %t\n",
		d.Deadline, d.Open, d.Partitions, d.Proven, d.Current); err != nil {
		return err
	}
	for _, part := range d.PartitionList {
		if _, err := fmt.Fprintf(p.W, "\nPartition Index:    %d\nProven:             %t\n", part.Index, part.Proven); err != nil {
			return err
		}
		for _, s := range []struct {
			name string
			list Sectors
		}{{"All", part.All}, {"Live", part.Live}, {"Active", part.Active}, {"Faulty", part.Faulty}, {"Recovering", part.Recovering}} {
			line := fmt.Sprintf("%-19s %d", s.name+" Sectors:", s.list.Count)
			if len(s.list.Numbers) > 0 {
				line += "  " + Numbers(s.list.Numbers)
			}
			if s.name == "Faulty" && s.list.Count > 0 {
				line = p.paint(red, line)
			}
			if _, err := fmt.Fprintln(p.W, line); err != nil {
				return err
			}
		}
	}
	return nil
}

// Numbers writes ascending numbers as ranges: "1-3,7".
func Numbers(list []uint64) string {
	var b strings.Builder
	for i := 0; i < len(list); {
		j := i
		for j+1 < len(list) && list[j+1] == list[j]+1 {
			j++
		}
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(strconv.FormatUint(list[i], 10))
		if j > i {
			b.WriteString("-" + strconv.FormatUint(list[j], 10))
		}
		i = j + 1
	}
	return b.String()
}

// Faults prints `proving faults`.
func (p Printer) Faults(miner string, list []Fault) error {
	if _, err := fmt.Fprintln(p.W, "Miner: "+miner); err != nil {
		return err
	}
	var lines []string
	for _, f := range list {
		state := ""
		if f.Recovering {
			state = " (recovering)"
		}
		lines = append(lines, fmt.Sprintf("%d\t%d\t%d%s\t%d (%.1f)", f.Deadline, f.Partition, f.Sector, state, f.Expiration, f.DaysLeft))
	}
	return p.table("deadline partition sectors expiration(days)", lines, nil)
}

// CheckedSector is one sector of `proving check`.
type CheckedSector struct {
	Deadline, Partition, Sector uint64
	Error                       string `json:",omitempty"` // why it cannot be proven
}

// Checked prints `proving check N`.
func (p Printer) Checked(list []CheckedSector, onlyBad bool) error {
	var lines, colours []string
	for _, s := range list {
		status, colour := "good", green
		if s.Error != "" {
			status, colour = "bad ("+s.Error+")", red
		} else if onlyBad {
			continue
		}
		lines = append(lines, fmt.Sprintf("%d\t%d\t%d\t%s", s.Deadline, s.Partition, s.Sector, status))
		colours = append(colours, colour)
	}
	return p.table("deadline partition sector status", lines, colours)
}

// SectorInfos prints `proving sector-info`.
func (p Printer) SectorInfos(list []SectorInfo) error {
	for i, s := range list {
		if i > 0 {
			fmt.Fprintln(p.W)
		}
		if s.Error != "" {
			if _, err := fmt.Fprintf(p.W, "Sector:     %d\nError:      %s\n", s.Sector, p.paint(red, s.Error)); err != nil {
				return err
			}
			continue
		}
		if _, err := fmt.Fprintf(p.W, "Sector:     %d\nDeadline:   %d\nPartition:  %d\nSealProof:  %d\nSealedCID:  %s\nUpdated:    %t\nActivation: %d\nExpiration: %d\nPledge:     %s\nFaulty:     %t\nRecovering: %t\n",
			s.Sector, *s.Deadline, *s.Partition, s.SealProof, s.SealedCID, s.Updated, s.Activation, s.Expiration, FIL(mustBig(s.Pledge)), s.Faulty, s.Recovering); err != nil {
			return err
		}
	}
	return nil
}

func mustBig(text string) big.Int {
	n, err := big.FromString(text)
	if err != nil {
		return big.Zero()
	}
	return n
}

// FIL writes attoFIL in FIL with at most nine digits behind the point.
func FIL(atto big.Int) string {
	if atto.Nil() {
		return "0 FIL"
	}
	nano := big.Div(atto, big.NewInt(1e9))
	whole, rest := big.Div(nano, big.NewInt(1e9)), big.Mod(nano, big.NewInt(1e9)).Int64()
	if rest < 0 {
		rest = -rest
	}
	text := whole.String()
	if digits := strings.TrimRight(fmt.Sprintf("%09d", rest), "0"); digits != "" {
		text += "." + digits
	}
	return text + " FIL"
}

// Bytes writes a number of bytes in a binary unit.
func Bytes(n big.Int) string {
	if n.Nil() {
		return "0 B"
	}
	units := []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"}
	value, _ := strconv.ParseFloat(n.String(), 64) // digits
	i := 0
	for value >= 1024 && i < len(units)-1 {
		value /= 1024
		i++
	}
	return fmt.Sprintf("%.4g %s", value, units[i])
}

// Overview prints `miner info`.
func (p Printer) Overview(o Overview) error {
	if _, err := fmt.Fprintf(p.W, "Miner: %s (%s sectors)\nPower: %s raw, %s quality-adjusted, of %s (minimum power: %t)\nBalance:   %s\nAvailable: %s\nLocked:    %s (pledge, vesting)\n\n",
		o.Miner, Bytes(big.NewIntUnsigned(o.SectorSize)), Bytes(o.RawPower), Bytes(o.QualPower), Bytes(o.NetworkRaw), o.HasMinPower, FIL(o.Balance), FIL(o.Available), FIL(o.Locked)); err != nil {
		return err
	}
	var lines, colours []string
	for _, a := range o.Addresses {
		colour, balance := "", FIL(a.Balance)
		if a.Error != "" {
			balance, colour = a.Error, red
		}
		lines = append(lines, fmt.Sprintf("%s\t%s\t%s\t%s", strings.Join(a.Roles, ","), a.Address, balance, strings.Join(a.Uses, "; ")))
		colours = append(colours, colour)
	}
	return p.table("role address balance use", lines, colours)
}
