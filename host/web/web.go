// Package web is the page that a node shows to a browser: live blocks, prices with
// the theses drawn over them, every block, transaction, account and thesis, and
// whether other nodes have the same state root. PAGE.md says what is on it.
//
// The page is plain HTML, CSS and JavaScript modules, embedded, without a build
// step. It asks the node what any client could ask, over the same port; this
// package only hands out files. It must not import another of ours: host/node
// gives its handlers to the RPC server.
//
//	rpc.Options{Pages: web.Handlers()}
//
//	GET /                       the document; it names the version of everything else
//	GET /page/VERSION/app.js    a file of that version, good forever
//
// Handlers may be called from any goroutine.
package web

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"time"
)

//go:embed static
var static embed.FS

// Root is where the document is served, and below Prefix its files.
const (
	Root   = "/"
	Prefix = "/page/"
)

// document is the one file that is not below a version.
const document = "index.html"

// versionMark stands in the document for the version.
const versionMark = "VERSION"

// types are the media types of everything that is embedded: the ones of the
// machine's own table differ from machine to machine.
var types = map[string]string{
	".html": "text/html; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".svg":  "image/svg+xml",
	"":      "text/plain; charset=utf-8", // licences
}

// policy lets the page run what is embedded and nothing else. No markup is made
// from text (Trusted Types), so that nothing on the chain can be more than text.
// connect-src is wide because the page compares this node with others whose
// addresses its user types; what it sends them is a question without a secret.
// ws and wss are named because not every browser takes 'self' for them.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self' ws: wss: http: https:; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

// How long a browser may keep an answer: the document is asked for again each
// time, a version's files never change.
const (
	askAgain = "no-cache"
	forever  = "public, max-age=31536000, immutable"
)

// Handlers are the page's, by path.
func Handlers() map[string]http.Handler {
	files := embedded()
	version := versionOf(files)
	handlers := make(map[string]http.Handler, len(files))
	for _, f := range files {
		if f.name == document {
			f.body = bytes.ReplaceAll(f.body, []byte(versionMark), []byte(version))
			handlers[Root] = f.handler(askAgain)
		} else {
			handlers[Prefix+version+"/"+f.name] = f.handler(forever)
		}
	}
	return handlers
}

// file is one of the page's, by its path below static.
type file struct {
	name string
	body []byte
}

// embedded is every file, in the order of names.
func embedded() (files []file) {
	err := fs.WalkDir(static, "static", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		body, err := static.ReadFile(name)
		files = append(files, file{strings.TrimPrefix(name, "static/"), body})
		return err
	})
	if err != nil { // it is in the program
		panic(fmt.Sprintf("web: embedded files: %v", err))
	}
	return files
}

// versionOf names a set of files by what is in them.
func versionOf(files []file) string {
	all := sha256.New()
	for _, f := range files {
		one := sha256.Sum256(f.body)
		fmt.Fprintf(all, "%s %x\n", f.name, one)
	}
	return hex.EncodeToString(all.Sum(nil)[:8])
}

// handler answers with the file, or that it has not changed.
func (f file) handler(cache string) http.Handler {
	media, known := types[path.Ext(f.name)]
	if !known {
		panic(fmt.Sprintf("web: no media type for %s: add it to types", f.name))
	}
	sum := sha256.Sum256(f.body)
	etag := `"` + hex.EncodeToString(sum[:16]) + `"`
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Type", media)
		h.Set("Cache-Control", cache)
		h.Set("ETag", etag)
		h.Set("Content-Security-Policy", policy)
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("X-Content-Type-Options", "nosniff")
		http.ServeContent(w, r, f.name, time.Time{}, bytes.NewReader(f.body))
	})
}
