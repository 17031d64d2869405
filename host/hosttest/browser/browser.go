// Package browser lets a test open a page in a headless Chromium, look at it and
// type: over the DevTools protocol, on a pair of pipes.
//
// It owns the browser's process. It is imported by tests only, and imports nothing
// of ours.
//
//	b := browser.Start(t)                   skips where there is no Chromium
//	p := b.Open(t, 1440, 900)
//	p.Goto(url)
//	p.Until(`document.title === "Kaizen"`)
//	p.Complaints()                          what the console and the network had to say
//
// One goroutine uses a browser and its pages. Everything that fails ends the test.
package browser

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"
)

const (
	// Variable names a Chromium that is not in one of the usual places.
	Variable = "KAIZEN_CHROMIUM"
	// patience bounds one answer of the browser, and its end.
	patience = 3 * time.Minute
	// looks is how often Until looks, every lookMs: a count and not a time, because a
	// busy machine may stand still for longer than any test should take.
	looks, lookMs = 4000, 30
	// maxLoads is how often a page may be replaced while Until waits.
	maxLoads = 10
	// maxMessage bounds one message of the browser, bytes: a picture, mostly.
	maxMessage = 64 << 20
)

// Find is the path of a Chromium: what Variable says, one on PATH, or one that
// puppeteer or playwright put into its cache. Empty: there is none.
func Find() string {
	if path := os.Getenv(Variable); path != "" {
		return path
	}
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome-headless-shell", "headless_shell"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	for _, pattern := range []string{"puppeteer/chrome*/*/*/chrome-headless-shell", "puppeteer/chrome/*/*/chrome", "ms-playwright/chromium*/*/headless_shell", "ms-playwright/chromium*/*/chrome"} {
		if found, err := filepath.Glob(filepath.Join(cache, pattern)); err == nil && len(found) > 0 {
			return found[len(found)-1]
		}
	}
	return ""
}

// Browser is a running Chromium.
type Browser struct {
	t    testing.TB
	out  io.Writer
	next int

	mu      sync.Mutex
	waiting map[int]chan message
	pages   map[string]*Page // by session
	gone    chan struct{}    // closed when the browser has nothing more to say
}

// message is one of the protocol, in either direction.
type message struct {
	ID      int             `json:"id,omitempty"`
	Session string          `json:"sessionId,omitempty"`
	Method  string          `json:"method,omitempty"`
	Params  json.RawMessage `json:"params,omitempty"`
	Result  json.RawMessage `json:"result,omitempty"`
	Error   *struct {
		Message string `json:"message"`
	} `json:"error,omitempty"`
}

// Start starts a browser that ends with the test, which is skipped if there is
// none on this machine.
func Start(t testing.TB) *Browser {
	t.Helper()
	path := Find()
	if path == "" {
		t.Skip("no Chromium: install Debian's package chromium or `npx @puppeteer/browsers install chrome-headless-shell`, or set " + Variable)
	}
	read, write := pipes(t), pipes(t)
	// Without a sandbox of its own, so that it also runs as root in a container: it
	// sees pages of this repository and nothing else.
	c := exec.Command(path, "--headless", "--remote-debugging-pipe", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-extensions", "--user-data-dir="+t.TempDir())
	c.ExtraFiles = []*os.File{write[0], read[1]} // 3 and 4 of the browser
	if err := c.Start(); err != nil {
		t.Fatalf("start %s: %v", path, err)
	}
	b := &Browser{t: t, out: write[1], waiting: map[int]chan message{}, pages: map[string]*Page{}, gone: make(chan struct{})}
	if err := errors.Join(write[0].Close(), read[1].Close()); err != nil {
		t.Fatal(err)
	}
	go b.listen(read[0])
	t.Cleanup(func() { b.end(c) })
	return b
}

// pipes is the two ends of a pipe.
func pipes(t testing.TB) [2]*os.File {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(); w.Close() })
	return [2]*os.File{r, w}
}

// end asks the browser to end, and makes it if it does not.
func (b *Browser) end(c *exec.Cmd) {
	b.send(message{ID: -1, Method: "Browser.close"})
	done := make(chan error, 1)
	go func() { done <- c.Wait() }()
	select {
	case <-done:
	case <-time.After(patience):
		b.t.Errorf("the browser does not end: %v", c.Process.Kill())
		<-done
	}
}

