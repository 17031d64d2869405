package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/stf-modules/counter"
)

var update = flag.Bool("update", false, "rewrite golden files")

// The write node in its own process is the test binary once more.
func TestMain(m *testing.M) {
	if setup := os.Getenv(childEnv); setup != "" {
		os.Exit(childMain(setup))
	}
	os.Exit(m.Run())
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs; go test ./tools/bench -update rewrites it, then read the diff\ngot:\n%s", file, got)
	}
}

// TestEverySuite runs all of it, small, and compares what was measured with the
// list that programs which read the JSON rely on.
func TestEverySuite(t *testing.T) {
	var out, progress bytes.Buffer
	md := filepath.Join(t.TempDir(), "BENCHMARKS.md")
	args := []string{"-accounts", fmt.Sprint(minAccounts), "-seconds", "0.02", "-rounds", "2", "-dir", t.TempDir(), "-o", "json", "-md", md}
	if err := command(context.Background(), args, &out, &progress); err != nil {
		t.Fatalf("%v\n%s", err, progress.Bytes())
	}
	r := decode(t, out.Bytes())
	if r.Version != reportVersion || r.Accounts != minAccounts || r.Rounds != 2 {
		t.Errorf("report is %d, %d accounts, %d rounds", r.Version, r.Accounts, r.Rounds)
	}
	var names strings.Builder
	for _, f := range r.Figures {
		fmt.Fprintf(&names, "%s: %s [%s]\n", f.Suite, f.Name, f.Unit)
		checkFigure(t, &f)
	}
	golden(t, "figures.txt", []byte(names.String()))
	if len(r.Splits) != 2 {
		t.Errorf("%d splits of processor time, want 2", len(r.Splits))
	}
	document, err := os.ReadFile(md)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range r.Figures {
		if !bytes.Contains(document, []byte("| "+f.Suite+" | "+f.Name+" |")) {
			t.Errorf("the document has no row for %s, %s", f.Suite, f.Name)
		}
	}
}

// decode reads what a run has written, as -join does.
func decode(t *testing.T, b []byte) *Report {
	t.Helper()
	r, err := decodeReport(b)
	if err != nil {
		t.Fatalf("%v\n%s", err, b)
	}
	return r
}

func checkFigure(t *testing.T, f *Figure) {
	t.Helper()
	spreads := []Spread{f.Value}
	if f.Limit != nil {
		spreads = append(spreads, f.Limit.Value, *f.Ratio)
	}
	for _, s := range spreads {
		if !(s.Min > 0 && s.Min <= s.Median && s.Median <= s.Max) || math.IsInf(s.Max, 0) || s.Rounds < 1 {
			t.Errorf("%s, %s: %+v", f.Suite, f.Name, s)
		}
	}
	if (f.Target == nil) != (f.Met == nil) {
		t.Errorf("%s, %s: target %v, met %v", f.Suite, f.Name, f.Target, f.Met)
	}
}

// sampleReport has every kind of figure.
func sampleReport() *Report {
	rounds := []round{{60, 100}, {55, 110}, {70, 100}}
	shares := []Share{{"signature recovery", 66.66}, {"WASM", 33.34}}
	return &Report{Version: reportVersion, Commit: "0123456789ab", Date: "2026-01-02", Accounts: 1_000_000, Slice: 4, Rounds: 3, Seconds: 600.4,
		Machine: Machine{OS: "linux", Arch: "amd64", CPU: "a processor", Cores: 2, Memory: "16 GB", Kernel: "6.1", Load: "0.1 0.2 0.3", Go: "go1.26"},
		Figures: []Figure{
			rated("node", "met, not yet good", "1/s", "limit", "1/s", rounds).want(atLeast(0.6), atLeast(0.85)).noted("a note"),
			rated("wasm", "missed", "ns", "twin", "ns", rounds).want(atMost(0.5), nil),
			plain("state", "one value", "ms", 2.345).want(atMost(5), atMost(2)),
			plain("state", "only later", "B", 1234567).want(nil, atMost(300)),
			plain("http", "neither", "1", 0.0123, 12.3, 99.96),
		},
		Splits: []Split{{Of: "write node", Shares: shares}}}
}

