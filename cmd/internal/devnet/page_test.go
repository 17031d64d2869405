package devnet

import (
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kaizenchain/kaizen/host/hosttest/browser"
	"github.com/kaizenchain/kaizen/host/node"
	"github.com/kaizenchain/kaizen/host/oracle"
)

var pictures = flag.String("pictures", "", "write pictures of the page to this `directory`")

// TestPage opens the page of a chain with traffic and bets in a real browser, and
// uses it as people do.
func TestPage(t *testing.T) {
	b := browser.Start(t) // first: it may skip
	n := startForPage(t)
	p := &visitor{t: t, Page: b.Open(t, 1440, 900), root: n.Services.RPC + "/"}
	p.Prefer("dark")
	p.Goto(n.Page())
	p.Until(`document.querySelector("#state b").textContent === "Live"`)
	p.liveUpdates()
	p.Until(`document.querySelector(".nodes")?.textContent.includes("same root")`)
	p.Until(`document.querySelector(".tape .tag.win, .tape .tag.loss")`) // a thesis was settled while it was looked at
	p.picture("overview-dark")
	p.keyboard()
	p.search()
	p.links()
	p.history()
	p.phone()
	p.settled()
	p.quiet()
	p.reconnects(b)
}

func startForPage(t *testing.T) *Net {
	t.Helper()
	source, err := oracle.NewWalk(1, uint64(time.Now().UnixMilli()), oracle.DefaultWalk())
	if err != nil {
		t.Fatal(err)
	}
	o := Options{Dir: t.TempDir(), FreePorts: true, Source: source, TPS: 40, ThesesPerSecond: 20, STF: node.Defaults().STF, Log: slog.New(slog.DiscardHandler)}
	n, err := Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := n.Stop(); err != nil {
			t.Errorf("the chain ended with %v", err)
		}
	})
	return n
}

// visitor uses a page.
type visitor struct {
	*browser.Page
	t    *testing.T
	root string
}

// to goes to a view by its address and waits until it is drawn.
func (v *visitor) to(route string) {
	v.t.Helper()
	v.Eval(fmt.Sprintf(`location.hash = %q`, route), nil)
	v.drawn(route)
}

// drawn waits for the view at route: its heading, without an error. What a machine
// was too busy for is tried again, as people would.
func (v *visitor) drawn(route string) {
	v.t.Helper()
	for range 5 {
		v.Until(fmt.Sprintf(`document.querySelector("main").dataset.route === %q && !document.querySelector("main.loading") && document.querySelector("main h1")`, route))
		trouble := v.text(".trouble p")
		switch {
		case trouble == "":
			return
		case strings.Contains(trouble, "no answer") || strings.Contains(trouble, "Timeout"):
			v.Eval(`document.querySelector(".trouble button").click()`, nil)
		default:
			v.t.Errorf("%s shows %q", route, trouble)
			return
		}
	}
	v.t.Errorf("%s gets no answer from the node", route)
}

// text is what an element says.
func (v *visitor) text(selector string) (s string) {
	v.t.Helper()
	v.Eval(fmt.Sprintf(`document.querySelector(%q)?.textContent ?? ""`, selector), &s)
	return s
}

// picture keeps what the page looks like, if -pictures says where.
func (v *visitor) picture(name string) {
	if *pictures == "" {
		return
	}
	if err := os.WriteFile(filepath.Join(*pictures, name+".png"), v.Picture(), 0o644); err != nil {
		v.t.Error(err)
	}
}

// quiet demands that nothing went wrong in the console or on the network. A node
// that was not ready for a moment, on a machine that stood still, is not the
// page's fault.
func (v *visitor) quiet() {
	v.t.Helper()
	for _, c := range v.Complaints() {
		if !strings.Contains(c, "/readyz") {
			v.t.Errorf("the browser complains: %s", c)
		}
	}
}

// liveUpdates waits for blocks, prices and theses to come by themselves.
func (v *visitor) liveUpdates() {
	v.t.Helper()
	const height = `.blocks li a`
	first := v.text(height)
	v.Until(fmt.Sprintf(`document.querySelector(%q).textContent !== %q`, height, first))
	v.Until(`document.querySelectorAll(".tape li").length > 0 && document.querySelector(".tabs b").textContent.startsWith("104,")`)
	v.Until(`document.querySelectorAll(".figure canvas, .prices canvas").length === 4`)
}