// listen takes what the browser says, until it ends.
func (b *Browser) listen(from io.Reader) {
	defer close(b.gone)
	lines := bufio.NewScanner(from)
	lines.Buffer(make([]byte, 64<<10), maxMessage)
	lines.Split(func(data []byte, end bool) (int, []byte, error) {
		if i := bytes.IndexByte(data, 0); i >= 0 {
			return i + 1, data[:i], nil
		}
		return 0, nil, nil
	})
	for lines.Scan() {
		var m message
		if err := json.Unmarshal(lines.Bytes(), &m); err != nil {
			b.t.Errorf("the browser says %.200q", lines.Text())
			return
		}
		b.mu.Lock()
		to, page := b.waiting[m.ID], b.pages[m.Session]
		delete(b.waiting, m.ID)
		b.mu.Unlock()
		switch {
		case m.ID != 0 && to != nil:
			to <- m
		case page != nil:
			page.note(&m)
		}
	}
}

func (b *Browser) send(m message) error {
	text, err := json.Marshal(m)
	if err != nil {
		return err
	}
	_, err = b.out.Write(append(text, 0))
	return err
}

// try runs a command of the protocol and decodes its result, unless into is nil.
func (b *Browser) try(session, method string, params, into any) error {
	p, err := json.Marshal(params)
	if err != nil {
		return err
	}
	answer := make(chan message, 1)
	b.mu.Lock()
	b.next++
	id := b.next
	b.waiting[id] = answer
	b.mu.Unlock()
	if err := b.send(message{ID: id, Session: session, Method: method, Params: p}); err != nil {
		return err
	}
	select {
	case m := <-answer:
		if m.Error != nil {
			return errors.New(m.Error.Message)
		}
		if into == nil {
			return nil
		}
		return json.Unmarshal(m.Result, into)
	case <-b.gone:
		return errors.New("the browser ended")
	case <-time.After(patience):
		return fmt.Errorf("no answer within %s", patience)
	}
}

// object is a JSON object.
type object map[string]any

// Page is one tab.
type Page struct {
	t       testing.TB
	b       *Browser
	session string

	mu         sync.Mutex
	complaints []string
}

// Open opens an empty tab of that size, in pixels of the page, for a test, which
// may be one below the browser's. Up to the width of a phone it behaves like one.
func (b *Browser) Open(t testing.TB, width, height int) *Page {
	t.Helper()
	p := &Page{t: t, b: b}
	var target struct {
		ID string `json:"targetId"`
	}
	p.call("Target.createTarget", object{"url": "about:blank"}, &target)
	var session struct {
		ID string `json:"sessionId"`
	}
	p.call("Target.attachToTarget", object{"targetId": target.ID, "flatten": true}, &session)
	p.session = session.ID
	b.mu.Lock()
	b.pages[p.session] = p
	b.mu.Unlock()
	for _, domain := range []string{"Page", "Runtime", "Log", "Network"} {
		p.call(domain+".enable", object{}, nil)
	}
	p.Size(width, height)
	return p
}

// phone is the width up to which a page is a phone's.
const phone = 500

