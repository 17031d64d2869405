package client

import (
	"context"
	"encoding/hex"
	"strconv"

	"github.com/kaizenchain/kaizen/host/rpc/api"
	"github.com/kaizenchain/kaizen/host/rpc/internal/jsonscan"
)

// The send methods carry the traffic: their requests are written into one buffer,
// and their answers are read in one pass if they are such as nodes write. Any other
// answer goes the way of all calls.

// SendTransaction is kaizen_sendTransaction: it returns once the transaction has
// executed and is durable. A refused one is an [*Error]; one that failed is in a
// block, and its receipt says so.
func (c *Client) SendTransaction(ctx context.Context, raw []byte) (v api.Receipt, err error) {
	const method = "kaizen_sendTransaction"
	id := c.nextID.Add(1)
	request := append(openParams(id, method, hexBytes(raw)+2), '[')
	b, err := c.exchange(ctx, method, id, append(appendHex(request, raw), "]}"...))
	if err != nil {
		return v, err
	}
	return c.decodeReceipt(method, id, b)
}

// SendTransactions is kaizen_sendTransactions. Refused ones have Status
// "refused" among the receipts.
func (c *Client) SendTransactions(ctx context.Context, raws [][]byte) (v []api.Receipt, err error) {
	const method = "kaizen_sendTransactions"
	id := c.nextID.Add(1)
	request := appendTxs(openParams(id, method, txsBytes(raws)), raws)
	b, err := c.exchange(ctx, method, id, append(request, '}'))
	if err != nil {
		return nil, err
	}
	return c.decodeReceipts(method, id, b, len(raws))
}

func (c *Client) decodeReceipt(method string, id uint64, b []byte) (v api.Receipt, err error) {
	if readResult(b, id, func(sc *jsonscan.Scanner) bool { return new(api.ReceiptReader).Receipt(sc, &v) }) {
		return v, nil
	}
	v = api.Receipt{}
	err = c.decode(method, id, b, &v)
	return v, err
}

func (c *Client) decodeReceipts(method string, id uint64, b []byte, n int) (v []api.Receipt, err error) {
	if readResult(b, id, func(sc *jsonscan.Scanner) (ok bool) { v, ok = new(api.ReceiptReader).List(sc, n); return ok }) {
		return v, nil
	}
	v = nil
	err = c.decode(method, id, b, &v)
	return v, err
}

// readResult reads the answer to call id, whose result is what take takes. false:
// it is anything else, and [Client.decode] says what.
func readResult(b []byte, id uint64, take func(sc *jsonscan.Scanner) bool) bool {
	sc := jsonscan.New(b)
	var version, number, result bool
	ok := sc.Members(func(name []byte) bool {
		switch string(name) {
		case `"jsonrpc"`:
			return once(&version) && isValue(&sc, `"2.0"`)
		case `"id"`:
			return once(&number) && isValue(&sc, strconv.FormatUint(id, 10))
		case `"result"`:
			return once(&result) && take(&sc)
		}
		return false
	})
	return ok && sc.End() && version && number && result
}

// once sets seen, which must not be set.
func once(seen *bool) bool {
	first := !*seen
	*seen = true
	return first
}

func isValue(sc *jsonscan.Scanner, want string) bool {
	v, ok := sc.Value()
	return ok && string(v) == want
}

// txsBytes is what [appendTxs] appends, bytes.
func txsBytes(raws [][]byte) int {
	n := len(`[[]]`) + max(0, len(raws)-1)
	for _, raw := range raws {
		n += hexBytes(raw)
	}
	return n
}

// appendTxs appends the parameters of kaizen_sendTransactions: a list in a list.
func appendTxs(b []byte, raws [][]byte) []byte {
	b = append(b, '[', '[')
	for i, raw := range raws {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendHex(b, raw)
	}
	return append(b, ']', ']')
}

// hexBytes is what [appendHex] appends, bytes.
func hexBytes(raw []byte) int { return len(`"0x"`) + 2*len(raw) }

func appendHex(b, raw []byte) []byte {
	return append(hex.AppendEncode(append(b, '"', '0', 'x'), raw), '"')
}
