package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/native"
	"github.com/kaizenchain/kaizen/host/node"
	"github.com/kaizenchain/kaizen/host/secp"
	"github.com/kaizenchain/kaizen/stf-modules/abi"
	"github.com/kaizenchain/kaizen/stf-modules/rfq"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/tx"
)

// TestDifferences: what differs is shown in the module's words where it has any.
func TestDifferences(t *testing.T) {
	program, err := native.New(chain.Hash{1}, rfq.New, native.Options{Crypto: secp.Crypto{}})
	if err != nil {
		t.Fatal(err)
	}
	account := make([]byte, 36)
	account[0] = 5
	key := rfq.AccountKey(tx.Address{19: 0xaa})
	unknown := []byte("zzz")
	for _, c := range []struct {
		name string
		d    node.KeyDifference
		want []string
	}{
		{"an account that is gone", node.KeyDifference{Height: 9, Key: key, Stored: &account, LastWrite: &node.Write{Height: 8, Index: 0, ID: chain.Hash{7}}},
			[]string{`"name":"account 0x00000000000000000000000000000000000000aa"`, `"balance":"5"`, `"recomputed":{"value":null}`, `"last_write":{"height":8,"index":0,"id":"0x07`}},
		{"bytes of no meaning", node.KeyDifference{Height: 9, Key: unknown, Stored: &unknown, Recomputed: &account, LastWrite: &node.Write{Height: 8, Hook: abi.ExportEndBlock}},
			[]string{`"key":"0x7a7a7a"`, `"stored":{"value":"0x7a7a7a"}`, `"last_write":{"height":8,"hook":"kaizen_end_block"}`}},
		{"never written", node.KeyDifference{Key: key, Recomputed: &unknown, Searched: 6}, []string{`"last_write":null,"searched":6`, `"recomputed":{"value":"0x7a7a7a"`}},
	} {
		text, err := json.Marshal(keyDiffOf(&c.d, program))
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range c.want {
			if !strings.Contains(string(text), want) {
				t.Errorf("%s: %s\nhas no %s", c.name, text, want)
			}
		}
	}
	for want, k := range map[string]*keyDiff{
		"by no block from genesis on":                            {},
		"by no block from 7 on, where what is kept begins":       {Searched: 6},
		"by kaizen_end_block of block 8":                         {LastWrite: &lastWrite{Height: 8, Hook: abi.ExportEndBlock}},
		"by transaction 1 of block 8, " + chain.Hash{7}.String(): {LastWrite: &lastWrite{Height: 8, Index: new(1), ID: &chain.Hash{7}}},
	} {
		if got := k.written(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	r := receiptDiffOf(&node.ReceiptDifference{Index: 3, Stored: chain.Receipt{ID: chain.Hash{7}}, Recomputed: chain.Receipt{Code: abi.CodeTrap}}, program)
	if !strings.HasPrefix(r.Stored, "ok 0x07") || !strings.HasPrefix(r.Recomputed, "Trap 0x00") {
		t.Errorf("%+v", r)
	}
	if keyDiffOf(nil, program) != nil || receiptDiffOf(nil, program) != nil {
		t.Error("nothing differs, and yet something is shown")
	}
}
