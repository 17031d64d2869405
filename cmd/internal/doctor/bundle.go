package doctor

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/kaizenchain/kaizen/host/node"
	"github.com/kaizenchain/kaizen/host/rpc/client"
)

const (
	// maxBundleFile bounds one file of the bundle, bytes.
	maxBundleFile = 4 << 20
	// maxListed bounds the list of the directory's files.
	maxListed = 10_000
)

// hidden stands where a secret may have been.
const hidden = "(hidden)"

// WriteBundle writes what somebody needs who is asked for help: a .tar.gz with the
// findings, the configuration, what the directory holds (names and sizes), what
// the machine is, and what the running node says. Keys, passwords, tokens, and
// parts of addresses that may hold some are left out; account data and
// transactions too.
func WriteBundle(ctx context.Context, w io.Writer, p *Patient, findings []Finding) error {
	b := newBundle(w, time.UnixMilli(int64(p.Now())))
	b.json("findings.json", findings)
	b.json("config.json", redacted(p.Settings))
	b.json("machine.json", machine())
	runs := p.runs
	runs.Unclean = slices.Clone(runs.Unclean)
	if runs.Running != nil {
		r := *runs.Running
		r.Token = ""
		runs.Running = &r
	}
	b.json("runs.json", &runs)
	b.text("files.txt", listing(p.Config.DataDir))
	if build, known := debug.ReadBuildInfo(); known {
		b.text("build.txt", build.String())
	}
	if p.running() {
		b.node(ctx, "http://"+p.runs.Running.RPC)
	}
	return b.close()
}

// bundle writes a .tar.gz; the first error is kept.
type bundle struct {
	gzip *gzip.Writer
	tar  *tar.Writer
	now  time.Time
	err  error
}

func newBundle(w io.Writer, now time.Time) *bundle {
	z := gzip.NewWriter(w)
	return &bundle{gzip: z, tar: tar.NewWriter(z), now: now}
}

func (b *bundle) close() error { return errors.Join(b.err, b.tar.Close(), b.gzip.Close()) }

func (b *bundle) text(name, text string) {
	if b.err != nil {
		return
	}
	text = text[:min(len(text), maxBundleFile)]
	if b.err = b.tar.WriteHeader(&tar.Header{Name: "kaizen-doctor/" + name, Mode: 0o644, Size: int64(len(text)), ModTime: b.now}); b.err == nil {
		_, b.err = io.WriteString(b.tar, text)
	}
}

func (b *bundle) json(name string, v any) {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		text = []byte(err.Error())
	}
	b.text(name, string(text)+"\n")
}

// node adds what the running node says of itself.
func (b *bundle) node(ctx context.Context, base string) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	b.text("node/metrics.txt", fetch(ctx, base+"/metrics"))
	b.text("node/readyz.json", fetch(ctx, base+"/readyz"))
	c, err := client.New(base)
	if err != nil {
		b.text("node/error.txt", err.Error())
		return
	}
	defer c.Close()
	info, err := c.Info(ctx)
	b.json("node/info.json", orError(info, err))
	status, err := c.Status(ctx)
	b.json("node/status.json", orError(status, err))
}

func orError[T any](v T, err error) any {
	if err != nil {
		return map[string]string{"error": err.Error()}
	}
	return v
}

// fetch is a page's text, or why there is none.
func fetch(ctx context.Context, url string) string {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err.Error()
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return err.Error()
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxBundleFile))
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// redacted is the configuration without what addresses may hold: user, password
// and parameters.
func redacted(settings []Setting) []Setting {
	all := slices.Clone(settings)
	for i, s := range all {
		if text, isText := s.Value.(string); isText && strings.Contains(text, "://") {
			all[i].Value = redactURL(text)
		}
	}
	return all
}

func redactURL(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return hidden
	}
	if u.User != nil {
		u.User = url.User(hidden)
	}
	if u.RawQuery != "" {
		u.RawQuery = hidden
	}
	u.Fragment = ""
	return u.String()
}

// machine is what the node runs on.
func machine() map[string]any {
	v := map[string]any{"kaizen": node.Version, "go": runtime.Version(), "os": runtime.GOOS, "arch": runtime.GOARCH, "cpus": runtime.NumCPU()}
	for _, name := range []string{"/proc/version", "/proc/meminfo", "/proc/loadavg", "/proc/self/limits", "/sys/fs/cgroup/memory.max"} {
		if b, err := os.ReadFile(name); err == nil {
			v[name] = strings.Split(strings.TrimSpace(string(b)), "\n")
		}
	}
	return v
}

// listing is the files of a directory: mode, size, time, name; never content.
func listing(dir string) string {
	var text strings.Builder
	n := 0
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			fmt.Fprintf(&text, "%s: %v\n", name, err)
			return nil
		}
		if n++; n > maxListed {
			fmt.Fprintf(&text, "and more than %d others\n", maxListed)
			return fs.SkipAll
		}
		if info, err := d.Info(); err == nil {
			relative, _ := filepath.Rel(dir, name)
			fmt.Fprintf(&text, "%s %12d %s %s\n", info.Mode(), info.Size(), info.ModTime().UTC().Format(time.RFC3339), relative)
		}
		return nil
	})
	if err != nil {
		fmt.Fprintln(&text, err)
	}
	return text.String()
}
