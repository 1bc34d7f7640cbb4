package inspect

import (
	"fmt"
	"strings"
	"time"

	"wdpost/internal/history"
)

// Past prints `util history`: one line a deadline, the newest last.
func (p Printer) Past(list []history.Step) error {
	var lines, colours []string
	for _, e := range list {
		colour := ""
		switch {
		case e.Verdict == "missed" || e.Verdict == "not declared":
			colour = red
		case e.Skipped > 0:
			colour = yellow
		}
		kind := ""
		if e.Kind == "recovery" {
			kind = " (recovery)"
		}
		lines = append(lines, fmt.Sprintf("%s\tt0%d\t%d%s\t%s\t%s\t%s\t%s\t%d\t%s", e.At.Local().Format("01-02 15:04"), e.Miner, e.Deadline, kind, e.Verdict,
			e.Partitions, short(e.Took), short(e.Margin), e.Skipped, gas(e.Gas)+" "+firstLine(e.Text)))
		colours = append(colours, colour)
	}
	return p.table("ended miner deadline verdict partitions proving margin skipped gas\u00a0and\u00a0reason", lines, colours)
}

func gas(units int64) string {
	if units == 0 {
		return "–"
	}
	return fmt.Sprintf("%.1fM", float64(units)/1e6)
}

func short(d time.Duration) string {
	if d == 0 {
		return "–"
	}
	return d.Round(time.Second).String()
}

func firstLine(s string) string { return strings.SplitN(s, "\n", 2)[0] }

// Way prints `util why`: the steps of one deadline as a timeline.
func (p Printer) Way(steps []history.Step) error {
	var lines, colours []string
	for _, s := range steps {
		colour := ""
		switch {
		case s.What == history.Ended && s.Verdict == "missed", s.ExitCode != 0, strings.HasSuffix(s.What, "_failed"), strings.HasSuffix(s.What, "_refused"):
			colour = red
		case s.What == history.Ended:
			colour = green
		}
		var facts []string
		add := func(name, value string) {
			if value != "" && value != "0" && value != "–" {
				facts = append(facts, name+" "+value)
			}
		}
		add("verdict", s.Verdict)
		if s.Partitions != "" {
			facts = append(facts, "partitions ["+s.Partitions+"]")
		}
		add("sectors", fmt.Sprint(s.Sectors))
		add("skipped", fmt.Sprint(s.Skipped))
		add("took", short(s.Took))
		add("left", short(s.Margin))
		add("task", s.Task)
		add("slave", s.Slave)
		add("message", s.Message)
		add("epoch", fmt.Sprint(s.Epoch))
		add("gas", gas(s.Gas))
		add("exit code", fmt.Sprint(s.ExitCode))
		if s.Text != "" {
			facts = append(facts, "— "+firstLine(s.Text))
		}
		lines = append(lines, fmt.Sprintf("%s\t%s\t%s", s.At.Local().Format("01-02 15:04:05"), strings.TrimSpace(s.Kind+" "+strings.ReplaceAll(s.What, "_", " ")), strings.Join(facts, ", ")))
		colours = append(colours, colour)
	}
	return p.table("time what facts", lines, colours)
}
