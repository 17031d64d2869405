package tidy

import (
	"cmp"
	"errors"
	"fmt"
	"go/format"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

const testModule = "example.com/chain"

// goodTree keeps every rule. Each test plants one violation in it.
var goodTree = map[string]string{
	"host/invariant/invariant.go": goFile("invariant", "func Hold(bool) {}"),
	"host/chain/chain.go": goFile("chain", `import "example.com/chain/host/invariant"
const BlockVersion = 1
func Sum(m map[string]uint64) (n uint64) {
	for _, v := range m { //tidy:ordered a sum is the same in any order
		n += v
	}
	invariant.Hold(n > 0)
	return n
}`),
	"host/chain/FORMAT.md":     "# Blocks\n\nBlockVersion is 1.\n\n## Changes\n",
	"stf-modules/ABI.md":       "# The contract\n\n## Changes\n",
	"stf-modules/abi/abi.go":   goFile("abi", "type Code uint16"),
	"stf-modules/sdk/sdk.go":   goFile("sdk", `import "example.com/chain/stf-modules/abi"`+"\nvar OK abi.Code"),
	"host/wire/wire.go":        goFile("wire", `import "net"`+"\nvar C net.Conn\nconst none = 0.5\nfunc F() { go func() {}() }"),
	"host/wire/PROTOCOL.md":    "# Sync\n\n## Changes\n",
	"host/hosttest/h.go":       goFile("hosttest", "func Help() {}"),
	"host/oracle/oracle.go":    goFile("oracle", "type Feed struct{}"),
	"cmd/kaizen/main.go":       goFile("main", `import "github.com/spf13/cobra"`+"\nvar C cobra.Command\nfunc main() {}"),
	"tools/bench/main.go":      goFile("main", "func main() {}"),
	"host/chain/chain_test.go": "package chain\n\nimport (\n\t\"testing\"\n\t\"time\"\n\n\t\"example.com/chain/host/hosttest\"\n)\n\nfunc TestX(t *testing.T) {\n\thosttest.Help()\n\t_ = time.Now()\n\tt.Skip(\"needs a kernel with netem\")\n}\n",
	"host/wasm/m.wasm":         strings.Repeat("\x00", MaxFileBytes+1),
	"README.md":                "See https://example.com/home/spec and ~/.kaizen.\n",
}

func goFile(name, body string) string {
	return "// Package " + name + " owns something.\n// It imports little.\n// Anybody may call it.\npackage " + name + "\n\n" + body + "\n"
}

// unformatted is what one test plants; everything else is formatted here.
const unformatted = "var  x int"

func filesOf(tree map[string]string) (files []File) {
	for _, name := range slices.Sorted(maps.Keys(tree)) {
		data := []byte(tree[name])
		if clean, err := format.Source(data); err == nil && strings.HasSuffix(name, ".go") && !strings.Contains(tree[name], unformatted) {
			data = clean
		}
		files = append(files, File{Path: name, Data: data})
	}
	return files
}

func TestGoodTreeIsClean(t *testing.T) {
	for _, v := range Check(testModule, filesOf(goodTree), nil) {
		t.Error(v)
	}
}

// TestEveryRuleCanFail plants one violation after the other. The body is put into
// a new file of the package in dir, or, if file is set, is that file.
func TestEveryRuleCanFail(t *testing.T) {
	bad := func(dir, body string) map[string]string { return map[string]string{dir + "/planted.go": body} }
	in := func(dir, body string) map[string]string {
		name := dir[strings.LastIndex(dir, "/")+1:]
		if strings.HasPrefix(dir, "cmd/") || strings.HasPrefix(dir, "tools/") {
			name = "main"
		}
		return bad(dir, "package "+name+"\n\n"+body+"\n")
	}
	test := func(dir, body string) map[string]string {
		return map[string]string{dir + "/planted_test.go": "package " + dir[strings.LastIndex(dir, "/")+1:] + "\n\n" + body + "\n"}
	}
	half := func(a, b string) string { return a + b } // so that this file keeps the rules
	long := "func Long() {\n" + strings.Repeat("\t_ = 0\n", MaxFunctionLines-1) + "}"
	for _, c := range []struct {
		name    string
		planted map[string]string
		want    string // in the one violation expected
	}{
		{"a folder without a row", map[string]string{"host/new/new.go": goFile("new", "")}, "host/new: has no row"},
		{"a clock in a pure package", in("host/chain", `import _ "time"`), "planted.go:3: pure host/chain imports time"},
		{"randomness", in("host/chain", `import _ "math/rand/v2"`), "pure host/chain imports math/rand/v2"},
		{"a lock", in("host/chain", `import _ "sync"`), "pure host/chain imports sync"},
		{"files", in("host/chain", `import _ "os"`), "pure host/chain imports os"},
		{"network", in("host/chain", `import _ "net/http"`), "pure host/chain imports net/http"},
		{"a context", in("host/chain", `import _ "context"`), "pure host/chain imports context"},
		{"another row's exception", in("host/chain", `import _ "sync/atomic"`), "pure host/chain imports sync/atomic"},
		{"fmt in the sandbox", in("stf-modules/sdk", `import _ "fmt"`), "pure stf-modules/sdk imports fmt"},
		{"a clock beside the sandbox", bad("stf-modules/sdk", "//go:build !wasip1\n\npackage sdk\n\nimport _ \"time\"\n"), "pure stf-modules/sdk imports time"},
		{"pure imports adapter", in("host/chain", `import _ "example.com/chain/host/wire"`), "pure host/chain imports host/wire"},
		{"adapter imports adapter", in("host/wire", `import _ "example.com/chain/host/oracle"`), "adapter host/wire imports adapter host/oracle"},
		{"an arrow up", in("host/invariant", `import _ "example.com/chain/stf-modules/abi"`), "host/invariant may not import stf-modules/abi"},
		{"a guest imports the host", in("stf-modules/sdk", `import _ "example.com/chain/host/chain"`), "stf-modules/sdk may not import host/chain"},
		{"a tool imported", in("host/wire", `import _ "example.com/chain/tools/bench"`), "nothing imports cmd or tools"},
		{"a command imported by a test", test("host/wire", `import _ "example.com/chain/cmd/kaizen"`), "nothing imports cmd or tools"},
		{"test helpers in a program", in("host/wire", `import _ "example.com/chain/host/hosttest"`), "outside a test"},
		{"another's library", in("host/wire", `import _ "go.etcd.io/bbolt"`), "this one: host/store"},
		{"a library from nowhere", in("cmd/kaizen", `import _ "github.com/who/knows"`), "none yet"},
		{"a prefix that is no path", in("cmd/kaizen", `import _ "github.com/spf13/cobra2"`), "none yet"},
		{"a test's library in a program", in("host/wire", `import _ "github.com/rogpeppe/go-internal/testscript"`), "none yet"},
		{"a goroutine", in("host/chain", "func F() { go F() }"), "go statement in a pure package"},
		{"a channel", in("host/chain", "func F(c chan int) { c <- 1 }"), "channel in a pure package"},
		{"a select", in("host/chain", "func F() { select {} }"), "channel in a pure package"},
		{"a float type", in("host/chain", "var F float32"), "floating point"},
		{"a float constant", in("host/chain", "const F = 1e6"), "floating point"},
		{"a float by inference", in("host/chain", `import "math"`+"\n\nfunc F() bool { return math.Sqrt(4) > 1 }"), "floating point"},
		{"a float in the sandbox only", bad("stf-modules/sdk", "//go:build wasip1\n\npackage sdk\n\nvar F float64\n"), "floating point"},
		{"a range over a map", in("host/chain", "func F(m map[int]int) {\n\tfor range m {\n\t}\n}"), "planted.go:4: ranges over a map"},
		{"a range over a named map", in("host/chain", "type M map[int]int\ntype S struct{ m M }\n\nfunc (s S) F() {\n\tfor range s.m {\n\t}\n}"), "ranges over a map"},
		{"a range over a generic map", in("host/chain", "func F[M ~map[int]int](m M) {\n\tfor range m {\n\t}\n}"), "ranges over a map"},
		{"a range over another package's map", in("host/chain", "import \"go/build\"\n\nfunc F(p build.Package) {\n\tfor range p.ImportPos {\n\t}\n}"), "ranges over a map"},
		{"an unsorted iterator", in("host/chain", "import \"maps\"\n\nfunc F(m map[int]int) {\n\tfor range maps.Keys(m) {\n\t}\n}"), "iterates with maps.Keys"},
		{"a mark without a reason", in("host/chain", "func F(m map[int]int) {\n\tfor range m { //tidy:ordered\n\t}\n}"), "without a reason"},
		{"a mark on nothing", in("host/chain", "//tidy:ordered because it is\nfunc F() {}"), "marks nothing"},
		{"a mark two lines above", in("host/chain", "func F(m map[int]int) {\n\t//tidy:ordered too far away\n\n\tfor range m {\n\t}\n}"), "marks nothing"},
		{"a type error", in("stf-modules/abi", "var F = undefined"), "does not type-check"},
		{"a syntax error", in("host/wire", "func {"), "does not parse"},
		{"no package comment", map[string]string{"tools/bench/main.go": "package main\n\nfunc main() {}\n"}, "no package comment"},
		{"two package comments", map[string]string{"tools/bench/two.go": "// Command bench again.\npackage main\n"}, "second package comment"},
		{"a short one under host", map[string]string{"host/oracle/oracle.go": "// Package oracle is short.\npackage oracle\n"}, "too short"},
		{"a word left behind", in("host/wire", half("// TO", "DO: later")), "finish it"},
		{"another", map[string]string{"README.md": half("FIX", "ME\n")}, "finish it"},
		{"and another", map[string]string{"README.md": half("Simple for", " now.\n")}, "finish it"},
		{"a home directory", map[string]string{"README.md": half("cd /ho", "me/someone\n")}, "path of one machine"},
		{"a work directory", in("host/wire", half("const p = \"/wo", "rk/main\"")), "path of one machine"},
		{"a sleep", test("host/wire", "import \"time\"\n\nfunc F() { time.Sleep(1) }"), "time.Sleep"},
		{"a sleep in a program", in("host/wire", "import \"time\"\n\nfunc F() { time.Sleep(1) }"), "time.Sleep"},
		{"a link to nothing", map[string]string{"docs/x.md": "See [y](y.md)."}, "points to y.md, which is not there"},
		{"a link to no section", map[string]string{"docs/x.md": "See [y](../host/chain/FORMAT.md#changed)."}, "points to ../host/chain/FORMAT.md#changed"},
		{"a section that is not listed", map[string]string{"docs/x.md": "* [A b?](#a-b)\n\n## A b?\n\n## C\n"}, "\"C\" is not in the list of contents"},
		{"a section that is not listed with dashes", map[string]string{"docs/x.md": "- [A b?](#a-b)\n\n## A b?\n\n## C\n"}, "\"C\" is not in the list of contents"},
		{"a skip without a reason", test("host/wire", "import \"testing\"\n\nfunc TestX(t *testing.T) { t.SkipNow() }"), "skips without a reason"},
		{"a skip with a bad reason", test("host/wire", "import \"testing\"\n\nfunc TestX(t *testing.T) { t.Skip(\"flaky\") }"), "skips without a reason"},
		{"a large file", map[string]string{"README.md": strings.Repeat("x", MaxFileBytes+1)}, "limit 262144"},
		{"a version in no document", in("host/chain", "const GenesisVersion = 1"), "planted.go:3: GenesisVersion is in no document in host/chain"},
		{"a format without a document", map[string]string{"host/store/store.go": goFile("store", "")}, "host/store: has no document"},
		{"a document without a history", map[string]string{"stf-modules/ABI.md": "# The contract\n"}, "no heading Changes"},
		{"a file that is not formatted", in("host/wire", unformatted), "is not formatted"},
		{"a long function", in("host/wire", long), "Long is 71 lines"},
	} {
		t.Run(c.name, func(t *testing.T) {
			tree := maps.Clone(goodTree)
			maps.Copy(tree, c.planted)
			found := Check(testModule, filesOf(tree), nil)
			checkFound(t, found, c.want)
		})
	}
}

// checkFound wants some violation that says want. A planted one may break a
// second rule too, such as a type error that follows from a forbidden import.
func checkFound(t *testing.T, found []Violation, want string) {
	t.Helper()
	if want == "" {
		if len(found) > 0 {
			t.Errorf("found %v, want nothing", found)
		}
		return
	}
	if !slices.ContainsFunc(found, func(v Violation) bool { return strings.Contains(v.String(), want) }) {
		t.Errorf("found %v, want one that says %q", found, want)
	}
}

func TestAllowed(t *testing.T) {
	for name, planted := range map[string]map[string]string{
		"sorted keys":                {"host/chain/p.go": "package chain\n\nimport (\n\t\"maps\"\n\t\"slices\"\n)\n\nfunc F(m map[int]int) []int { return slices.Sorted(maps.Keys(m)) }\n"},
		"a mark above":               {"host/chain/p.go": "package chain\n\nfunc F(m map[int]int) {\n\t//tidy:ordered clearing has no order\n\tfor k := range m {\n\t\tdelete(m, k)\n\t}\n}\n"},
		"anything in a pure test":    {"host/chain/p_test.go": "package chain\n\nimport \"time\"\n\nvar F = 0.5\n\nfunc G(m map[int]int) {\n\tgo func() { <-time.After(1) }()\n\tfor range m {\n\t}\n}\n"},
		"fmt beside the sandbox":     {"stf-modules/sdk/p.go": "//go:build !wasip1\n\npackage sdk\n\nimport _ \"fmt\"\n"},
		"unsafe in the sdk":          {"stf-modules/sdk/p.go": "//go:build wasip1\n\npackage sdk\n\nimport _ \"unsafe\"\n"},
		"a module's own packages":    {"stf-modules/rfq/rfq.go": goFile("rfq", `import _ "example.com/chain/stf-modules/rfq/tx"`), "stf-modules/rfq/tx/tx.go": goFile("tx", "")},
		"a program for the sandbox":  {"stf-modules/rfq/guest/main.go": "//go:build wasip1\n\n" + goFile("main", `import _ "example.com/chain/stf-modules/sdk"`+"\n\nfunc main() {}")},
		"links that lead somewhere":  {"docs/x.md": "* [A b?](#a-b)\n\n## A b?\n\nSee [y](../host/chain/FORMAT.md#changes), [host](../host), <https://x.example>, [z](https://x.example/y.md).\n\n    [code](nowhere)\n"},
		"a bubble's clock":           {"host/wire/p_test.go": "package wire\n\nimport (\n\t\"testing\"\n\t\"testing/synctest\"\n\t\"time\"\n)\n\nfunc TestX(t *testing.T) { synctest.Test(t, func(*testing.T) { time.Sleep(1) }) }\n"},
		"a core for programs only":   {"host/chain/p.go": "package chain\n\nvar y = x\n", "host/chain/q.go": "//go:build !wasip1\n\npackage chain\n\nvar x = 1\n"},
		"the name of an export":      {"stf-modules/abi/p.go": "package abi\n\nconst ExportVersion = \"kaizen_abi_version\"\n"},
		"what others wrote":          {"host/chain/testdata/x.go": "not Go", "host/chain/testdata/y.txt": "TO" + "DO " + strings.Repeat("x", MaxFileBytes)},
		"a library's package below":  {"host/wire/p.go": "package wire\n\nimport _ \"github.com/coder/websocket/wsjson\"\n"},
		"a reason that is a message": {"host/wire/p_test.go": "package wire\n\nimport \"testing\"\n\nfunc TestX(t *testing.T) { t.Skipf(\"no C compiler: %v\", 1) }\n"},
	} {
		t.Run(name, func(t *testing.T) {
			tree := maps.Clone(goodTree)
			maps.Copy(tree, planted)
			checkFound(t, Check(testModule, filesOf(tree), nil), "")
		})
	}
}

func TestLengthRatchet(t *testing.T) {
	method := func(lines int) map[string]string {
		tree := maps.Clone(goodTree)
		tree["host/wire/p.go"] = "package wire\n\ntype T[K any] struct{}\n\nfunc (t *T[K]) Long() {\n" + strings.Repeat("\t_ = 0\n", lines-2) + "}\n"
		return tree
	}
	listed := func(lines int) []LongFunction { return []LongFunction{{"host/wire/p.go", "T.Long", lines}} }
	for _, c := range []struct {
		lines  int
		list   []LongFunction
		want   string
		shrunk []LongFunction
	}{
		{70, nil, "", nil},
		{71, nil, "T.Long is 71 lines", nil},
		{80, listed(80), "", listed(80)},
		{81, listed(80), "grew from 80 to 81", listed(80)},
		{79, listed(80), "shorter than the list", listed(79)},
		{70, listed(80), "shorter than the list", nil},
	} {
		tree := filesOf(method(c.lines))
		checkFound(t, Check(testModule, tree, c.list), c.want)
		if got := Shrink(testModule, tree, c.list); !slices.Equal(got, c.shrunk) {
			t.Errorf("%d lines with %v: shrinks to %v, want %v", c.lines, c.list, got, c.shrunk)
		}
	}
}

func TestParseLong(t *testing.T) {
	got, err := ParseLong([]byte("# heading\n\na/b.go T.F 80 # the opcode table\nc.go G 90\n"))
	if want := []LongFunction{{"a/b.go", "T.F", 80}, {"c.go", "G", 90}}; err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
	for _, bad := range []string{"a.go F", "a.go F many", "a.go"} {
		if got, err := ParseLong([]byte(bad)); err == nil {
			t.Errorf("ParseLong(%q) = %v, want an error", bad, got)
		}
	}
}

// Every row is used by the rules as it is meant: its arrows lead to packages that
// have rows themselves, and point to nothing above.
func TestTableIsSound(t *testing.T) {
	level := map[kind]int{guest: 0, pure: 0, adapter: 1, loop: 2, command: 3}
	for key, from := range table {
		for _, arrow := range strings.Fields(from.ours) {
			if strings.HasSuffix(arrow, "/...") {
				continue
			}
			to := rowOf(arrow)
			switch {
			case to == nil:
				t.Errorf("%s: arrow to %s, which has no row", key, arrow)
			case from.kind == helper || from.kind == tool:
			case level[to.kind] > level[from.kind]:
				t.Errorf("%s: arrow up to %s", key, arrow)
			}
		}
	}
	for dir, want := range map[string]kind{"host/state": pure, "host/state/proof": pure, "cmd/kaizen": command, "cmd/internal/cli": command,
		"stf-modules/rfq": guest, "stf-modules/rfq/guest": guest, "stf-modules/chaos/guest": guest, "tools/sim": tool, "host/hosttest/faultfs": helper} {
		if r := rowOf(dir); r == nil || r.kind != want {
			t.Errorf("%s: row %v, want kind %d", dir, r, want)
		}
	}
	for _, dir := range []string{"host", "host/x", "host/chain/x", "x", "tools/bench/deep"} {
		if r := rowOf(dir); r != nil {
			t.Errorf("%s has a row: %v", dir, *r)
		}
	}
}

func TestReadHonoursIgnore(t *testing.T) {
	top := fstest.MapFS{
		".gitignore":     {Data: []byte("# comment\n\n/bin/\n*.prof\n")},
		".git/config":    {Data: []byte("x")},
		".ci/run":        {Data: []byte("x")},
		"bin/kaizen":     {Data: []byte("x")},
		"host/bin/x.go":  {Data: []byte("x")},
		"host/cpu.prof":  {Data: []byte("x")},
		"host/profit.go": {Data: []byte("x")},
	}
	files, err := Read(top)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range files {
		got = append(got, f.Path)
	}
	if want := []string{".ci/run", ".gitignore", "host/bin/x.go", "host/profit.go"}; !slices.Equal(got, want) {
		t.Errorf("read %v, want %v", got, want)
	}
}

func TestTop(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/go.mod", []byte("module example.com/x\n\ngo 1.26\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(dir+"/a/b", 0o755); err != nil {
		t.Fatal(err)
	}
	if top, module, err := Top(dir + "/a/b"); top != dir || module != "example.com/x" || err != nil {
		t.Errorf("Top = %q, %q, %v", top, module, err)
	}
	if _, _, err := Top("/"); !errors.Is(err, ErrNoModule) {
		t.Errorf("Top of a disk without a go.mod: %v", err)
	}
}

func TestViolationsAreSorted(t *testing.T) {
	tree := maps.Clone(goodTree)
	for i := range 3 {
		tree[fmt.Sprintf("host/chain/p%d.go", i)] = "package chain\n\nimport _ \"time\"\n\nimport _ \"os\"\n"
	}
	found := Check(testModule, filesOf(tree), nil)
	if len(found) != 6 || !slices.IsSortedFunc(found, func(a, b Violation) int {
		return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.Line, b.Line))
	}) {
		t.Errorf("found %v", found)
	}
}
