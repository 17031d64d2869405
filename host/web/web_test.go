package web_test

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"regexp"
	"strings"
	"testing"

	"github.com/kaizenchain/kaizen/host/web"
)

// get asks a handler of the page.
func get(t *testing.T, name, method string, header http.Header) *http.Response {
	t.Helper()
	h := web.Handlers()[name]
	if h == nil {
		t.Fatalf("nothing is served at %s", name)
	}
	r := httptest.NewRequest(method, name, nil)
	for k, v := range header {
		r.Header[k] = v
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func text(t *testing.T, name string) string {
	t.Helper()
	w := httptest.NewRecorder()
	web.Handlers()[name].ServeHTTP(w, httptest.NewRequest(http.MethodGet, name, nil))
	return w.Body.String()
}

func TestHeaders(t *testing.T) {
	media := map[string]string{"": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
	for name := range web.Handlers() {
		r := get(t, name, http.MethodGet, nil)
		want := "public, max-age=31536000, immutable"
		if name == web.Root {
			want = "no-cache"
		}
		if r.StatusCode != http.StatusOK || r.Header.Get("Cache-Control") != want {
			t.Errorf("%s: HTTP %d, Cache-Control %q, want %q", name, r.StatusCode, r.Header.Get("Cache-Control"), want)
		}
		if path.Base(name) != "LICENSE" && !strings.HasPrefix(r.Header.Get("Content-Type"), media[path.Ext(name)]) {
			t.Errorf("%s is %q", name, r.Header.Get("Content-Type"))
		}
		for header, part := range map[string]string{"Content-Security-Policy": "default-src 'none'; script-src 'self';", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"} {
			if !strings.Contains(r.Header.Get(header), part) {
				t.Errorf("%s: %s is %q", name, header, r.Header.Get(header))
			}
		}
		for _, loose := range []string{"unsafe", "*", "data:"} {
			if strings.Contains(r.Header.Get("Content-Security-Policy"), loose) {
				t.Errorf("%s: policy allows %s", name, loose)
			}
		}
	}
}

// A browser that has a file is told so, without the file.
func TestETag(t *testing.T) {
	for name := range web.Handlers() {
		tag := get(t, name, http.MethodGet, nil).Header.Get("ETag")
		if len(tag) < 10 {
			t.Fatalf("%s has ETag %q", name, tag)
		}
		for given, want := range map[string]int{tag: http.StatusNotModified, `"other"`: http.StatusOK, `"a", ` + tag: http.StatusNotModified} {
			r := get(t, name, http.MethodGet, http.Header{"If-None-Match": {given}})
			if r.StatusCode != want {
				t.Errorf("%s with If-None-Match %s: HTTP %d, want %d", name, given, r.StatusCode, want)
			}
		}
		head := get(t, name, http.MethodHead, nil)
		if head.StatusCode != http.StatusOK || head.ContentLength == 0 || head.Header.Get("ETag") != tag {
			t.Errorf("HEAD %s: HTTP %d, %d bytes, %s", name, head.StatusCode, head.ContentLength, head.Header.Get("ETag"))
		}
	}
}

var (
	inDocument = regexp.MustCompile(`(?:src|href)="([^"#]+)"`)
	inModule   = regexp.MustCompile(`from "\./([^"]+)"`)
)

// Whatever a file names is served, and whatever is served is named: nothing comes
// from elsewhere, and nothing is left over.
func TestReferences(t *testing.T) {
	named := map[string]bool{web.Root: true}
	handlers := web.Handlers()
	use := func(from, name string) {
		named[name] = true
		if handlers[name] == nil {
			t.Errorf("%s names %s, which is not served", from, name)
		}
	}
	for _, m := range inDocument.FindAllStringSubmatch(text(t, web.Root), -1) {
		use(web.Root, "/"+m[1])
	}
	for name := range handlers {
		if path.Ext(name) == ".js" && !strings.Contains(name, "/uplot/") {
			for _, m := range inModule.FindAllStringSubmatch(text(t, name), -1) {
				use(name, path.Dir(name)+"/"+m[1])
			}
		}
	}
	for name := range handlers {
		if !named[name] && path.Base(name) != "LICENSE" {
			t.Errorf("%s is served and nothing names it", name)
		}
	}
}

// What the policy forbids is not in the files either, and nothing turns text into
// markup.
func TestNothingForbidden(t *testing.T) {
	document := text(t, web.Root)
	for _, bad := range []string{"style=", "<style", "onclick", "onload", "http://", "https://", "VERSION"} {
		if strings.Contains(document, bad) {
			t.Errorf("the document has %s", bad)
		}
	}
	for name := range web.Handlers() {
		if path.Ext(name) != ".js" {
			continue
		}
		for _, bad := range []string{"innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function", "setAttribute(\"style\"", "createContextualFragment", "DOMParser"} {
			if strings.Contains(text(t, name), bad) {
				t.Errorf("%s uses %s", name, bad)
			}
		}
	}
}

// The one library is what its authors published, to the byte: uplot 1.6.32 from
// the npm registry, package/dist, MIT.
func TestVendored(t *testing.T) {
	for name, want := range map[string]string{
		"uPlot.iife.min.js": "19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f",
		"uPlot.min.css":     "df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04",
		"LICENSE":           "8f989229699b4fe2f1a0432d0e9edc338a8a911e250e2d1b01ecd770a5f5b1bd",
	} {
		b, err := os.ReadFile("static/uplot/" + name)
		if err != nil {
			t.Fatal(err)
		}
		if sum := sha256.Sum256(b); hex.EncodeToString(sum[:]) != want {
			t.Errorf("%s has SHA-256 %x, published was %s", name, sum, want)
		}
	}
}
