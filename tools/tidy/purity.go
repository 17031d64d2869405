package tidy

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/build"
	"go/importer"
	"go/token"
	"go/types"
	"io"
	"path"
	"slices"
	"strings"
	"sync"
)

// orderedMark allows one range over a map whose order cannot reach a result; it
// stands on the line or the one above and says why.
const orderedMark = "//tidy:ordered"

// world is what a file may be built for: its build constraints decide.
type world struct{ os, arch string }

var (
	machine = world{build.Default.GOOS, build.Default.GOARCH}
	sandbox = world{"wasip1", "wasm"}
)

// checker type-checks the pure packages in one world: whether something is a map
// or a float is not to be seen in the syntax.
type checker struct {
	*tree
	in   world
	std  types.Importer
	done map[string]*checked
}

type checked struct {
	types *types.Package
	info  *types.Info
	files []*source
	err   error
}

// standardLibrary type-checks standard packages from their source, each once.
// Without a C compiler: no pure package may import what needs one.
var standardLibrary = sync.OnceValue(func() types.Importer {
	build.Default.CgoEnabled = false
	return importer.ForCompiler(token.NewFileSet(), "source", nil)
})

// checkPure goes over the pure packages as part of a program, and over the guest
// ones as part of a module as well.
func (t *tree) checkPure() {
	for _, in := range []world{machine, sandbox} {
		c := &checker{tree: t, in: in, std: standardLibrary(), done: make(map[string]*checked)}
		for _, p := range t.packages {
			if p.row != nil && isPure(p.row.kind) && (p.row.kind == guest || in == machine) {
				c.checkPackage(p)
			}
		}
	}
}

func (c *checker) checkPackage(p *pkg) {
	result := c.check(p)
	if result.err != nil {
		c.report(p.dir, 0, "does not type-check for %s, so its rules cannot be: %v", c.in.os, result.err)
		return
	}
	for _, f := range result.files {
		c.checkStatements(f)
		c.checkFloats(f, result.info)
		c.checkMapOrder(f, result.info)
	}
}

// Import implements types.Importer for what pure packages import.
func (c *checker) Import(target string) (*types.Package, error) {
	dir, ours := strings.CutPrefix(target, c.module+"/")
	if !ours {
		return c.std.Import(target)
	}
	i, found := slices.BinarySearchFunc(c.packages, dir, func(p *pkg, dir string) int { return strings.Compare(p.dir, dir) })
	if !found {
		return nil, fmt.Errorf("no package in %s", dir)
	}
	result := c.check(c.packages[i])
	return result.types, result.err
}

func (c *checker) check(p *pkg) *checked {
	if c.done[p.dir] != nil {
		return c.done[p.dir]
	}
	result := &checked{info: &types.Info{Types: make(map[ast.Expr]types.TypeAndValue), Uses: make(map[*ast.Ident]types.Object)}}
	c.done[p.dir] = result // before the work: a cycle is the compiler's to report
	var syntax []*ast.File
	for _, f := range p.files {
		if !f.test && f.builds(c.in) {
			result.files = append(result.files, f)
			syntax = append(syntax, f.syntax)
		}
	}
	config := types.Config{Importer: c}
	result.types, result.err = config.Check(p.dir, c.fset, syntax, result.info)
	return result
}

// builds says whether a file is part of its package in a world.
func (f *source) builds(in world) bool {
	ctx := build.Default
	ctx.GOOS, ctx.GOARCH = in.os, in.arch
	ctx.OpenFile = func(string) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(f.Data)), nil }
	ok, err := ctx.MatchFile(".", path.Base(f.Path))
	return ok && err == nil
}

func (t *tree) checkStatements(f *source) {
	ast.Inspect(f.syntax, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			t.reportAt(n.Pos(), "go statement in a pure package: return what is to be done and let host/node do it")
		case *ast.ChanType, *ast.SelectStmt:
			t.reportAt(n.Pos(), "channel in a pure package: take input as arguments, give output as results")
		}
		return true
	})
}

