package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/rlp"
	"github.com/ethereum/go-ethereum/trie"
)

// run gives a peer lines and returns what it answers.
func run(t *testing.T, lines string, args ...string) (hello, []answer) {
	t.Helper()
	var out, errOut bytes.Buffer
	if err := command(context.Background(), args, strings.NewReader(lines), &out, &errOut); err != nil {
		t.Fatalf("%v: %v\n%s", args, err, errOut.Bytes())
	}
	var h hello
	d := json.NewDecoder(&out)
	if err := d.Decode(&h); err != nil {
		t.Fatal(err)
	}
	var answers []answer
	for d.More() {
		var a answer
		if err := d.Decode(&a); err != nil {
			t.Fatal(err)
		}
		answers = append(answers, a)
	}
	return h, answers
}

func TestPeersInProcess(t *testing.T) {
	for _, name := range []string{"smt", "iavl", "gethtrie", "gethstate", "gethchain", "cometbft"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, answers := run(t, "round 0.01\nround 0.01\nstop\n", "-keys", "500", "-batch", "100", "-accounts", "60", "-senders", "20",
				"-block-txs", "30", "-blocks", "2", "-interval", "10ms", "-dir", t.TempDir(), name)
			if len(answers) != 3 {
				t.Fatalf("%d answers, want 3", len(answers))
			}
			for _, a := range answers[:2] {
				if a.Error != "" || a.Rate <= 0 || a.CPU < 0 {
					t.Errorf("a round came to %+v", a)
				}
			}
			if answers[2].Error == "" {
				t.Error("a line that is no command has no error")
			}
		})
	}
}

// TestTreesCommit: the root is of what is in the tree, whatever the order.
func TestTreesCommit(t *testing.T) {
	for name := range map[string]bool{"smt": true, "iavl": true, "gethtrie": true, "gethstate": true} {
		o, err := parse([]string{"-keys", "300", "-batch", "10", name}, io.Discard)
		if err != nil {
			t.Fatal(err)
		}
		tree := func() *grown {
			p, err := starters[name].start(o)
			if err != nil {
				t.Fatal(err)
			}
			return p.(*grown)
		}
		a, b := tree(), tree()
		if !bytes.Equal(a.root(), b.root()) {
			t.Errorf("%s: equal trees have roots %x and %x", name, a.root(), b.root())
		}
		keys, values := a.pick(), a.values(o.batch)
		before := bytes.Clone(a.root())
		if err := a.update(keys[:1], values[:1]); err != nil {
			t.Fatal(err)
		}
		if bytes.Equal(before, a.root()) {
			t.Errorf("%s: an update leaves the root %x", name, before)
		}
	}
}