func TestReportFormats(t *testing.T) {
	r := sampleReport()
	var table, text bytes.Buffer
	if err := r.table(&table); err != nil {
		t.Fatal(err)
	}
	if err := r.json(&text); err != nil {
		t.Fatal(err)
	}
	golden(t, "report.txt", table.Bytes())
	golden(t, "report.json", text.Bytes())
	if back := decode(t, text.Bytes()); !reflect.DeepEqual(back, r) {
		t.Errorf("JSON comes back as %+v", back)
	}
	document, ok := bytes.CutSuffix(r.markdown(), []byte(method))
	if !ok {
		t.Error("the document does not end with the method")
	}
	golden(t, "report.md", document)
	r.Machine.Load = "1.5 0.2 0.3"
	if !bytes.Contains(r.markdown(), []byte("other work")) {
		t.Error("the document does not say that the machine was busy")
	}
}

func TestQuantile(t *testing.T) {
	for _, c := range []struct {
		values  []float64
		q, want float64
	}{
		{[]float64{7}, 0.99, 7}, {[]float64{1, 2}, 0.5, 1.5}, {[]float64{1, 2, 9}, 0.5, 2}, {[]float64{1, 2, 9}, 1, 9}, {[]float64{0, 10}, 0.25, 2.5},
	} {
		if got := quantile(c.values, c.q); got != c.want {
			t.Errorf("quantile %g of %v is %g, want %g", c.q, c.values, got, c.want)
		}
	}
}

func TestNumber(t *testing.T) {
	for _, c := range []struct {
		v    float64
		unit string
		want string
	}{{0, "", "0"}, {0.01234, "ms", "0.0123 ms"}, {12.345, "1", "12.3"}, {123.4, "", "123"}, {1234567.8, "1/s", "1,234,568 1/s"}, {-1234, "", "-1,234"}} {
		if got := number(c.v, c.unit); got != c.want {
			t.Errorf("number(%g, %q) is %q, want %q", c.v, c.unit, got, c.want)
		}
	}
}

func TestBatches(t *testing.T) {
	for _, c := range []struct{ n, calls, size int }{{0, 0, 0}, {1, 1, 1}, {32, 16, 2}, {10_000, 40, 250}, {10_001, 41, 250}} {
		all := batches(make([][]byte, c.n))
		sum := 0
		for _, call := range all {
			sum += len(call)
		}
		if len(all) != c.calls || sum != c.n || c.n > 0 && len(all[0]) != c.size {
			t.Errorf("%d transfers: %d calls with %d, want %d", c.n, len(all), sum, c.calls)
		}
	}
}

func TestByPhase(t *testing.T) {
	const interval = 100 * time.Millisecond
	at := func(ms int64) time.Time { return time.Unix(0, ms*int64(time.Millisecond)) }
	seals := []seal{{At: at(100).UnixNano()}, {At: at(200).UnixNano()}}
	samples := []sample{
		{at(50), 9 * time.Millisecond},                                                                    // before the first seal
		{at(100), 1 * time.Millisecond}, {at(109), 3 * time.Millisecond}, {at(205), 2 * time.Millisecond}, // the first tenth
		{at(199), 4 * time.Millisecond}, {at(390), 6 * time.Millisecond}, // the last, and later than that
	}
	if got, want := byPhase(samples, seals, interval), []float64{2, 5}; !reflect.DeepEqual(got, want) {
		t.Errorf("medians by phase are %v, want %v", got, want)
	}
	if got, want := byPhase(samples, nil, interval), []float64{9}; !reflect.DeepEqual(got, want) {
		t.Errorf("without seals %v, want %v", got, want)
	}
}

func TestKindOf(t *testing.T) {
	for _, c := range []struct {
		frames []string
		want   string
	}{
		{[]string{"runtime.cgocall", "github.com/ethereum/go-ethereum/crypto/secp256k1.RecoverPubkey", "github.com/kaizenchain/kaizen/host/secp.RecoverReference"}, "signature recovery"},
		{[]string{"github.com/kaizenchain/kaizen/host/secp/internal/lanes.addAVX512", "github.com/kaizenchain/kaizen/host/secp/internal/lanes.(*multiplier).run"}, "signature recovery"},
		{[]string{"runtime._ExternalCode", "runtime._System"}, "WASM"},
		{[]string{"runtime.memclr", "runtime.mallocgc", "github.com/kaizenchain/kaizen/host/state.(*Tree).Commit"}, "allocation"},
		{[]string{"runtime.memmove", "github.com/kaizenchain/kaizen/host/state/proof.HashNode"}, "state"},
		{[]string{"runtime.futex", "runtime.mcall"}, "scheduler"},
		{[]string{"someone.else"}, "other"},
		{nil, "other"},
	} {
		if got := kindOf(c.frames); got != c.want {
			t.Errorf("%v is %q, want %q", c.frames, got, c.want)
		}
	}
}