// checkFloats reports each line once, however many of its expressions are floats.
func (t *tree) checkFloats(f *source, info *types.Info) {
	last := 0
	ast.Inspect(f.syntax, func(n ast.Node) bool {
		e, isExpr := n.(ast.Expr)
		if !isExpr || !isFloat(e, info) {
			return true
		}
		if line := t.fset.Position(e.Pos()).Line; line != last {
			last = line
			t.reportAt(e.Pos(), "floating point in a pure package: results differ between machines; use integers with a stated scale")
		}
		return true
	})
}

func isFloat(e ast.Expr, info *types.Info) bool {
	if lit, ok := e.(*ast.BasicLit); ok && (lit.Kind == token.FLOAT || lit.Kind == token.IMAG) {
		return true
	}
	tv, ok := info.Types[e]
	if !ok {
		return false
	}
	basic, ok := tv.Type.Underlying().(*types.Basic)
	return ok && basic.Info()&(types.IsFloat|types.IsComplex) != 0
}

// checkMapOrder finds range statements over maps, and the iterators of package
// maps unless their elements are sorted at once.
func (t *tree) checkMapOrder(f *source, info *types.Info) {
	marks := t.marks(f)
	sorted := make(map[ast.Expr]bool)
	ast.Inspect(f.syntax, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.RangeStmt:
			if tv, ok := info.Types[n.X]; ok && isMap(tv.Type) {
				t.unordered(n.Pos(), marks, "ranges over a map")
			}
		case *ast.CallExpr:
			switch name := callee(n, info); {
			case strings.HasPrefix(name, "slices.Sorted"):
				sorted[n.Args[0]] = true
			case slices.Contains([]string{"maps.Keys", "maps.Values", "maps.All"}, name) && !sorted[n]:
				t.unordered(n.Pos(), marks, "iterates with "+name)
			}
		}
		return true
	})
	for line, used := range marks {
		if !used {
			t.report(f.Path, line, "%s marks nothing here: remove it, or put it on the line of the range or above it", orderedMark)
		}
	}
}

func (t *tree) unordered(pos token.Pos, marks map[int]bool, what string) {
	line := t.fset.Position(pos).Line
	for _, l := range []int{line, line - 1} {
		if _, marked := marks[l]; marked {
			marks[l] = true
			return
		}
	}
	t.reportAt(pos, "%s in a pure package: its order is random and may reach a result; go through sorted keys, or say on this line `%s WHY` it cannot", what, orderedMark)
}

// marks are the lines with an orderedMark, none of them used yet.
func (t *tree) marks(f *source) map[int]bool {
	marks := make(map[int]bool)
	for _, group := range f.syntax.Comments {
		for _, c := range group.List {
			why, found := strings.CutPrefix(c.Text, orderedMark)
			if !found {
				continue
			}
			if len(strings.Fields(why)) < 2 {
				t.reportAt(c.Pos(), "%s without a reason: say why the order cannot reach a result", orderedMark)
			}
			marks[t.fset.Position(c.Pos()).Line] = false
		}
	}
	return marks
}

func isMap(t types.Type) bool {
	if p, ok := t.(*types.TypeParam); ok {
		t = p.Constraint()
	}
	switch u := t.Underlying().(type) {
	case *types.Map:
		return true
	case *types.Interface: // a constraint such as ~map[K]V
		for i := range u.NumEmbeddeds() {
			if union, ok := u.EmbeddedType(i).(*types.Union); ok && union.Len() > 0 && isMap(union.Term(0).Type()) {
				return true
			}
		}
	}
	return false
}

// callee is the package and name of a called function of another package, such as
// "maps.Keys".
func callee(call *ast.CallExpr, info *types.Info) string {
	fun := call.Fun
	if generic, ok := fun.(*ast.IndexExpr); ok {
		fun = generic.X
	}
	selector, ok := fun.(*ast.SelectorExpr)
	if !ok {
		return ""
	}
	fn, ok := info.Uses[selector.Sel].(*types.Func)
	if !ok || fn.Pkg() == nil || fn.Signature().Recv() != nil {
		return ""
	}
	return fn.Pkg().Path() + "." + fn.Name()
}
