package node

import (
	"bufio"
	"flag"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite golden files")

// scrape is GET /metrics: the value of each series, and for each its type.
func scrape(t *testing.T, address string) (values, types map[string]string) {
	t.Helper()
	r, err := http.Get("http://" + address + "/metrics")
	must(t, err)
	defer r.Body.Close()
	values, types = map[string]string{}, map[string]string{}
	s := bufio.NewScanner(r.Body)
	for s.Scan() {
		line := s.Text()
		if rest, ok := strings.CutPrefix(line, "# TYPE "); ok {
			name, kind, _ := strings.Cut(rest, " ")
			types[name] = kind
		} else if at := strings.LastIndexByte(line, ' '); at > 0 && line[0] != '#' {
			values[line[:at]] = line[at+1:]
		}
	}
	must(t, s.Err())
	return values, types
}

// Every layer is there, counts what it says, and the names, types and labels are
// those of the golden file: dashboards and alerts are built on them.
func TestMetrics(t *testing.T) {
	g := testGenesis()
	w, writing := startWriter(t, testConfig(initDir(t, g), g), deps())
	_, sync := w.Addrs()
	r, reading := startReader(t, readerConfig(t, g, sync), deps())
	height := send(t, w, "set a 1", "set b 2")
	for _, answer := range w.Submit(t.Context(), [][]byte{[]byte("fail f7")}) {
		must(t, answer.Err)
		height = answer.Height
	}
	must(t, w.WaitFor(within(t), height))
	must(t, r.WaitFor(within(t), height))
	var list []string
	for _, node := range []struct {
		role string
		node interface{ Addrs() (string, string) }
	}{{"write", w}, {"read", r}} {
		address, _ := node.node.Addrs()
		values, types := scrape(t, address)
		for series, want := range map[string]string{
			`kaizen_transactions_total{status="ok"}`: "2", `kaizen_transactions_total{status="failed"}`: "1", `kaizen_info{role="` + node.role + `"}`: "1",
			`kaizen_unclean_shutdowns`: "0", `kaizen_health{check="oracle_fresh"}`: "0", `kaizen_health{check="disk"}`: "1", `kaizen_oracle_stale`: "1",
		} {
			if values[series] != want {
				t.Errorf("%s: %s is %q, want %s", node.role, series, values[series], want)
			}
		}
		histograms := []string{"kaizen_execute_seconds", "kaizen_root_seconds", "kaizen_block_write_seconds"}
		if node.role == "write" {
			histograms = append(histograms, "kaizen_journal_write_seconds", "kaizen_seal_seconds", "kaizen_oracle_pull_seconds")
		} else {
			histograms = append(histograms, "kaizen_verify_seconds")
		}
		for _, h := range histograms {
			if n := values[h+"_count"]; n == "" || n == "0" {
				t.Errorf("%s: %s has %q observations", node.role, h, n)
			}
		}
		for name, kind := range types {
			if strings.HasPrefix(name, "kaizen_") && !strings.HasPrefix(name, "kaizen_rpc_") {
				list = append(list, node.role+" "+name+" "+kind+labelsOf(values, name))
			}
		}
	}
	reading.mustStop()
	writing.mustStop()
	slices.Sort(list)
	golden(t, "metrics.golden", strings.Join(list, "\n")+"\n")
}

// labelsOf lists the label sets of a metric that has any.
func labelsOf(values map[string]string, name string) string {
	var all []string
	for series := range values {
		if labels, ok := strings.CutPrefix(series, name+"{"); ok {
			all = append(all, strings.TrimSuffix(labels, "}"))
		}
	}
	slices.Sort(all)
	return strings.TrimSuffix(" "+strings.Join(all, " "), " ")
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		must(t, os.MkdirAll("testdata", 0o755))
		must(t, os.WriteFile(file, []byte(got), 0o644))
	}
	want, err := os.ReadFile(file)
	must(t, err)
	if got != string(want) {
		t.Errorf("%s (-update rewrites it) has\n%s\ngot\n%s", file, want, got)
	}
}

// METRICS.md has them all, and no others.
func TestMetricsDocument(t *testing.T) {
	list, err := os.ReadFile("testdata/metrics.golden")
	must(t, err)
	text, err := os.ReadFile("METRICS.md")
	must(t, err)
	known := map[string]bool{}
	for line := range strings.Lines(string(list)) {
		name := strings.Fields(line)[1]
		known[name] = true
		if !regexp.MustCompile("`" + name + "[`{]").Match(text) {
			t.Errorf("METRICS.md does not have %s", name)
		}
	}
	for _, m := range regexp.MustCompile("`(kaizen_[a-z_]+)[`{]").FindAllSubmatch(text, -1) {
		if name := string(m[1]); !known[name] && !strings.HasPrefix(name, "kaizen_rpc_") {
			t.Errorf("METRICS.md has %s, which is no metric", name)
		}
	}
}
