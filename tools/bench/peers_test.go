package main

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/kaizenchain/kaizen/stf-modules/counter"
)

// TestOneCounter: its transactions are in order, beside the counters of others.
func TestOneCounter(t *testing.T) {
	c := &counters{n: 5}
	c.load(7)
	for i, raw := range append(c.loadOne(3), c.loadOne(2)...) {
		if got, ok := counter.Decode(raw); !ok || got != (counter.Tx{Counter: 5, Sequence: uint64(i), Amount: 1}) {
			t.Errorf("transaction %d is %+v", i, got)
		}
	}
}

// TestPostInTurn: a call begins when the one before is answered, and a refusal ends
// all of it.
func TestPostInTurn(t *testing.T) {
	var bodies []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		bodies = append(bodies, string(b))
		n := strings.Count(string(b), `"0x`)
		if len(bodies) == 3 {
			n--
		}
		w.Write([]byte(strings.Repeat(string(statusOK), n)))
	}))
	defer server.Close()
	p := newPoster(server.Listener.Addr().String())
	defer p.close()
	raws := make([][]byte, batchSize+1)
	for i := range raws {
		raws[i] = []byte{byte(i)}
	}
	if _, err := p.postInTurn(context.Background(), raws); err != nil {
		t.Fatal(err)
	}
	want := requests([][][]byte{raws[:batchSize], raws[batchSize:]})
	if got := []string{string(want[0]), string(want[1])}; !reflect.DeepEqual(bodies, got) {
		t.Errorf("%d calls came, want two in order", len(bodies))
	}
	if _, err := p.postInTurn(context.Background(), raws); err == nil || len(bodies) != 3 {
		t.Errorf("after a refusal %d calls came, error %v", len(bodies), err)
	}
}

// TestEvNodeFlags: what rows add to a peer that goes through all its pairs is bounded.
func TestEvNodeFlags(t *testing.T) {
	b := &bench{options: &options{rounds: 5, evNode: "http://x"}, evKeys: 17}
	for _, c := range []struct {
		accounts int
		set      string
		tx       int
		most     string
	}{{1_000_000, setOne, 24, "0"}, {1_000_000, setNew, 24, "142857"}, {1_000_000, setLoaded, 24, "250000"}, {1_000_000, setLoaded, 120, "50000"}, {1000, setNew, 24, "10000"}, {1000, setLoaded, 120, "10000"}} {
		b.accounts = c.accounts
		got := strings.Join(b.evNodeFlags(&nodeRow{set: c.set, txBytes: c.tx}), " ")
		if want := "-url http://x -set " + c.set + " -load " + strconv.Itoa(c.accounts) + " -keys-made 17 -round-most " + c.most; got != want {
			t.Errorf("flags are %q, want %q", got, want)
		}
	}
}

func TestPeerNotes(t *testing.T) {
	many, one := &way{callers: workers}, &way{callers: 1}
	for _, c := range []struct {
		row  nodeRow
		peer string
		want string
	}{
		{nodeRow{ours: many, set: setOne}, "cometbft", "of the same length"},
		{nodeRow{ours: many, set: setOne}, "evnode", "which all set one key"},
		{nodeRow{ours: one, set: setOne}, "evnode", "let no call overtake another"},
		{nodeRow{ours: many, set: setNew}, "evnode", "ours go to counters that are there"},
		{nodeRow{ours: many, set: setLoaded}, "evnode", "random ones of 12,345 keys that it has, and it goes through what rounds before have written as well"},
	} {
		if got := c.row.note(c.peer, 12_345); !strings.HasSuffix(got, c.want) {
			t.Errorf("note is %q, want one that ends with %q", got, c.want)
		}
	}
}
