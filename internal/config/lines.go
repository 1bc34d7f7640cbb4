package config

import (
	"fmt"
	"strings"
)

// keyLines maps the full name of every key and section of a TOML text to its
// line, 1-based. Elements of section lists carry their index, so the second
// [[Common.PersistStores]] is Common.PersistStores[1]. Keys inside inline
// tables are not listed. The text must already have been parsed without error.
func keyLines(text string) map[string]int {
	s := lineScanner{text: text, line: 1, lines: map[string]int{}, counts: map[string]int{}}
	for s.pos < len(s.text) {
		s.statement()
	}
	return s.lines
}

type lineScanner struct {
	text    string
	pos     int
	line    int
	section string
	lines   map[string]int
	counts  map[string]int // elements seen of each section list
}

// statement consumes one header, key or blank stretch.
func (s *lineScanner) statement() {
	switch c := s.text[s.pos]; {
	case c == '\n':
		s.line++
		s.pos++
	case c == ' ' || c == '\t' || c == '\r':
		s.pos++
	case c == '#':
		s.skipComment()
	case c == '[':
		s.header()
	default:
		start := s.line
		name := s.name("=")
		s.note(join(s.section, s.resolve(s.section, name)), start)
		s.pos++ // the equals sign
		s.value()
	}
}

func (s *lineScanner) header() {
	start := s.line
	list := strings.HasPrefix(s.text[s.pos:], "[[")
	s.pos++
	if list {
		s.pos++
	}
	parts := s.name("]")
	s.pos++
	if list && s.pos < len(s.text) {
		s.pos++
	}
	for i := 1; i < len(parts); i++ { // those above, which may have no header of their own
		s.note(s.resolve("", parts[:i]), start)
	}
	if !list {
		s.section = s.resolve("", parts)
		s.note(s.section, start)
		return
	}
	parent := s.resolve("", parts[:len(parts)-1])
	base := join(parent, parts[len(parts)-1])
	s.section = fmt.Sprintf("%s[%d]", base, s.counts[base])
	s.counts[base]++
	s.note(base, start)
	s.note(s.section, start)
}

// resolve joins the parts of a name, naming the latest element where a part is
// a section list.
func (s *lineScanner) resolve(section string, parts []string) string {
	full := ""
	for _, p := range parts {
		full = join(full, p)
		if n := s.counts[join(section, full)]; n > 0 {
			full = fmt.Sprintf("%s[%d]", full, n-1)
		}
	}
	return full
}

func (s *lineScanner) note(name string, line int) {
	if _, ok := s.lines[name]; !ok {
		s.lines[name] = line
	}
}

// name reads a dotted name up to a byte of end, which is not consumed.
func (s *lineScanner) name(end string) []string {
	var parts []string
	part := ""
	for s.pos < len(s.text) {
		switch c := s.text[s.pos]; {
		case strings.IndexByte(end, c) >= 0:
			return append(parts, part)
		case c == '.':
			parts = append(parts, part)
			part = ""
			s.pos++
		case c == '"' || c == '\'':
			from := s.pos + 1
			s.quoted(string(c))
			part = s.text[from : s.pos-1]
		case c == ' ' || c == '\t':
			s.pos++
		default:
			part += string(c)
			s.pos++
		}
	}
	return append(parts, part)
}

// value skips a value up to the line's end, over the lines of arrays and of
// multi-line texts.
func (s *lineScanner) value() {
	depth := 0
	for s.pos < len(s.text) {
		switch c := s.text[s.pos]; c {
		case '\n':
			if depth == 0 {
				return
			}
			s.line++
			s.pos++
		case '[', '{':
			depth++
			s.pos++
		case ']', '}':
			depth--
			s.pos++
		case '#':
			s.skipComment()
		case '"', '\'':
			quote := string(c)
			if strings.HasPrefix(s.text[s.pos:], strings.Repeat(quote, 3)) {
				quote = strings.Repeat(quote, 3)
			}
			s.quoted(quote)
		default:
			s.pos++
		}
	}
}

// quoted skips a text between two quote marks.
func (s *lineScanner) quoted(quote string) {
	s.pos += len(quote)
	for s.pos < len(s.text) && !strings.HasPrefix(s.text[s.pos:], quote) {
		switch {
		case s.text[s.pos] == '\n':
			s.line++
		case s.text[s.pos] == '\\' && quote[0] == '"':
			s.pos++
		}
		s.pos++
	}
	s.pos = min(s.pos+len(quote), len(s.text))
}

func (s *lineScanner) skipComment() {
	for s.pos < len(s.text) && s.text[s.pos] != '\n' {
		s.pos++
	}
}

func join(section, name string) string {
	if section == "" {
		return name
	}
	return section + "." + name
}
