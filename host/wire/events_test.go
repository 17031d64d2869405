package wire_test

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/follow"
	"github.com/kaizenchain/kaizen/host/follow/followtest"
	"github.com/kaizenchain/kaizen/host/hosttest"
	"github.com/kaizenchain/kaizen/host/wire"
)

// eventArchive is an archive with results, some of them gone or huge.
type eventArchive struct {
	*hosttest.Archive
	mu     sync.Mutex
	base   uint64
	lost   uint64 // a block whose results are not kept
	huge   uint64 // a block whose results do not fit a frame
	broken uint64 // a block whose results cannot be read
}

var errDisk = errors.New("disk")

func (a *eventArchive) Base() uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.base
}

func (a *eventArchive) Results(n uint64) ([]byte, error) {
	switch n {
	case a.lost:
		return nil, follow.ErrNotAvailable
	case a.huge:
		return make([]byte, 5<<20), nil
	case a.broken:
		return nil, errDisk
	}
	return resultsOf(n).Append(nil), nil
}

func resultsOf(n uint64) *chain.Results {
	return &chain.Results{Begin: [][]byte{{byte(n)}}, Receipts: []chain.Receipt{{ID: chain.Hash{byte(n)}, Events: [][]byte{{1, 2, byte(n)}}}}}
}

// eventBlocks are blocks whose headers bind what is in them.
func eventBlocks(n uint64) []*chain.Block {
	var blocks []*chain.Block
	for h := range n {
		b := &chain.Block{Header: chain.Header{Version: chain.BlockVersion, ChainID: 1, Height: h, Time: 1000 + h}, Oracle: chain.OracleSnapshot{Timestamp: h}}
		b.Header.OracleHash, b.Header.TxsRoot, b.Header.ReceiptsRoot = b.Oracle.Hash(), chain.TxsRoot(nil), resultsOf(h).Root()
		blocks = append(blocks, b)
	}
	return blocks
}

// withEvents runs a test against a server of 2,000 blocks with events.
func withEvents(t *testing.T, a *eventArchive, test func(t *testing.T, c *wire.Client)) {
	synctest.Test(t, func(t *testing.T) {
		a.Archive = &hosttest.Archive{}
		a.Append(eventBlocks(2000)...)
		n := &hosttest.Network{}
		s := wire.NewServer(a, writer(), wire.Limits{}, slog.New(slog.DiscardHandler))
		served, l := make(chan error, 1), n.Listen(port)
		go func() { served <- s.Serve(l) }()
		defer func() {
			if err := errors.Join(s.Close(), <-served); err != nil {
				t.Error(err)
			}
		}()
		c, err := wire.Dial(context.Background(), port, identity, wire.DialOptions{Dial: n.Dial})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		test(t, c)
	})
}

func TestEvents(t *testing.T) {
	withEvents(t, &eventArchive{base: 1}, func(t *testing.T, c *wire.Client) {
		next := uint64(1)
		for next < 2000 {
			blocks, err := c.Events(next, 700)
			if err != nil || len(blocks) == 0 || len(blocks) > 700 {
				t.Fatalf("%d blocks from %d: %v", len(blocks), next, err)
			}
			for _, b := range blocks {
				if b.Header.Height != next || b.Oracle.Timestamp != next || b.Results.Receipts[0].ID != (chain.Hash{byte(next)}) {
					t.Fatalf("block %d is %+v", next, b)
				}
				next++
			}
		}
		if _, err := c.Events(2000, 1); !errors.Is(err, follow.ErrNotAvailable) {
			t.Errorf("above the tip: %v", err)
		}
		if _, err := c.Events(1, 0); !errors.Is(err, wire.ErrRemote) {
			t.Errorf("limit 0: %v", err)
		}
	})
}

// TestGaps: what will never be served is told from what is not there yet, and
// each gap names a block that is beyond it.
func TestGaps(t *testing.T) {
	a := &eventArchive{base: 100, lost: 500, huge: 600, broken: 700}
	withEvents(t, a, func(t *testing.T, c *wire.Client) {
		for from, base := range map[uint64]uint64{0: 100, 1: 100, 99: 100, 500: 501, 600: 601} {
			_, err := c.Events(from, 10)
			var gap *follow.GapError
			if !errors.As(err, &gap) || gap.From != from || gap.Base != base {
				t.Errorf("from %d: %v, want a gap up to %d", from, err, base)
			}
		}
		for from, n := range map[uint64]int{100: 10, 495: 5, 598: 2, 699: 1} {
			if blocks, err := c.Events(from, 10); err != nil || len(blocks) != n {
				t.Errorf("%d blocks from %d, want %d: %v", len(blocks), from, n, err)
			}
		}
		if _, err := c.Events(700, 10); !errors.Is(err, wire.ErrRemote) {
			t.Errorf("a disk that fails: %v", err)
		}
	})
}

