package attr

import (
	"log/slog"
	"strings"
	"time"
)

// Took is how long the thing took.
func Took(d time.Duration) slog.Attr { return slog.Duration("took", d) }

// Margin is what was left of the time for something; negative when it was late.
func Margin(d time.Duration) slog.Attr { return slog.Duration("margin", d) }

// In is when the next try comes, counted from now.
func In(d time.Duration) slog.Attr { return slog.Duration("in", d) }

// Limit is the bound that was reached or is in force.
func Limit[T any](v T) slog.Attr { return slog.Any("limit", v) }

// Reason says why, where it is not an error.
func Reason(s string) slog.Attr { return slog.String("reason", s) }

// Process is a child process by name.
func Process(name string) slog.Attr { return slog.String("process", name) }

// PID is a process's number.
func PID(pid int) slog.Attr { return slog.Int("pid", pid) }

// Address is an address that is listened on or dialled within the cluster.
func Address(a string) slog.Attr { return slog.String("address", a) }

// Version is a build's or a service's version.
func Version(v string) slog.Attr { return slog.String("version", v) }

// Panic is the value of a recovered panic.
func Panic(v any) slog.Attr { return slog.Any("panic", v) }

// Stack is the stack of a recovered panic.
func Stack(s []byte) slog.Attr { return slog.String("stack", string(s)) }

// Condition is a standing condition's kind.
func Condition(kind string) slog.Attr { return slog.String("condition", kind) }

// Remedy is what the operator can do.
func Remedy(s string) slog.Attr { return slog.String("remedy", s) }

// Count is a number of things that the message names.
func Count(n int) slog.Attr { return slog.Int("count", n) }

// Failures is how often the thing failed in a row.
func Failures(n int) slog.Attr { return slog.Int("failures", n) }

// Page is the name of a web page.
func Page(name string) slog.Attr { return slog.String("page", name) }

// Variables are names of environment variables.
func Variables(names string) slog.Attr { return slog.String("variables", names) }

// Subject is what a condition is about.
func Subject(s string) slog.Attr { return slog.String("subject", s) }

// Cost is what a condition costs while it stands.
func Cost(s string) slog.Attr { return slog.String("cost", s) }

// Detail is a condition's one sentence with the numbers.
func Detail(s string) slog.Attr { return slog.String("detail", s) }

// Since is when a state began.
func Since(t time.Time) slog.Attr { return slog.Time("since", t) }

// Keys are keys of a configuration file.
func Keys(list []string) slog.Attr { return slog.String("keys", strings.Join(list, ", ")) }

// Level is a level of the log.
func Level(l slog.Level) slog.Attr { return slog.String("logLevel", l.String()) }

// Home is the manager's home folder.
func Home(path string) slog.Attr { return slog.String("home", path) }

// Switch is a flag of the command line that is on or off.
func Switch(name string, on bool) slog.Attr { return slog.Bool(name, on) }

// Receiver is a receiver of notifications, without its address.
func Receiver(name string) slog.Attr { return slog.String("receiver", name) }

// Request is the number of a request to a child process.
func Request(id uint64) slog.Attr { return slog.Uint64("request", id) }

// Line is a line that a child process wrote.
func Line(text string) slog.Attr { return slog.String("line", text) }

// Wanted is what should have come instead.
func Wanted(text string) slog.Attr { return slog.String("wanted", text) }

// Program is a program's path.
func Program(path string) slog.Attr { return slog.String("program", path) }

// SilentFor is how long nothing came.
func SilentFor(d time.Duration) slog.Attr { return slog.Duration("silentFor", d) }

// Asker is who asked for something over the network.
func Asker(name string) slog.Attr { return slog.String("asker", name) }