// Size sets the size of the tab.
func (p *Page) Size(width, height int) {
	p.t.Helper()
	p.call("Emulation.setDeviceMetricsOverride", object{"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width <= phone}, nil)
}

// Prefer makes the system prefer "dark" or "light".
func (p *Page) Prefer(scheme string) {
	p.t.Helper()
	p.call("Emulation.setEmulatedMedia", object{"features": []object{{"name": "prefers-color-scheme", "value": scheme}}}, nil)
}

// call runs a command of the protocol in the tab.
func (p *Page) call(method string, params, into any) {
	p.t.Helper()
	if err := p.b.try(p.session, method, params, into); err != nil {
		p.t.Fatalf("%s: %v", method, err)
	}
}

// note keeps what is worth complaining about.
func (p *Page) note(m *message) {
	var v struct {
		Type  string `json:"type"`
		Text  string `json:"errorText"`
		Args  []struct{ Value, Description any }
		Entry struct{ Level, Text, URL string }
		Thing struct {
			Text      string
			Exception struct{ Description string }
		} `json:"exceptionDetails"`
		Response struct {
			Status int
			URL    string
		}
		Canceled bool
	}
	if err := json.Unmarshal(m.Params, &v); err != nil {
		return // an event of another shape
	}
	switch {
	case m.Method == "Runtime.consoleAPICalled" && (v.Type == "error" || v.Type == "warning" || v.Type == "assert"):
		p.complain("console: %v", v.Args)
	case m.Method == "Runtime.exceptionThrown":
		p.complain("exception: %s %s", v.Thing.Text, v.Thing.Exception.Description)
	case m.Method == "Log.entryAdded" && (v.Entry.Level == "error" || v.Entry.Level == "warning"):
		p.complain("log: %s %s", v.Entry.Text, v.Entry.URL)
	case m.Method == "Network.loadingFailed" && !v.Canceled:
		p.complain("network: %s", v.Text)
	case m.Method == "Network.responseReceived" && v.Response.Status >= 400:
		p.complain("network: HTTP %d of %s", v.Response.Status, v.Response.URL)
	}
}

func (p *Page) complain(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.complaints = append(p.complaints, fmt.Sprintf(format, args...))
}

// Complaints is what went wrong in the page since the last time: errors and
// warnings of the console, exceptions, violations of its policy, failed requests.
func (p *Page) Complaints() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	said := slices.Clone(p.complaints)
	p.complaints = nil
	return said
}

// Goto loads an address.
func (p *Page) Goto(url string) {
	p.t.Helper()
	var v struct{ ErrorText string }
	p.call("Page.navigate", object{"url": url}, &v)
	if v.ErrorText != "" {
		p.t.Fatalf("%s: %s", url, v.ErrorText)
	}
}

// Eval evaluates an expression in the page, waits for it if it is a promise, and
// decodes its value, unless into is nil.
func (p *Page) Eval(expression string, into any) {
	p.t.Helper()
	if err := p.eval(expression, into); err != nil {
		p.t.Fatalf("%.300s: %v", expression, err)
	}
}

func (p *Page) eval(expression string, into any) error {
	var v struct {
		Result struct{ Value json.RawMessage }
		Thing  *struct {
			Text      string
			Exception struct{ Description string }
		} `json:"exceptionDetails"`
	}
	if err := p.b.try(p.session, "Runtime.evaluate", object{"expression": expression, "awaitPromise": true, "returnByValue": true}, &v); err != nil {
		return err
	}
	if v.Thing != nil {
		return fmt.Errorf("%s %s", v.Thing.Text, v.Thing.Exception.Description)
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(v.Result.Value, into)
}

// Until waits for an expression to be true. What makes the page go away meanwhile,
// such as a link, does no harm.
func (p *Page) Until(expression string) {
	p.t.Helper()
	wait := fmt.Sprintf(`new Promise((done) => { let left = %d; const look = () => { let ok = false; try { ok = (%s); } catch {} if (ok || left-- === 0) done(Boolean(ok)); else setTimeout(look, %d); }; look(); })`,
		looks, expression, lookMs)
	var err error
	for range maxLoads {
		var ok bool
		if err = p.eval(wait, &ok); err != nil {
			continue // another document took its place
		}
		if ok {
			return
		}
		break
	}
	var text string
	p.Eval("document.body.innerText", &text)
	p.t.Fatalf("it never was so: %s (%v); complaints %q; the page says %.1500s", expression, err, p.Complaints(), text)
}

// Press presses a key, by its name in a KeyboardEvent: "b", "Enter", "ArrowLeft".
func (p *Page) Press(key string) {
	p.t.Helper()
	down := object{"type": "keyDown", "key": key}
	if len(key) == 1 {
		down["text"] = key
	}
	if key == "Enter" {
		down["text"], down["windowsVirtualKeyCode"] = "\r", 13
	}
	p.call("Input.dispatchKeyEvent", down, nil)
	p.call("Input.dispatchKeyEvent", object{"type": "keyUp", "key": key}, nil)
}

// Type types a text where the focus is.
func (p *Page) Type(text string) {
	p.t.Helper()
	p.call("Input.insertText", object{"text": text}, nil)
}

// Click clicks at a point of the page; Point moves the pointer there.
func (p *Page) Click(x, y float64) {
	p.t.Helper()
	p.Point(x, y)
	for _, what := range []string{"mousePressed", "mouseReleased"} {
		p.call("Input.dispatchMouseEvent", object{"type": what, "x": x, "y": y, "button": "left", "clickCount": 1}, nil)
	}
}

// Point moves the pointer.
func (p *Page) Point(x, y float64) {
	p.t.Helper()
	p.call("Input.dispatchMouseEvent", object{"type": "mouseMoved", "x": x, "y": y}, nil)
}

// Picture is what the tab shows, as PNG.
func (p *Page) Picture() []byte {
	p.t.Helper()
	var v struct{ Data []byte }
	p.call("Page.captureScreenshot", object{"format": "png"}, &v)
	return v.Data
}
