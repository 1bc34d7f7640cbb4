package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"strings"

	"wdpost/internal/config"
)

// key is one setting of a configuration file.
type key struct {
	name     string
	owner    string // Go struct and field, "PoSt.Confidence"
	kind     string // see kindOf
	fallback string // default as it is written in the file; empty where it is the zero value
}

// roots are the configuration files under the headings of the manuals.
var roots = map[string]any{
	"sector-manager.cfg": config.DefaultManager(),
	"ext-prover.cfg":     config.ExtProver{},
	"wdpost_master.toml": config.DefaultMaster(),
	"slave.toml":         config.DefaultSlave(),
}

// sectionKeys lists the settings of the section path ("Miners.PoSt") of a file.
// Sections within it and settings without effect are not among them.
func sectionKeys(file, path string) ([]key, error) {
	root, ok := roots[file]
	if !ok {
		return nil, fmt.Errorf("no configuration file %q is known", file)
	}
	v := reflect.ValueOf(root)
	for _, step := range strings.Split(path, ".") {
		f, ok := fieldNamed(v, step)
		if !ok {
			return nil, fmt.Errorf("%s has no section %s", file, path)
		}
		v = element(f)
	}
	var keys []key
	collect(v, quote(file), &keys)
	return keys, nil
}

// quote is the quotation mark of texts in the file, as the operator's guide
// writes them.
func quote(file string) string {
	if strings.HasSuffix(file, ".toml") {
		return "'"
	}
	return `"`
}

// element is a section, or the first element that a list of sections would get.
func element(v reflect.Value) reflect.Value {
	if v.Kind() == reflect.Pointer {
		return reflect.New(v.Type().Elem()).Elem()
	}
	if v.Kind() != reflect.Slice {
		return v
	}
	return config.DefaultElement(v.Type().Elem())
}

func fieldNamed(v reflect.Value, name string) (reflect.Value, bool) {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if !f.Anonymous && tomlName(f) == name {
			return v.Field(i), true
		}
	}
	return reflect.Value{}, false
}

func tomlName(f reflect.StructField) string {
	if tag := f.Tag.Get("toml"); tag != "" {
		return tag
	}
	return f.Name
}

func collect(v reflect.Value, quote string, keys *[]key) {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if f.Anonymous {
			collect(v.Field(i), quote, keys)
			continue
		}
		kind := kindOf(f)
		if !f.IsExported() || kind == "" {
			continue
		}
		*keys = append(*keys, key{
			name: tomlName(f), owner: v.Type().Name() + "." + f.Name,
			kind: kind, fallback: literal(v.Field(i), quote),
		})
	}
}

// kindOf names the type of a setting; empty for a section. The tag `is` of the
// field makes it more precise: epochs, endpoint, host:port.
func kindOf(f reflect.StructField) string {
	if is := f.Tag.Get("is"); is != "" {
		return is
	}
	switch reflect.Zero(f.Type).Interface().(type) {
	case config.Duration:
		return "duration"
	case config.FIL:
		return "FIL"
	case config.Bytes:
		return "size"
	case config.Address:
		return "address"
	case []config.Address:
		return "list of addresses"
	case config.Strings:
		return "text or list"
	case []string:
		return "list of texts"
	case []uint64:
		return "list of numbers"
	case map[string]string:
		return "table of texts"
	}
	switch f.Type.Kind() {
	case reflect.Bool:
		return "true/false"
	case reflect.String:
		return "text"
	case reflect.Int, reflect.Uint64, reflect.Int64, reflect.Float64:
		return "number"
	case reflect.Struct, reflect.Slice, reflect.Pointer:
		return ""
	}
	panic("no name for the type of " + f.Name)
}

// literal writes a default as the file would; empty for the zero value, which
// the manual puts in words, save for true and false.
func literal(v reflect.Value, quote string) string {
	switch d := v.Interface().(type) {
	case bool:
		return fmt.Sprint(d)
	case config.FIL:
		if d.IsZero() {
			return ""
		}
		return "`" + quote + d.String() + quote + "`"
	case config.Duration:
		if d == 0 {
			return ""
		}
		return "`" + quote + config.FormatDuration(d) + quote + "`"
	case config.Bytes:
		if d == 0 {
			return ""
		}
		return "`" + quote + d.String() + quote + "`"
	case string:
		if d == "" {
			return ""
		}
		return "`" + quote + d + quote + "`"
	}
	if v.IsZero() || v.Kind() == reflect.Slice || v.Kind() == reflect.Map || v.Kind() == reflect.Struct {
		return ""
	}
	return fmt.Sprint(v.Interface())
}

// fieldComments reads the comments of the struct fields of a package, by
// "Struct.Field", as one line each.
func fieldComments(dir string) (map[string]string, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return nil, err
	}
	comments := map[string]string{}
	for _, file := range files {
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
		if err != nil {
			return nil, err
		}
		ast.Inspect(f, func(n ast.Node) bool {
			spec, ok := n.(*ast.TypeSpec)
			if !ok {
				return true
			}
			if s, ok := spec.Type.(*ast.StructType); ok {
				for _, field := range s.Fields.List {
					text := field.Doc.Text() + field.Comment.Text()
					for _, name := range field.Names {
						comments[spec.Name.Name+"."+name.Name] = strings.Join(strings.Fields(text), " ")
					}
				}
			}
			return false
		})
	}
	return comments, nil
}

// sectionsOf lists the sections of each file that hold settings.
func sectionsOf() map[string][]string {
	sections := map[string][]string{}
	for file, root := range roots {
		walk(reflect.ValueOf(root), "", func(path string, v reflect.Value) {
			var keys []key
			if collect(v, "", &keys); path != "" && len(keys) > 0 {
				sections[file] = append(sections[file], path)
			}
		})
	}
	return sections
}

// walk calls f for each section with effect below v, itself included.
func walk(v reflect.Value, path string, f func(string, reflect.Value)) {
	f(path, v)
	for i := range v.NumField() {
		field := v.Type().Field(i)
		if field.Anonymous || !field.IsExported() || kindOf(field) != "" || field.Tag.Get("effect") == "none" {
			continue
		}
		walk(element(v.Field(i)), strings.TrimPrefix(path+"."+tomlName(field), "."), f)
	}
}
