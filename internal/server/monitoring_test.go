package server_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	"go.yaml.in/yaml/v4"
)

const (
	dashboardFile  = "../../deploy/grafana/authmaterial-broker.json"
	alertsFile     = "../../deploy/prometheus/alerts.yaml"
	operationsFile = "../../docs/operations.md"
)

// A query is a PromQL expression from the dashboard or the alerts. The field `named` contains the
// labels that the text next to the expression mentions.
type query struct {
	where   string
	expr    string
	named   []string
	choices bool // whether the query returns the values of a dashboard variable
}

// exported has the metrics that a broker in use exports. Each series has all labels that Prometheus
// stores, including the labels that Prometheus adds.
type exported struct {
	families map[string]*dto.MetricFamily
	series   []labels.Labels
}

// export returns the metrics of four brokers: one in use, one with Redis, one with a credential
// store, and one with TLS, authentication and audit.
func export(t *testing.T) exported {
	t.Helper()
	var text string
	inScene(t, func(s *scene) {
		s.exercise()
		text = s.scrape()
	})
	e := exported{families: readMetrics(t, text)}
	w := newWorld(t)
	secured := readMetrics(t, w.scrape(w.serve(w.all(), listenTCP(t)), w.authority))
	for _, more := range []map[string]*dto.MetricFamily{readMetrics(t, scrapeWithRedis(t)), readMetrics(t, scrapeWithStore(t)), secured} {
		for name, family := range more {
			if e.families[name] == nil {
				e.families[name] = family
			}
		}
	}
	e.families[authentications] = secured[authentications] // this metric has a series for each authentication method
	e.add("up", nil)
	for name, family := range e.families {
		for _, metric := range family.GetMetric() {
			if family.GetType() != dto.MetricType_HISTOGRAM {
				e.add(name, metric.GetLabel())
				continue
			}
			e.add(name+"_sum", metric.GetLabel())
			e.add(name+"_count", metric.GetLabel())
			e.add(name+"_bucket", metric.GetLabel(), model.BucketLabel, "+Inf")
		}
	}
	return e
}

const authentications = "authmaterial_authentications_total"

// TestEveryMetricIsExported searches the code for metrics that export does not return, which the
// tests of the documents, the dashboard and the alerts would miss.
func TestEveryMetricIsExported(t *testing.T) {
	files, err := filepath.Glob("../observe/*.go")
	if err != nil {
		t.Fatal(err)
	}
	families, found := export(t).families, 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		for _, name := range submatches(metricName, string(text)) {
			if found++; families[name] == nil {
				t.Errorf("according to %s there is a metric that the broker of these tests does not export: %s", file, name)
			}
		}
	}
	if found < 20 {
		t.Errorf("the code has only %d metrics", found)
	}
}

