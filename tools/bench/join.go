package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// Limits of reports that are joined.
const (
	maxReportBytes = 4 << 20
	maxJoined      = 16   // reports, those that a report has joined included
	maxFigures     = 1000 // of one report; splits and the shares of one as well
)

// readReports reads what earlier runs on the machine here have written with -o
// json. No two of them have the same suite.
func readReports(files []string, here *Machine) ([]Report, error) {
	var all []Report
	from := map[string]string{} // the file of each suite
	for _, name := range files {
		r, err := readReport(name)
		if err != nil {
			return nil, fmt.Errorf("-join %s: %w", name, err)
		}
		for _, run := range r.runs() {
			if err := run.Machine.same(here); err != nil {
				return nil, fmt.Errorf("-join %s: %w", name, err)
			}
			for _, s := range run.suites() {
				if other, ok := from[s]; ok {
					return nil, fmt.Errorf("-join %s: suite %s is in %s already", name, s, other)
				}
				from[s] = name
			}
			one := *run
			one.Joined = nil
			all = append(all, one)
		}
	}
	if len(all) > maxJoined {
		return nil, fmt.Errorf("-join: %d runs, want %d or less", len(all), maxJoined)
	}
	return all, nil
}

// same says what differs from the machine here, if anything does: figures of two
// machines, or of two versions of Go, are not to be read side by side.
func (m *Machine) same(here *Machine) error {
	for _, f := range []struct{ what, there, here string }{
		{"the system", m.OS + "/" + m.Arch, here.OS + "/" + here.Arch},
		{"the processor", m.CPU, here.CPU},
		{"the number of cores", strconv.Itoa(m.Cores), strconv.Itoa(here.Cores)},
		{"memory", m.Memory, here.Memory},
		{"the kernel", m.Kernel, here.Kernel},
		{"Go", m.Go, here.Go},
	} {
		if f.there != f.here {
			return fmt.Errorf("measured elsewhere: %s is %q there and %q here; measure it again here", f.what, f.there, f.here)
		}
	}
	return nil
}

func readReport(name string) (*Report, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxReportBytes+1))
	if err != nil {
		return nil, err
	}
	return decodeReport(b)
}

// decodeReport is the inverse of [Report.json]. What it returns can be written in
// every format.
func decodeReport(b []byte) (*Report, error) {
	if len(b) > maxReportBytes {
		return nil, fmt.Errorf("it has more than %d bytes", maxReportBytes)
	}
	var first struct {
		Version int `json:"version"`
	}
	if err := json.Unmarshal(b, &first); err != nil { // reads all of b
		return nil, fmt.Errorf("it is no report: %w", err)
	}
	if first.Version != reportVersion {
		return nil, fmt.Errorf("it has version %d, want %d", first.Version, reportVersion)
	}
	r := &Report{}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(r); err != nil {
		return nil, fmt.Errorf("it is no report: %w", err)
	}
	return r, r.check()
}

// check finds what a run does not write.
func (r *Report) check() error {
	if len(r.Joined) > maxJoined {
		return fmt.Errorf("it has joined %d runs, want %d or less", len(r.Joined), maxJoined)
	}
	seen := map[string]bool{}
	for _, run := range r.runs() {
		if err := run.checkRun(); err != nil {
			return err
		}
		for _, s := range run.suites() {
			if seen[s] {
				return fmt.Errorf("it has suite %s of two runs", s)
			}
			seen[s] = true
		}
	}
	for i := range r.Joined {
		if j := &r.Joined[i]; j.Version != reportVersion || len(j.Joined) > 0 {
			return fmt.Errorf("joined run %d has version %d and %d joined runs, want %d and none", i, j.Version, len(j.Joined), reportVersion)
		}
	}
	return nil
}

func (r *Report) checkRun() error {
	m := &r.Machine
	if err := oneLine(m.OS, m.Arch, m.CPU, m.Memory, m.Kernel, m.Load, m.Go, r.Commit); err != nil {
		return err
	}
	if _, err := time.Parse(time.DateOnly, r.Date); err != nil {
		return fmt.Errorf("date: %w", err)
	}
	if r.Accounts < minAccounts || r.Slice <= 0 || r.Rounds < 1 || r.Seconds < 0 {
		return fmt.Errorf("%d accounts, %d rounds of %g s, %g s in all: want %d accounts or more and times above 0", r.Accounts, r.Rounds, r.Slice, r.Seconds, minAccounts)
	}
	if len(r.Figures) > maxFigures || len(r.Splits) > maxFigures {
		return fmt.Errorf("%d figures and %d splits, want %d or less of each", len(r.Figures), len(r.Splits), maxFigures)
	}
	for i := range r.Figures {
		if err := r.Figures[i].check(); err != nil {
			return fmt.Errorf("figure %d: %w", i, err)
		}
	}
	for i := range r.Splits {
		if err := r.Splits[i].check(); err != nil {
			return fmt.Errorf("split %d: %w", i, err)
		}
	}
	return nil
}

