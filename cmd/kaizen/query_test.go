package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/rpc/api"
	"github.com/kaizenchain/kaizen/host/rpc/client"
)

// TestProofOfSomethingElse: a node that proves what was not asked for proves
// nothing, however well it does.
func TestProofOfSomethingElse(t *testing.T) {
	const account = "0x00000000000000000000000000000000000000aa"
	for _, c := range []struct {
		name            string
		account, thesis string
		key             string
		at              api.Ref
		answer          api.Proof
		problem         string
	}{
		{"another account", account, "", "", api.Ref{}, api.Proof{Key: append([]byte{'a'}, make([]byte, 20)...)}, "asked for key 0x6100000000000000000000000000000000000000aa, the node proves 0x6100"},
		{"another thesis", "", "7", "", api.Ref{}, api.Proof{Key: []byte{'t', 0, 0, 0, 0, 0, 0, 0, 8}}, "asked for key 0x740000000000000007, the node proves 0x740000000000000008"},
		{"another key", "", "", "0x6162", api.Ref{}, api.Proof{Key: []byte("ac")}, "asked for key 0x6162, the node proves 0x6163"},
		{"another block", "", "", "0x6162", api.At(5), api.Proof{Key: []byte("ab"), Header: api.Header{Height: 4}}, "asked for block 5, the node proves block 4"},
		{"another hash", "", "", "0x6162", api.ByHash(chain.Hash{1}), api.Proof{Key: []byte("ab"), Header: api.Header{Hash: chain.Hash{2}}}, "asked for block 0x01"},
		{"nothing at all", "", "", "0x6162", api.At(5), api.Proof{Key: []byte("ab"), Header: api.Header{Height: 5}}, "header does not hold"},
	} {
		w, err := newWanted(c.account, c.thesis, c.key, c.at)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.check(&c.answer); err == nil || !strings.Contains(err.Error(), c.problem) {
			t.Errorf("%s: %v, want %q", c.name, err, c.problem)
		}
	}
}

// TestHistoryWithoutEnd: a node whose next page is always the same one is left.
func TestHistoryWithoutEnd(t *testing.T) {
	asked := 0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		var call struct {
			ID json.RawMessage `json:"id"`
		}
		if err := json.NewDecoder(r.Body).Decode(&call); err != nil {
			t.Error(err)
		}
		fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":{"pair":"BTC/USDT","prices":[],"next":5,"block":{"height":1,"hash":null}}}`, call.ID)
	}))
	defer s.Close()
	c, err := client.New(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, err = fetchHistory(t.Context(), c, "BTC/USDT", timeSpan{from: 5, to: 9}, api.Ref{})
	if err == nil || asked != maxHistoryPages || !strings.Contains(err.Error(), "more than 64 pages") {
		t.Errorf("%v after %d questions", err, asked)
	}
}
