package wire

import (
	"fmt"
	"sync"
	"time"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/stf-modules/abi"
)

// The open block: transactions that are executed and durable at the writer, and
// whose block is not sealed yet. A reader that executes them already has only the
// roots left to do once it is. They carry no promise, like doorbells.
type (
	// SubscribeOpen asks for OpenTxs from now on.
	SubscribeOpen struct{}
	// OpenTxs are consecutive transactions of the open block. Every message says
	// which block: its number, its time and its prices do not change any more.
	OpenTxs struct {
		Number uint64
		Time   uint64 // ms
		Oracle chain.OracleSnapshot
		First  uint32 // index of the first of Txs in the block
		Txs    [][]byte
	}
)

const (
	// MaxOpenBytes bounds the transactions of one OpenTxs, as soon as there is more
	// than one, bytes.
	MaxOpenBytes = 64 << 10
	// openEvery is how long a server collects what it then sends together. What
	// comes within that time before the seal comes with the block.
	openEvery = 5 * time.Millisecond
	// maxOpens bounds the OpenTxs that wait for one subscriber, and those that a
	// client holds which nobody takes.
	maxOpens = 16
)

func (SubscribeOpen) kind() Type { return TypeSubscribeOpen }
func (OpenTxs) kind() Type       { return TypeOpenTxs }

func (SubscribeOpen) append(dst []byte) []byte { return dst }

func (m OpenTxs) append(dst []byte) []byte {
	dst = abi.AppendU64(abi.AppendU64(dst, m.Number), m.Time)
	dst = abi.AppendBytes(dst, m.Oracle.Append(nil))
	dst = abi.AppendU32(abi.AppendU32(dst, m.First), uint32(len(m.Txs)))
	for _, tx := range m.Txs {
		dst = abi.AppendBytes(dst, tx)
	}
	return dst
}

func readOpenTxs(r *abi.Reader) (m OpenTxs) {
	m.Number, m.Time = r.U64(), r.U64()
	var err error
	if m.Oracle, err = chain.DecodeOracle(r.Bytes(MaxFrameBytes)); err != nil {
		r.Fail()
	}
	m.First = r.U32()
	n := r.Count(4)
	if n < 1 || n > chain.MaxBlockTxs {
		r.Fail()
		return m
	}
	m.Txs = make([][]byte, n)
	for i := range m.Txs {
		m.Txs[i] = r.Bytes(abi.MaxTxBytes)
	}
	return m
}

// openFeed collects what is to be sent of the open block.
type openFeed struct {
	some chan struct{} // of capacity 1: there is something

	mu      sync.Mutex
	wanted  int // subscribers
	waiting OpenTxs
}

// add takes transactions of which nobody has heard, unless nobody wants to.
func (f *openFeed) add(m OpenTxs) {
	f.mu.Lock()
	defer f.mu.Unlock()
	w := &f.waiting
	switch {
	case f.wanted == 0:
		return
	case len(w.Txs) > 0 && w.Number == m.Number && w.First+uint32(len(w.Txs)) == m.First:
		w.Txs = append(w.Txs, m.Txs...)
	default:
		*w = m
	}
	select {
	case f.some <- struct{}{}:
	default:
	}
}

func (f *openFeed) want(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.wanted += n
}

// HasOpen reports whether a subscriber wants to know of the open block.
func (s *Server) HasOpen() bool {
	s.open.mu.Lock()
	defer s.open.mu.Unlock()
	return s.open.wanted > 0
}

func (f *openFeed) take() OpenTxs {
	f.mu.Lock()
	defer f.mu.Unlock()
	m := f.waiting
	f.waiting = OpenTxs{}
	return m
}

// cut takes the first transactions off m, as many as one message may have.
func (m *OpenTxs) cut() OpenTxs {
	n, size := 0, 0
	for n < len(m.Txs) && (n == 0 || size+len(m.Txs[n]) <= MaxOpenBytes) {
		size += len(m.Txs[n])
		n++
	}
	first := *m
	first.Txs = m.Txs[:n]
	m.First, m.Txs = m.First+uint32(n), m.Txs[n:]
	return first
}

// Open tells every subscriber to the open block of transactions that became
// durable in it; m and what it holds must not change any more. Like
// [Server.Announce] it takes a short time and never blocks.
func (s *Server) Open(m OpenTxs) {
	if len(m.Txs) > 0 {
		s.open.add(m)
	}
}

// distributeOpen hands what was collected to the subscribers, unless its block has
// been announced meanwhile.
func (s *Server) distributeOpen() {
	pause := time.NewTimer(0)
	defer pause.Stop()
	for {
		select {
		case <-s.done:
			return
		case <-s.open.some:
		}
		pause.Reset(openEvery)
		select {
		case <-s.done:
			return
		case <-pause.C:
		}
		m := s.open.take()
		if a := s.latest.Load(); a != nil && m.Number <= a.tip.Number {
			continue
		}
		for len(m.Txs) > 0 {
			s.offerOpen(push{open: encode(m.cut(), MaxOpenBytes)})
		}
	}
}

func (s *Server) offerOpen(p push) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, peer := range s.peers {
		peer.sub.offerOpen(p)
	}
}

// Open delivers the transactions of the server's open block, if that was asked for.
// What nobody takes in time is gone. It is never closed; see [Client.Done].
func (c *Client) Open() <-chan OpenTxs { return c.opens }

func (c *Client) opened(m OpenTxs) error {
	if c.opens == nil {
		return fmt.Errorf("%w: transactions of the open block without subscription", ErrUnexpected)
	}
	select {
	case c.opens <- m:
	default:
	}
	return nil
}
