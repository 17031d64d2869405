package main

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// reportVersion changes when a field changes its meaning.
const reportVersion = 1

// Report is what a run came to.
type Report struct {
	Version  int      `json:"version"`
	Machine  Machine  `json:"machine"`
	Commit   string   `json:"commit"` // empty: unknown; with "-dirty" if files differ from it
	Date     string   `json:"date"`   // day of the run, UTC
	Accounts int      `json:"accounts"`
	Slice    float64  `json:"slice_seconds"` // length of one measurement
	Rounds   int      `json:"rounds"`
	Seconds  float64  `json:"seconds"` // of the whole run
	Figures  []Figure `json:"figures"`
	Splits   []Split  `json:"splits,omitempty"`
	// Joined are earlier runs, with the suites that this one has not measured. They
	// have none of their own: joining a run joins what it joined.
	Joined []Report `json:"joined,omitempty"`
}

// Machine is where it ran.
type Machine struct {
	OS     string `json:"os"`
	Arch   string `json:"arch"`
	CPU    string `json:"cpu"`
	Cores  int    `json:"cores"`
	Memory string `json:"memory"`
	Kernel string `json:"kernel"`
	Load   string `json:"load"` // averages over 1, 5 and 15 minutes when the run began
	Go     string `json:"go"`
}

func newReport(o *options) *Report {
	return &Report{Version: reportVersion, Machine: thisMachine(), Commit: commit(), Date: time.Now().UTC().Format(time.DateOnly),
		Accounts: o.accounts, Slice: o.seconds, Rounds: o.rounds, Figures: []Figure{}}
}

func thisMachine() Machine {
	return Machine{OS: runtime.GOOS, Arch: runtime.GOARCH, Cores: runtime.GOMAXPROCS(0), Go: runtime.Version(),
		CPU: procField("/proc/cpuinfo", "model name"), Memory: memory(), Kernel: firstLine("/proc/sys/kernel/osrelease"), Load: load()}
}

// memory is how much there is, where /proc says it, or "".
func memory() string {
	kib, err := strconv.ParseFloat(strings.TrimSuffix(procField("/proc/meminfo", "MemTotal"), " kB"), 64)
	if err != nil {
		return ""
	}
	return strconv.FormatFloat(kib/(1<<20), 'f', 1, 64) + " GiB"
}

