package config

import (
	"fmt"
	"reflect"
	"time"
)

// The shape of the files, for whoever writes manuals or walks every key.

// DefaultElement returns a new element of a list of sections, with the defaults
// that one in a file would get.
func DefaultElement(t reflect.Type) reflect.Value {
	v := reflect.New(t)
	if d, ok := v.Interface().(defaulter); ok {
		d.setDefaults()
	}
	return v.Elem()
}

// FormatDuration writes d as the manuals do: "2days", "1h", "10m", "5s"; what
// has no such short form is written as the standard library does.
func FormatDuration(d Duration) string {
	for _, u := range []struct {
		unit time.Duration
		name string
	}{{24 * time.Hour, "days"}, {time.Hour, "h"}, {time.Minute, "m"}, {time.Second, "s"}} {
		if n := d.D() / u.unit; n > 0 && d.D()%u.unit == 0 && (u.name != "days" || n > 1) {
			return fmt.Sprintf("%d%s", n, u.name)
		}
	}
	return d.String()
}
