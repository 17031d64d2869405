package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// soakReport is another run than sampleReport's, on the same machine.
func soakReport() *Report {
	r := sampleReport()
	r.Commit, r.Date, r.Seconds, r.Machine.Load = "ba9876543210", "2026-01-03", 3700, "1.2 0.2 0.3"
	r.Figures = []Figure{
		plain("soak", "ticks missed", "%", 0.2).want(atMost(0.1), nil).noted("of 36000"),
		plain("growth", "memory for one account", "B", 400).want(nil, atMost(300)),
	}
	r.Splits = nil
	return r
}

// written is a file with a report.
func written(t *testing.T, r *Report) string {
	t.Helper()
	var b bytes.Buffer
	if err := r.json(&b); err != nil {
		t.Fatal(err)
	}
	return writtenBytes(t, b.Bytes())
}

func writtenBytes(t *testing.T, b []byte) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "report.json")
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestJoin(t *testing.T) {
	here := sampleReport().Machine
	joined, err := readReports([]string{written(t, sampleReport()), written(t, soakReport())}, &here)
	if err != nil {
		t.Fatal(err)
	}
	r := sampleReport()
	r.Figures, r.Splits, r.Commit = r.Figures[:1], nil, "cafecafecafe"
	r.join(joined)
	if got, want := r.suites(), []string{"node"}; !reflect.DeepEqual(got, want) {
		t.Errorf("suites of this run are %v, want %v", got, want)
	}
	if got, want := r.Joined[0].suites(), []string{"wasm", "state", "http"}; !reflect.DeepEqual(got, want) {
		t.Errorf("suites of the first joined run are %v, want %v", got, want)
	}
	var table, text bytes.Buffer
	if err := r.table(&table); err != nil {
		t.Fatal(err)
	}
	if err := r.json(&text); err != nil {
		t.Fatal(err)
	}
	golden(t, "joined.txt", table.Bytes())
	golden(t, "joined.json", text.Bytes())
	golden(t, "joined.md", bytes.TrimSuffix(r.markdown(), []byte(method)))
	if back, err := decodeReport(text.Bytes()); err != nil || !reflect.DeepEqual(back, r) {
		t.Errorf("JSON comes back as %+v, %v", back, err)
	}
	again, err := readReports([]string{written(t, r)}, &here)
	if err != nil {
		t.Fatal(err)
	}
	empty := &Report{Machine: here}
	empty.join(again)
	if !reflect.DeepEqual(empty.figures(), r.figures()) || len(empty.runs()) != 3 {
		t.Errorf("joined again it has %d runs and figures %+v", len(empty.runs()), empty.figures())
	}
}

// TestJoinLeavesOut what this run has measured, by suite and by split.
func TestJoinLeavesOut(t *testing.T) {
	r := sampleReport()
	r.join([]Report{*sampleReport()})
	if len(r.Joined) != 0 {
		t.Errorf("a run with nothing new is joined: %+v", r.Joined)
	}
	r.Figures = r.Figures[:1]
	r.join([]Report{*sampleReport()})
	if len(r.Joined) != 1 || len(r.Joined[0].Figures) != 4 || len(r.Joined[0].Splits) != 0 {
		t.Errorf("joined %+v, want four figures and no split", r.Joined)
	}
}