// procField is a field of a file of Linux, or "".
func procField(file, field string) string {
	b, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(b)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == field {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

func firstLine(file string) string {
	b, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	line, _, _ := strings.Cut(string(b), "\n")
	return line
}

// load is the load averages of Linux, or "".
func load() string {
	fields := strings.Fields(firstLine("/proc/loadavg"))
	return strings.Join(fields[:min(3, len(fields))], " ")
}

// busy says whether the load averages speak of other work.
func (m *Machine) busy() bool {
	recent, _, _ := strings.Cut(m.Load, " ")
	average, err := strconv.ParseFloat(recent, 64)
	return err == nil && average > float64(m.Cores)/2
}

// commit is the repository's, if this runs in one.
func commit() string {
	b, err := exec.Command("git", "describe", "--always", "--dirty", "--abbrev=12").Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

func (r *Report) json(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(r)
}

func (r *Report) table(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "SUITE\tFIGURE\tVALUE\tRANGE\tLIMIT\tRATIO\tWANTED\tMET")
	figures := r.figures()
	for i := range figures {
		c := figures[i].cells()
		fmt.Fprintln(t, strings.Join(c[:], "\t"))
	}
	for _, run := range r.runs() {
		for _, s := range run.Splits {
			fmt.Fprintf(t, "\nprocessor time, %s\n", s.Of)
			for _, share := range s.Shares {
				fmt.Fprintf(t, "\t%s\t%.1f %%\n", share.Name, share.Percent)
			}
		}
	}
	for i := range r.Joined {
		c := r.Joined[i].runCells()
		fmt.Fprintf(t, "\njoined: %s: commit %s of %s, load when it began %s, %s accounts, rounds %s, %s in all\n", c[0], c[1], c[2], c[3], c[4], c[5], c[6])
	}
	return t.Flush()
}

// cells are a row of the table: suite, figure, value, range, limit, ratio, wanted,
// met.
func (f *Figure) cells() [8]string {
	c := [8]string{f.Suite, f.Name, number(f.Value.Median, f.Unit), "", "", "", "", ""}
	if f.Value.Rounds > 1 {
		c[3] = number(f.Value.Min, "") + " to " + number(f.Value.Max, "")
	}
	if f.Limit != nil {
		c[4] = f.Limit.Name + ": " + number(f.Limit.Value.Median, f.Limit.Unit)
		c[5] = strconv.FormatFloat(f.Ratio.Median, 'f', 2, 64)
	}
	if f.Target != nil {
		c[6] = f.Target.String()
		c[7] = map[bool]string{true: "yes", false: "NO"}[*f.Met]
	}
	if f.Goal != nil {
		c[6] = strings.TrimSpace(c[6] + " (later " + f.Goal.String() + ")")
	}
	return c
}

func (b *Bound) String() string {
	return map[string]string{">=": "≥", "<=": "≤"}[b.Op] + " " + number(b.Value, "")
}

// number writes three significant digits, or whole numbers in groups of three.
func number(v float64, unit string) string {
	text := strconv.FormatFloat(v, 'g', 3, 64)
	if v >= 100 || v <= -100 {
		text = grouped(strconv.FormatFloat(v, 'f', 0, 64))
	}
	if unit != "" && unit != "1" {
		text += " " + unit
	}
	return text
}

func grouped(digits string) string {
	sign, rest := "", digits
	if strings.HasPrefix(rest, "-") {
		sign, rest = "-", rest[1:]
	}
	for i := len(rest) - 3; i > 0; i -= 3 {
		rest = rest[:i] + "," + rest[i:]
	}
	return sign + rest
}

// method is how the figures are made; it goes into the document.
//
//go:embed method.md
var method string

// markdown is BENCHMARKS.md.
func (r *Report) markdown() []byte {
	var b bytes.Buffer
	b.WriteString("# Benchmarks\n\nWritten by `go run ./tools/bench -md BENCHMARKS.md`; do not edit it by hand, edit `tools/bench/method.md`.\n\n")
	m := r.Machine
	fmt.Fprintf(&b, "| | |\n|---|---|\n| machine | %s, %d cores, %s memory |\n| system | %s/%s, kernel %s |\n| Go | %s |\n\n", m.CPU, m.Cores, m.Memory, m.OS, m.Arch, m.Kernel, m.Go)
	r.writeRuns(&b)
	r.writeMissed(&b)
	r.writeFigures(&b)
	for _, run := range r.runs() {
		run.writeSplits(&b)
	}
	b.WriteString(method)
	return b.Bytes()
}

// writeRuns says where each suite comes from.
func (r *Report) writeRuns(b *bytes.Buffer) {
	b.WriteString("| suites | commit | date | load when the run began | accounts | rounds | in all |\n|---|---|---|---|---:|---|---:|\n")
	runs := r.runs()
	for _, run := range runs {
		c := run.runCells()
		fmt.Fprintf(b, "| %s |\n", strings.Join(c[:], " | "))
	}
	b.WriteString("\n")
	if rest := r.unmeasured(); len(rest) > 0 {
		fmt.Fprintf(b, "Not measured: %s.\n\n", strings.Join(rest, ", "))
	}
	for _, run := range runs {
		if run.Machine.busy() {
			fmt.Fprintf(b, "**The machine was doing other work when %s was measured.** Ratios and processor times still mean something, times and\nrates do not.\n\n",
				strings.Join(run.suites(), ", "))
		}
	}
}

// runCells are a row of the runs: suites, commit, date, load, accounts, rounds,
// seconds.
func (r *Report) runCells() [7]string {
	return [7]string{strings.Join(r.suites(), ", "), r.Commit, r.Date, r.Machine.Load, grouped(strconv.Itoa(r.Accounts)),
		fmt.Sprintf("%d of %g s", r.Rounds, r.Slice), fmt.Sprintf("%.0f s", r.Seconds)}
}

// writeMissed begins with what is not good enough.
func (r *Report) writeMissed(b *bytes.Buffer) {
	b.WriteString("## What is missed\n\n")
	missed, figures := 0, r.figures()
	for i := range figures {
		if f := &figures[i]; f.Met != nil && !*f.Met {
			missed++
			fmt.Fprintf(b, "- **%s**, %s: %s, wanted %s\n", f.Suite, f.Name, number(f.judged().Median, f.judgedUnit()), f.Target)
		}
	}
	if missed == 0 {
		b.WriteString("Nothing of what is wanted now.\n")
	}
	b.WriteString("\nNot reached of what is wanted later:\n\n")
	for i := range figures {
		if f := &figures[i]; f.Goal != nil && !f.Goal.holds(f.judged().Median) {
			fmt.Fprintf(b, "- %s, %s: %s, wanted %s\n", f.Suite, f.Name, number(f.judged().Median, f.judgedUnit()), f.Goal)
		}
	}
	b.WriteString("\n")
}

// judgedUnit is the unit of what targets are about.
func (f *Figure) judgedUnit() string {
	if f.Ratio != nil {
		return ""
	}
	return f.Unit
}

func (r *Report) writeFigures(b *bytes.Buffer) {
	b.WriteString("## Figures\n\nMedians of rounds, with the range. Wanted is about the ratio where there is one.\n\n")
	b.WriteString("| suite | figure | value | range | limit | ratio | wanted | met | |\n|---|---|---:|---|---|---:|---|---|---|\n")
	figures := r.figures()
	for i := range figures {
		f := &figures[i]
		c := f.cells()
		fmt.Fprintf(b, "| %s | %s |\n", strings.Join(c[:], " | "), f.Note)
	}
	b.WriteString("\n")
}

func (r *Report) writeSplits(b *bytes.Buffer) {
	for _, s := range r.Splits {
		fmt.Fprintf(b, "### Processor time, %s\n\n| | percent |\n|---|---:|\n", s.Of)
		for _, share := range s.Shares {
			fmt.Fprintf(b, "| %s | %.1f |\n", share.Name, share.Percent)
		}
		b.WriteString("\n")
	}
}
