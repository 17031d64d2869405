package main

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/VictoriaMetrics/metricsql"
)

// added are labels that Prometheus adds, and scraped the names that it gives to ours.
var (
	added   = []string{"job", "instance"}
	scraped = []string{"kaizen-write", "kaizen-read", "kaizen-settler"}
)

// check complains about an expression that is none, or asks for what is not there,
// and returns the labels of its answer.
func (v *series) check(t *testing.T, where, expr string) (labels []string) {
	t.Helper()
	e, err := metricsql.Parse(strings.ReplaceAll(expr, "$__rate_interval", "5m")) // Grafana's, a duration
	if err == nil {
		labels, err = v.labelsOf(e)
	}
	if err != nil {
		t.Errorf("%s: %s: %v", where, expr, err)
	}
	return labels
}

// labelsOf are those of the answer to an expression; nil: it is a number.
func (v *series) labelsOf(e metricsql.Expr) ([]string, error) {
	switch e := e.(type) {
	case *metricsql.NumberExpr:
		return nil, nil
	case *metricsql.MetricExpr:
		return v.ofMetric(e)
	case *metricsql.FuncExpr:
		return v.ofFunction(e)
	case *metricsql.AggrFuncExpr:
		return v.ofAggregation(e)
	case *metricsql.BinaryOpExpr:
		return v.ofOperator(e)
	}
	return nil, fmt.Errorf("%s is of a kind that is not expected here", e.AppendString(nil))
}

func (v *series) ofMetric(e *metricsql.MetricExpr) ([]string, error) {
	if len(e.LabelFilterss) != 1 || len(e.LabelFilterss[0]) == 0 || e.LabelFilterss[0][0].Label != "__name__" {
		return nil, fmt.Errorf("%s names no metric", e.AppendString(nil))
	}
	name := e.LabelFilterss[0][0].Value
	if v.types[name] == "" {
		return nil, fmt.Errorf("there is no metric %s", name)
	}
	for _, f := range e.LabelFilterss[0][1:] {
		if err := v.checkFilter(name, f); err != nil {
			return nil, err
		}
	}
	labels := slices.Clone(added)
	for _, set := range v.labels[name] {
		labels = slices.AppendSeq(labels, maps.Keys(set))
	}
	slices.Sort(labels)
	return slices.Compact(labels), nil
}

// checkFilter: the label exists, and each value that is asked for does.
func (v *series) checkFilter(name string, f metricsql.LabelFilter) error {
	var known []string
	switch f.Label {
	case "instance":
		return nil
	case "job":
		known = scraped
	}
	for _, set := range v.labels[name] {
		if value, has := set[f.Label]; has {
			known = append(known, value)
		}
	}
	wanted := []string{regexp.QuoteMeta(f.Value)}
	if f.IsRegexp {
		wanted = strings.Split(f.Value, "|")
	}
	for _, one := range wanted {
		if !slices.ContainsFunc(known, regexp.MustCompile("^(?:"+one+")$").MatchString) {
			return fmt.Errorf("no %s has %s=%q, there are %q", name, f.Label, one, known)
		}
	}
	return nil
}

// overTime are the functions of a range that are used, and of which type of metric
// they make sense.
var overTime = map[string]string{"rate": "counter", "increase": "counter", "delta": "gauge", "changes": "gauge", "predict_linear": "gauge"}

func (v *series) ofFunction(e *metricsql.FuncExpr) ([]string, error) {
	kind, known := overTime[e.Name]
	switch {
	case known && len(e.Args) > 0:
		over, ok := e.Args[0].(*metricsql.RollupExpr)
		if !ok || over.Window == nil || over.Step != nil || over.InheritStep {
			return nil, fmt.Errorf("%s wants a metric over a time", e.Name)
		}
		m, ok := over.Expr.(*metricsql.MetricExpr)
		if !ok {
			return nil, fmt.Errorf("%s wants a metric", e.Name)
		}
		labels, err := v.ofMetric(m)
		if name := m.LabelFilterss[0][0].Value; err == nil && v.types[name] != kind {
			err = fmt.Errorf("%s of %s, a %s", e.Name, name, v.types[name])
		}
		return labels, err
	case e.Name == "histogram_quantile" && len(e.Args) == 2:
		labels, err := v.labelsOf(e.Args[1])
		if err == nil && !slices.Contains(labels, "le") {
			err = fmt.Errorf("%s of what has no label le", e.Name)
		}
		return slices.DeleteFunc(labels, func(l string) bool { return l == "le" }), err
	}
	return nil, fmt.Errorf("%s is no function that this test knows to be Prometheus'", e.Name)
}

