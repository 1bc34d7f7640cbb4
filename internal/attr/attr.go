// Package attr is the vocabulary of the log: one constructor for each attribute,
// so that the same miner, deadline, partition or task is written the same way by
// the manager, the masters and the slaves, and one search finds its whole way.
//
// No log call writes a key of its own; a test of the house refuses it. A key is
// camelCase, means one thing and has one type of value. A new one is added to
// the file of its domain: chain.go, sector.go, queue.go or process.go.
package attr

import (
	"log/slog"
	"strconv"
	"strings"
)

// numbers writes ascending numbers as "1-3,7": short in a line, and never to be
// taken for a count. An empty list is "none".
func numbers[T ~uint64 | ~int | ~uint](list []T) string {
	if len(list) == 0 {
		return "none"
	}
	var b strings.Builder
	for i := 0; i < len(list); {
		j := i
		for j+1 < len(list) && list[j+1] == list[j]+1 {
			j++
		}
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(strconv.FormatUint(uint64(list[i]), 10))
		if j > i {
			b.WriteByte('-')
			b.WriteString(strconv.FormatUint(uint64(list[j]), 10))
		}
		i = j + 1
	}
	return b.String()
}

// someNumbers is numbers, cut off after most of them.
func someNumbers[T ~uint64 | ~int | ~uint](list []T, most int) string {
	if len(list) <= most {
		return numbers(list)
	}
	return numbers(list[:most]) + ",…+" + strconv.Itoa(len(list)-most)
}

// Err is the error that ended what the line tells of.
func Err(err error) slog.Attr { return slog.Any("err", err) }
