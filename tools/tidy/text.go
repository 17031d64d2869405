package tidy

import (
	"bytes"
	"go/ast"
	"go/token"
	"path"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"
)

// MaxFileBytes bounds a file of the repository, bytes. Test data, compiled
// modules and go.sum may be larger.
const MaxFileBytes = 256 << 10

// The words are written in two halves so that this file does not contain them.
var (
	leftover = regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|XX` + `X|HA` + `CK)\b|(?i)\bfor` + ` now\b|\bnot` + ` implemented\b`)
	onePlace = regexp.MustCompile("(^|[\\s\"'`=(:,])(/(work|root|ho" + "me|Users)/[\\w.]|\\.\\./sha" + "red/|sha" + "red/(spec|design|research)\\b)")
)

func (t *tree) checkTexts() {
	for _, f := range t.files {
		if len(f.Data) > MaxFileBytes && !mayBeLarge(f.Path) {
			t.report(f.Path, 0, "is %d bytes, limit %d: split it, or put test data under testdata", len(f.Data), MaxFileBytes)
		}
		if !utf8.Valid(f.Data) || bytes.IndexByte(f.Data, 0) >= 0 || inTestdata(f.Path) {
			continue // not a text, or one that others wrote
		}
		for i, line := range strings.Split(string(f.Data), "\n") {
			if found := leftover.FindString(line); found != "" {
				t.report(f.Path, i+1, "%q: finish it, or write down where it is decided to stay as it is", found)
			}
			if onePlace.MatchString(line) {
				t.report(f.Path, i+1, "names a path of one machine: a stranger's clone does not have it; use t.TempDir, testdata or a flag")
			}
		}
	}
}

func mayBeLarge(file string) bool {
	return inTestdata(file) || path.Ext(file) == ".wasm" || path.Base(file) == "go.sum"
}

// checkCalls finds sleeps, and tests that skip without saying why. In the bubble
// of a synctest.Test a sleep takes no time: there it is how the clock moves.
func (t *tree) checkCalls(p *pkg) {
	for _, f := range p.files {
		ast.Inspect(f.syntax, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			on, name := method(call)
			switch {
			case on == "synctest" && name == "Test":
				return false
			case on == "time" && name == "Sleep":
				t.reportAt(call.Pos(), "time.Sleep: a program waits for a timer and its context in one select, a test for a channel, a fake clock or testing/synctest")
			case f.test && isSkip(name) && !givesReason(call):
				t.reportAt(call.Pos(), "test skips without a reason that a stranger accepts: t.Skip(\"why, and what would make it run\")")
			}
			return true
		})
	}
}

// method is X and Name of a call X.Name(…) where X is one identifier.
func method(call *ast.CallExpr) (on, name string) {
	selector, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return "", ""
	}
	if id, ok := selector.X.(*ast.Ident); ok {
		on = id.Name
	}
	return on, selector.Sel.Name
}

func isSkip(name string) bool { return name == "Skip" || name == "Skipf" || name == "SkipNow" }

func givesReason(call *ast.CallExpr) bool {
	if len(call.Args) == 0 {
		return false
	}
	lit, ok := call.Args[0].(*ast.BasicLit)
	if !ok || lit.Kind != token.STRING {
		return ok
	}
	reason, err := strconv.Unquote(lit.Value)
	return err == nil && len(strings.Fields(reason)) >= 3
}

// minHostCommentLines is the least that a package comment under host/ says: what
// it owns, what it must not import, who may call it concurrently.
const minHostCommentLines = 3

func (t *tree) checkPackageComment(p *pkg) {
	var docs []*source
	programs := 0
	for _, f := range p.files {
		if f.test {
			continue
		}
		programs++
		if f.syntax.Doc != nil {
			docs = append(docs, f)
		}
	}
	switch {
	case programs == 0:
	case len(docs) == 0:
		t.report(p.dir, 0, "has no package comment: say what it owns, what it must not import, the one sequence a caller needs, who may call it concurrently")
	case len(docs) > 1:
		t.report(docs[1].Path, 0, "second package comment, the first is in %s: a package says in one place what it is", docs[0].Path)
	case under(p.dir, "host") && strings.Count(docs[0].syntax.Doc.Text(), "\n") < minHostCommentLines:
		t.report(docs[0].Path, 0, "package comment is too short: say what it owns, what it must not import, the one sequence a caller needs, who may call it concurrently")
	}
}
