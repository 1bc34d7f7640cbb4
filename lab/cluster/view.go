package cluster

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"wdpost/lab/devnet"
	"wdpost/lab/devnet/actor"
	"wdpost/proofs/post"
)

// View draws the cluster on a terminal, or tells what happens line by line
// where there is none.
type View struct {
	c     *Cluster
	out   io.Writer
	size  func() (columns, rows int) // of the terminal
	tasks *taskList
}

// Sizes of the drawn lists.
const (
	shownDeadlines = 8 // of each miner, where there is room
	shownEvents    = 10
	otherLines     = 16 // what is neither deadlines nor the lines above them
	redraw         = time.Second
	ansiHome       = "\x1b[H"
	ansiClearLine  = "\x1b[K"
	ansiClearRest  = "\x1b[J"
	ansiBold       = "\x1b[1m"
	ansiRed        = "\x1b[31m"
	ansiPlain      = "\x1b[0m"
)

// NewView returns a view of the cluster. size tells the columns and rows of the
// terminal; the screen is made to fit.
func NewView(c *Cluster, out io.Writer, size func() (columns, rows int)) *View {
	return &View{c: c, out: out, size: size, tasks: &taskList{c: c}}
}

// Lines writes one line for each event worth telling until ctx ends.
func (v *View) Lines(ctx context.Context) {
	events, cancel := v.c.net.Events()
	defer cancel()
	page := time.NewTicker(redraw)
	defer page.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-page.C:
			if address := v.c.Page(); address != "" {
				fmt.Fprintln(v.out, "page:", address)
				page.Stop()
			}
		case e, open := <-events:
			if !open {
				return
			}
			if text := tell(e); text != "" {
				fmt.Fprintln(v.out, text)
			}
		}
	}
}

// Screen redraws the whole picture every second until ctx ends.
func (v *View) Screen(ctx context.Context) {
	events, cancel := v.c.net.Events()
	defer cancel()
	var recent []string
	ticker := time.NewTicker(redraw)
	defer ticker.Stop()
	fmt.Fprint(v.out, ansiHome+ansiClearRest)
	for {
		select {
		case <-ctx.Done():
			return
		case e, open := <-events:
			if !open {
				return
			}
			if text := tell(e); text != "" {
				recent = append(recent, text)
				recent = recent[max(0, len(recent)-shownEvents):]
			}
		case <-ticker.C:
			columns, rows := v.size()
			fmt.Fprint(v.out, frame(v.picture(ctx, recent, rows), columns, rows))
		}
	}
}

// frame places a picture at the top of the terminal, over the one before, with
// lines cut to its columns and the last ones left out where rows are few.
func frame(picture string, columns, rows int) string {
	var b strings.Builder
	b.WriteString(ansiHome)
	n := 0
	for line := range strings.Lines(picture) {
		if n++; n >= rows {
			break
		}
		runes := []rune(strings.TrimSuffix(line, "\n"))
		text := string(runes[:min(len(runes), columns)])
		if strings.Contains(text, "MISSED") || strings.Contains(text, " missed") && !strings.Contains(text, " 0 missed") {
			text = ansiRed + text + ansiPlain
		} else if n == 1 {
			text = ansiBold + text + ansiPlain
		}
		b.WriteString(text + ansiClearLine + "\n")
	}
	return b.String() + ansiClearRest
}

// tell says what an event means, or nothing for those that only tick.
func tell(e devnet.Event) string {
	switch e.Kind {
	case devnet.NewTipSet, devnet.NullRound:
		return ""
	}
	text := fmt.Sprintf("%s epoch %-5d %-8s", e.Time.Format(time.TimeOnly), e.Epoch, e.Kind)
	if e.Miner != 0 {
		text += fmt.Sprintf(" t0%d", e.Miner)
	}
	return text + " " + e.Text
}

