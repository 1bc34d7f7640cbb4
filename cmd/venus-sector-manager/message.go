package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/urfave/cli/v3"

	"wdpost/internal/attr"
	"wdpost/internal/manager"
)

// utilMessage are the commands about the messages of the running daemon.
func (a *app) utilMessage() *cli.Command {
	flags := func(more ...cli.Flag) []cli.Flag {
		return append([]cli.Flag{
			&cli.StringFlag{Name: "miner", Usage: "t01000 or 1000; default: all"},
			&cli.IntFlag{Name: "deadlines", Value: 48, Usage: "look at the `N` latest deadlines of each miner"},
			jsonFlag(),
		}, more...)
	}
	return &cli.Command{
		Name: "message", Usage: "the messages of the running daemon: state, age, nonce, price, and what they wait for",
		Commands: []*cli.Command{
			{
				Name: "list", Usage: "list messages, newest first",
				Flags:  flags(&cli.BoolFlag{Name: "pending", Usage: "only those that are not at their end"}),
				Action: a.messageList,
			},
			{Name: "show", Usage: "print all that is known of messages", ArgsUsage: "ID|CID…", Flags: flags(), Action: a.messageShow},
		},
		Action: a.needSubcommand,
	}
}

// messages asks the running daemon.
func (a *app) messages(ctx context.Context, cmd *cli.Command) ([]manager.Message, error) {
	home, err := a.home(cmd)
	if err != nil {
		return nil, err
	}
	form := url.Values{"runs": {strconv.Itoa(cmd.Int("deadlines"))}}
	if name := cmd.String("miner"); name != "" {
		actor, err := strconv.ParseUint(minerNumber(name), 10, 63)
		if err != nil {
			return nil, fmt.Errorf("--miner %q is neither an address like t01000 nor a number", name)
		}
		form.Set("miner", strconv.FormatUint(actor, 10))
	}
	list := []manager.Message{}
	err = manager.Ask(ctx, home, "/messages?"+form.Encode(), nil, &list)
	return list, err
}

func (a *app) messageList(ctx context.Context, cmd *cli.Command) error {
	if cmd.Args().Len() > 0 {
		return errors.New("list takes no arguments; `util message show` prints one message")
	}
	list, err := a.messages(ctx, cmd)
	if err != nil {
		return err
	}
	if cmd.Bool("pending") {
		list = slices.DeleteFunc(list, ended)
	}
	if cmd.Bool("json") {
		return a.printJSON(list)
	}
	return a.printMessages(list, time.Now())
}

// ended reports a message of which nothing more is expected.
func ended(m manager.Message) bool {
	return m.State == "landed" || m.State == "failed" || m.State == "dropped"
}

func (a *app) printMessages(list []manager.Message, now time.Time) error {
	w := tabwriter.NewWriter(a.stdout, 2, 4, 2, ' ', 0)
	fmt.Fprintln(w, "id\tkind\tminer\tdl\tparts\ttry\tstate\tage\tnonce\tfee cap\treason")
	for _, m := range list {
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%s\t%d\t%s\t%s\t%s\t%s\t%s\n", m.ID, m.Kind, minerName(m.Miner), m.Deadline, m.Partitions, m.Attempt,
			m.State, age(m.CreatedAt, now), orDash(nonceOf(m)), orDash(nano(m.FeeCap)), strings.ReplaceAll(m.Reason, "\n", "; "))
	}
	return w.Flush()
}

func (a *app) messageShow(ctx context.Context, cmd *cli.Command) error {
	if cmd.Args().Len() == 0 {
		return errors.New("give the id or the CID of a message, or the beginning of one; `util message list` tells them")
	}
	all, err := a.messages(ctx, cmd)
	if err != nil {
		return err
	}
	var list []manager.Message
	for _, name := range cmd.Args().Slice() {
		n := len(list)
		for _, m := range all {
			if m.Names(name) {
				list = append(list, m)
			}
		}
		if len(list) == n {
			return fmt.Errorf("no message %q among those of the last %d deadlines; look further back with --deadlines", name, cmd.Int("deadlines"))
		}
	}
	if cmd.Bool("json") {
		return a.printJSON(list)
	}
	w := tabwriter.NewWriter(a.stdout, 2, 4, 2, ' ', 0)
	for i, m := range list {
		if i > 0 {
			fmt.Fprintln(w)
		}
		for _, row := range messageRows(m, time.Now()) {
			if row[1] != "" {
				fmt.Fprintf(w, "%s:\t%s\n", row[0], row[1])
			}
		}
	}
	return w.Flush()
}

// messageRows are the lines of show; those without a value are left out.
func messageRows(m manager.Message, now time.Time) [][2]string {
	executed, offers := "", ""
	if m.Epoch > 0 {
		executed = fmt.Sprintf("at epoch %d, exit code %d", m.Epoch, m.ExitCode)
	}
	if m.GasUsed > 0 {
		executed += fmt.Sprintf(", %d gas", m.GasUsed)
	}
	if m.FeeCap != "" {
		offers = fmt.Sprintf("fee cap %s, premium %s, gas limit %d", nano(m.FeeCap), nano(m.Premium), m.GasLimit)
	}
	return [][2]string{
		{"ID", m.ID}, {"CID", m.CID}, {"Kind", m.Kind}, {"Miner", minerName(m.Miner)},
		{"Deadline", fmt.Sprintf("%d of the period that began at epoch %d", m.Deadline, m.PeriodStart)},
		{"Partitions", m.Partitions}, {"Attempt", strconv.Itoa(m.Attempt)}, {"State", m.State},
		{"Made", fmt.Sprintf("%s (%s ago)", moment(m.CreatedAt), age(m.CreatedAt, now))}, {"From", m.From}, {"Nonce", nonceOf(m)},
		{"Price", offers}, {"Price raised", times(m.Replaced)}, {"Older messages of the sender", count(m.Before)},
		{"Executed", executed}, {"Reason", m.Reason},
	}
}

func minerName(actor uint64) string { return attr.Miner(abi.ActorID(actor)).Value.String() }

func nonceOf(m manager.Message) string {
	if m.Nonce == nil {
		return ""
	}
	return strconv.FormatUint(*m.Nonce, 10)
}

// nano writes attoFIL for a unit of gas in nanoFIL.
func nano(atto string) string {
	n, err := big.FromString(atto)
	if atto == "" || err != nil {
		return atto
	}
	whole, rest := big.Div(n, big.NewInt(1e9)), big.Mod(n, big.NewInt(1e9))
	return strings.TrimSuffix(strings.TrimRight(fmt.Sprintf("%s.%09d", whole, rest.Int64()), "0"), ".") + " nanoFIL"
}

func age(t, now time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return now.Sub(t).Round(time.Second).String()
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func count(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}

func times(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("%d times", n)
}