// TestNoEvents: a server whose archive keeps no results says so.
func TestNoEvents(t *testing.T) {
	inBubble(t, wire.Limits{}, func(t *testing.T, w *world) {
		c := w.dial(wire.DialOptions{})
		defer c.Close()
		if _, err := c.Events(1, 1); !errors.Is(err, follow.ErrNotAvailable) {
			t.Error(err)
		}
		stranger := wire.Identity{Module: identity.Module, Role: wire.RoleSettler}
		s, err := wire.Dial(context.Background(), port, stranger, wire.DialOptions{Dial: w.network.Dial})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Events(1, 1); !errors.Is(err, wire.ErrProtocol) {
			t.Errorf("a stranger asks for events: %v", err)
		}
		s.Close()
	})
}

// TestHostileEvents: events that are not what was asked for, or not what their
// headers bind, end the connection.
func TestHostileEvents(t *testing.T) {
	blocks := eventBlocks(10)
	encoded := func(change func(*follow.EventBlock), numbers ...uint64) (m wire.Events) {
		m.ID = 1
		for _, n := range numbers {
			b := &follow.EventBlock{Header: blocks[n].Header, Oracle: blocks[n].Oracle, Results: resultsOf(n)}
			if change != nil {
				change(b)
			}
			m.Blocks = append(m.Blocks, b.Append(nil))
		}
		return m
	}
	for name, c := range map[string]struct {
		answer wire.Message
		want   error
	}{
		"a gap between them":     {encoded(nil, 5, 7), wire.ErrOutOfOrder},
		"other blocks":           {encoded(nil, 6), wire.ErrOutOfOrder},
		"more than asked for":    {encoded(nil, 5, 6, 7, 8), wire.ErrOutOfOrder},
		"results of another":     {encoded(func(b *follow.EventBlock) { b.Results = resultsOf(1) }, 5), chain.ErrContents},
		"prices of another":      {encoded(func(b *follow.EventBlock) { b.Oracle.Timestamp++ }, 5), chain.ErrContents},
		"none":                   {wire.Events{ID: 1}, wire.ErrMalformed},
		"garbage":                {wire.Events{ID: 1, Blocks: [][]byte{{1, 2, 3}}}, chain.ErrMalformed},
		"a gap that leads back":  {wire.Gap{ID: 1, Base: 4}, wire.ErrOutOfOrder},
		"a gap that leads to it": {wire.Gap{ID: 1, Base: 5}, wire.ErrOutOfOrder},
		"blocks":                 {wire.Blocks{ID: 1, Blocks: [][]byte{{1}}}, wire.ErrWrongAnswer},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, done, err := dialServer(t, wire.DialOptions{}, func(s *script) {
					s.receive()
					s.send(hello())
					s.receive()
					s.send(c.answer)
					s.ended()
				})
				if err != nil {
					t.Fatal(err)
				}
				if _, err := client.Events(5, 3); !errors.Is(err, c.want) {
					t.Errorf("got %v, want %v", err, c.want)
				}
				synctest.Wait()
				if client.Err() == nil {
					t.Error("the connection lives")
				}
				client.Close()
				<-done
			})
		})
	}
}

func FuzzDecodeEventBlock(f *testing.F) {
	fork := followtest.NewFork("a", 1)
	b := fork.Block(1)
	f.Add((&follow.EventBlock{Header: b.Header, Oracle: b.Oracle, Results: resultsOf(1)}).Append(nil))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, p []byte) {
		b, err := follow.DecodeEventBlock(p)
		if err != nil {
			if !errors.Is(err, chain.ErrMalformed) && !errors.Is(err, chain.ErrTooLarge) {
				t.Fatalf("an error of no kind: %v", err)
			}
			return
		}
		if again := b.Append(nil); string(again) != string(p) {
			t.Fatalf("two encodings:\n%x\n%x", p, again)
		}
	})
}