func readMetrics(t *testing.T, text string) map[string]*dto.MetricFamily {
	t.Helper()
	reader := expfmt.NewTextParser(model.LegacyValidation)
	families, err := reader.TextToMetricFamilies(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return families
}

func (e *exported) add(name string, pairs []*dto.LabelPair, more ...string) {
	set := labels.NewBuilder(labels.FromStrings(append(more, model.MetricNameLabel, name, "job", "authmaterial-broker", "instance", "one")...))
	for _, pair := range pairs {
		set.Set(pair.GetName(), pair.GetValue())
	}
	e.series = append(e.series, set.Labels())
}

// problems returns the metrics and labels in a query that the broker does not export.
func (e *exported) problems(q query) (found []string) {
	expression, err := parser.NewParser(parser.Options{}).ParseExpr(q.expr)
	if err != nil {
		return []string{err.Error()}
	}
	known := map[string]bool{}
	parser.Inspect(expression, func(node parser.Node, _ []parser.Node) error {
		selector, ok := node.(*parser.VectorSelector)
		if !ok {
			return nil
		}
		matched := slices.DeleteFunc(slices.Clone(e.series), func(s labels.Labels) bool { return !matches(s, selector.LabelMatchers) })
		if len(matched) == 0 {
			found = append(found, fmt.Sprintf("no series is %s", selector))
		}
		for _, s := range matched {
			s.Range(func(l labels.Label) { known[l.Name] = true })
		}
		return nil
	})
	for _, name := range labelsOf(expression) {
		if !known[name] {
			found = append(found, fmt.Sprintf("no series has the label %q", name))
		}
	}
	kept := keptLabels(expression)
	for _, name := range q.named {
		if !known[name] || kept != nil && !slices.Contains(kept, name) {
			found = append(found, fmt.Sprintf("the result has no label %q", name))
		}
	}
	return found
}

// keptLabels returns the labels that the result of an expression has, or nil for all labels of its
// series. Of a binary expression, keptLabels returns the labels of the left side.
func keptLabels(expression parser.Expr) []string {
	switch e := expression.(type) {
	case *parser.AggregateExpr:
		if e.Op == parser.TOPK {
			return keptLabels(e.Expr)
		}
		return append([]string{}, e.Grouping...)
	case *parser.BinaryExpr:
		return keptLabels(e.LHS)
	case *parser.ParenExpr:
		return keptLabels(e.Expr)
	case *parser.Call:
		if len(e.Args) > 0 {
			return keptLabels(e.Args[len(e.Args)-1])
		}
	}
	return nil
}

// matches reports whether a series satisfies the label matchers, and has all their labels.
func matches(series labels.Labels, matchers []*labels.Matcher) bool {
	return !slices.ContainsFunc(matchers, func(m *labels.Matcher) bool {
		return !series.Has(m.Name) || !m.Matches(series.Get(m.Name))
	})
}

// labelsOf returns the labels by which an expression groups or joins series.
func labelsOf(expression parser.Expr) (names []string) {
	parser.Inspect(expression, func(node parser.Node, _ []parser.Node) error {
		switch n := node.(type) {
		case *parser.AggregateExpr:
			names = append(names, n.Grouping...)
		case *parser.BinaryExpr:
			if n.VectorMatching != nil {
				names = append(names, n.VectorMatching.MatchingLabels...)
			}
		}
		return nil
	})
	return names
}

func dashboardQueries(t *testing.T) (found []query) {
	t.Helper()
	text, err := os.ReadFile(dashboardFile)
	if err != nil {
		t.Fatal(err)
	}
	var dashboard any
	if err := json.Unmarshal(text, &dashboard); err != nil {
		t.Fatal(err)
	}
	var walk func(value any, where string)
	walk = func(value any, where string) {
		switch v := value.(type) {
		case []any:
			for _, element := range v {
				walk(element, where)
			}
		case map[string]any:
			if title, ok := v["title"].(string); ok {
				where = title
			}
			if q, ok := dashboardQuery(v); ok {
				q.where = where
				found = append(found, q)
			}
			for _, element := range v {
				walk(element, where)
			}
		}
	}
	walk(dashboard, dashboardFile)
	return found
}

var (
	legendLabel  = regexp.MustCompile(`{{\s*(\w+)\s*}}`)
	labelValues  = regexp.MustCompile(`^label_values\((.*), (\w+)\)$`)
	metricName   = regexp.MustCompile(`"(authmaterial_[a-z_]*[a-z])"`)
	alertLabel   = regexp.MustCompile(`\$labels\.(\w+)`)
	grafanaNames = strings.NewReplacer("$__rate_interval", "5m", "$provider", ".*", "$job", anyJob, "$instance", anyInstance)
)

// These patterns take the place of the dashboard's variables.
const anyJob, anyInstance = "authmaterial.*", "on.*"

// dashboardQuery returns the query in an object of the dashboard, with variables replaced as
// Grafana does.
func dashboardQuery(object map[string]any) (query, bool) {
	if expr, ok := object["expr"].(string); ok {
		legend, _ := object["legendFormat"].(string)
		return query{expr: grafanaNames.Replace(expr), named: submatches(legendLabel, legend)}, true
	}
	text, _ := object["query"].(string)
	if parts := labelValues.FindStringSubmatch(text); parts != nil {
		return query{expr: grafanaNames.Replace(parts[1]), named: parts[2:], choices: true}, true
	}
	return query{}, false
}

func submatches(pattern *regexp.Regexp, text string) (found []string) {
	for _, match := range pattern.FindAllStringSubmatch(text, -1) {
		found = append(found, match[1])
	}
	return found
}

type alert struct {
	Alert       string
	Expr        string
	Labels      map[string]string
	Annotations map[string]string
}

func alerts(t *testing.T) (found []alert) {
	t.Helper()
	text, err := os.ReadFile(alertsFile)
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Groups []struct{ Rules []alert } }
	if err := yaml.Load(text, &file); err != nil {
		t.Fatal(err)
	}
	for _, group := range file.Groups {
		found = append(found, group.Rules...)
	}
	return found
}

