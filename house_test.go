package wdpost

import (
	"bufio"
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const module = "wdpost/"

// goPackage is the part of `go list -json` that the house rules look at.
type goPackage struct {
	ImportPath string
	Doc        string
	Dir        string
	GoFiles    []string
	Imports    []string
}

func listPackages(t *testing.T) []goPackage {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Doc,Dir,GoFiles,Imports", "./...")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var pkgs []goPackage
	for dec := json.NewDecoder(out); ; {
		var p goPackage
		if err := dec.Decode(&p); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		pkgs = append(pkgs, p)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	if len(pkgs) < 10 {
		t.Fatalf("go list found only %d packages", len(pkgs))
	}
	return pkgs
}

// readRooms reads the rooms table of docs/ARCHITECTURE.md: room -> what it may
// import of ours; a nil list means everything.
func readRooms(t *testing.T) map[string][]string {
	t.Helper()
	f, err := os.Open("docs/ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	name := regexp.MustCompile("`([^`]+)`")
	rooms := map[string][]string{}
	inTable := false
	for sc := bufio.NewScanner(f); sc.Scan(); {
		line := sc.Text()
		if strings.HasPrefix(line, "| room | holds |") {
			inTable = true
			continue
		}
		if !inTable || strings.HasPrefix(line, "|---") {
			continue
		}
		cells := strings.Split(line, "|")
		if len(cells) != 5 {
			break
		}
		room := name.FindStringSubmatch(cells[1])[1]
		allowed := []string{}
		for _, m := range name.FindAllStringSubmatch(cells[3], -1) {
			allowed = append(allowed, m[1])
		}
		if strings.Contains(cells[3], "everything") {
			allowed = nil
		}
		rooms[strings.TrimSuffix(room, "/*")] = allowed
	}
	if len(rooms) < 20 {
		t.Fatalf("the rooms table has only %d readable rows", len(rooms))
	}
	return rooms
}

// roomOf is the longest room of the table that holds the package.
func roomOf(rooms map[string][]string, pkg string) string {
	best := ""
	for room := range rooms {
		if (pkg == room || strings.HasPrefix(pkg, room+"/")) && len(room) > len(best) {
			best = room
		}
	}
	return best
}

func TestImportsPointOneWay(t *testing.T) {
	rooms := readRooms(t)
	seen := map[string]bool{}
	used := map[[2]string]bool{}
	for _, p := range listPackages(t) {
		path := strings.TrimPrefix(p.ImportPath, module)
		if path == "wdpost" || len(p.GoFiles) == 0 {
			continue
		}
		room := roomOf(rooms, path)
		if room == "" {
			t.Errorf("package %s has no row in the rooms table of docs/ARCHITECTURE.md", path)
			continue
		}
		seen[room] = true
		allowed := rooms[room]
		if allowed == nil {
			continue
		}
		for _, imp := range p.Imports {
			dep, ours := strings.CutPrefix(imp, module)
			if !ours {
				continue
			}
			depRoom := roomOf(rooms, dep)
			used[[2]string{room, depRoom}] = true
			if depRoom != room && !slices.Contains(allowed, depRoom) && !(baseRoom(depRoom) && !strings.HasPrefix(room, "proofs")) {
				t.Errorf("%s imports %s, which the rooms table does not allow", path, dep)
			}
		}
	}
	for room := range rooms {
		if !seen[room] {
			t.Errorf("the rooms table names %s, but there is no such package", room)
		}
		for _, dep := range rooms[room] {
			if !used[[2]string{room, dep}] {
				t.Errorf("the rooms table lets %s import %s, which it does not", room, dep)
			}
		}
	}
}

// baseRoom reports whether every room outside proofs/ may use the room.
func baseRoom(room string) bool {
	return slices.Contains([]string{"internal/patience", "internal/durable", "internal/attr", "internal/condition"}, room)
}

// TestProductKnowsNothingOfTheLab: what only development needs lies under lab/.
func TestProductKnowsNothingOfTheLab(t *testing.T) {
	workshop := []string{"lab/", "cmd/wdpost-devnet", "cmd/wdpost-bench", "e2e", "reference"}
	for _, p := range listPackages(t) {
		path := strings.TrimPrefix(p.ImportPath, module)
		if slices.ContainsFunc(workshop, func(w string) bool { return strings.HasPrefix(path+"/", w) }) {
			continue
		}
		for _, imp := range p.Imports {
			if strings.HasPrefix(imp, module+"lab/") {
				t.Errorf("%s is product and imports %s", path, imp)
			}
		}
	}
}

// TestStoresHoldTheSQL: databases are spoken to by the queue and the ledger.
func TestStoresHoldTheSQL(t *testing.T) {
	for _, p := range listPackages(t) {
		path := strings.TrimPrefix(p.ImportPath, module)
		if strings.HasPrefix(path, "internal/queue") || strings.HasPrefix(path, "internal/ledger") {
			continue
		}
		for _, imp := range p.Imports {
			if imp == "database/sql" || strings.HasPrefix(imp, "modernc.org/sqlite") || strings.HasPrefix(imp, "github.com/go-sql-driver") {
				t.Errorf("%s imports %s: SQL belongs to internal/queue and internal/ledger", path, imp)
			}
		}
	}
}

// TestProgramsHoldNoState: what runs is a room; cmd wires and prints.
func TestProgramsHoldNoState(t *testing.T) {
	state := regexp.MustCompile(`\b(sync\.(RW)?Mutex|sync\.Cond|atomic\.[A-Z]\w*)\b`)
	for _, p := range listPackages(t) {
		if !strings.HasPrefix(p.ImportPath, module+"cmd/") {
			continue
		}
		for _, file := range p.GoFiles {
			b, err := os.ReadFile(filepath.Join(p.Dir, file))
			if err != nil {
				t.Fatal(err)
			}
			if m := state.Find(b); m != nil {
				t.Errorf("%s/%s holds state (%s): it belongs to a room", p.ImportPath, file, m)
			}
		}
	}
}

func TestPackagesHaveComments(t *testing.T) {
	for _, p := range listPackages(t) {
		if len(p.GoFiles) > 0 && p.Doc == "" && !allGenerated(t, p) {
			t.Errorf("package %s has no package comment", p.ImportPath)
		}
	}
}

// generated marks files that a tool has written.
var generated = regexp.MustCompile(`(?m)^// Code generated .* DO NOT EDIT\.$`)

// allGenerated reports whether a tool has written every file of the package.
func allGenerated(t *testing.T, p goPackage) bool {
	t.Helper()
	for _, file := range p.GoFiles {
		b, err := os.ReadFile(filepath.Join(p.Dir, file))
		if err != nil {
			t.Fatal(err)
		}
		if !generated.Match(b) {
			return false
		}
	}
	return true
}

// TestProofsArePure keeps I/O, clocks, logging and package state out of proofs/.
func TestProofsArePure(t *testing.T) {
	banned := []string{"context", "log", "log/slog", "os", "net", "net/http", "time", "testing"}
	for _, p := range listPackages(t) {
		if !strings.HasPrefix(p.ImportPath, module+"proofs") {
			continue
		}
		for _, imp := range p.Imports {
			if slices.Contains(banned, imp) {
				t.Errorf("%s imports %s", p.ImportPath, imp)
			}
		}
		for _, file := range p.GoFiles {
			checkNoState(t, filepath.Join(p.Dir, file))
		}
	}
}

// checkNoState refuses package-level variables other than error sentinels,
// interface assertions and tables built from literals alone.
func checkNoState(t *testing.T, file string) {
	t.Helper()
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, decl := range f.Decls {
		gen, ok := decl.(*ast.GenDecl)
		if !ok || gen.Tok != token.VAR {
			continue
		}
		for _, spec := range gen.Specs {
			v := spec.(*ast.ValueSpec)
			for i, name := range v.Names {
				constant := name.Name == "_" || strings.HasPrefix(strings.ToLower(name.Name), "err") ||
					i < len(v.Values) && isLiteral(v.Values[i])
				if !constant {
					t.Errorf("%s: package-level variable %s", fset.Position(name.Pos()), name.Name)
				}
			}
		}
	}
}

func isLiteral(e ast.Expr) bool {
	literal := true
	ast.Inspect(e, func(n ast.Node) bool {
		if _, call := n.(*ast.CallExpr); call {
			literal = false
		}
		return literal
	})
	_, isComposite := e.(*ast.CompositeLit)
	return literal && isComposite
}

// TestFilesHoldOneThought bounds the length of hand-written files.
func TestFilesHoldOneThought(t *testing.T) {
	const most = 600
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && strings.HasPrefix(d.Name(), ".") && path != "." || d.Name() == "testdata" {
			return fs.SkipDir
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if n := strings.Count(string(b), "\n"); n > most && !generated.Match(b) {
			t.Errorf("%s has %d lines; split it by thought", path, n)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
