package client

import (
	"bytes"
	"context"
	"encoding/json"
	"strconv"
	"testing"

	"github.com/kaizenchain/kaizen/host/rpc/api"
)

// transferBytes is the size of a signed transfer.
const transferBytes = 122

// sentReceipt is what a node says to a transfer.
const sentReceipt = `{"tx_hash":"0x6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d","height":951,"index":417,"status":"ok","error":null,"events":[` +
	`{"type":"transfer","from":"0x00000000000000000000000000000000000000aa","to":"0x00000000000000000000000000000000000000bb","amount":"1000000"}]}`

// canned answers every call with the same result, without a network: what is left
// is what the client itself costs.
type canned struct{ result []byte }

func (t *canned) roundTrip(_ context.Context, id uint64, _ []byte) ([]byte, error) {
	b := make([]byte, 0, len(t.result)+48)
	b = strconv.AppendUint(append(b, `{"jsonrpc":"2.0","id":`...), id, 10)
	return append(append(append(b, `,"result":`...), t.result...), "}\n"...), nil
}

func (t *canned) close() error { return nil }

func cannedReceipts(n int) *canned {
	b := bytes.Repeat([]byte(sentReceipt+","), n)
	b[len(b)-1] = ']'
	return &canned{result: append([]byte{'['}, b...)}
}

func manyTransfers(n int) [][]byte {
	raws := make([][]byte, n)
	for i := range raws {
		raws[i] = bytes.Repeat([]byte{byte(i)}, transferBytes)
	}
	return raws
}

// BenchmarkCall is a call with parameters and a result that are JSON already.
func BenchmarkCall(b *testing.B) {
	const txs = 10
	c := &Client{transport: cannedReceipts(txs)}
	params := json.RawMessage(appendTxs(nil, manyTransfers(txs)))
	b.ReportAllocs()
	for b.Loop() {
		var result json.RawMessage
		if err := c.Call(b.Context(), "kaizen_sendTransactions", params, &result); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/txs, "ns/tx")
}

// BenchmarkSendTransaction is one transaction in a call.
func BenchmarkSendTransaction(b *testing.B) {
	c := &Client{transport: &canned{result: []byte(sentReceipt)}}
	raw := manyTransfers(1)[0]
	b.ReportAllocs()
	for b.Loop() {
		if r, err := c.SendTransaction(b.Context(), raw); err != nil || r.Status != api.StatusOK {
			b.Fatal(r, err)
		}
	}
}

// BenchmarkSendTransactions is 250 transactions in a call.
func BenchmarkSendTransactions(b *testing.B) {
	const txs = 250
	c := &Client{transport: cannedReceipts(txs)}
	raws := manyTransfers(txs)
	b.ReportAllocs()
	for b.Loop() {
		if r, err := c.SendTransactions(b.Context(), raws); err != nil || len(r) != txs {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/txs, "ns/tx")
}
