package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/kaizenchain/kaizen/cmd/internal/cli"
	"github.com/kaizenchain/kaizen/cmd/internal/devnet"
	"github.com/kaizenchain/kaizen/host/keys"
	"github.com/kaizenchain/kaizen/host/relay"
)

// What docs/deploy says of the programs is true: metrics that exist, of that type
// and with those labels; verbs, flags and variables that exist; and a section of
// docs/alerts.md for each alert.

const deploy = "../../docs/deploy"

// series are the metrics of one kind of process: types by name, and the label sets
// that each has.
type series struct {
	types  map[string]string
	labels map[string][]map[string]string
}

// figuresOf scrapes all three kinds of process of a real chain.
func figuresOf(t *testing.T) *series {
	t.Helper()
	walk, _, err := (&sourceOptions{seed: 1, speed: 1}).build()
	must(t, err)
	n, err := devnet.Start(t.Context(), devnet.Options{Dir: t.TempDir(), FreePorts: true, Source: walk, Log: slog.New(slog.DiscardHandler)})
	must(t, err)
	defer n.Stop()
	key, err := keys.DevKey(devnet.SettlerAccount)
	must(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	s, err := relay.New(relay.Options{WriteNode: n.Services.Sync, RPCURL: n.Services.RPC, Key: key, DataDir: t.TempDir(), Metrics: l, Log: slog.New(slog.DiscardHandler),
		CheckInterval: relay.DefaultCheckInterval, BatchSize: relay.DefaultBatchSize})
	must(t, err)
	ended := make(chan error, 1)
	go func() { ended <- s.Run(t.Context()) }()
	v := &series{types: map[string]string{"up": "gauge"}, labels: map[string][]map[string]string{"up": {{}}}}
	for _, url := range []string{n.Services.RPC, n.Services.ReadRPC, "http://" + l.Addr().String()} {
		v.scrape(t, url+"/metrics")
	}
	return v
}

var sample = regexp.MustCompile(`^([a-z_]+)(?:\{(.*)\})? `)
var label = regexp.MustCompile(`(\w+)="([^"]*)"`)

func (v *series) scrape(t *testing.T, url string) {
	t.Helper()
	r, err := http.Get(url)
	must(t, err)
	defer r.Body.Close()
	s := bufio.NewScanner(r.Body)
	for s.Scan() {
		if rest, ok := strings.CutPrefix(s.Text(), "# TYPE "); ok {
			name, kind, _ := strings.Cut(rest, " ")
			v.types[name] = kind
			if kind == "histogram" {
				for _, end := range []string{"_bucket", "_sum", "_count"} {
					v.types[name+end] = "counter"
				}
			}
		} else if m := sample.FindStringSubmatch(s.Text()); m != nil {
			set := map[string]string{}
			for _, l := range label.FindAllStringSubmatch(m[2], -1) {
				set[l[1]] = l[2]
			}
			v.labels[m[1]] = append(v.labels[m[1]], set)
		}
	}
	must(t, s.Err())
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

type alert struct {
	Alert       string            `yaml:"alert"`
	Expr        string            `yaml:"expr"`
	For         string            `yaml:"for"`
	Labels      map[string]string `yaml:"labels"`
	Annotations map[string]string `yaml:"annotations"`
}

func alerts(t *testing.T) (all []alert) {
	t.Helper()
	var file struct {
		Groups []struct {
			Name  string  `yaml:"name"`
			Rules []alert `yaml:"rules"`
		} `yaml:"groups"`
	}
	readYAML(t, "prometheus/alerts.yml", &file)
	for _, g := range file.Groups {
		all = append(all, g.Rules...)
	}
	return all
}

func readYAML(t *testing.T, name string, to any) {
	t.Helper()
	f, err := os.Open(filepath.Join(deploy, name))
	must(t, err)
	defer f.Close()
	d := yaml.NewDecoder(f)
	must(t, d.Decode(to))
}

func TestAlertsAndDashboard(t *testing.T) {
	v := figuresOf(t)
	for _, a := range alerts(t) {
		labels := v.check(t, a.Alert, a.Expr)
		for _, m := range regexp.MustCompile(`\$labels\.(\w+)`).FindAllStringSubmatch(a.Annotations["summary"], -1) {
			if !slices.Contains(labels, m[1]) {
				t.Errorf("%s: the summary has label %s, the alert %q", a.Alert, m[1], labels)
			}
		}
	}
	b, err := os.ReadFile(filepath.Join(deploy, "grafana/dashboards/kaizen.json"))
	must(t, err)
	var board struct {
		Panels []struct {
			ID      int    `json:"id"`
			Title   string `json:"title"`
			Type    string `json:"type"`
			GridPos struct{ H, W, X, Y int }
			Targets []struct {
				Expr   string `json:"expr"`
				Legend string `json:"legendFormat"`
			} `json:"targets"`
		} `json:"panels"`
	}
	must(t, json.Unmarshal(b, &board))
	ids := map[int]bool{}
	for _, p := range board.Panels {
		if ids[p.ID] || p.GridPos.X+p.GridPos.W > 24 || p.Title == "" {
			t.Errorf("panel %d %q: id twice, or out of the grid", p.ID, p.Title)
		}
		ids[p.ID] = true
		if p.Type != "row" && len(p.Targets) == 0 {
			t.Errorf("panel %q shows nothing", p.Title)
		}
		for _, target := range p.Targets {
			labels := v.check(t, "panel "+p.Title, target.Expr)
			for _, m := range regexp.MustCompile(`\{\{ *(\w+) *\}\}`).FindAllStringSubmatch(target.Legend, -1) {
				if !slices.Contains(labels, m[1]) {
					t.Errorf("panel %s: the legend has label %s, the answer %q", p.Title, m[1], labels)
				}
			}
		}
	}
	if len(board.Panels) < 20 {
		t.Errorf("%d panels", len(board.Panels))
	}
}

// Every alert has a section in docs/alerts.md that says what it means and what to
// do, and every section is an alert's.
func TestAlertsDocument(t *testing.T) {
	b, err := os.ReadFile("../../docs/alerts.md")
	must(t, err)
	sections := map[string]string{}
	for part := range strings.SplitSeq(string(b), "\n## ") {
		name, text, _ := strings.Cut(part, "\n")
		sections[name] = text
	}
	known := map[string]bool{}
	for _, a := range alerts(t) {
		known[a.Alert] = true
		text := sections[a.Alert]
		if !strings.Contains(text, "**Means**") || !strings.Contains(text, "**Do**") {
			t.Errorf("docs/alerts.md: %s has no section with Means and Do", a.Alert)
		}
		if a.Annotations["runbook"] != "docs/alerts.md#"+strings.ToLower(a.Alert) || a.Annotations["summary"] == "" || a.For == "" ||
			!slices.Contains([]string{"page", "ticket"}, a.Labels["severity"]) {
			t.Errorf("%+v", a)
		}
	}
	for name := range sections {
		if !known[name] && (strings.HasPrefix(name, "Kaizen") || strings.HasPrefix(name, "Settler")) {
			t.Errorf("docs/alerts.md: %s is no alert", name)
		}
	}
}

// commandLine checks that a command line of kaizen can be: verb and flags exist,
// and flags take these values.
func commandLine(t *testing.T, where string, args []string) {
	t.Helper()
	verb, rest, err := newRoot(std()).Find(args)
	if err != nil || verb.HasSubCommands() {
		t.Errorf("%s: %q: no such verb: %v", where, args, err)
		return
	}
	if err := verb.ParseFlags(rest); err != nil {
		t.Errorf("%s: %q: %v", where, args, err)
	}
	if err := verb.ValidateArgs(verb.Flags().Args()); err != nil {
		t.Errorf("%s: %q: %v", where, args, err)
	}
}

func TestUnits(t *testing.T) {
	files, err := filepath.Glob(deploy + "/systemd/*.service")
	must(t, err)
	seen := 0
	for _, name := range files {
		b, err := os.ReadFile(name)
		must(t, err)
		for _, m := range regexp.MustCompile(`(?m)^ExecStart=/usr/bin/kaizen (.*)$`).FindAllStringSubmatch(string(b), -1) {
			seen++
			line := strings.ReplaceAll(strings.ReplaceAll(m[1], "%i", "read1"), "$SOURCES", "--upstream http://a:8550")
			commandLine(t, filepath.Base(name), strings.Fields(line))
		}
	}
	if seen < 3 {
		t.Errorf("%d units of kaizen", seen)
	}
}

// systemd runs systemd-analyze on the units, with programs that are there: ours are not
// where the units look for them.
func systemd(t *testing.T, args ...string) (out []byte, err error) {
	t.Helper()
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skipf("this machine has no systemd to ask about its units, which TestUnits reads without it: %v", err)
	}
	there, err := exec.LookPath("true")
	must(t, err)
	files, err := filepath.Glob(deploy + "/systemd/*.service")
	must(t, err)
	dir := t.TempDir()
	for _, name := range files {
		b, err := os.ReadFile(name)
		must(t, err)
		unit := filepath.Join(dir, filepath.Base(name))
		must(t, os.WriteFile(unit, regexp.MustCompile(`/usr/bin/(kaizen|settler)`).ReplaceAll(b, []byte(there)), 0o644))
		args = append(args, unit)
	}
	return exec.Command(analyze, args...).CombinedOutput()
}

// TestUnitsVerify asks systemd itself about the units.
func TestUnitsVerify(t *testing.T) {
	if out, err := systemd(t, "verify", "--man=no"); err != nil || len(out) > 0 {
		t.Errorf("%v: %s", err, out)
	}
}

// TestUnitsExposure asks systemd how much of the machine a service can reach: 20 of
// 100 is little.
func TestUnitsExposure(t *testing.T) {
	out, err := systemd(t, "security", "--no-pager", "--offline=true", "--threshold=20")
	if bytes.Contains(out, []byte("unrecognized option")) {
		t.Skipf("this machine's systemd is older than 250 and judges services that are installed only, no files: %s", out)
	}
	if err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

// texts is a list, or a text that stands for a list of one.
type texts []string

// UnmarshalYAML implements yaml.Unmarshaler.
func (s *texts) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode {
		*s = strings.Fields(n.Value)
		return nil
	}
	return n.Decode((*[]string)(s))
}

func TestContainers(t *testing.T) {
	var file struct {
		Services map[string]struct {
			Image       string
			Entrypoint  texts
			Command     texts
			Environment map[string]string
			DependsOn   map[string]any `yaml:"depends_on"`
			Volumes     []string
			HealthCheck struct{ Test texts }
		}
		Volumes map[string]any
	}
	readYAML(t, "compose.yaml", &file)
	for name, s := range file.Services {
		if s.Image == "kaizen" && len(s.Entrypoint) == 0 {
			commandLine(t, "compose "+name, s.Command)
		}
		if len(s.HealthCheck.Test) > 2 {
			commandLine(t, "compose health of "+name, s.HealthCheck.Test[2:])
		}
		for other := range s.DependsOn {
			if _, there := file.Services[other]; !there {
				t.Errorf("compose %s depends on %s", name, other)
			}
		}
		for _, v := range s.Volumes {
			from, _, _ := strings.Cut(v, ":")
			if _, err := fs.Stat(os.DirFS(deploy), strings.TrimPrefix(from, "./")); err != nil && file.Volumes[from] == nil {
				t.Errorf("compose %s: no volume %s", name, from)
			}
		}
	}
	var prometheus struct {
		ScrapeConfigs []struct {
			JobName string `yaml:"job_name"`
			Static  []struct {
				Targets []string
			} `yaml:"static_configs"`
		} `yaml:"scrape_configs"`
		RuleFiles []string `yaml:"rule_files"`
	}
	readYAML(t, "prometheus/prometheus.yml", &prometheus)
	for _, job := range prometheus.ScrapeConfigs {
		host, _, _ := net.SplitHostPort(job.Static[0].Targets[0])
		if _, there := file.Services[host]; !there || job.JobName != "kaizen-"+host {
			t.Errorf("prometheus scrapes %s as %s", host, job.JobName)
		}
	}
	b, err := os.ReadFile(deploy + "/Dockerfile")
	must(t, err)
	for _, m := range regexp.MustCompile(`\b(KAIZEN_[A-Z_]+)=`).FindAllStringSubmatch(string(b), -1) {
		if !slices.ContainsFunc(cli.Settings(), func(s cli.Setting) bool { return s.EnvName() == m[1] }) {
			t.Errorf("Dockerfile sets %s, which is no setting", m[1])
		}
	}
	for _, m := range regexp.MustCompile(`CMD (\[.*\])`).FindAllStringSubmatch(string(b), -1) {
		var args []string
		must(t, json.Unmarshal([]byte(m[1]), &args))
		if args[0] == "/usr/bin/kaizen" {
			args = args[1:]
		}
		commandLine(t, "Dockerfile", args)
	}
}

// Every command of kaizen that the operators' documents show can be typed.
func TestDocumentedCommands(t *testing.T) {
	seen := 0
	for _, name := range []string{"operations.md", "alerts.md"} {
		b, err := os.ReadFile("../../docs/" + name)
		must(t, err)
		for line := range strings.Lines(string(b)) {
			shown, indented := strings.CutPrefix(line, "    ")
			if !indented {
				continue
			}
			shown, _, _ = strings.Cut(shown, "   ") // what it does
			shown, _, _ = strings.Cut(shown, " > ")
			for command := range strings.SplitSeq(strings.TrimSpace(shown), " && ") {
				if args, ours := strings.CutPrefix(command, "kaizen "); ours {
					seen++
					commandLine(t, name, strings.Fields(args))
				}
			}
		}
	}
	if seen < 20 {
		t.Errorf("%d commands", seen)
	}
}