// TestStateKeepsItsNodes: the trie is committed and opened again for each batch, and
// has hashed keys, so that its root is that of go-ethereum's state trie.
func TestStateKeepsItsNodes(t *testing.T) {
	o, err := parse([]string{"-keys", "300", "-batch", "10", "gethstate"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	p, err := startGethState(o)
	if err != nil {
		t.Fatal(err)
	}
	g := p.(*grown)
	s := g.tree.(*gethState)
	want := map[string][]byte{}
	for range 200 { // more than the layers that its database keeps apart
		keys, values := g.pick(), g.values(o.batch)
		if err := g.update(keys, values); err != nil {
			t.Fatal(err)
		}
		for i, k := range keys {
			want[string(k)] = values[i]
		}
	}
	for k, v := range want {
		if got, err := s.trie.GetStorage(common.Address{}, []byte(k)); err != nil || !bytes.Equal(got, v) {
			t.Fatalf("key %x has %x, %v, want %x", k, got, err, v)
		}
	}
	all := trie.NewEmpty(nil)
	for _, k := range g.keys {
		v, err := s.trie.GetStorage(common.Address{}, k)
		if err != nil {
			t.Fatal(err)
		}
		encoded, err := rlp.EncodeToBytes(v)
		if err != nil {
			t.Fatal(err)
		}
		all.MustUpdate(crypto.Keccak256(k), encoded)
	}
	if root := all.Hash(); !bytes.Equal(g.root(), root[:]) {
		t.Errorf("root is %x, that of the same pairs in one trie %x", g.root(), root)
	}
	k, before := g.pick()[:1], bytes.Clone(g.root())
	same, err := s.trie.GetStorage(common.Address{}, k[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := g.update(k, [][]byte{same}); err != nil || !bytes.Equal(g.root(), before) {
		t.Errorf("a batch that changes nothing: %v, root %x, want %x", err, g.root(), before)
	}
	if err := p.close(); err != nil {
		t.Error(err)
	}
}

// TestTitles tell peers of the same module apart.
func TestTitles(t *testing.T) {
	seen := map[string]string{}
	for name := range starters {
		title := (&options{peer: name}).title()
		if other, twice := seen[title]; twice {
			t.Errorf("%s and %s are both called %q", name, other, title)
		}
		seen[title] = name
	}
}

// application behaves as ev-node's test application does: it takes at once and
// executes later.
type application struct {
	injected, executed, twice atomic.Int64
	keys, seen                sync.Map
}

func (a *application) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/tx":
		b, err := io.ReadAll(r.Body)
		key, _, found := bytes.Cut(b, []byte("="))
		if err != nil || !found {
			http.Error(w, "bad transaction", http.StatusBadRequest)
			return
		}
		a.keys.Store(string(key), true)
		if _, twice := a.seen.LoadOrStore(string(b), true); twice {
			a.twice.Add(1)
		}
		a.injected.Add(1)
		w.WriteHeader(http.StatusAccepted)
		fmt.Fprint(w, "Transaction accepted")
	case "/stats":
		done := a.executed.Load()
		a.executed.Store(a.injected.Load())
		fmt.Fprintf(w, `{"injected_txs":%d,"executed_txs":%d,"blocks_produced":1}`, a.injected.Load(), done)
	default:
		http.NotFound(w, r)
	}
}

func TestEvNode(t *testing.T) {
	for _, c := range []struct {
		flags     []string
		txs, keys int
		made      int // as the last answer says
	}{
		{nil, firstLoad, 1, 0},
		{[]string{"-callers", "40", "-at-once", "1"}, firstLoad, 1, 0},
		{[]string{"-set", "new"}, firstLoad, firstLoad, firstLoad},
		{[]string{"-set", "new", "-keys-made", "7", "-round-most", "900"}, 900, 900, 907},
		{[]string{"-set", "loaded", "-load", "300", "-tx-bytes", "24"}, firstLoad + 300, 300, 300},
		{[]string{"-set", "loaded", "-load", "300", "-keys-made", "290"}, firstLoad + 10, 300, 300},
		{[]string{"-set", "loaded", "-load", "300", "-keys-made", "400"}, firstLoad, 400, 400},
		{[]string{"-set", "loaded", "-load", fmt.Sprint(2*loadPart + 1), "-round-most", "1000", "-load-time", "1m"}, 2*loadPart + 1001, 2*loadPart + 1, 2*loadPart + 1},
	} {
		app := &application{}
		server := httptest.NewServer(app)
		h, answers := run(t, "round 0.01\n", append(c.flags, "-url", server.URL, "evnode")...)
		server.Close()
		if len(answers) != 1 || answers[0].Error != "" || answers[0].Rate <= 0 || answers[0].Keys != c.made {
			t.Errorf("%v: hello %+v, answers %+v", c.flags, h, answers)
		}
		if n := app.injected.Load(); n != int64(c.txs) {
			t.Errorf("%v: %d transactions came, want %d", c.flags, n, c.txs)
		}
		keys := 0
		app.keys.Range(func(any, any) bool { keys++; return true })
		if keys != c.keys {
			t.Errorf("%v: transactions have %d keys, want %d", c.flags, keys, c.keys)
		}
		if app.twice.Load() != 0 {
			t.Errorf("%v: %d transactions came twice", c.flags, app.twice.Load())
		}
	}
}

// TestLoadTime: what is loaded when the time is over is what the rounds use.
func TestLoadTime(t *testing.T) {
	app := &application{}
	server := httptest.NewServer(app)
	defer server.Close()
	h, answers := run(t, "round 0.01\n", "-set", "loaded", "-load", "1000000", "-load-time", "1ns", "-keys-made", "5", "-url", server.URL, "evnode")
	if h.Keys != 5 || len(answers) != 1 || answers[0].Error != "" || app.injected.Load() != firstLoad {
		t.Errorf("hello %+v, answers %+v, %d transactions", h, answers, app.injected.Load())
	}
	err := command(context.Background(), []string{"-set", "loaded", "-load-time", "1ns", "-url", server.URL, "evnode"}, strings.NewReader(""), io.Discard, io.Discard)
	if err == nil || !strings.Contains(err.Error(), "-load-time") {
		t.Errorf("no key is loaded: %v, want an error about -load-time", err)
	}
}

func TestSkipAnswer(t *testing.T) {
	const taken = "HTTP/1.1 202 Accepted\r\nDate: now\r\ncontent-length: 2\r\n\r\nok"
	in := bufio.NewReader(strings.NewReader(taken + taken))
	for i := range 2 {
		if err := skipAnswer(in); err != nil {
			t.Errorf("answer %d: %v", i, err)
		}
	}
	for _, c := range []struct{ answer, want string }{
		{"", "EOF"},
		{"HTTP/1.1 400 Bad Request\r\n", "400"},
		{"HTTP/1.1 202 Accepted\r\nDate", "EOF"},
		{"HTTP/1.1 202 Accepted\r\n\r\nok", "length -1"},
		{"HTTP/1.1 202 Accepted\r\nContent-Length: -3\r\n\r\n", "length -3"},
		{"HTTP/1.1 202 Accepted\r\nContent-Length: many\r\n\r\n", "many"},
		{"HTTP/1.1 202 Accepted\r\nContent-Length: 3\r\n\r\nok", "EOF"},
	} {
		if err := skipAnswer(bufio.NewReader(strings.NewReader(c.answer))); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v, want an error with %q", c.answer, err, c.want)
		}
	}
}

func FuzzSkipAnswer(f *testing.F) {
	f.Add([]byte("HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\nok"))
	f.Add([]byte("HTTP/1.1 202 \n\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		in := bytes.NewReader(b)
		if err := skipAnswer(bufio.NewReader(in)); err == nil && !bytes.HasPrefix(b, acceptedLine) {
			t.Errorf("%q is taken for accepted", b)
		}
	})
}

func TestEvNodeElsewhere(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "{}") }))
	defer server.Close()
	_, answers := run(t, "round 0.01\n", "-url", server.URL, "evnode")
	if len(answers) != 1 || !strings.Contains(answers[0].Error, "executed_txs") {
		t.Errorf("answers %+v, want an error about executed_txs", answers)
	}
}

