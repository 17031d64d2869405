package rpc

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/rpc/api"
	"github.com/kaizenchain/kaizen/host/stf"
)

// page is one answer of kaizen_getAccountTransactions.
func (w *world) page(a chain.Address, limit int, cursor *api.Bytes) (v api.AccountTransactions) {
	w.t.Helper()
	at, err := json.Marshal(cursor)
	if err != nil {
		w.t.Fatal(err)
	}
	_, answer := w.post(fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":"kaizen_getAccountTransactions","params":["%s",%d,%s]}`, a, limit, at))
	var body struct{ Result *api.AccountTransactions }
	if err := json.Unmarshal([]byte(answer), &body); err != nil || body.Result == nil {
		w.t.Fatalf("%v: %s", err, answer)
	}
	return *body.Result
}

// history is what a node must list, made without the server: newest first.
func (n *liveNode) history(a chain.Address, base uint64) (all []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for h := len(n.chain) - 1; h >= int(base); h-- {
		for i := len(n.chain[h].Txs) - 1; i >= 0; i-- {
			r := &n.outcome[h].Receipts[i]
			for _, e := range r.Events {
				if _, fields := n.schema.Event(e); slices.ContainsFunc(fields, func(f stf.Field) bool { return f.Value == any(a.String()) }) {
					all = append(all, fmt.Sprintf("%d %d %s %d", h, i, r.ID, n.chain[h].Header.Time))
					break
				}
			}
		}
	}
	return all
}

// walk reads all pages.
func (w *world) walk(a chain.Address, limit int) (all []string, last api.AccountTransactions) {
	w.t.Helper()
	for cursor := (*api.Bytes)(nil); ; cursor = last.Next {
		before := last
		last = w.page(a, limit, cursor)
		if len(last.Transactions) > limit {
			w.t.Errorf("%d transactions, at most %d were asked for", len(last.Transactions), limit)
		}
		if cursor != nil && (last.Scanned.To > before.Scanned.From || last.Scanned.To < before.Scanned.From-1) {
			w.t.Errorf("scanned %+v after %+v", last.Scanned, before.Scanned)
		}
		for _, x := range last.Transactions {
			all = append(all, fmt.Sprintf("%d %d %s %d", x.Height, x.Index, x.TxHash, x.Time))
		}
		if last.Next == nil {
			return all, last
		}
	}
}

// TestAccountTransactions compares pages of every size with a list that was made
// without the server, on a node that has everything and on one that pruned.
func TestAccountTransactions(t *testing.T) {
	n := newLive(t)
	n.grow(60, 0)
	w := startLive(t, n)
	defer w.stop()
	for _, base := range []uint64{1, 31} {
		n.prune(base)
		for _, a := range []chain.Address{token(9), token(0), token(2), {0xEE}} {
			want := n.history(a, base)
			for _, limit := range []int{1, 2, 3, 7, maxAccountTxs} {
				got, last := w.walk(a, limit)
				if !slices.Equal(got, want) {
					t.Errorf("%s from %d, pages of %d: %d transactions\n%v\nwant %d\n%v", a, base, limit, len(got), got, len(want), want)
				}
				if last.Scanned.From != base || last.Block.Height != 60 {
					t.Errorf("%s: the last page scanned %+v of %s, want down to %d", a, last.Scanned, last.Block, base)
				}
			}
		}
	}
	if all := n.history(token(9), 1); len(all) < 40 {
		t.Errorf("the test compared %d transactions", len(all))
	}
}

// TestAccountTransactionsInBytes: where nobody can decode a transaction, its bytes must
// do; where somebody can, they must not.
func TestAccountTransactionsInBytes(t *testing.T) {
	n := newLive(t)
	n.grow(3, 0)
	named := chain.Address{7, 7, 7}
	n.chain[3].Txs[0] = append([]byte{1, 2, 3}, named[:]...)
	known := startLive(t, n)
	defer known.stop()
	if v := known.page(named, 5, nil); len(v.Transactions) != 0 || v.Next != nil {
		t.Errorf("%+v", v)
	}
	unknown := startLive(t, n, func(o *Options) { o.Module.DecodeTx = nil })
	defer unknown.stop()
	if v := unknown.page(named, 5, nil); len(v.Transactions) != 1 || v.Transactions[0].Height != 3 || v.Transactions[0].Status != api.StatusFailed {
		t.Errorf("%+v", v)
	}
}

// TestAccountTransactionsAreBounded: one call looks at so many blocks and says where
// to go on.
func TestAccountTransactionsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // the clock stands: the scan does not rest
		n := newLive(t)
		n.grow(maxScanBlocks+500, 0)
		w := startLive(t, n)
		defer w.stop()
		first := w.page(chain.Address{0xEE}, 5, nil)
		if want := (api.Scanned{From: 501, To: maxScanBlocks + 500}); first.Next == nil || first.Scanned != want {
			t.Fatalf("scanned %+v, want %+v; next %v", first.Scanned, want, first.Next)
		}
		if second := w.page(chain.Address{0xEE}, 5, first.Next); second.Next != nil || second.Scanned != (api.Scanned{From: 1, To: 500}) {
			t.Errorf("then scanned %+v, next %v", second.Scanned, second.Next)
		}
	})
}