func (v *series) ofAggregation(e *metricsql.AggrFuncExpr) ([]string, error) {
	if !slices.Contains([]string{"sum", "min", "max", "avg", "count"}, e.Name) || len(e.Args) != 1 || e.Limit != 0 {
		return nil, fmt.Errorf("%s is no aggregation that this test knows to be Prometheus'", e.AppendString(nil))
	}
	labels, err := v.labelsOf(e.Args[0])
	if err != nil {
		return nil, err
	}
	if err := within(e.Modifier.Args, labels); err != nil {
		return nil, fmt.Errorf("%s by %w", e.Name, err)
	}
	if e.Modifier.Op == "without" {
		return slices.DeleteFunc(labels, func(l string) bool { return slices.Contains(e.Modifier.Args, l) }), nil
	}
	return append([]string{}, e.Modifier.Args...), nil
}

// ofOperator demands that both sides can match: series without a partner vanish,
// and an alert with them.
func (v *series) ofOperator(e *metricsql.BinaryOpExpr) ([]string, error) {
	left, err := v.labelsOf(e.Left)
	if err != nil {
		return nil, err
	}
	right, err := v.labelsOf(e.Right)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(strings.Fields("+ - * / % ^ == != > < >= <= and or unless"), e.Op) || e.JoinModifier.Op != "" {
		return nil, fmt.Errorf("%s is no operator that this test knows to be Prometheus'", e.Op)
	}
	switch {
	case right == nil:
		return left, nil
	case left == nil:
		return right, nil
	case e.GroupModifier.Op == "on":
		if err := within(e.GroupModifier.Args, left); err != nil {
			return nil, fmt.Errorf("left of %s, on %w", e.Op, err)
		}
		if err := within(e.GroupModifier.Args, right); err != nil {
			return nil, fmt.Errorf("right of %s, on %w", e.Op, err)
		}
		return e.GroupModifier.Args, nil
	case e.Op != "or" && !slices.Equal(left, right):
		return nil, fmt.Errorf("the sides of %s have labels %q and %q and never match", e.Op, left, right)
	}
	return left, nil
}

func within(names, labels []string) error {
	for _, name := range names {
		if !slices.Contains(labels, name) {
			return fmt.Errorf("label %s, which is none of %q", name, labels)
		}
	}
	return nil
}

// TestExpressions: what the check above is to find, it finds.
func TestExpressions(t *testing.T) {
	v := &series{
		types: map[string]string{"g": "gauge", "h": "gauge", "c_total": "counter", "s_bucket": "counter"},
		labels: map[string][]map[string]string{"g": {{}}, "h": {{"check": "disk"}, {"check": "oracle"}},
			"c_total": {{"result": "ok"}}, "s_bucket": {{"le": "1"}}},
	}
	for expr, want := range map[string]string{
		`g > 1`: "", `min by (instance) (h)`: "", `rate(c_total{result="ok"}[5m])`: "", `h{check=~"disk|oracle"} == 0 or g == 1`: "", `g{job=~"kaizen-.+"}`: "",
		`histogram_quantile(0.9, sum by (le) (rate(s_bucket[$__rate_interval])))`: "", `h / on (instance) g`: "",
		`g >`: "unexpected token", `sum(g`: "unexpected token", `none`: "no metric", `{job="x"}`: "names no metric", `h{check="disc"}`: "has check", `g{job="other"}`: "has job",
		`rate(g[5m])`: "rate of g, a gauge", `delta(c_total[5m])`: "delta of c_total", `rate(c_total)`: "over a time", `sum by (what) (g)`: "label what", `h / g`: "never match",
		`h / on (check) g`: "right of /", `histogram_quantile(0.9, rate(c_total[5m]))`: "no label le", `rollup(g[5m])`: "no function", `median(g)`: "no aggregation", `g default 1`: "no operator",
	} {
		e, err := metricsql.Parse(strings.ReplaceAll(expr, "$__rate_interval", "5m"))
		if err == nil {
			_, err = v.labelsOf(e)
		}
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", expr, err, want)
		}
	}
}