func TestFlags(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"-run (", "-run"}, {"-peers (", "-peers"}, {"-o xml", "-o is"}, {"-accounts 3", "-accounts"}, {"-seconds -1", "-seconds"}, {"-rounds -1", "-rounds"}, {"-soak 0s", "-soak"}, {"more", "unexpected"}, {"-no", "not defined"},
	} {
		if _, err := parse(strings.Fields(c.args), io.Discard); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want an error with %q", c.args, err, c.want)
		}
	}
	o, err := parse([]string{"-quick", "-accounts", "5000"}, io.Discard)
	if err != nil || o.accounts != 5000 || o.seconds != quickSeconds || o.rounds != quickRounds {
		t.Errorf("-quick -accounts 5000 is %+v, %v", o, err)
	}
}

func TestNoSuchSuite(t *testing.T) {
	o := &options{run: regexp.MustCompile("nothing"), dir: t.TempDir()}
	if _, err := measure(context.Background(), o, io.Discard); err == nil || !strings.Contains(err.Error(), suiteNames()) {
		t.Errorf("error is %v, want the names of the suites", err)
	}
}

// inner is a field with a length.
func inner(field byte, b ...byte) []byte {
	return append([]byte{field<<3 | 2, byte(len(b))}, b...)
}

// twoSamples is a profile with 30 ns in WASM and 10 ns in a hash below it.
func twoSamples() []byte {
	return bytes.Join([][]byte{
		inner(profileText), inner(profileText, []byte("runtime._ExternalCode")...), inner(profileText, []byte("crypto/sha256.Sum256")...),
		inner(profileFunction, 0x08, 1, 0x10, 1), inner(profileFunction, 0x08, 2, 0x10, 2),
		inner(profileLocation, 0x08, 7, 0x22, 2, 0x08, 1), inner(profileLocation, 0x08, 8, 0x22, 2, 0x08, 2),
		inner(profileSampleField, 0x0a, 1, 7, 0x12, 2, 3, 30), inner(profileSampleField, 0x08, 8, 0x08, 7, 0x12, 2, 1, 10),
	}, nil)
}

func TestParseProfile(t *testing.T) {
	p, err := parseProfile(twoSamples())
	if err != nil {
		t.Fatal(err)
	}
	if got, want := p.shares(), []Share{{"WASM", 75}, {"SHA-256", 25}}; !reflect.DeepEqual(got, want) {
		t.Errorf("shares are %v, want %v", got, want)
	}
	for _, bad := range [][]byte{{0xff}, {0x12, 9, 0}, {0x13}, {0x09, 0}, inner(profileSampleField, 0x0a, 1, 0xff)} {
		if _, err := parseProfile(bad); err == nil {
			t.Errorf("%x is accepted", bad)
		}
	}
}

// TestProfile reads a profile that the runtime wrote.
func TestProfile(t *testing.T) {
	p := newProfiler()
	name := filepath.Join(t.TempDir(), "cpu")
	if err := p.toggle(name); err != nil {
		t.Fatal(err)
	}
	sum := 0.0
	for begin := time.Now(); time.Since(begin) < 100*time.Millisecond; {
		for i := range 10_000 {
			sum += math.Sqrt(float64(i))
		}
	}
	if err := p.end(); err != nil {
		t.Fatal(err)
	}
	shares, err := readShares(name)
	if err != nil {
		t.Fatal(err)
	}
	total := 0.0
	for _, s := range shares {
		total += s.Percent
	}
	if len(shares) > 0 && math.Abs(total-100) > 0.01 {
		t.Errorf("shares of %v add up to %g %% (after %g)", shares, total, sum)
	}
}