// keyboard goes round by keys alone.
func (v *visitor) keyboard() {
	v.t.Helper()
	for _, c := range []struct{ key, route string }{{"b", "#/blocks"}, {"m", "#/markets"}, {"h", "#/theses"}, {"n", "#/nodes"}, {"o", "#/"}} {
		v.Press(c.key)
		v.drawn(c.route)
	}
	v.Press("/")
	v.Type("5")
	v.Press("Enter")
	v.Until(`location.hash.startsWith("#/search/") || location.hash === "#/block/5"`)
	v.to("#/block/5")
	v.Press("ArrowRight")
	v.drawn("#/block/6")
	v.Press("ArrowLeft")
	v.drawn("#/block/5")
	var was string
	v.Eval(`document.documentElement.dataset.theme`, &was)
	v.Press("t")
	v.Until(fmt.Sprintf(`document.documentElement.dataset.theme !== %q`, was))
	v.Press("t")
	v.Press("?")
	v.Until(`document.querySelector("#keys").open`)
	v.Eval(`document.querySelector("#keys").close()`, nil)
}

// search finds what there is by what people have in hand.
func (v *visitor) search() {
	v.t.Helper()
	v.to("#/")
	const full = `[...document.querySelectorAll(".blocks li")].find((li) => parseInt(li.children[2].textContent) > 0)?.querySelector("a").getAttribute("href")`
	v.Until(full)
	var block, hash, tx, account string
	v.Eval(full, &block)
	v.to(block)
	v.Eval(`document.querySelector(".facts .long span").textContent`, &hash)
	v.Eval(`document.querySelector('a[href^="#/tx/"]').getAttribute("href").slice(5)`, &tx)
	v.Eval(`document.querySelector('a[href^="#/account/"]').getAttribute("href").slice(10)`, &account)
	for text, route := range map[string]string{hash: "#/block/" + hash, tx: "#/tx/" + tx, strings.ToUpper(account[2:]): "", account: "#/account/" + account, "#1": "#/thesis/1", "btc": "#/market/BTC%2FUSDT"} {
		v.Press("/")
		v.Type(text)
		v.Press("Enter")
		if route == "" {
			v.Until(`document.querySelector("main h2")?.textContent === "Nothing found"`)
			continue
		}
		v.drawn(route)
	}
	// What looks like markup is text.
	v.to("#/search/" + "%3Cimg%20src%3Dx%20onerror%3Ddocument.title%3D1%3E")
	v.Until(`document.querySelector("main p").textContent.includes("<img src=x") && !document.querySelector("main img")`)
}

// links follows every kind of link that the page has, from view to view.
func (v *visitor) links() {
	v.t.Helper()
	seen := map[string]bool{}
	for queue := []string{"#/"}; len(queue) > 0; queue = queue[1:] {
		v.to(queue[0])
		var found []string
		v.Eval(`[...document.querySelectorAll('a[href^="#/"]')].filter((a) => !a.hidden).map((a) => a.getAttribute("href"))`, &found)
		for _, route := range found {
			if kind := kindOf(route); !seen[kind] {
				seen[kind] = true
				queue = append(queue, route)
			}
		}
	}
	for _, kind := range []string{"#/", "#/markets", "#/market/", "#/theses", "#/thesis/", "#/blocks", "#/block/", "#/tx/", "#/account/", "#/nodes"} {
		if !seen[kind] {
			v.t.Errorf("no link led to %s", kind)
		}
	}
}

// history pages through the transactions of an account that sends many.
func (v *visitor) history() {
	v.t.Helper()
	const rows = `document.querySelectorAll('[aria-label="Its transactions"] tbody tr').length`
	v.to(busyAccount)
	v.Until(rows + ` === 25`)
	v.Eval(`document.querySelector('[aria-label="Its transactions"] button.more').click()`, nil)
	v.Until(rows + ` > 25`)
	var rising bool // heights and, within a block, places: newest first, none twice
	v.Eval(`(() => {
		const links = [...document.querySelectorAll('[aria-label="Its transactions"] tbody tr')].map((r) => [...r.querySelectorAll("a")].map((a) => a.getAttribute("href")));
		const heights = links.map(([block]) => Number(block.slice(8)));
		return heights.some((n, i) => i > 0 && n > heights[i - 1]) || new Set(links.map(([, tx]) => tx)).size !== links.length;
	})()`, &rising)
	if rising {
		v.t.Error("an account's transactions are out of order, or one is there twice")
	}
	v.picture("account-dark")
}

// busyAccount is the view of an account that sends transfers.
const busyAccount = "#/account/0x15d34aaf54267db7d7c367839aaf71a00a2c6a65"

// kindOf is a route without its argument.
func kindOf(route string) string {
	if i := strings.Index(route[2:], "/"); i >= 0 {
		return route[:2+i+1]
	}
	return route
}