func TestJoinRefuses(t *testing.T) {
	here := sampleReport().Machine
	changed := func(change func(r *Report)) string {
		r := sampleReport()
		change(r)
		return written(t, r)
	}
	text, err := json.Marshal(sampleReport())
	if err != nil {
		t.Fatal(err)
	}
	replaced := func(old, with string) string {
		if !bytes.Contains(text, []byte(old)) {
			t.Fatalf("the report has no %s", old)
		}
		return writtenBytes(t, bytes.Replace(text, []byte(old), []byte(with), 1))
	}
	for _, c := range []struct {
		file string
		want string
	}{
		{filepath.Join(t.TempDir(), "gone"), "no such file"},
		{writtenBytes(t, nil), "no report"},
		{writtenBytes(t, bytes.Repeat([]byte(" "), maxReportBytes+1)), "more than 4194304 bytes"},
		{writtenBytes(t, append(bytes.Clone(text), '1')), "no report"},
		{replaced(`"version":1`, `"version":2`), "version 2, want 1"},
		{replaced(`"commit"`, `"comit"`), `unknown field "comit"`},
		{changed(func(r *Report) { r.Machine.CPU = "a slower one" }), `processor is "a slower one" there and "a processor" here`},
		{changed(func(r *Report) { r.Machine.Cores = 3 }), `"3" there and "2" here`},
		{changed(func(r *Report) { r.Machine.Go = "go1.25" }), `Go is "go1.25" there and "go1.26" here`},
		{changed(func(r *Report) { r.Machine.Load = "1\n2" }), "in no table"},
		{changed(func(r *Report) { r.Date = "yesterday" }), "date"},
		{changed(func(r *Report) { r.Rounds = 0 }), "rounds"},
		{changed(func(r *Report) { r.Figures[0].Suite = "nothing" }), "is none of"},
		{changed(func(r *Report) { r.Figures[0].Name = "" }), "no name"},
		{changed(func(r *Report) { r.Figures[0].Note = "a | b" }), "in no table"},
		{changed(func(r *Report) { r.Figures[0].Ratio = nil }), "goes with"},
		{changed(func(r *Report) { r.Figures[0].Met = nil }), "goes with"},
		{changed(func(r *Report) { *r.Figures[0].Met = false }), "is said to be met: false"},
		{changed(func(r *Report) { r.Figures[0].Value.Rounds = 0 }), "of 0 rounds"},
		{changed(func(r *Report) { r.Figures[0].Value.Min = 1e9 }), "range 1e+09"},
		{changed(func(r *Report) { r.Figures[0].Goal.Op = ">" }), "a bound is"},
		{changed(func(r *Report) { r.Figures = make([]Figure, maxFigures+1) }), "1001 figures"},
		{changed(func(r *Report) { r.Splits[0].Of = "" }), "split 0"},
		{changed(func(r *Report) { r.Splits[0].Shares[0].Name = "a\tb" }), "in no table"},
		{changed(func(r *Report) { r.Joined = []Report{*sampleReport()} }), "suite wasm of two runs"},
		{changed(func(r *Report) { r.Joined = []Report{*soakReport()}; r.Joined[0].Version = 0 }), "joined run 0 has version 0"},
		{changed(func(r *Report) { r.Joined = make([]Report, maxJoined+1) }), "joined 17 runs"},
	} {
		if _, err := readReports([]string{c.file}, &here); err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), c.file) {
			t.Errorf("error is %v, want one with %q and the file", err, c.want)
		}
	}
	a, b := written(t, soakReport()), written(t, soakReport())
	if _, err := readReports([]string{a, b}, &here); err == nil || !strings.Contains(err.Error(), "suite growth is in "+a+" already") {
		t.Errorf("two reports with the same suites: %v", err)
	}
}

// TestOnlyJoin writes the document and measures nothing.
func TestOnlyJoin(t *testing.T) {
	first, second := sampleReport(), soakReport()
	first.Machine, second.Machine = thisMachine(), thisMachine()
	md := filepath.Join(t.TempDir(), "BENCHMARKS.md")
	var out bytes.Buffer
	args := []string{"-join", written(t, first), "-join", written(t, second), "-md", md, "-run", "^$", "-dir", t.TempDir(), "-o", "json"}
	if err := command(context.Background(), args, &out, io.Discard); err != nil {
		t.Fatal(err)
	}
	if r := decode(t, out.Bytes()); len(r.Figures) != 0 || len(r.Joined) != 2 {
		t.Errorf("%d figures and %d joined runs, want none and 2", len(r.Figures), len(r.Joined))
	}
	document, err := os.ReadFile(md)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"| wasm, state, node, http | 0123456789ab |", "| growth, soak | ba9876543210 |", "- **soak**, ticks missed", "- growth, memory for one account", "| soak | ticks missed |"} {
		if !bytes.Contains(document, []byte(want)) {
			t.Errorf("the document has no %q:\n%s", want, document[:2000])
		}
	}
	second.Machine.Go = "go1.0"
	if err := command(context.Background(), []string{"-join", written(t, second), "-run", "^$"}, io.Discard, io.Discard); err == nil || !strings.Contains(err.Error(), "go1.0") {
		t.Errorf("a report of another Go: %v", err)
	}
}

func TestWants(t *testing.T) {
	for _, c := range []struct {
		run                       string
		node, peers, growth, soak bool
	}{{"", true, false, false, false}, {"all", true, true, true, false}, {"soak|peers", false, true, false, true}, {".", true, true, true, true}, {"^$", false, false, false, false}} {
		o, err := parse([]string{"-run", c.run}, io.Discard)
		if err != nil {
			t.Fatal(err)
		}
		wanted := map[string]bool{}
		for i := range suites {
			wanted[suites[i].name] = o.wants(&suites[i])
		}
		if wanted["node"] != c.node || wanted["peers"] != c.peers || wanted["growth"] != c.growth || wanted["soak"] != c.soak {
			t.Errorf("-run %q means %v", c.run, wanted)
		}
	}
}

func FuzzDecodeReport(f *testing.F) {
	for _, r := range []*Report{sampleReport(), soakReport()} {
		b, err := json.Marshal(r)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte(`{"version":1,"figures":[{"suite":"node","limit":{}}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := decodeReport(b)
		if err != nil {
			return
		}
		var text bytes.Buffer
		if err := r.json(&text); err != nil {
			t.Fatal(err)
		}
		r.markdown()
		if err := r.table(io.Discard); err != nil {
			t.Fatal(err)
		}
		if len(text.Bytes()) > maxReportBytes {
			return // the indented form may be longer than what was read
		}
		if _, err := decodeReport(text.Bytes()); err != nil {
			t.Errorf("what it writes is refused: %v\n%s", err, text.Bytes())
		}
	})
}