func FuzzParseProfile(f *testing.F) {
	f.Add([]byte{})
	f.Add(twoSamples())
	f.Add([]byte{0x12, 0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Fuzz(func(t *testing.T, b []byte) {
		if p, err := parseProfile(b); err == nil {
			p.shares()
		}
	})
}

// TestGrowth runs the suite that is only run when asked, small.
func TestGrowth(t *testing.T) {
	var out, progress bytes.Buffer
	args := []string{"-run", "growth", "-accounts", fmt.Sprint(minAccounts), "-seconds", "0.001", "-rounds", "1", "-dir", t.TempDir(), "-o", "json"}
	if err := command(context.Background(), args, &out, &progress); err != nil {
		t.Fatalf("%v\n%s", err, progress.Bytes())
	}
	r := decode(t, out.Bytes())
	if len(r.Figures) != 9 {
		t.Fatalf("%d figures, want two costs and memory at three sizes", len(r.Figures))
	}
	for i, accounts := range []int{40, 400, 4000} {
		if f := &r.Figures[3*i]; f.Name != fmt.Sprintf("processor time of a transfer among %d accounts", accounts) || f.Ratio == nil {
			t.Errorf("figure is %q", f.Name)
		} else {
			checkFigure(t, f)
		}
	}
}

// TestPeersAreSkipped where they cannot be built, with the reason.
func TestPeersAreSkipped(t *testing.T) {
	t.Setenv("PATH", "")
	var out, progress bytes.Buffer
	if err := command(context.Background(), []string{"-run", "peers", "-dir", t.TempDir(), "-o", "json"}, &out, &progress); err != nil {
		t.Fatal(err)
	}
	if r := decode(t, out.Bytes()); len(r.Figures) != 0 || !strings.Contains(progress.String(), "skipped: ") {
		t.Errorf("%d figures, and it says %q", len(r.Figures), progress.String())
	}
}

// TestPeerAnswers is the bench's side of what it speaks with a peer.
func TestPeerAnswers(t *testing.T) {
	said := &closableBuffer{}
	p := &peerProcess{title: "x", in: said, out: json.NewDecoder(strings.NewReader(`{"rate":5,"cpu":2} {"error":"broken"} nonsense`))}
	if rate, err := p.round(1500 * time.Millisecond); err != nil || rate != 5 || !reflect.DeepEqual(p.cpu, []float64{2}) || said.String() != "round 1.5\n" {
		t.Errorf("rate %g, %v, processor time %v, said %q", rate, err, p.cpu, said)
	}
	for _, want := range []string{"broken", "invalid"} {
		if _, err := p.round(time.Second); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error is %v, want one with %q", err, want)
		}
	}
}

type closableBuffer struct{ bytes.Buffer }

func (*closableBuffer) Close() error { return nil }

func TestWholeUpdates(t *testing.T) {
	b := &bench{options: &options{seconds: 0.001}}
	s := newBigState(50)
	before := s.tree.Root()
	if w := b.wholeUpdates(s, 10); w.n < 10 || w.n%10 != 0 || w.took <= 0 {
		t.Errorf("work is %+v", w)
	}
	if s.tree.Root() == before {
		t.Error("updates leave the root as it was")
	}
}

// TestCountersTakeTurns: what is sent at once may be executed in any order.
func TestCountersTakeTurns(t *testing.T) {
	c := &counters{n: 5}
	next := map[uint64]uint64{}
	for range 4 {
		seen := map[uint64]bool{}
		for _, raw := range c.load(3) {
			got, ok := counter.Decode(raw)
			if !ok || seen[got.Counter] || got.Sequence != next[got.Counter] {
				t.Fatalf("transaction %+v, its counter expects %d", got, next[got.Counter])
			}
			seen[got.Counter] = true
			next[got.Counter]++
		}
	}
}

// TestSingles against a server that answers as a node does, and as one that
// refuses.
func TestSingles(t *testing.T) {
	var got sync.Map
	answer := `{"result":{` + string(statusOK) + `}}`
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if _, twice := got.LoadOrStore(string(b), true); twice || err != nil || !json.Valid(b) {
			t.Errorf("request %s, sent twice: %t, %v", b, twice, err)
		}
		io.WriteString(w, answer)
	}))
	defer server.Close()
	s := &singles{address: server.Listener.Addr().String()}
	defer s.close()
	raws := make([][]byte, 300)
	for i := range raws {
		raws[i] = []byte{byte(i >> 8), byte(i)}
	}
	if _, err := s.sendAll(context.Background(), raws); err != nil {
		t.Fatal(err)
	}
	if _, ok := got.Load(`{"jsonrpc":"2.0","id":1,"method":"kaizen_sendTransaction","params":["0x012b"]}`); !ok {
		t.Error("the last transaction did not come")
	}
	answer = `{"error":{"code":-32000}}`
	if _, err := s.sendAll(context.Background(), [][]byte{{1, 2, 3}}); err == nil || !strings.Contains(err.Error(), "-32000") {
		t.Errorf("a refusal is %v", err)
	}
}

