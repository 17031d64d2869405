package browser

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
)

// TestPage does with a page what tests do.
func TestPage(t *testing.T) {
	b := Start(t)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/" {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "text/html")
		w.Write([]byte(`<!doctype html><link rel="icon" href="data:,"><title>before</title><body style="margin:0"><button style="width:100px;height:100px" onclick="document.title='clicked'">x</button><input>`))
	}))
	defer s.Close()
	p := b.Open(t, 600, 300)
	p.Prefer("dark")
	p.Goto(s.URL)
	p.Until(`document.title === "before"`)
	if said := p.Complaints(); len(said) > 0 {
		t.Errorf("a page without faults: %q", said)
	}
	p.Click(50, 50)
	p.Until(`document.title === "clicked"`)
	p.Eval(`document.querySelector("input").focus()`, nil)
	p.Type("hel")
	p.Press("l")
	var got struct {
		Text  string
		Dark  bool
		Width int
	}
	p.Eval(`Promise.resolve({text: document.querySelector("input").value, dark: matchMedia("(prefers-color-scheme: dark)").matches, width: innerWidth})`, &got)
	if got.Text != "hell" || !got.Dark || got.Width != 600 {
		t.Errorf("the page has %+v", got)
	}
	if !bytes.HasPrefix(p.Picture(), []byte("\x89PNG")) {
		t.Error("no picture")
	}
	p.Eval(`console.error("loud"); fetch("/missing"); setTimeout(() => { document.title = "thrown"; throw new Error("late") })`, nil)
	p.Until(`document.title === "thrown"`)
	p.Eval(`fetch("/missing")`, nil)
	said := p.Complaints()
	for _, want := range []string{"loud", "late", "HTTP 404"} {
		if !slices.ContainsFunc(said, func(s string) bool { return strings.Contains(s, want) }) {
			t.Errorf("complaints %q lack %q", said, want)
		}
	}
	if left := p.Complaints(); len(left) > 1 { // the console may repeat what the network said
		t.Errorf("complaints are told twice: %q", left)
	}
}