func TestKeyValuesDiffer(t *testing.T) {
	for _, length := range []int{leastTx, 40, 118} {
		for _, set := range []string{setOne, setNew, setLoaded} {
			seen, k := map[string]bool{}, unused(&options{txBytes: length, set: set, keysMade: 3})
			for _, tx := range append(k.next(1000), k.next(1000)...) {
				if len(tx) != length || bytes.Count(tx, []byte("=")) != 1 || seen[string(tx)] {
					t.Fatalf("%s: transaction %q", set, tx)
				}
				seen[string(tx)] = true
			}
		}
	}
}

// TestRoundsOfManyKeys: rounds do not become shorter because blocks are slow.
func TestRoundsOfManyKeys(t *testing.T) {
	for _, c := range []struct {
		set  string
		rate float64
	}{{setOne, firstLoad}, {setNew, 10 * firstLoad}} {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			f := &offered{txs: keyValues{length: 40, set: c.set}, callers: 1, atOnce: 100, patience: time.Minute,
				prepare: func([][]byte) []byte { return nil },
				send:    func(context.Context, int, []byte, int) error { time.Sleep(time.Millisecond); return nil }, // 100 ms in all
				done: func(context.Context) (int, error) {
					if time.Since(start) < time.Second {
						return 0, nil
					}
					return firstLoad, nil
				}}
			if _, err := f.round(t.Context(), time.Second); err != nil {
				t.Fatal(err)
			}
			if f.rate != c.rate {
				t.Errorf("%s: the next round is for a rate of %g, want %g", c.set, f.rate, c.rate)
			}
			f.most = 70
			if n := f.size(time.Second); n != 70 {
				t.Errorf("a round has %d transactions, want 70", n)
			}
		})
	}
}

// TestLoadEnds when an application refuses.
func TestLoadEnds(t *testing.T) {
	f := &offered{txs: keyValues{length: 32, set: setNew}, callers: 2, atOnce: 250, patience: stalled, prepare: func([][]byte) []byte { return nil },
		send: func(context.Context, int, []byte, int) error { return io.ErrUnexpectedEOF },
		done: func(context.Context) (int, error) { return 0, nil }}
	if _, err := f.round(context.Background(), time.Second); err == nil {
		t.Error("no error when nothing is taken")
	}
}

func TestFlags(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"", "name one peer"}, {"nobody", "name one peer"}, {"smt iavl", "name one peer"}, {"-keys 3 -batch 4 smt", "-batch"}, {"-key-bytes 2 smt", "-key-bytes"}, {"-tx-bytes 23 smt", "-tx-bytes"}, {"-callers 0 smt", "-callers"}, {"-set two smt", "-set"}, {"-load 0 smt", "-load"}, {"-round-most -1 smt", "-round-most"}, {"-at-once 0 smt", "-at-once"},
		{"-value-min 9 -value-max 8 smt", "-value-max"}, {"-senders 5 -accounts 4 gethchain", "senders"}, {"evnode", "-url"}, {"cometbft", "-dir"},
		{"-dir x -interval 0s cometbft", "-interval"}, {"-no smt", "not defined"},
	} {
		if _, err := parse(strings.Fields(c.args), io.Discard); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want an error with %q", c.args, err, c.want)
		}
	}
	for _, bad := range []string{"ftp://x", "http://", ":"} {
		if _, err := startEvNode(&options{url: bad}); err == nil || !strings.Contains(err.Error(), "-url") {
			t.Errorf("-url %q: %v, want an error about it", bad, err)
		}
	}
}
