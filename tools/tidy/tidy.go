// Package tidy owns the rules that this repository sets itself, as one test: who
// may import whom, what a pure package may not do, what every package must say
// about itself, what may not be left behind. A rule that no program checks
// decays.
//
// It reads files and imports nothing of the project; nothing imports it.
//
//	go test ./tools/tidy            every violation, each with what to do instead
//	go test ./tools/tidy -update    lower the list of long functions where they shrank
//
// table.go is where a new package, or a new arrow between two, is written down.
// Everything may be called from one goroutine.
package tidy

import (
	"bytes"
	"cmp"
	"fmt"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"path"
	"slices"
	"strings"
)

// File is one file of the repository: its path from the top, with slashes.
type File struct {
	Path string
	Data []byte
}

// Violation is one broken rule and what to do about it.
type Violation struct {
	Path    string
	Line    int // 0: the file or package as a whole
	Message string
}

func (v Violation) String() string {
	if v.Line == 0 {
		return v.Path + ": " + v.Message
	}
	return fmt.Sprintf("%s:%d: %s", v.Path, v.Line, v.Message)
}

// tree is the repository as the rules see it.
type tree struct {
	module   string // import path prefix of our packages
	files    []File
	fset     *token.FileSet
	packages []*pkg // ascending by directory
	found    []Violation
}

// pkg is one directory with Go files.
type pkg struct {
	dir   string
	row   *row // what the table says; nil if it says nothing
	files []*source
}

// source is a parsed Go file.
type source struct {
	File
	test   bool
	syntax *ast.File
}

// Check runs every rule over a repository whose module path is module. long is
// the list of functions that may be longer than [MaxFunctionLines].
func Check(module string, files []File, long []LongFunction) []Violation {
	t := load(module, files)
	t.checkTexts()
	t.checkLinks()
	for _, p := range t.packages {
		t.checkImports(p)
		t.checkPackageComment(p)
		t.checkCalls(p)
	}
	t.checkPure()
	t.checkFormats()
	t.checkLengths(long)
	slices.SortFunc(t.found, func(a, b Violation) int {
		return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Message, b.Message))
	})
	return slices.Compact(t.found) // a file of two worlds was looked at twice
}

func load(module string, files []File) *tree {
	t := &tree{module: module, files: files, fset: token.NewFileSet()}
	dirs := make(map[string]*pkg)
	for _, f := range files {
		if path.Ext(f.Path) != ".go" || inTestdata(f.Path) {
			continue
		}
		syntax, err := parser.ParseFile(t.fset, f.Path, f.Data, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			t.report(f.Path, 0, "does not parse: %v", err)
			continue
		}
		if clean, err := format.Source(f.Data); err != nil || !bytes.Equal(clean, f.Data) {
			t.report(f.Path, 0, "is not formatted: gofmt -w %s", f.Path)
		}
		dir := path.Dir(f.Path)
		if dirs[dir] == nil {
			dirs[dir] = &pkg{dir: dir, row: rowOf(dir)}
			t.packages = append(t.packages, dirs[dir])
		}
		dirs[dir].files = append(dirs[dir].files, &source{File: f, test: strings.HasSuffix(f.Path, "_test.go"), syntax: syntax})
	}
	slices.SortFunc(t.packages, func(a, b *pkg) int { return cmp.Compare(a.dir, b.dir) })
	return t
}

func inTestdata(file string) bool { return slices.Contains(strings.Split(file, "/"), "testdata") }

func (t *tree) report(file string, line int, format string, args ...any) {
	t.found = append(t.found, Violation{file, line, fmt.Sprintf(format, args...)})
}

func (t *tree) reportAt(pos token.Pos, format string, args ...any) {
	p := t.fset.Position(pos)
	t.report(p.Filename, p.Line, format, args...)
}
