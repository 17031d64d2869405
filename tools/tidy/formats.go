package tidy

import (
	"go/ast"
	"go/token"
	"path"
	"regexp"
	"strings"
)

// formatDocs says in which folder the bytes are documented that a package writes
// or sends. They outlive the program: a reader, or a second implementation,
// starts from the document (README, invariant 10).
var formatDocs = map[string]string{
	"host/chain":       "host/chain",
	"host/state":       "host/state",
	"host/state/proof": "host/state",
	"host/store":       "host/store",
	"host/wire":        "host/wire",
	"host/witness":     "host/witness",
	"host/settle":      "host/relay",
	"host/relay":       "host/relay",
	"host/node":        "host/node",
	"snapshot":         "snapshot",
	"stf-modules/abi":  "stf-modules",
}

var (
	formatConstant = regexp.MustCompile(`Version$|Magic$|^version$|^magic$`)
	changesHeading = regexp.MustCompile(`(?m)^#+ .*\bChanges\b`)
)

// checkFormats: every version and magic number of a durable format is named in a
// document, and the document tells its history.
func (t *tree) checkFormats() {
	for _, p := range t.packages {
		folder, durable := formatDocs[p.dir]
		if !durable {
			continue
		}
		text := t.documents(folder)
		if text == "" {
			t.report(p.dir, 0, "has no document (a .md file in %s): describe every durable byte, well enough to write an independent reader from", folder)
			continue
		}
		if !changesHeading.MatchString(text) {
			t.report(folder, 0, "its format document has no heading Changes: end with what each version changed")
		}
		for _, id := range formatConstants(p) {
			if !regexp.MustCompile(`\b` + id.Name + `\b`).MatchString(text) {
				t.reportAt(id.Pos(), "%s is in no document in %s: name it there with its value and what it versions", id.Name, folder)
			}
		}
	}
}

// documents is the text of the documents in a folder.
func (t *tree) documents(folder string) string {
	var text strings.Builder
	for _, f := range t.files {
		if path.Dir(f.Path) == folder && path.Ext(f.Path) == ".md" {
			text.Write(f.Data)
		}
	}
	return text.String()
}

func formatConstants(p *pkg) (ids []*ast.Ident) {
	for _, f := range p.files {
		if f.test {
			continue
		}
		for _, d := range f.syntax.Decls {
			decl, ok := d.(*ast.GenDecl)
			if !ok || decl.Tok != token.CONST {
				continue
			}
			for _, s := range decl.Specs {
				for _, id := range s.(*ast.ValueSpec).Names {
					if formatConstant.MatchString(id.Name) && !strings.HasPrefix(id.Name, "Export") { // ExportX names a function of a module
						ids = append(ids, id)
					}
				}
			}
		}
	}
	return ids
}
