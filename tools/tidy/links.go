package tidy

import (
	"path"
	"regexp"
	"strings"
	"unicode"
)

// link is a Markdown link or picture: what it points to is the group.
var link = regexp.MustCompile(`\]\(([^()\s]+)\)`)

// checkLinks: what a document points to is there, and a list of contents has every
// section.
func (t *tree) checkLinks() {
	paths := map[string]*File{}
	for i := range t.files {
		for p := t.files[i].Path; p != "." && paths[p] == nil; p = path.Dir(p) {
			paths[p] = &t.files[i] // a folder is there if something is in it
		}
	}
	for i := range t.files {
		if f := &t.files[i]; path.Ext(f.Path) == ".md" && !inTestdata(f.Path) {
			t.checkDocument(f, paths)
		}
	}
}

func (t *tree) checkDocument(f *File, paths map[string]*File) {
	listed := map[string]bool{}
	for i, line := range prose(f) {
		for _, m := range link.FindAllStringSubmatch(line, -1) {
			file, anchor, _ := strings.Cut(m[1], "#")
			if strings.Contains(file, ":") {
				continue // of the world, which changes
			}
			target := f
			if file != "" {
				target = paths[path.Join(path.Dir(f.Path), file)]
			} else if strings.HasPrefix(line, "* [") || strings.HasPrefix(line, "- [") {
				listed[anchor] = true
			}
			if target == nil || anchor != "" && !headings(target)[anchor] {
				t.report(f.Path, i+1, "points to %s, which is not there", m[1])
			}
		}
	}
	for i, line := range prose(f) {
		if title, ok := strings.CutPrefix(line, "## "); ok && len(listed) > 0 && !listed[slug(title)] {
			t.report(f.Path, i+1, "%q is not in the list of contents at the top", title)
		}
	}
}

// prose is the lines of a document, those of examples left empty.
func prose(f *File) []string {
	lines, fenced := strings.Split(string(f.Data), "\n"), false
	for i, line := range lines {
		if strings.HasPrefix(line, "```") {
			fenced = !fenced
		}
		if fenced || strings.HasPrefix(line, "    ") {
			lines[i] = ""
		}
	}
	return lines
}

// headings are the anchors of a document.
func headings(f *File) map[string]bool {
	all := map[string]bool{}
	for _, line := range prose(f) {
		if title := strings.TrimLeft(line, "#"); title != line && strings.HasPrefix(title, " ") {
			all[slug(title)] = true
		}
	}
	return all
}

// slug is the anchor that GitHub makes of a heading.
func slug(title string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case unicode.IsLetter(r), unicode.IsDigit(r), r == '-', r == '_':
			return unicode.ToLower(r)
		}
		return -1
	}, strings.TrimSpace(title))
}
