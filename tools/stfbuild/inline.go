package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// A call costs some 10 ns inside a guest, so on the path of most transactions there
// should be none; but the compiler puts only the smallest functions into their callers,
// unless a profile says that a call is hot. What is hot is known here without measuring:
// a module's inline.txt has a line for each function that goes into another.
//
//	rfq.(*Module).Execute > rfq.(*Module).attribute > rfq/tx.DecodeUnsigned
//
// says that attribute goes into Execute, and with it what DecodeUnsigned does there.
// From that and the source a profile is made, which names calls by their lines, so that
// it never has to be kept up to date; and the compiler's messages are looked through
// for every call of the list.

// inlineFile is the list of a module, beside its main package.
const inlineFile = "inline.txt"

// sourceRoot is what the names in a list begin below.
const sourceRoot = "github.com/kaizenchain/kaizen/stf-modules/"

// chain is one line of a list: each function calls the next one.
type chain []*function

// function is one that is in a list.
type function struct {
	name  string // as the linker has it
	last  string // its own name, without package and receiver
	file  string // import path and base name
	line  int
	calls map[string]int // line of the first call of a function or method, by its own name
}

// inlining is what the compiler is told about a module, and has to confirm.
type inlining struct {
	chains  []chain
	profile string // file
}

// readInlining reads the list of a module and writes the profile to dir; nil if the
// module has no list.
func readInlining(root, module, dir string) (*inlining, error) {
	b, err := os.ReadFile(filepath.Join(root, "stf-modules", module, "guest", inlineFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	s := &source{root: root, packages: map[string]map[string]*function{}}
	in := &inlining{profile: filepath.Join(dir, "inline.pprof")}
	for n, line := range strings.Split(string(b), "\n") {
		if line == "" || line[0] == '#' {
			continue
		}
		c, err := s.chain(line)
		if err != nil {
			return nil, fmt.Errorf("%s of %s, line %d: %w", inlineFile, module, n+1, err)
		}
		in.chains = append(in.chains, c)
	}
	return in, os.WriteFile(in.profile, in.encode(), 0o600)
}

// flags are what the Go command is given beside what every module needs.
func (in *inlining) flags() []string {
	if in == nil {
		return []string{"-pgo=off"}
	}
	return []string{"-pgo=" + in.profile, "-gcflags=" + sourceRoot + "...=-m"}
}

// confirm looks for every call of the list in what the compiler said.
func (in *inlining) confirm(said string) error {
	if in == nil {
		return nil
	}
	done := map[string]bool{}
	for line := range strings.Lines(said) {
		if at, what, ok := strings.Cut(line, ": inlining call to "); ok {
			name := strings.TrimSpace(what)
			place, _, _ := cutLast(at, ':') // without the column
			done[place+" "+lastName(name)] = true
		}
	}
	for _, c := range in.chains {
		callee := c[len(c)-1]
		at := fmt.Sprintf("%s:%d %s", c[0].file, c[0].calls[c[1].last], callee.last) // as the compiler says it
		if !done[at] {
			return fmt.Errorf("the compiler does not put %s into %s (%s)", callee.name, c[0].name, at)
		}
	}
	return nil
}

func cutLast(s string, sep byte) (before, after string, found bool) {
	if i := strings.LastIndexByte(s, sep); i >= 0 {
		return s[:i], s[i+1:], true
	}
	return s, "", false
}

// lastName is the name of a function or method without package and receiver.
func lastName(name string) string {
	_, last, ok := cutLast(name, '.')
	if !ok {
		return name
	}
	return last
}

// source finds functions in the packages of guests.
type source struct {
	root     string
	packages map[string]map[string]*function // by path below sourceRoot, then by name in it
}

// chain reads a line of a list.
func (s *source) chain(line string) (c chain, err error) {
	for name := range strings.SplitSeq(line, " > ") {
		f, err := s.find(name)
		if err != nil {
			return nil, err
		}
		if len(c) > 0 && c[len(c)-1].calls[f.last] == 0 {
			return nil, fmt.Errorf("%s does not call %s", c[len(c)-1].name, name)
		}
		c = append(c, f)
	}
	if len(c) < 2 {
		return nil, fmt.Errorf("%q: want functions between >", line)
	}
	return c, nil
}

// find looks up a function such as rfq/tx.DecodeUnsigned or rfq.(*Module).Execute.
func (s *source) find(name string) (*function, error) {
	slash := strings.LastIndexByte(name, '/') + 1
	pkg, own, ok := strings.Cut(name[slash:], ".")
	if !ok {
		return nil, fmt.Errorf("%q names no function of a package", name)
	}
	pkg = name[:slash] + pkg
	if s.packages[pkg] == nil {
		if err := s.parse(pkg); err != nil {
			return nil, err
		}
	}
	f := s.packages[pkg][own]
	if f == nil {
		return nil, fmt.Errorf("there is no %s", name)
	}
	return f, nil
}

// parse reads the functions of a package, as it is for guests.
func (s *source) parse(pkg string) error {
	cmd := exec.Command("go", "list", "-f", "{{.Dir}}{{range .GoFiles}} {{.}}{{end}}", sourceRoot+pkg)
	cmd.Dir, cmd.Env = s.root, environment()
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("list the files of %s: %w", pkg, err)
	}
	all := map[string]*function{}
	s.packages[pkg] = all
	words := strings.Split(strings.TrimSpace(string(out)), " ")
	for _, base := range words[1:] {
		if err := parseFile(all, pkg, filepath.Join(words[0], base)); err != nil {
			return err
		}
	}
	return nil
}

func parseFile(all map[string]*function, pkg, path string) error {
	files := token.NewFileSet()
	parsed, err := parser.ParseFile(files, path, nil, parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	for _, d := range parsed.Decls {
		decl, ok := d.(*ast.FuncDecl)
		if !ok {
			continue
		}
		own := receiver(decl) + decl.Name.Name
		f := &function{name: sourceRoot + pkg + "." + own, last: decl.Name.Name, file: sourceRoot + pkg + "/" + filepath.Base(path),
			line: files.Position(decl.Pos()).Line, calls: map[string]int{}}
		f.read(files, decl)
		all[own] = f
	}
	return nil
}

// receiver is what goes before a method's name.
func receiver(decl *ast.FuncDecl) string {
	if decl.Recv == nil {
		return ""
	}
	switch t := decl.Recv.List[0].Type.(type) {
	case *ast.StarExpr:
		return fmt.Sprintf("(*%s).", t.X)
	default:
		return fmt.Sprintf("%s.", t)
	}
}

// read notes where f calls what.
func (f *function) read(files *token.FileSet, decl *ast.FuncDecl) {
	ast.Inspect(decl, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		name, at := "", call.Pos()
		switch fun := call.Fun.(type) {
		case *ast.Ident:
			name = fun.Name
		case *ast.SelectorExpr:
			name, at = fun.Sel.Name, fun.Sel.Pos()
		}
		if f.calls[name] == 0 {
			f.calls[name] = files.Position(at).Line
		}
		return true
	})
}

// encode is the list as a profile in the format of pprof: a sample for each call. A
// call that comes with a function which is put into another is known there by its own
// line too, so that every chain has its last call twice.
func (in *inlining) encode() []byte {
	p := &profile{strings: map[string]uint64{}, functions: map[*function]uint64{}}
	p.string("")
	p.message(1, func(m *profile) { m.varint(1, p.string("samples")); m.varint(2, p.string("count")) })
	for _, c := range in.chains {
		caller, callee := c[len(c)-2], c[len(c)-1]
		line := caller.calls[callee.last]
		p.sample(caller, line, callee)
		if c[0] != caller {
			p.sample(c[0], line, callee)
		}
	}
	return p.b
}

// profile writes the protocol buffers of a profile. Numbers of fields are those of
// pprof's profile.proto.
type profile struct {
	b         []byte
	strings   map[string]uint64
	functions map[*function]uint64
	locations uint64
}

func (p *profile) varint(field int, v uint64) {
	p.b = binary.AppendUvarint(append(p.b, byte(field<<3)), v)
}

func (p *profile) bytes(field int, b []byte) {
	p.b = append(binary.AppendUvarint(append(p.b, byte(field<<3|2)), uint64(len(b))), b...)
}

func (p *profile) message(field int, fill func(*profile)) {
	m := &profile{}
	fill(m)
	p.bytes(field, m.b)
}

// string is the number of a string in the table.
func (p *profile) string(s string) uint64 {
	n, ok := p.strings[s]
	if !ok {
		n = uint64(len(p.strings))
		p.strings[s] = n
		p.bytes(6, []byte(s))
	}
	return n
}

// function is the number of a function in the table.
func (p *profile) function(f *function) uint64 {
	n, ok := p.functions[f]
	if !ok {
		n = uint64(len(p.functions) + 1)
		p.functions[f] = n
		name := p.string(f.name)
		p.message(5, func(m *profile) {
			m.varint(1, n)
			m.varint(2, name)
			m.varint(3, name)
			m.varint(5, uint64(f.line))
		})
	}
	return n
}

// location is a line of a function.
func (p *profile) location(f *function, line int) uint64 {
	fn := p.function(f)
	p.locations++
	n := p.locations
	p.message(4, func(m *profile) {
		m.varint(1, n)
		m.message(4, func(l *profile) { l.varint(1, fn); l.varint(2, uint64(line)) })
	})
	return n
}

// sample says that caller calls callee at a line.
func (p *profile) sample(caller *function, line int, callee *function) {
	leaf, above := p.location(callee, callee.line), p.location(caller, line)
	p.message(2, func(m *profile) {
		m.varint(1, leaf)
		m.varint(1, above)
		m.varint(2, 1)
	})
}