func (v *View) picture(ctx context.Context, recent []string, rows int) string {
	var b strings.Builder
	snap, verdict := v.c.net.Snapshot(), v.c.Judge()
	fmt.Fprintf(&b, "%s   base fee %s   %d messages pending\n", verdict, snap.BaseFee, snap.Pending)
	fmt.Fprintf(&b, "wdpost devnet   epoch %d (%v each)   sectors of %s   up %v   %s\n",
		snap.Epoch, v.c.cfg.Epoch, post.SizeName(v.c.cfg.SectorSize), time.Since(v.c.started).Round(time.Second), v.c.cfg.Workdir)
	if page := v.c.Page(); page != "" {
		fmt.Fprintf(&b, "page  %s   Ctrl-C stops\n", page)
	}
	b.WriteString("\n")
	most := min(shownDeadlines, max(1, (rows-otherLines)/max(1, len(snap.Miners))-3))
	for i := range snap.Miners {
		drawMiner(&b, &snap.Miners[i], snap, most)
	}
	b.WriteString("TASKS      " + v.tasks.line(ctx) + "\n")
	for _, p := range v.c.Processes() {
		state := fmt.Sprintf("pid %d", p.PID)
		if p.PID == 0 {
			state = "down: " + p.LastExit
		}
		fmt.Fprintf(&b, "PROCESS    %-8s %-14s restarts %d\n", p.Name, state, p.Restarts)
	}
	b.WriteString("\nEVENTS\n")
	for _, line := range recent {
		b.WriteString("  " + line + "\n")
	}
	return b.String()
}

func drawMiner(b *strings.Builder, m *devnet.MinerView, snap devnet.Snapshot, most int) {
	fmt.Fprintf(b, "MINER t0%d   power %d KiB   faults %d   deadline %d until epoch %d\n",
		m.ID, m.Power>>10, m.Faults, m.Current.Index, m.Current.Close)
	fmt.Fprintf(b, "  %-9s %-15s %-22s %s\n", "deadline", "window", "partitions", "last window")
	for i, d := range upcoming(m.Deadlines, int64(snap.Epoch)) {
		if i == most {
			fmt.Fprintf(b, "  … and %d more deadlines with sectors\n", len(m.Deadlines)-most)
			break
		}
		mark := "  "
		if d.Window.IsOpen() {
			mark = "▶ "
		}
		fmt.Fprintf(b, "%s%-9d %-15s %-22s %s\n", mark, d.Window.Index,
			fmt.Sprintf("%d…%d", d.Window.Open, d.Window.Close), partitionMarks(d.Partitions), lastOutcome(d.Last))
	}
	b.WriteString("\n")
}

// upcoming orders deadlines by the close of their window, the open one first.
func upcoming(ds []devnet.DeadlineView, epoch int64) []devnet.DeadlineView {
	var now, later []devnet.DeadlineView
	for _, d := range ds {
		if int64(d.Window.Close) > epoch && d.Window.IsOpen() {
			now = append(now, d)
		} else {
			later = append(later, d)
		}
	}
	sortByOpen(later)
	return append(now, later...)
}

// partitionMarks draws ✔ for a partition proven in the open window, · for one
// that is not, and the number of its faults.
func partitionMarks(ps []devnet.PartitionView) string {
	var marks []string
	for _, p := range ps {
		mark := "·"
		if p.Posted {
			mark = "✔"
		}
		if p.Faults > 0 {
			mark += fmt.Sprintf("(%d faults)", p.Faults)
		}
		marks = append(marks, mark)
	}
	return strings.Join(marks, " ")
}

func lastOutcome(o *actor.Outcome) string {
	if o == nil {
		return ""
	}
	proven := 0
	for _, p := range o.Partitions {
		if p.Verdict == actor.Proven {
			proven++
		}
	}
	if missed := o.Missed(); len(missed) > 0 {
		return fmt.Sprintf("MISSED partitions %v", missed)
	}
	return fmt.Sprintf("%d of %d partitions proven", proven, len(o.Partitions))
}
