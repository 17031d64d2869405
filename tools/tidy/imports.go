package tidy

import (
	"go/ast"
	"slices"
	"strconv"
	"strings"
)

func (t *tree) checkImports(p *pkg) {
	if p.row == nil {
		t.report(p.dir, 0, "has no row in tools/tidy/table.go: say there what kind of package it is and which arrows leave it, and add it to the map in README")
		return
	}
	for _, f := range p.files {
		for _, spec := range f.syntax.Imports {
			target, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				continue // the parser has refused it already
			}
			switch ours, found := strings.CutPrefix(target, t.module+"/"); {
			case found:
				t.checkOurs(p, f, spec, ours)
			case strings.Contains(strings.Split(target, "/")[0], "."):
				t.checkLibrary(p, f, spec, target)
			case !f.test:
				t.checkStd(p, f, spec, target)
			}
		}
	}
}

// checkOurs: a test may use whatever helps it, but never a command or a tool.
func (t *tree) checkOurs(p *pkg, f *source, spec *ast.ImportSpec, target string) {
	own := target == p.dir || anyMatches(p.row.ours, target)
	to := rowOf(target)
	switch {
	case own, to == nil: // a package without a row is reported where it is
	case to.kind == command || to.kind == tool:
		t.reportAt(spec.Pos(), "imports %s: nothing imports cmd or tools; move what you need into the package below that owns it", target)
	case f.test || p.row.kind == helper:
	case to.kind == helper:
		t.reportAt(spec.Pos(), "imports %s outside a test: test helpers stay out of programs", target)
	case isPure(p.row.kind) && !isPure(to.kind):
		t.reportAt(spec.Pos(), "pure %s imports %s: declare the interface you need here and let host/node hand you the adapter", p.dir, target)
	case p.row.kind == adapter && to.kind == adapter:
		t.reportAt(spec.Pos(), "adapter %s imports adapter %s: declare an interface in the core that needs it and let host/node join the two", p.dir, target)
	default:
		t.reportAt(spec.Pos(), "%s may not import %s: arrows point down as tools/tidy/table.go says; if this one is right, add it there and to the house's picture", p.dir, target)
	}
}

func isPure(k kind) bool { return k == pure || k == guest }

func (t *tree) checkLibrary(p *pkg, f *source, spec *ast.ImportSpec, target string) {
	if anyUnder(p.row.libs, target) || (f.test || p.row.kind == helper) && anyUnder(testLibs, target) {
		return
	}
	t.reportAt(spec.Pos(), "%s imports %s: one package owns each outside library (%s); go through it", p.dir, target, owners(target))
}

// owners are the packages that may import a library, for a message.
func owners(library string) string {
	var who []string
	for key, r := range table {
		if anyUnder(r.libs, library) {
			who = append(who, key)
		}
	}
	if who == nil {
		return "this one: none yet, so say in table.go why the project needs it"
	}
	slices.Sort(who)
	return "this one: " + strings.Join(who, ", ")
}

func (t *tree) checkStd(p *pkg, f *source, spec *ast.ImportSpec, target string) {
	allowed := p.row.std
	switch {
	case p.row.kind == guest && f.builds(sandbox):
		allowed += " " + guestStd
	case p.row.kind == guest: // the part of a module that only programs see
		allowed += " embed io " + pureStd
	case p.row.kind == pure:
		allowed += " " + pureStd
	default:
		return
	}
	if !slices.Contains(strings.Fields(allowed), target) {
		t.reportAt(spec.Pos(), "pure %s imports %s: take time, randomness and bytes as arguments, leave I/O, locks and goroutines to host/node (tools/tidy/table.go lists what is allowed)", p.dir, target)
	}
}