func TestSingleAnswer(t *testing.T) {
	for _, c := range []struct{ answer, want string }{
		{"", "EOF"}, {"HTTP/1.1 503 Service Unavailable\r\n", "503"}, {"HTTP/1.1 200 OK\r\nDate", "EOF"}, {"HTTP/1.1 200 OK\r\n\r\n{}", "length -1"},
		{"HTTP/1.1 200 OK\r\nContent-Length: 65537\r\n\r\n", "length 65537"}, {"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", "length of"},
		{"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{}", "EOF"},
	} {
		conn := &singleConn{in: bufio.NewReader(strings.NewReader(c.answer))}
		if err := conn.answer(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v, want an error with %q", c.answer, err, c.want)
		}
	}
}

func FuzzSingleAnswer(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n" + string(statusOK)))
	f.Add([]byte("HTTP/1.1 200 \n\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		conn := &singleConn{in: bufio.NewReader(bytes.NewReader(b))}
		if err := conn.answer(); err == nil && !bytes.Contains(b, statusOK) {
			t.Errorf("%q is taken for a receipt", b)
		}
	})
}

// TestSoak runs it for a moment: what it measures, that it says how far it is, and
// that there are no more ticks than the time has room for.
func TestSoak(t *testing.T) {
	var out, progress bytes.Buffer
	began := time.Now()
	args := []string{"-run", "soak", "-soak", "1s", "-accounts", fmt.Sprint(minAccounts), "-seconds", "0.02", "-dir", t.TempDir(), "-o", "json"}
	if err := command(context.Background(), args, &out, &progress); err != nil {
		t.Fatalf("%v\n%s", err, progress.Bytes())
	}
	r := decode(t, out.Bytes())
	var names strings.Builder
	for _, f := range r.Figures {
		fmt.Fprintf(&names, "%s: %s [%s]\n", f.Suite, f.Name, f.Unit)
	}
	golden(t, "soak.txt", []byte(names.String()))
	if f := r.Figures[0]; f.Value.Median <= 0 {
		t.Errorf("%s: %g", f.Name, f.Value.Median)
	}
	if p := progress.String(); !strings.Contains(p, "100 %, p99 ") || !strings.Contains(p, " 0s left") {
		t.Errorf("progress is\n%s", p)
	}
	most := int(time.Since(began)/nodeConfig("", "").Block.Interval()) + 1
	windows := regexp.MustCompile(`(\S+) of (\S+) ticks missed`).FindAllStringSubmatch(progress.String(), -1)
	if len(windows) < 2 {
		t.Errorf("%d windows, progress is\n%s", len(windows), progress.String())
	}
	for _, w := range windows {
		if ticks, err := strconv.Atoi(w[2]); err != nil || ticks < 0 || ticks > most {
			t.Errorf("%q, want 0 to %d ticks", w[0], most)
		}
	}
}

func TestSoakMisses(t *testing.T) {
	s := &soaking{bench: &bench{chain: &testChain{genesis: &chain.Genesis{IntervalMs: 100}}}}
	at := func(ms int64) seal { return seal{At: ms * int64(time.Millisecond)} }
	s.seals([]seal{at(1000), at(1100), at(1120)})
	s.seals([]seal{at(1270), at(1421), at(1500)})
	if late, ticks := s.missed(); late != 1 || ticks != 5 {
		t.Errorf("%d of %g ticks missed, want 1 of 5", late, ticks)
	}
}

func TestSoakGrowth(t *testing.T) {
	s := &soaking{bench: &bench{options: &options{soakTime: soakLong}, report: &Report{}}}
	for i := range 20 {
		s.windows = append(s.windows, soakWindow{behind: float64(100 + i - 7*(i%2))})
	}
	s.growth("it", "", func(w *soakWindow) float64 { return w.behind })
	var got []float64
	for _, f := range s.bench.report.Figures {
		got = append(got, f.Value.Median)
	}
	if want := []float64{100, 108, 118, 1.18}; !reflect.DeepEqual(got, want) {
		t.Errorf("highest of the tenths and growth are %v, want %v", got, want)
	}
	if f := s.bench.report.Figures[3]; f.Met == nil || *f.Met {
		t.Errorf("growth by %g is met: %v", f.Value.Median, f.Met)
	}
}

func TestDiskBytes(t *testing.T) {
	dir := t.TempDir()
	for i, name := range []string{"a", "b/c", "b/d/e"} {
		file := filepath.Join(dir, filepath.FromSlash(name))
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, make([]byte, 1<<i), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := diskBytes(dir); err != nil || n != 7 {
		t.Errorf("%d bytes, %v, want 7", n, err)
	}
	if n, err := diskBytes(filepath.Join(dir, "gone")); err != nil || n != 0 {
		t.Errorf("what is not there has %d bytes, %v", n, err)
	}
}
