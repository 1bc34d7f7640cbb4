package config

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"sort"
	"strings"
	"unicode/utf8"

	"github.com/BurntSushi/toml"
)

// defaulter is a section that has defaults of its own; it is called on each
// new element of a section list before the element is decoded.
type defaulter interface {
	setDefaults()
}

// document is a decoded file: what remains to be said about it after binding.
type document struct {
	file  string
	lines map[string]int
	set   []string // full names of the keys the file sets, in order of line
	inert []string // names of the keys and sections set that have no effect
}

// bind decodes a TOML text over v, a pointer to a struct that holds the
// defaults. Every fault is reported, each with file, line and key: unknown keys
// with the nearest known one, values of another type, values out of range.
func bind(file, text string, v any) (*document, error) {
	var tree map[string]any
	if _, err := toml.Decode(text, &tree); err != nil {
		var pe toml.ParseError
		if errors.As(err, &pe) {
			return nil, &KeyError{File: file, Line: pe.Position.Line, Key: pe.LastKey, Msg: pe.Message + remedy(text, pe)}
		}
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	b := binder{
		doc:  &document{file: file, lines: keyLines(text)},
		root: reflect.TypeOf(v).Elem(),
	}
	b.section("", tree, reflect.ValueOf(v).Elem())
	sort.SliceStable(b.doc.set, func(i, j int) bool { return b.doc.lines[b.doc.set[i]] < b.doc.lines[b.doc.set[j]] })
	sort.SliceStable(b.errs, func(i, j int) bool { return b.errs[i].Line < b.errs[j].Line })
	var joined []error
	for _, e := range b.errs[:min(len(b.errs), maxComplaints)] {
		joined = append(joined, e)
	}
	if more := len(b.errs) - maxComplaints; more > 0 {
		joined = append(joined, fmt.Errorf("%s: and %d more", file, more))
	}
	return b.doc, errors.Join(joined...)
}

// maxComplaints bounds what is said about one file at once.
const maxComplaints = 20

// remedy adds what to do about the mistakes in writing that editors and input
// methods make; empty for others.
func remedy(text string, pe toml.ParseError) string {
	lines := strings.Split(text, "\n")
	line := lines[min(max(pe.Position.Line, 1), len(lines))-1]
	bare := strings.TrimRight(strings.SplitN(line, "#", 2)[0], "\r")
	switch {
	case !utf8.ValidString(text):
		return ": save the file as UTF-8"
	case strings.ContainsAny(bare, "“”‘’＝，．［］＂＇\u00a0\u3000"):
		return `: the line has full-width quotes, signs or spaces; write plain " = , [ ] and spaces`
	case strings.Contains(pe.Message, "expected value"):
		return "; texts need quotes, and true and false are written small"
	}
	return ""
}

// errorAt makes a complaint about a key, at its line or that of the closest
// enclosing section.
func (d *document) errorAt(key, format string, args ...any) *KeyError {
	return &KeyError{File: d.file, Line: d.lineOf(key), Key: key, Msg: fmt.Sprintf(format, args...)}
}

func (d *document) lineOf(key string) int {
	for key != "" {
		if n, ok := d.lines[key]; ok {
			return n
		}
		key = key[:max(0, strings.LastIndexAny(key, ".["))]
	}
	return 0
}

// isSet reports whether the file sets the key or anything below it.
func (d *document) isSet(key string) bool {
	return slices.ContainsFunc(d.set, func(s string) bool {
		return s == key || strings.HasPrefix(s, key+".") || strings.HasPrefix(s, key+"[")
	})
}

type binder struct {
	doc  *document
	root reflect.Type
	errs []*KeyError
}

func (b *binder) fail(key, format string, args ...any) {
	b.errs = append(b.errs, b.doc.errorAt(key, format, args...))
}

// section binds one table. Keys are matched exactly, or else without regard to
// case.
func (b *binder) section(name string, table map[string]any, rv reflect.Value) {
	keys := make([]string, 0, len(table))
	for k := range table {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for _, k := range keys {
		full := join(name, k)
		field, ok := findField(rv.Type(), k)
		if !ok {
			b.fail(full, "%s", b.unknown(name, k, rv.Type()))
			continue
		}
		if field.Tag.Get("effect") == "none" && hasKeys(table[k]) {
			b.doc.inert = append(b.doc.inert, full)
		}
		b.value(full, table[k], rv.FieldByIndex(field.Index))
	}
}

// hasKeys reports whether a value sets anything: a bare section header does not.
func hasKeys(v any) bool {
	switch v := v.(type) {
	case map[string]any:
		for _, e := range v {
			if hasKeys(e) {
				return true
			}
		}
		return false
	case []map[string]any:
		return slices.ContainsFunc(v, func(m map[string]any) bool { return hasKeys(m) })
	}
	return true
}

// unknown says what to do about a key that the section does not have.
func (b *binder) unknown(section, key string, t reflect.Type) string {
	if near := nearest(key, fieldNames(t)); near != "" {
		return fmt.Sprintf("unknown key; did you mean %s?", near)
	}
	if owner := sectionWith(b.root, key); owner != "" {
		return fmt.Sprintf("unknown key here; it belongs under [%s]", owner)
	}
	return fmt.Sprintf("unknown key; remove it (known here: %s)", strings.Join(fieldNames(t), ", "))
}

// value binds one value of any kind.
func (b *binder) value(key string, v any, rv reflect.Value) {
	if s, ok := rv.Addr().Interface().(valueSetter); ok {
		b.doc.set = append(b.doc.set, key)
		if err := s.setTOML(v); err != nil {
			b.fail(key, "%s", err)
		}
		return
	}
	switch rv.Kind() {
	case reflect.Struct:
		table, ok := v.(map[string]any)
		if !ok {
			b.fail(key, "expected a section [%s], found %s", key, tomlName(v))
			return
		}
		b.section(key, table, rv)
	case reflect.Pointer:
		elem := reflect.New(rv.Type().Elem())
		if d, ok := elem.Interface().(defaulter); ok {
			d.setDefaults()
		}
		b.value(key, v, elem.Elem())
		rv.Set(elem)
	case reflect.Map:
		b.stringMap(key, v, rv)
	case reflect.Slice:
		b.list(key, v, rv)
	default:
		b.doc.set = append(b.doc.set, key)
		if err := setScalar(v, rv); err != nil {
			b.fail(key, "%s", err)
		}
	}
}

func (b *binder) stringMap(key string, v any, rv reflect.Value) {
	table, ok := v.(map[string]any)
	if !ok {
		b.fail(key, "expected a section [%s], found %s", key, tomlName(v))
		return
	}
	out := make(map[string]string, len(table))
	for k, e := range table {
		s, ok := e.(string)
		if !ok {
			b.fail(join(key, k), "expected a text in quotes, found %s", tomlName(e))
			continue
		}
		b.doc.set = append(b.doc.set, join(key, k))
		out[k] = s
	}
	rv.Set(reflect.ValueOf(out))
}

// list binds a list of sections or of plain values.
func (b *binder) list(key string, v any, rv reflect.Value) {
	var elems []any
	switch v := v.(type) {
	case []any:
		elems = v
	case []map[string]any:
		for _, m := range v {
			elems = append(elems, m)
		}
	default:
		want := "a list"
		if rv.Type().Elem().Kind() == reflect.Struct {
			want = "a list of sections [[" + key + "]]"
		}
		b.fail(key, "expected %s, found %s", want, tomlName(v))
		return
	}
	if rv.Type().Elem().Kind() != reflect.Struct {
		b.doc.set = append(b.doc.set, key)
	}
	out := reflect.MakeSlice(rv.Type(), len(elems), len(elems))
	for i, e := range elems {
		elem := out.Index(i)
		if d, ok := elem.Addr().Interface().(defaulter); ok {
			d.setDefaults()
		}
		b.value(fmt.Sprintf("%s[%d]", key, i), e, elem)
	}
	rv.Set(out)
}

// setScalar stores a text, number or truth value, checking type and range.
func setScalar(v any, rv reflect.Value) error {
	switch rv.Kind() {
	case reflect.String:
		s, err := wantText(v, "a text in quotes")
		if err != nil {
			return err
		}
		rv.SetString(s)
	case reflect.Bool:
		t, ok := v.(bool)
		if !ok {
			return fmt.Errorf("expected true or false, found %s", tomlName(v))
		}
		rv.SetBool(t)
	case reflect.Int, reflect.Int64, reflect.Int32:
		n, ok := v.(int64)
		if !ok || rv.OverflowInt(n) {
			return fmt.Errorf("expected a whole number, found %s", tomlName(v))
		}
		rv.SetInt(n)
	case reflect.Uint, reflect.Uint64, reflect.Uint32:
		n, ok := v.(int64)
		if !ok || n < 0 || rv.OverflowUint(uint64(n)) {
			return fmt.Errorf("expected a whole number of 0 or more, found %s", tomlName(v))
		}
		rv.SetUint(uint64(n))
	case reflect.Float64:
		switch n := v.(type) {
		case float64:
			if math.IsNaN(n) || math.IsInf(n, 0) {
				return fmt.Errorf("expected a number, found %v", n)
			}
			rv.SetFloat(n)
		case int64:
			rv.SetFloat(float64(n))
		default:
			return fmt.Errorf("expected a number, found %s", tomlName(v))
		}
	default:
		return fmt.Errorf("this key cannot be set: no decoding for %s", rv.Type())
	}
	return nil
}

// fieldName is the key of a struct field: the toml tag, or the field's name.
func fieldName(f reflect.StructField) string {
	if tag := f.Tag.Get("toml"); tag != "" {
		return tag
	}
	return f.Name
}

// visibleFields lists the fields of a struct, those of embedded structs included.
func visibleFields(t reflect.Type) []reflect.StructField {
	var out []reflect.StructField
	for _, f := range reflect.VisibleFields(t) {
		if f.IsExported() && !f.Anonymous && f.Tag.Get("toml") != "-" {
			out = append(out, f)
		}
	}
	return out
}

func findField(t reflect.Type, key string) (reflect.StructField, bool) {
	fields := visibleFields(t)
	for _, f := range fields {
		if fieldName(f) == key {
			return f, true
		}
	}
	for _, f := range fields {
		if strings.EqualFold(fieldName(f), key) {
			return f, true
		}
	}
	return reflect.StructField{}, false
}

func fieldNames(t reflect.Type) []string {
	var names []string
	for _, f := range visibleFields(t) {
		names = append(names, fieldName(f))
	}
	return names
}

// sectionWith returns the name of the first section below t that has the key.
func sectionWith(t reflect.Type, key string) string {
	for _, f := range visibleFields(t) {
		ft := f.Type
		for ft.Kind() == reflect.Slice || ft.Kind() == reflect.Pointer {
			ft = ft.Elem()
		}
		if ft.Kind() != reflect.Struct || reflect.PointerTo(ft).Implements(reflect.TypeFor[valueSetter]()) {
			continue
		}
		if _, ok := findField(ft, key); ok {
			return fieldName(f)
		}
		if inner := sectionWith(ft, key); inner != "" {
			return fieldName(f) + "." + inner
		}
	}
	return ""
}
