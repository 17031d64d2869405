package tidy

import (
	"bufio"
	"bytes"
	"cmp"
	"fmt"
	"go/ast"
	"slices"
	"strings"
)

// MaxFunctionLines is the length above which a function must be on the list,
// lines from `func` to the closing brace.
const MaxFunctionLines = 70

// LongFunction is a line of the list: a function that may be longer than
// [MaxFunctionLines], and how long at most. The list only shrinks.
type LongFunction struct {
	Path, Name string
	Lines      int
}

// ParseLong reads the list: lines `path function lines`; # begins a comment.
func ParseLong(b []byte) (list []LongFunction, err error) {
	lines := bufio.NewScanner(bytes.NewReader(b))
	for n := 1; lines.Scan(); n++ {
		text, _, _ := strings.Cut(lines.Text(), "#")
		if strings.TrimSpace(text) == "" {
			continue
		}
		var f LongFunction
		if _, err := fmt.Sscan(text, &f.Path, &f.Name, &f.Lines); err != nil {
			return nil, fmt.Errorf("line %d: want `path function lines`: %w", n, err)
		}
		list = append(list, f)
	}
	return list, lines.Err()
}

// checkLengths is a ratchet, not a limit: what is long is written down with its
// length, and may not grow.
func (t *tree) checkLengths(list []LongFunction) {
	have := t.longFunctions()
	for _, f := range have {
		listed, ok := find(list, f)
		switch {
		case !ok:
			t.report(f.Path, 0, "%s is %d lines, limit %d: split it where it does a second thing", f.Name, f.Lines, MaxFunctionLines)
		case f.Lines > listed.Lines:
			t.report(f.Path, 0, "%s grew from %d to %d lines: the list of long functions only shrinks; split it", f.Name, listed.Lines, f.Lines)
		}
	}
	for _, f := range list {
		if now, ok := find(have, f); !ok || now.Lines < f.Lines {
			t.report(f.Path, 0, "%s is shorter than the list of long functions says (%d lines), or gone: go test ./tools/tidy -update", f.Name, f.Lines)
		}
	}
}

// Shrink is the list with every function at its present length, without those
// that are short enough or gone. It adds none and raises none.
func Shrink(module string, files []File, list []LongFunction) []LongFunction {
	have := load(module, files).longFunctions()
	var shrunk []LongFunction
	for _, f := range list {
		if now, ok := find(have, f); ok {
			f.Lines = min(f.Lines, now.Lines)
			shrunk = append(shrunk, f)
		}
	}
	slices.SortFunc(shrunk, func(a, b LongFunction) int {
		return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.Name, b.Name))
	})
	return shrunk
}

func find(list []LongFunction, f LongFunction) (LongFunction, bool) {
	i := slices.IndexFunc(list, func(g LongFunction) bool { return g.Path == f.Path && g.Name == f.Name })
	if i < 0 {
		return LongFunction{}, false
	}
	return list[i], true
}

func (t *tree) longFunctions() (long []LongFunction) {
	for _, p := range t.packages {
		for _, f := range p.files {
			for _, d := range f.syntax.Decls {
				fn, ok := d.(*ast.FuncDecl)
				if !ok || f.test {
					continue
				}
				lines := t.fset.Position(fn.End()).Line - t.fset.Position(fn.Pos()).Line + 1
				if lines > MaxFunctionLines {
					long = append(long, LongFunction{f.Path, functionName(fn), lines})
				}
			}
		}
	}
	return long
}

// functionName is Name, or Type.Name for a method.
func functionName(fn *ast.FuncDecl) string {
	if fn.Recv == nil || len(fn.Recv.List) == 0 {
		return fn.Name.Name
	}
	receiver := fn.Recv.List[0].Type
	for {
		switch r := receiver.(type) {
		case *ast.StarExpr:
			receiver = r.X
		case *ast.IndexExpr:
			receiver = r.X
		case *ast.IndexListExpr:
			receiver = r.X
		case *ast.Ident:
			return r.Name + "." + fn.Name.Name
		default:
			return fn.Name.Name
		}
	}
}