// phone demands that no view is wider than a small phone.
func (v *visitor) phone() {
	v.t.Helper()
	v.Size(360, 740)
	for _, route := range []string{"#/", "#/markets", "#/market/BTC%2FUSDT", "#/theses", "#/thesis/1", "#/blocks", "#/block/20", "#/nodes", busyAccount, "#/search/nothing"} {
		v.to(route)
		if route == busyAccount {
			v.Until(`document.querySelector('[aria-label="Its transactions"] tbody tr')`)
		}
		var wide string
		// A phone zooms out where a page is too wide: innerWidth would hide it.
		v.Eval(`document.documentElement.scrollWidth <= 360 ? "" : [...document.querySelectorAll("main *")].filter((e) => e.getBoundingClientRect().right > 361 && !e.closest(".scroll, .tape, .tabs, .u-wrap")).slice(0, 3).map((e) => e.outerHTML.slice(0, 120)).join("; ") || "all of it"`, &wide)
		if wide != "" {
			v.t.Errorf("%s is wider than a phone: %s", route, wide)
		}
		if name := map[string]string{"#/": "overview-phone", busyAccount: "account-phone"}[route]; name != "" {
			v.picture(name)
		}
	}
	v.Size(1440, 900)
}

// settled looks at a thesis that is settled.
func (v *visitor) settled() {
	v.t.Helper()
	v.to("#/theses")
	v.Until(`document.querySelectorAll("main .panel:last-child .tag").length > 0`)
	var route string
	v.Eval(`[...document.querySelectorAll("main .panel:last-child tr")].find((r) => r.querySelector(".tag.win, .tag.loss")).querySelector("a").getAttribute("href")`, &route)
	v.to(route)
	v.Until(`document.querySelector("h1 .tag.win, h1 .tag.loss") && document.querySelector(".prices.lone canvas")`)
	v.picture("thesis-dark")
	v.Eval(`switchTheme()`, nil)
	v.to("#/")
	v.picture("overview-light")
}

// reconnects takes the connection away and gives it back: the page says so, comes
// back by itself, and has missed no block.
func (v *visitor) reconnects(b *browser.Browser) {
	v.t.Helper()
	cut := newCable(v.t, strings.TrimSuffix(strings.TrimPrefix(v.root, "http://"), "/"))
	p := &visitor{t: v.t, Page: b.Open(v.t, 1200, 800)}
	p.Goto("http://" + cut.address())
	p.Until(`document.querySelectorAll(".blocks li").length > 10`)
	p.quiet()
	cut.pull()
	p.Until(`document.querySelector("#state b").textContent === "Down" && !document.querySelector("#banner").hidden`)
	last := p.text(".blocks li a")
	cut.plug()
	p.Until(fmt.Sprintf(`document.querySelector("#state b").textContent === "Live" && document.querySelector(".blocks li a").textContent !== %q`, last))
	var heights []int
	p.Eval(`[...document.querySelectorAll(".blocks li a")].map((a) => Number(a.textContent.replaceAll(",", "")))`, &heights)
	for i := range heights[1:] {
		if heights[i] != heights[i+1]+1 {
			v.t.Errorf("after a reconnect the newest blocks are %v", heights)
		}
	}
}

// cable is a TCP connection to a node that can be pulled.
type cable struct {
	t    *testing.T
	to   string
	port net.Listener

	mu     sync.Mutex
	pulled bool
	open   map[net.Conn]bool
}

func newCable(t *testing.T, to string) *cable {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cable{t: t, to: to, port: l, open: map[net.Conn]bool{}}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { c.join(near) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		c.pull()
		all.Wait()
	})
	return c
}

func (c *cable) address() string { return c.port.Addr().String() }

// join copies both ways until one of them ends.
func (c *cable) join(near net.Conn) {
	far, err := net.Dial("tcp", c.to)
	if err != nil {
		near.Close()
		return
	}
	defer near.Close()
	defer far.Close()
	c.mu.Lock()
	if c.pulled {
		c.mu.Unlock()
		return
	}
	c.open[near], c.open[far] = true, true
	c.mu.Unlock()
	done := make(chan struct{}, 2)
	for _, way := range [][2]net.Conn{{near, far}, {far, near}} {
		go func() { io.Copy(way[0], way[1]); done <- struct{}{} }()
	}
	<-done
	near.Close()
	far.Close()
	<-done
	c.mu.Lock()
	delete(c.open, near)
	delete(c.open, far)
	c.mu.Unlock()
}

// pull ends every connection, and all that begin until plug.
func (c *cable) pull() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pulled = true
	for conn := range c.open {
		conn.Close()
	}
}

func (c *cable) plug() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pulled = false
}
