package sqlstore

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// builders join parts of statements: what they are given must be no value.
var builders = []string{"append", "strings.Repeat", "strings.Join", "strings.ReplaceAll", "strings.TrimSuffix", "schema.StateNames", "schema.AboutNames"}

// placeholders take values and return as many placeholders, or whole statements
// with the values as arguments beside them.
var placeholders = []string{"inList", "caseOf", "anyOf", "len", "beatUpdate", "s.seeSlaves"}

// parts are parameters that are parts of statements, not values; their callers
// are checked where they call.
var parts = []string{"where", "query"}

// values are what statements must never hold as text: fields and variables of
// these names are what callers hand in.
var values = []string{"Sprintf", "Sprint", "strconv", "Slave", "Name", "Reason", "Progress", "ID", "In", "Out", "Address", "Version"}

// No statement is built from values: what reaches the database as its text is
// made of constants, names of columns and placeholders. A name of a slave, a
// reason or a path is an argument.
func TestStatementsAreNotBuiltFromValues(t *testing.T) {
	found := 0
	for _, dir := range []string{".", "../schema", "../migrate", "../../mysql", "../../sqlite"} {
		files, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			set := token.NewFileSet()
			f, err := parser.ParseFile(set, file, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(f, func(n ast.Node) bool {
				if fn, ok := n.(*ast.FuncDecl); ok {
					found += checkFunction(t, set, fn)
					return false
				}
				return true
			})
		}
	}
	if found < 40 {
		t.Fatalf("only %d statements found: the test does not see them", found)
	}
}

// checkFunction checks the statements of one function and returns how many it
// has.
func checkFunction(t *testing.T, set *token.FileSet, fn *ast.FuncDecl) (found int) {
	assigned := make(map[string][]ast.Expr) // what each variable is made of
	ast.Inspect(fn, func(n ast.Node) bool {
		if p, ok := n.(*ast.FuncType); ok { // what a function is given is a value
			for _, field := range p.Params.List {
				for _, id := range field.Names {
					if !slices.Contains(parts, id.Name) {
						assigned[id.Name] = append(assigned[id.Name], &ast.CallExpr{Fun: ast.NewIdent("the caller for " + id.Name)})
					}
				}
			}
		}
		if a, ok := n.(*ast.AssignStmt); ok {
			for i, left := range a.Lhs {
				if id, ok := left.(*ast.Ident); ok {
					assigned[id.Name] = append(assigned[id.Name], a.Rhs[min(i, len(a.Rhs)-1)])
				}
			}
		}
		return true
	})
	ast.Inspect(fn, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		method, ok := call.Fun.(*ast.SelectorExpr)
		if !ok || !slices.Contains([]string{"ExecContext", "QueryContext", "QueryRowContext", "selectTasks"}, method.Sel.Name) || len(call.Args) < 2 {
			return true
		}
		found++
		if why := unsafe(call.Args[1], assigned, 0); why != "" {
			t.Errorf("%s: a statement is built from %s", set.Position(call.Pos()), why)
		}
		return true
	})
	return found
}

// unsafe says what in an expression is no constant text; empty if nothing.
func unsafe(e ast.Expr, assigned map[string][]ast.Expr, depth int) string {
	if depth > 8 {
		return ""
	}
	switch e := e.(type) {
	case *ast.BasicLit:
		return ""
	case *ast.BinaryExpr:
		return unsafe(e.X, assigned, depth) + unsafe(e.Y, assigned, depth)
	case *ast.ParenExpr:
		return unsafe(e.X, assigned, depth)
	case *ast.IndexExpr: // of a map of constants
		return unsafe(e.X, assigned, depth)
	case *ast.Ident:
		if slices.Contains(values, e.Name) {
			return e.Name
		}
		for _, from := range assigned[e.Name] {
			if why := unsafe(from, assigned, depth+1); why != "" {
				return why
			}
		}
		return ""
	case *ast.SelectorExpr:
		if slices.Contains(values, e.Sel.Name) {
			return name(e)
		}
		return ""
	case *ast.CallExpr:
		fn := name(e.Fun)
		if slices.Contains(placeholders, fn) {
			return ""
		}
		if slices.Contains(builders, fn) {
			for _, a := range e.Args {
				if why := unsafe(a, assigned, depth+1); why != "" {
					return why
				}
			}
			return ""
		}
		return "a call of " + fn
	}
	return ""
}

// name writes a.b.c.
func name(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return name(e.X) + "." + e.Sel.Name
	}
	return "?"
}

// The test above finds what it is there to find.
func TestUnsafeStatementsAreFound(t *testing.T) {
	for source, want := range map[string]bool{
		"`SELECT ` + columns + ` WHERE id = ?`":          false,
		"`SELECT 1 WHERE slave = '` + c.Slave + `'`":     true,
		"fmt.Sprintf(`SELECT %s`, x)":                    true,
		"`SELECT 1 WHERE id IN ` + strings.Join(ids, s)": false,
		"`SELECT ` + quote(v)":                           true,
	} {
		e, err := parser.ParseExpr(source)
		if err != nil {
			t.Fatal(err)
		}
		if got := unsafe(e, nil, 0) != ""; got != want {
			t.Errorf("%s: found %v, want %v", source, got, want)
		}
	}
}