func (f *Figure) check() error {
	if suiteIndex(f.Suite) < 0 {
		return fmt.Errorf("suite %q is none of %s", f.Suite, suiteNames())
	}
	if f.Name == "" {
		return errors.New("it has no name")
	}
	if (f.Limit == nil) != (f.Ratio == nil) || (f.Target == nil) != (f.Met == nil) {
		return errors.New("a limit goes with a ratio, and a target with whether it is met")
	}
	words, spreads := []string{f.Name, f.Unit, f.Note}, []*Spread{&f.Value}
	if f.Limit != nil {
		words, spreads = append(words, f.Limit.Name, f.Limit.Unit), append(spreads, &f.Limit.Value, f.Ratio)
	}
	for _, s := range spreads {
		if !(s.Min <= s.Median && s.Median <= s.Max) || math.IsInf(s.Max-s.Min, 0) || s.Rounds < 1 {
			return fmt.Errorf("median %g, range %g to %g of %d rounds", s.Median, s.Min, s.Max, s.Rounds)
		}
	}
	for _, b := range []*Bound{f.Target, f.Goal} {
		if b != nil && b.Op != ">=" && b.Op != "<=" {
			return fmt.Errorf("a bound is %q, want >= or <=", b.Op)
		}
	}
	if f.Met != nil && *f.Met != f.Target.holds(f.judged().Median) {
		return fmt.Errorf("%g is said to be met: %t, wanted %s", f.judged().Median, *f.Met, f.Target)
	}
	return oneLine(words...)
}

func (s *Split) check() error {
	if s.Of == "" || len(s.Shares) > maxFigures {
		return fmt.Errorf("processor time of %q in %d parts, want a name and %d parts or less", s.Of, len(s.Shares), maxFigures)
	}
	words := []string{s.Of}
	for _, share := range s.Shares {
		words = append(words, share.Name)
	}
	return oneLine(words...)
}

// oneLine refuses what would break a table.
func oneLine(words ...string) error {
	for _, w := range words {
		if strings.ContainsFunc(w, unicode.IsControl) || strings.Contains(w, "|") {
			return fmt.Errorf("%.80q has a character that is in no table", w)
		}
	}
	return nil
}

func suiteIndex(name string) int {
	return slices.IndexFunc(suites, func(s suite) bool { return s.name == name })
}

// join adds runs, without the suites and splits that r has measured, and without
// those of which nothing is left.
func (r *Report) join(runs []Report) {
	own := r.suites()
	for _, run := range runs {
		run.Figures = slices.DeleteFunc(slices.Clone(run.Figures), func(f Figure) bool { return slices.Contains(own, f.Suite) })
		run.Splits = slices.DeleteFunc(slices.Clone(run.Splits), func(s Split) bool {
			return slices.ContainsFunc(r.Splits, func(mine Split) bool { return mine.Of == s.Of })
		})
		if len(run.Figures) > 0 {
			r.Joined = append(r.Joined, run)
		}
	}
}

// suites are the names of those that this run has measured, in the order in which
// they run.
func (r *Report) suites() []string {
	var names []string
	for _, s := range suites {
		if slices.ContainsFunc(r.Figures, func(f Figure) bool { return f.Suite == s.name }) {
			names = append(names, s.name)
		}
	}
	return names
}

// unmeasured are the suites of which no run has a figure.
func (r *Report) unmeasured() []string {
	var names []string
	for _, s := range suites {
		if !slices.ContainsFunc(r.runs(), func(run *Report) bool { return slices.Contains(run.suites(), s.name) }) {
			names = append(names, s.name)
		}
	}
	return names
}

// runs are this one, if it has measured anything, and the joined ones.
func (r *Report) runs() []*Report {
	var all []*Report
	if len(r.Figures) > 0 {
		all = append(all, r)
	}
	for i := range r.Joined {
		all = append(all, &r.Joined[i])
	}
	return all
}

// figures are those of all runs, by suite in the order in which suites run.
func (r *Report) figures() []Figure {
	var all []Figure
	for _, run := range r.runs() {
		all = append(all, run.Figures...)
	}
	slices.SortStableFunc(all, func(a, b Figure) int { return suiteIndex(a.Suite) - suiteIndex(b.Suite) })
	return all
}
