package config

import (
	"reflect"
	"slices"
)

// Keys names every key of a configuration struct that has an effect, in the
// order of the struct, as in "Miners[].PoSt.Confidence": the wiring of each is
// shown by a test.
func Keys(root any) []string {
	var keys []string
	walkKeys(reflect.TypeOf(root), "", func(key string) { keys = append(keys, key) })
	return keys
}

// walkKeys calls f for every key below a struct.
func walkKeys(t reflect.Type, name string, f func(key string)) {
	for _, field := range visibleFields(t) {
		if field.Tag.Get("effect") == "none" {
			continue
		}
		key, ft := join(name, fieldName(field)), field.Type
		for ft.Kind() == reflect.Pointer {
			ft = ft.Elem()
		}
		if !isSection(ft) && ft.Kind() == reflect.Slice && isSection(ft.Elem()) {
			walkKeys(ft.Elem(), key+"[]", f)
			continue
		}
		if isSection(ft) {
			walkKeys(ft, key, f)
			continue
		}
		f(key)
	}
}

// isSection reports whether a type is a table of keys, and not one value.
func isSection(t reflect.Type) bool {
	return t.Kind() == reflect.Struct && !reflect.PointerTo(t).Implements(reflect.TypeFor[valueSetter]())
}

// Changed names the keys in which two configurations of one type differ, without
// their values, which may be secret. A list of sections is named as one key.
func Changed(a, b any) []string {
	var out []string
	changed("", reflect.ValueOf(a), reflect.ValueOf(b), &out)
	slices.Sort(out)
	return out
}

func changed(name string, a, b reflect.Value, out *[]string) {
	for _, field := range visibleFields(a.Type()) {
		if field.Tag.Get("effect") == "none" {
			continue
		}
		key, x, y := join(name, fieldName(field)), a.FieldByIndex(field.Index), b.FieldByIndex(field.Index)
		if isSection(x.Type()) {
			changed(key, x, y, out)
		} else if !reflect.DeepEqual(x.Interface(), y.Interface()) {
			*out = append(*out, key)
		}
	}
}
