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
	// The last one of a block is said when that is closed, while its root is computed.
	OpenTxs struct {
		Number uint64
		Time   uint64 // ms
		Oracle chain.OracleSnapshot
		First  uint32 // index of the first of Txs in the block
		Last   bool   // the block has no more than these, which may be none
		Txs    [][]byte
	}
)

const (
	// MaxOpenBytes bounds the transactions of one OpenTxs, as soon as there is more
	// than one, bytes.
	MaxOpenBytes = 64 << 10
	// openEvery is how long a server collects what it then sends together, unless the
	// block is closed before.
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
	last := byte(0)
	if m.Last {
		last = 1
	}
	dst = append(abi.AppendU32(dst, m.First), last)
	dst = abi.AppendU32(dst, uint32(len(m.Txs)))
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
	last := r.U8()
	m.Last = last == 1
	n := r.Count(4)
	if last > 1 || n < 1 && !m.Last || n > chain.MaxBlockTxs {
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
	some, ended chan struct{} // of capacity 1: there is something; a block is closed

	mu      sync.Mutex
	wanted  int       // subscribers
	waiting []OpenTxs // one for each of a few blocks
}

// add takes transactions of which nobody has heard, unless nobody wants to.
func (f *openFeed) add(m OpenTxs) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.wanted == 0 {
		return
	}
	f.put(m)
	raise(f.some)
	if m.Last {
		raise(f.ended)
	}
}

// put adds to what waits. A part with nothing before it is of no use.
func (f *openFeed) put(m OpenTxs) {
	n := len(f.waiting)
	if n == 0 || f.waiting[n-1].Number != m.Number {
		if n == maxOpens {
			f.waiting = nil
		}
		f.waiting = append(f.waiting, m)
		return
	}
	w := &f.waiting[n-1]
	if w.First+uint32(len(w.Txs)) != m.First {
		*w = m
		return
	}
	w.Txs, w.Last = append(w.Txs, m.Txs...), m.Last
}

// raise fills a channel of capacity 1.
func raise(flag chan struct{}) {
	select {
	case flag <- struct{}{}:
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

func (f *openFeed) take() []OpenTxs {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := f.waiting
	f.waiting = nil
	return all
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
	first.Last = m.Last && len(m.Txs) == 0
	return first
}

// Open tells every subscriber to the open block of transactions that became
// durable in it, or that it is closed; m and what it holds must not change any more. Like
// [Server.Announce] it takes a short time and never blocks.
func (s *Server) Open(m OpenTxs) {
	if len(m.Txs) > 0 || m.Last {
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
		case <-s.open.ended:
		}
		for _, m := range s.open.take() {
			if a := s.latest.Load(); a == nil || m.Number > a.tip.Number {
				s.sendOpen(m)
			}
		}
	}
}

// sendOpen sends m in as many messages as it takes.
func (s *Server) sendOpen(m OpenTxs) {
	for more := true; more; more = len(m.Txs) > 0 {
		s.offerOpen(push{open: encode(m.cut(), MaxOpenBytes)})
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
