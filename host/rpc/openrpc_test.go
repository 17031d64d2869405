package rpc

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/kaizenchain/kaizen/host/rpc/api"
)

const openRPCGolden = "testdata/openrpc.golden"

// TestOpenRPC holds the document to the golden file: a change of the interface
// shows up in review. -update rewrites it.
func TestOpenRPC(t *testing.T) {
	w := startLive(t, newLive(t))
	defer w.stop()
	_, answer := w.post(`{"jsonrpc":"2.0","id":1,"method":"rpc.discover"}`)
	var v struct{ Result json.RawMessage }
	if err := json.Unmarshal([]byte(answer), &v); err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	if err := json.Indent(&got, v.Result, "", " "); err != nil {
		t.Fatal(err)
	}
	got.WriteByte('\n')
	if *update {
		if err := os.WriteFile(openRPCGolden, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(openRPCGolden)
	if err != nil {
		t.Fatal(err)
	}
	g, x := strings.Split(got.String(), "\n"), strings.Split(string(want), "\n")
	for i := range g {
		if i >= len(x) || g[i] != x[i] {
			t.Fatalf("%s line %d (-update rewrites it): got %s", openRPCGolden, i+1, g[i])
		}
	}
	checkDocument(t, v.Result, w.server)
}

// checkDocument checks what a generator of clients relies on.
func checkDocument(t *testing.T, b []byte, s *Server) {
	var doc struct {
		OpenRPC string
		Info    struct{ Title, Version string }
		Methods []struct {
			Name, Summary, ParamStructure string
			Params                        []struct {
				Name     string
				Required bool
				Schema   map[string]any
			}
			Result struct {
				Name   string
				Schema map[string]any
			}
		}
		Components struct {
			Schemas map[string]any
			Errors  map[string]struct{ Code int }
		}
	}
	if err := json.Unmarshal(b, &doc); err != nil {
		t.Fatal(err)
	}
	if doc.OpenRPC == "" || doc.Info.Title == "" || doc.Info.Version == "" || len(doc.Methods) != len(s.methods) || len(doc.Components.Errors) != len(api.Codes) {
		t.Errorf("%d methods of %d, %d errors of %d, %+v", len(doc.Methods), len(s.methods), len(doc.Components.Errors), len(api.Codes), doc.Info)
	}
	for _, m := range doc.Methods {
		own := s.methods[m.Name]
		if own == nil || m.Result.Name == "" || m.Result.Schema == nil && m.Name != "rpc.discover" || strings.HasPrefix(m.Name, "kaizen_") && own.result != nil && m.Summary == "" {
			t.Errorf("%s is described as %+v", m.Name, m)
			continue
		}
		for i, name := range own.sig.names() {
			if m.Params[i].Name != name || len(m.Params[i].Schema) == 0 {
				t.Errorf("%s: parameter %d is %+v, want %s", m.Name, i, m.Params[i], name)
			}
		}
	}
	for ref := range strings.SplitSeq(string(b), `"$ref":"`) {
		name, found := strings.CutPrefix(ref, "#/components/schemas/")
		if !found {
			continue
		}
		name, _, _ = strings.Cut(name, `"`)
		if doc.Components.Schemas[name] == nil {
			t.Errorf("%s is referred to and not there", name)
		}
	}
}

// TestAnswersMatchTheirSchemas checks answers of the fake node against the
// document, so that a shape which is written by hand cannot leave it.
func TestAnswersMatchTheirSchemas(t *testing.T) {
	w := start(t, nil)
	defer w.stop()
	var doc map[string]any
	if err := json.Unmarshal(w.server.openRPC(), &doc); err != nil {
		t.Fatal(err)
	}
	results := map[string]any{}
	for _, m := range doc["methods"].([]any) {
		m := m.(map[string]any)
		results[m["name"].(string)] = m["result"].(map[string]any)["schema"]
	}
	checked := map[string]bool{}
	for _, request := range conformance() {
		var call struct{ Method string }
		var answer struct{ Result any }
		_, text := w.post(request)
		if json.Unmarshal([]byte(request), &call) != nil || json.Unmarshal([]byte(text), &answer) != nil || answer.Result == nil || results[call.Method] == nil {
			continue
		}
		if call.Method == "kaizen_getBlock" && strings.Contains(request, "hashes") {
			continue // entries leave members out, as RPC.md says
		}
		if why := mismatch(doc, results[call.Method], answer.Result, "result"); why != "" {
			t.Errorf("%s\n%s\n%s", request, text, why)
		}
		checked[call.Method] = true
	}
	if len(checked) < 12 {
		t.Errorf("only %v were checked", checked)
	}
	live := newLive(t)
	live.grow(9, 0)
	for topic, schema := range doc["x-topics"].(map[string]any) {
		for _, e := range live.expect(t, topic, func(string, string, string) bool { return true }) {
			var v any
			if err := json.Unmarshal([]byte(e.result), &v); err != nil {
				t.Fatal(err)
			}
			if strings.Contains(e.result, `"odd"`) {
				continue // its fields stand in the place of ours
			}
			if why := mismatch(doc, schema, v, topic); why != "" {
				t.Errorf("%s\n%s", e.result, why)
			}
		}
	}
}

// mismatch says where a value is not what a schema allows: of JSON Schema, what
// the document uses.
func mismatch(doc map[string]any, schema, v any, at string) string {
	s := schema.(map[string]any)
	if ref, ok := s["$ref"].(string); ok {
		return mismatch(doc, doc["components"].(map[string]any)["schemas"].(map[string]any)[ref[strings.LastIndex(ref, "/")+1:]], v, at)
	}
	if list, ok := s["oneOf"].([]any); ok {
		why := ""
		for _, one := range list {
			if why = mismatch(doc, one, v, at); why == "" {
				return ""
			}
		}
		return why
	}
	switch s["type"] {
	case "object":
		m, ok := v.(map[string]any)
		if !ok {
			return at + " is no object"
		}
		required, _ := s["required"].([]any)
		for _, name := range required {
			if _, ok := m[name.(string)]; !ok {
				return at + " has no " + name.(string)
			}
		}
		properties, _ := s["properties"].(map[string]any)
		for name, p := range properties {
			if x, ok := m[name]; ok {
				if why := mismatch(doc, p, x, at+"."+name); why != "" {
					return why
				}
			}
		}
		if more, ok := s["additionalProperties"]; ok {
			for name, x := range m {
				if why := mismatch(doc, more, x, at+"."+name); why != "" {
					return why
				}
			}
		}
	case "array":
		list, ok := v.([]any)
		if !ok {
			return at + " is no array"
		}
		for _, x := range list {
			if why := mismatch(doc, s["items"], x, at+"[]"); why != "" {
				return why
			}
		}
	case "string":
		if _, ok := v.(string); !ok {
			return at + " is no string"
		}
	case "integer":
		if _, ok := v.(float64); !ok {
			return at + " is no number"
		}
	case "boolean":
		if _, ok := v.(bool); !ok {
			return at + " is no boolean"
		}
	case "null":
		if v != nil {
			return at + " is not null"
		}
	}
	return ""
}
