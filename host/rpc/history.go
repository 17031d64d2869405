package rpc

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/procs"
)

// Limits of one kaizen_getAccountTransactions. No index is kept for it: that would
// cost every transaction something for a question that few ask. It reads stored
// blocks backwards instead, and the caller goes on with the cursor.
const (
	maxAccountTxs     = 100      // of one answer
	defaultAccountTxs = 25       // if the caller does not say
	maxScanBlocks     = 10_000   // that one call looks at
	maxScanBytes      = 32 << 20 // of blocks, the same
	// maxScans is how many calls run or wait to run: far below what the RPC port
	// executes at once, so that questions about history never keep others out.
	maxScans = 32
	// scanSlice is how long a scan works, to the end of a block, before it rests as
	// long as it did: what it reads is history, what it would delay is not.
	scanSlice = 2 * time.Millisecond
)

// scanPlaces is how many scans run at a time; more wait.
func scanPlaces() int { return max(1, procs.Cores()/2) }

// scanPlace waits for a place among the scans that run; leave gives it back.
func (s *Server) scanPlace(ctx context.Context) (leave func(), err error) {
	if s.asked.Add(1) > maxScans {
		s.asked.Add(-1)
		return nil, fmt.Errorf("%w: %d scans of blocks are asked for", ErrOverloaded, maxScans)
	}
	select {
	case s.scans <- struct{}{}:
		return func() { <-s.scans; s.asked.Add(-1) }, nil
	case <-ctx.Done():
		s.asked.Add(-1)
		return nil, ctx.Err()
	}
}

// place is where a transaction is. In a cursor: everything before it is still to
// be looked at.
type place struct {
	height uint64
	index  uint32
}

// placeBytes is the length of a cursor.
const placeBytes = 8 + 4

func (at place) bytes() []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint64(nil, at.height), at.index)
}

func (p *Params) place(name string) (at place) {
	b := p.Bytes(name, placeBytes, placeBytes)
	if len(b) == placeBytes {
		at = place{binary.BigEndian.Uint64(b), binary.BigEndian.Uint32(b[8:])}
	}
	if at.height > maxHeight {
		p.fail(name, "the cursor of an earlier answer")
	}
	return at
}

// scan looks for the transactions of an account, backwards from a place.
type scan struct {
	server  *Server
	address []byte
	quoted  []byte // the address as JSON
	limit   int
	at      place

	head    chain.BlockID
	txs     []byte // as JSON, with commas
	found   int
	from    uint64 // the lowest block that was looked at, 0: none
	to      uint64 // the highest
	bytes   int
	started time.Time // of work since the last rest
}

// getAccountTransactions is kaizen_getAccountTransactions.
func (s *Server) getAccountTransactions(ctx context.Context, p *Params, dst []byte) ([]byte, error) {
	address := p.Address("address")
	limit, at := uint64(defaultAccountTxs), place{height: math.MaxUint64}
	if p.Has("limit") {
		limit = p.Number("limit", maxAccountTxs)
	}
	if p.Has("cursor") {
		at = p.place("cursor")
	}
	if p.err != nil {
		return dst, p.err
	}
	leave, err := s.scanPlace(ctx)
	if err != nil {
		return dst, err
	}
	defer leave()
	for {
		v := scan{server: s, address: address[:], quoted: appendHexText(nil, address[:]), limit: int(max(1, limit)), at: at, started: time.Now()}
		rollbacks := s.backend.Watch(0).Rollbacks
		err := v.run(ctx)
		if s.backend.Watch(0).Rollbacks != rollbacks {
			continue // what was read may be of two chains
		}
		return v.appendTo(dst), err
	}
}

// run scans until there is enough, or nothing more. at is then where to go on.
func (v *scan) run(ctx context.Context) error {
	w := v.server.backend.Watch(0)
	v.head = w.Head
	if v.at.height > w.Head.Number {
		v.at = place{height: w.Head.Number + 1}
	}
	oldest := max(1, w.Base)
	for v.at != (place{height: oldest}) && v.at.height >= oldest && v.mayGoOn() {
		height, below := v.at.height, v.at.index
		if below == 0 {
			height, below = height-1, math.MaxUint32
		}
		b, results, err := v.server.backend.Block(height)
		if errors.Is(err, ErrBlockNotFound) { // pruned meanwhile
			break
		}
		if err == nil && len(b.Txs) != len(results.Receipts) {
			err = fmt.Errorf("block %d has %d transactions and %d receipts", height, len(b.Txs), len(results.Receipts))
		}
		if err != nil {
			return err
		}
		v.block(b, results, height, below)
		if err := v.rest(ctx); err != nil {
			return err
		}
	}
	if base := max(1, v.server.backend.Watch(0).Base); v.at.height < base || v.at == (place{height: base}) {
		v.at = place{}
	}
	return nil
}

func (v *scan) mayGoOn() bool {
	return v.found < v.limit && v.to-v.from < maxScanBlocks-1 && v.bytes < maxScanBytes && len(v.txs) < v.server.limits.MaxResponseBytes/4
}

// block looks at the transactions of one that are below an index.
func (v *scan) block(b *chain.Block, results *chain.Results, height uint64, below uint32) {
	if v.to == 0 {
		v.to = height
	}
	v.from, v.bytes = height, v.bytes+b.Size()
	for i := min(len(b.Txs), int(below)) - 1; i >= 0; i-- {
		v.at = place{height, uint32(i)}
		if r := &results.Receipts[i]; v.has(b.Txs[i], r) && v.add(b, r, i) && v.found == v.limit {
			return
		}
	}
	v.at = place{height: height}
}

// add appends a transaction if a field of it or of an event is the address. Where
// nobody can decode it, that its bytes have it must do.
func (v *scan) add(b *chain.Block, r *chain.Receipt, i int) bool {
	start := len(v.txs)
	if v.found > 0 {
		v.txs = append(v.txs, ',')
	}
	v.txs = v.server.appendTransaction(v.txs, b.Txs[i], r, b.Header.Height, i)
	if v.server.module.DecodeTx != nil && !bytes.Contains(v.txs[start:], v.quoted) {
		v.txs = v.txs[:start]
		return false
	}
	v.txs = append(strconv.AppendUint(append(v.txs, `,"time":`...), b.Header.Time, 10), '}')
	v.found++
	return true
}

// has reports whether the bytes of a transaction or of an event have the address
// anywhere. It is quick, says so of all that name it, and works with any module.
func (v *scan) has(raw []byte, r *chain.Receipt) bool {
	if bytes.Contains(raw, v.address) {
		return true
	}
	for _, event := range r.Events {
		if bytes.Contains(event, v.address) {
			return true
		}
	}
	return false
}

func (v *scan) rest(ctx context.Context) error {
	worked := time.Since(v.started)
	if worked < scanSlice {
		return nil
	}
	timer := time.NewTimer(worked)
	defer timer.Stop()
	select {
	case <-timer.C:
		v.started = time.Now()
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (v *scan) appendTo(dst []byte) []byte {
	dst = append(append(append(dst, `{"transactions":[`...), v.txs...), `],"next":`...)
	if v.at == (place{}) {
		dst = append(dst, "null"...)
	} else {
		dst = appendHexText(dst, v.at.bytes())
	}
	dst = strconv.AppendUint(append(dst, `,"scanned":{"from":`...), v.from, 10)
	dst = strconv.AppendUint(append(dst, `,"to":`...), v.to, 10)
	return append(appendBlockRef(append(dst, '}'), v.head), '}')
}
