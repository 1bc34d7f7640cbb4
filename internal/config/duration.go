package config

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Duration is a length of time, written as number and unit, possibly several:
// "5m", "1h0m0s", "2days", "1h 30min", "500ms". Units: ns, us, ms, s (sec,
// second), m (min, minute), h (hour), d (day), w (week), and their plurals.
type Duration time.Duration

// D returns the standard form.
func (d Duration) D() time.Duration { return time.Duration(d) }

// String is the standard library's form.
func (d Duration) String() string { return time.Duration(d).String() }

var durationUnits = map[string]time.Duration{
	"ns": time.Nanosecond, "nsec": time.Nanosecond,
	"us": time.Microsecond, "µs": time.Microsecond, "μs": time.Microsecond, "usec": time.Microsecond,
	"ms": time.Millisecond, "msec": time.Millisecond, "millis": time.Millisecond,
	"s": time.Second, "sec": time.Second, "secs": time.Second, "second": time.Second, "seconds": time.Second,
	"m": time.Minute, "min": time.Minute, "mins": time.Minute, "minute": time.Minute, "minutes": time.Minute,
	"h": time.Hour, "hr": time.Hour, "hrs": time.Hour, "hour": time.Hour, "hours": time.Hour,
	"d": 24 * time.Hour, "day": 24 * time.Hour, "days": 24 * time.Hour,
	"w": 7 * 24 * time.Hour, "week": 7 * 24 * time.Hour, "weeks": 7 * 24 * time.Hour,
}

// ParseDuration reads a length of time as described at the type. Negative
// lengths, bare numbers other than 0 and unknown units are errors.
func ParseDuration(s string) (Duration, error) {
	rest := strings.TrimSpace(s)
	if rest == "0" {
		return 0, nil
	}
	if rest == "" {
		return 0, durationError(s, "it is empty")
	}
	var total float64
	for rest != "" {
		number, after := splitWhile(rest, func(r rune) bool { return r >= '0' && r <= '9' || r == '.' })
		unit, after := splitWhile(strings.TrimLeft(after, " "), func(r rune) bool {
			return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r == 'µ' || r == 'μ'
		})
		n, err := strconv.ParseFloat(number, 64)
		if err != nil {
			return 0, durationError(s, "it has no number where one is due")
		}
		if unit == "" {
			return 0, durationError(s, "it has no unit")
		}
		size, ok := durationUnits[strings.ToLower(unit)]
		if !ok {
			return 0, durationError(s, fmt.Sprintf("%q is no unit of time", unit))
		}
		total += n * float64(size)
		if total > math.MaxInt64/2 {
			return 0, durationError(s, "it is too long")
		}
		rest = strings.TrimLeft(after, " ,")
	}
	return Duration(math.Round(total)), nil
}

func durationError(s, why string) error {
	return fmt.Errorf(`%q is not a duration (%s): write it like "15s", "5m" or "2days"`, s, why)
}

// splitWhile cuts s behind its longest prefix of runes that satisfy keep.
func splitWhile(s string, keep func(rune) bool) (prefix, rest string) {
	for i, r := range s {
		if r == utf8.RuneError || !keep(r) {
			return s[:i], s[i:]
		}
	}
	return s, ""
}

func (d *Duration) setTOML(v any) error {
	if n, ok := v.(int64); ok && n != 0 {
		return fmt.Errorf(`the number %d has no unit: write it like "%ds"`, n, n)
	}
	if n, ok := v.(int64); ok && n == 0 {
		*d = 0
		return nil
	}
	s, err := wantText(v, `a duration like "5m"`)
	if err != nil {
		return err
	}
	*d, err = ParseDuration(s)
	return err
}