func TestDashboardQueriesExportedMetrics(t *testing.T) {
	e, queries := export(t), dashboardQueries(t)
	if len(queries) < 20 {
		t.Errorf("the dashboard has only %d queries", len(queries))
	}
	for _, q := range queries {
		for _, problem := range e.problems(q) {
			t.Errorf("%s: %s\n\tin %s", q.where, problem, q.expr)
		}
	}
}

// TestDashboardFollowsItsVariables checks that each panel selects series by the variables job and
// instance.
func TestDashboardFollowsItsVariables(t *testing.T) {
	want := map[string]string{"job": anyJob, "instance": anyInstance}
	for _, q := range dashboardQueries(t) {
		expression, err := parser.NewParser(parser.Options{}).ParseExpr(q.expr)
		if err != nil {
			t.Fatal(err)
		}
		parser.Inspect(expression, func(node parser.Node, _ []parser.Node) error {
			selector, ok := node.(*parser.VectorSelector)
			if !ok || q.choices {
				return nil
			}
			got := map[string]string{}
			for _, m := range selector.LabelMatchers {
				if m.Type == labels.MatchRegexp && want[m.Name] != "" {
					got[m.Name] = m.Value
				}
			}
			if !maps.Equal(got, want) {
				t.Errorf("%s: %s does not depend on $job and $instance", q.where, selector)
			}
			return nil
		})
	}
}

func TestAlertsQueryExportedMetrics(t *testing.T) {
	e, rules := export(t), alerts(t)
	if len(rules) < 6 {
		t.Errorf("there are only %d alerts", len(rules))
	}
	for _, rule := range rules {
		texts := strings.Join(slices.Collect(maps.Values(rule.Annotations)), "\n")
		q := query{expr: rule.Expr, named: submatches(alertLabel, texts)}
		for _, problem := range e.problems(q) {
			t.Errorf("%s: %s", rule.Alert, problem)
		}
		if rule.Labels["severity"] == "" || rule.Annotations["summary"] == "" || rule.Annotations["description"] == "" {
			t.Errorf("%s lacks a severity, a summary or a description", rule.Alert)
		}
	}
}

func TestAlertsQuoteExistingLogLines(t *testing.T) {
	sources := ""
	for _, folder := range []string{"observe", "broker", "cache/redisstore", "audit", "authentication", "management"} {
		files, err := filepath.Glob("../" + folder + "/*.go")
		if err != nil || len(files) == 0 {
			t.Fatalf("searching the code in the folder %s fails: %v", folder, err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.HasSuffix(file, "_test.go") {
				sources += string(text)
			}
		}
	}
	quoted := regexp.MustCompile(`log\s+lines?\s+"([^"]*)"`)
	for _, rule := range alerts(t) {
		for _, line := range submatches(quoted, rule.Annotations["description"]) {
			if !strings.Contains(sources, line) {
				t.Errorf("the alert %s quotes %q, which no code logs", rule.Alert, line)
			}
		}
	}
}

func TestOperationsListsTheMetrics(t *testing.T) {
	text, err := os.ReadFile(operationsFile)
	if err != nil {
		t.Fatal(err)
	}
	var documented []string
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "| `authmaterial_") || strings.HasPrefix(line, "| `grpc_") {
			documented = append(documented, strings.TrimSpace(line))
		}
	}
	families := export(t).families
	var wanted []string
	for _, name := range slices.Sorted(maps.Keys(families)) {
		if strings.HasPrefix(name, "authmaterial_") || strings.HasPrefix(name, "grpc_") {
			wanted = append(wanted, tableRow(families[name]))
		}
	}
	if !slices.Equal(documented, wanted) {
		t.Errorf("the table of metrics in docs/operations.md must be\n%s", strings.Join(wanted, "\n"))
	}
}

func tableRow(family *dto.MetricFamily) string {
	var names []string
	for _, pair := range family.GetMetric()[0].GetLabel() {
		names = append(names, "`"+pair.GetName()+"`")
	}
	kind := strings.ToLower(family.GetType().String())
	return strings.Join([]string{"| `" + family.GetName() + "`", kind, strings.Join(names, ", "), family.GetHelp() + " |"}, " | ")
}
