package chain

import (
	"fmt"

	"github.com/kaizenchain/kaizen/stf-modules/abi"
)

// Receipt is what executing one transaction came to. Code 0 is success; other
// codes are the module's errors or the host's (abi.CodeTrap and its neighbours).
// Events are the module's bytes, described by its schema; a failed transaction
// has none.
type Receipt struct {
	ID     Hash
	Code   abi.Code
	Detail string // why it failed, for people; at most abi.MaxDetailBytes
	Events [][]byte
}

// Append appends the encoding of r.
func (r *Receipt) Append(dst []byte) []byte {
	dst = append(dst, r.ID[:]...)
	dst = abi.AppendU16(dst, uint16(r.Code))
	dst = abi.AppendString(dst, r.Detail)
	return AppendEvents(dst, r.Events)
}

// AppendEvents appends a list of events.
func AppendEvents(dst []byte, events [][]byte) []byte {
	dst = abi.AppendU32(dst, uint32(len(events)))
	for _, e := range events {
		dst = abi.AppendBytes(dst, e)
	}
	return dst
}

func readEvents(r *abi.Reader) [][]byte {
	n := r.Count(4)
	if n > abi.MaxEventsPerRun {
		r.Fail()
	}
	if n == 0 || !r.OK() {
		return nil
	}
	events := make([][]byte, n)
	for i := range events {
		events[i] = r.Bytes(abi.MaxEventBytes)
	}
	return events
}

func readReceipt(r *abi.Reader) (v Receipt) {
	v.ID = r.Bytes32()
	v.Code = abi.Code(r.U16())
	v.Detail = r.String(abi.MaxDetailBytes)
	v.Events = readEvents(r)
	return v
}

// DecodeReceipt reads exactly one receipt; events are views into b.
func DecodeReceipt(b []byte) (Receipt, error) {
	r := abi.NewReader(b)
	v := readReceipt(&r)
	if !r.Done() {
		return Receipt{}, malformed("receipt")
	}
	return v, nil
}

// Results is what executing a block came to: the events of the two hooks and a
// receipt for each transaction. It can be recomputed from the block; a node
// stores it to answer queries.
type Results struct {
	Begin, End [][]byte
	Receipts   []Receipt
}

// Root is what a header's ReceiptsRoot holds: leaf 0 is the begin-block events,
// the last leaf the end-block events, the receipts are between them.
func (v *Results) Root() Hash {
	leaves := make([]Hash, 0, len(v.Receipts)+2)
	var buf []byte
	buf = AppendEvents(buf, v.Begin)
	leaves = append(leaves, LeafHash(buf))
	for i := range v.Receipts {
		buf = v.Receipts[i].Append(buf[:0])
		leaves = append(leaves, LeafHash(buf))
	}
	leaves = append(leaves, LeafHash(AppendEvents(buf[:0], v.End)))
	return MerkleRoot(leaves)
}

// Append appends the encoding of v.
func (v *Results) Append(dst []byte) []byte {
	dst = AppendEvents(dst, v.Begin)
	dst = abi.AppendU32(dst, uint32(len(v.Receipts)))
	for i := range v.Receipts {
		dst = v.Receipts[i].Append(dst)
	}
	return AppendEvents(dst, v.End)
}

// DecodeResults reads exactly one Results; events are views into b.
func DecodeResults(b []byte) (*Results, error) {
	r := abi.NewReader(b)
	v := &Results{Begin: readEvents(&r)}
	n := r.Count(32 + 2 + 4 + 4)
	if n > MaxBlockTxs {
		return nil, fmt.Errorf("results: %d receipts, limit %d: %w", n, MaxBlockTxs, ErrMalformed)
	}
	if n > 0 {
		v.Receipts = make([]Receipt, n)
	}
	for i := range v.Receipts {
		v.Receipts[i] = readReceipt(&r)
	}
	v.End = readEvents(&r)
	if !r.Done() {
		return nil, malformed("results")
	}
	return v, nil
}