// TestAccountTransactionsDuringRollback: an answer is of one chain.
func TestAccountTransactionsDuringRollback(t *testing.T) {
	n := newLive(t)
	n.grow(20, 0)
	calls := 0
	n.hook(func() {
		if calls++; calls == 9 {
			n.rollBack(5)
			n.grow(30, 1)
		}
	})
	w := startLive(t, n)
	defer w.stop()
	v := w.page(token(9), maxAccountTxs, nil)
	var got []string
	for _, x := range v.Transactions {
		got = append(got, fmt.Sprintf("%d %d %s %d", x.Height, x.Index, x.TxHash, x.Time))
	}
	if want := n.history(token(9), 1); calls < 10 || !slices.Equal(got, want) {
		t.Errorf("%d calls of the node; got %v, want %v", calls, got, want)
	}
}

// TestScansKeepNobodyOut: so many calls may wait for their turn to scan, one more is
// refused at once, and who asks for something else is answered.
func TestScansKeepNobodyOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newLive(t)
		n.grow(3, 0)
		w := startLive(t, n)
		defer w.stop()
		for range cap(w.server.scans) { // scans that take their time
			w.server.scans <- struct{}{}
		}
		ask := `{"jsonrpc":"2.0","id":1,"method":"kaizen_getAccountTransactions","params":["` + token(9).String() + `"]}`
		answers := make(chan string, maxScans)
		for range maxScans {
			go func() {
				_, answer := w.post(ask)
				answers <- answer
			}()
		}
		synctest.Wait()
		began := time.Now()
		if _, answer := w.post(ask); !strings.Contains(answer, "Overloaded") || time.Since(began) != 0 {
			t.Errorf("one more: %s after %s", answer, time.Since(began))
		}
		if _, answer := w.post(`{"jsonrpc":"2.0","id":1,"method":"kaizen_getHeader","params":[2]}`); !strings.Contains(answer, `"result"`) {
			t.Errorf("another method: %s", answer)
		}
		for range cap(w.server.scans) {
			<-w.server.scans
		}
		for range maxScans {
			if answer := <-answers; !strings.Contains(answer, `"transactions"`) {
				t.Errorf("who waited: %s", answer)
			}
		}
		if _, answer := w.post(ask); !strings.Contains(answer, `"transactions"`) {
			t.Errorf("afterwards: %s", answer)
		}
	})
}

// TestScanRestsAsLongAsItWorks, however long a block takes.
func TestScanRestsAsLongAsItWorks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const blocks, work = 20, 7 * time.Millisecond
		n := newLive(t)
		n.grow(blocks, 0)
		w := startLive(t, n)
		defer w.stop()
		began := time.Now()
		var worked time.Duration
		n.hook(func() {
			worked += work
			time.Sleep(work)
		})
		w.page(chain.Address{0xEE}, 5, nil)
		// Around the blocks it asks for the head, after which it does not rest.
		if rested := time.Since(began) - worked; rested < blocks*work || rested > worked {
			t.Errorf("worked for %s and rested for %s", worked, rested)
		}
	})
}
