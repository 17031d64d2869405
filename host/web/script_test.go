package web_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/kaizenchain/kaizen/host/hosttest/browser"
	"github.com/kaizenchain/kaizen/host/web"
)

// TestInBrowser starts one browser for all that needs one.
func TestInBrowser(t *testing.T) {
	b := browser.Start(t)
	for name, test := range map[string]func(*testing.T, *browser.Page, string){"scripts": scripts, "policy": policyHolds, "no node": withoutNode} {
		t.Run(name, func(t *testing.T) {
			p, base := open(t, b)
			test(t, p, base)
		})
	}
	t.Run("bad node", func(t *testing.T) { badNodes(t, b) })
}

// open opens the document, without a node behind it; base is the path of its
// scripts.
func open(t *testing.T, b *browser.Browser) (p *browser.Page, base string) {
	handlers := web.Handlers()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if h := handlers[r.URL.Path]; h != nil {
			h.ServeHTTP(w, r)
			return
		}
		http.NotFound(w, r)
	}))
	t.Cleanup(s.Close)
	p = b.Open(t, 800, 600)
	p.Goto(s.URL)
	for name := range handlers {
		if before, found := strings.CutSuffix(name, "app.js"); found {
			base = before
		}
	}
	return p, base
}

// scripts runs the functions of the page that have an answer of their own. Amounts
// are u64 and come out exact.
func scripts(t *testing.T, p *browser.Page, base string) {
	for _, c := range []struct{ module, expression, want string }{
		{"format.js", `m.amount("0")`, "0.00"},
		{"format.js", `m.amount("1")`, "0.000001"},
		{"format.js", `m.amount("1000000")`, "1.00"},
		{"format.js", `m.amount("104250120000")`, "104,250.12"},
		{"format.js", `m.amount("18446744073709551615")`, "18,446,744,073,709.551615"},
		{"format.js", `m.amount("9007199254740993")`, "9,007,199,254.740993"}, // not a double
		{"format.js", `m.amount(9007199254740993n * 2n)`, "18,014,398,509.481986"},
		{"format.js", `m.coarse("18446744073709551615", 2)`, "18,446,744,073,709.55"},
		{"format.js", `m.coarse("1999999", 0)`, "1"},
		{"format.js", `m.price("104250129999")`, "104,250.12"},
		{"format.js", `m.price("190126499")`, "190.1264"},
		{"format.js", `m.price("123456")`, "0.123456"},
		{"format.js", `m.count(1234567)`, "1,234,567"},
		{"format.js", `m.short("0x70997970c51812dc3a010c7d01b50e0d17dc79c8")`, "0x709979…79c8"},
		{"format.js", `m.short("0x7099")`, "0x7099"},
		{"format.js", `m.duration(340)`, "340 ms"},
		{"format.js", `m.duration(2400)`, "2.4 s"},
		{"format.js", `m.duration(185000)`, "3 min 05 s"},
		{"format.js", `m.duration(7440000)`, "2 h 04 min"},
		{"format.js", `m.duration(273600000)`, "3 d 4 h"},
		{"format.js", `m.moment(2 ** 60)`, "1152921504606847000"}, // what a module calls a time need not be one
		{"format.js", `m.bytes(1536)`, "1.5 kB"},
		{"format.js", `String(m.quantile([], 0.5))`, "null"},
		{"format.js", `String(m.quantile([5, 1, 9, 3], 0.5))`, "5"},
		{"dom.js", `m.route("market", "BTC/USDT")`, "#/market/BTC%2FUSDT"},
		{"dom.js", `((e) => e.children.length + e.textContent)(m.h("p", {}, "<img src=x>"))`, "0<img src=x>"},
		{"dom.js", `((e) => [e.getAttribute("title"), e.className, e.hidden, e.children.length, e.textContent].join())(m.h("p", { title: "\"><b>", class: null, hidden: true }, ["a", [null, "b"]], 0))`, `"><b>,,true,0,ab0`},
		{"live.js", "(({ sum, count }) => `${sum} ${count}`)(m.sumAndCount('a_sum 1\\nseal_sum 0.5\\nseal_count 20\\n', 'seal'))", "0.5 20"},
		{"live.js", "(({ sum, count }) => `${sum} ${count}`)(m.sumAndCount('a_sum 1\\n', 'seal'))", "NaN NaN"},
		{"live.js", `m.phase({ outcome: null, start: 10, end: 20, due: 30 }, 9)`, "created"},
		{"live.js", `m.phase({ outcome: null, start: 10, end: 20, due: 30 }, 10)`, "active"},
		{"live.js", `m.phase({ outcome: null, start: 10, end: 20, due: 30 }, 20)`, "challenge"},
		{"live.js", `m.phase({ outcome: null, start: 10, end: 20, due: 30 }, 30)`, "due"},
		{"live.js", `m.phase({ outcome: "void", start: 10, end: 20, due: 30 }, 15)`, "void"},
	} {
		var got string
		p.Eval(fmt.Sprintf(`import(%q).then((m) => %s)`, base+c.module, c.expression), &got)
		if got != c.want {
			t.Errorf("%s is %q, want %q", c.expression, got, c.want)
		}
	}
}

// policyHolds shows that the browser enforces what the headers say: no markup from
// text, no script of the document's own, nothing from elsewhere.
func policyHolds(t *testing.T, p *browser.Page, _ string) {
	p.Until(`document.querySelector("#state b").textContent !== ""`)
	for what, try := range map[string]string{
		"markup from text": `try { document.body.innerHTML = "<b>x</b>"; "did" } catch (e) { e.name }`,
		"inline script":    `{ const s = document.createElement("script"); try { s.text = "globalThis.ran = 1"; document.body.append(s); } catch {} globalThis.ran ? "did" : "refused" }`,
		"foreign script":   `new Promise((r) => { try { const s = document.createElement("script"); s.onload = () => r("did"); s.onerror = () => r("refused"); s.src = "http://127.0.0.1:1/x.js"; document.body.append(s); } catch { r("refused"); } })`,
		"style attribute":  `{ const e = document.createElement("i"); e.setAttribute("style", "color: rgb(1, 2, 3)"); document.body.append(e); getComputedStyle(e).color === "rgb(1, 2, 3)" ? "did" : "refused" }`,
	} {
		var got string
		p.Eval(try, &got)
		if got == "did" {
			t.Errorf("%s works in the page", what)
		}
	}
	if len(p.Complaints()) == 0 {
		t.Error("the browser has refused things and says nothing: complaints are not heard")
	}
}

// withoutNode shows what a browser says that has the page and finds no node.
func withoutNode(t *testing.T, p *browser.Page, _ string) {
	p.Until(`document.querySelector("#state").className === "state bad" && document.querySelector("#state b").textContent === "Down"`)
	p.Until(`!document.querySelector("#banner").hidden && document.querySelector("#banner").textContent.includes("does not answer")`)
}
