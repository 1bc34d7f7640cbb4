package wdpost

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestLogHasOneVocabulary: no log call of the product writes a key of its own;
// attributes come from internal/attr.
func TestLogHasOneVocabulary(t *testing.T) {
	for _, root := range []string{"internal", "cmd"} {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			if strings.HasPrefix(path, "internal/attr/") || strings.HasPrefix(path, "cmd/wdpost-bench") || strings.HasPrefix(path, "cmd/wdpost-devnet") {
				return nil
			}
			fset := token.NewFileSet()
			f, err := parser.ParseFile(fset, path, nil, 0)
			if err != nil {
				return err
			}
			ast.Inspect(f, func(n ast.Node) bool {
				if call, ok := n.(*ast.CallExpr); ok {
					if lit := rawKey(call); lit != nil {
						t.Errorf("%s: raw log key %s: use or add a constructor of internal/attr", fset.Position(lit.Pos()), lit.Value)
					}
				}
				return true
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// rawKey finds a text literal among the attributes of a log call: the arguments
// behind the message, or any of With.
func rawKey(call *ast.CallExpr) *ast.BasicLit {
	sel, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return nil
	}
	if x, ok := sel.X.(*ast.Ident); ok && slices.Contains([]string{"http", "errors", "fmt", "cli", "status"}, x.Name) {
		return nil
	}
	first := map[string]int{"Info": 1, "Warn": 1, "Error": 1, "Debug": 1, "InfoContext": 2, "WarnContext": 2, "ErrorContext": 2, "DebugContext": 2, "Log": 3, "LogAttrs": 3, "With": 0}
	from, isLog := first[sel.Sel.Name]
	if !isLog {
		return nil
	}
	for _, arg := range call.Args[min(from, len(call.Args)):] {
		if lit, ok := arg.(*ast.BasicLit); ok && lit.Kind == token.STRING {
			return lit
		}
		if c, ok := arg.(*ast.CallExpr); ok { // slog.String("key", …)
			if s, ok := c.Fun.(*ast.SelectorExpr); ok {
				if x, ok := s.X.(*ast.Ident); ok && x.Name == "slog" && len(c.Args) > 0 {
					if lit, ok := c.Args[0].(*ast.BasicLit); ok {
						return lit
					}
				}
			}
		}
	}
	return nil
}
