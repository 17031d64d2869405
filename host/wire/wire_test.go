package wire_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/follow"
	"github.com/kaizenchain/kaizen/host/follow/followtest"
	"github.com/kaizenchain/kaizen/host/hosttest"
	"github.com/kaizenchain/kaizen/host/wire"
)

// port is where the servers of these tests listen.
const port = "node:9000"

var identity = wire.Identity{ChainID: 1, Genesis: chain.Hash{1}, Module: chain.Hash{2}, Role: wire.RoleReader, Agent: "test/1"}

// world is a server over an archive, on a network in memory.
type world struct {
	*testing.T
	network *hosttest.Network
	archive *hosttest.Archive
	fork    *followtest.Fork
	server  *wire.Server
	served  chan error
}

// inBubble runs a test in a bubble of its own time, on a chain of ten blocks. The
// bubble fails a test that leaves a goroutine behind.
func inBubble(t *testing.T, limits wire.Limits, test func(t *testing.T, w *world)) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{T: t, network: &hosttest.Network{}, archive: &hosttest.Archive{}, fork: followtest.NewFork("a", 1000)}
		w.archive.Append(w.fork.Blocks(0, 10)...)
		w.server = wire.NewServer(w.archive, writer(), limits, slog.New(slog.DiscardHandler))
		w.serve(w.server, port)
		defer func() {
			if err := errors.Join(w.server.Close(), <-w.served); err != nil {
				t.Error(err)
			}
		}()
		test(t, w)
	})
}

func writer() wire.Identity {
	id := identity
	id.Role = wire.RoleWriter
	return id
}

func (w *world) serve(s *wire.Server, address string) {
	w.served = make(chan error, 1)
	listener, served := w.network.Listen(address), w.served
	go func() { served <- s.Serve(listener) }()
}

// tryDial connects a client to the server.
func (w *world) tryDial(opt wire.DialOptions) (*wire.Client, error) {
	opt.Dial = w.network.Dial
	return wire.Dial(context.Background(), port, identity, opt)
}

func (w *world) dial(opt wire.DialOptions) *wire.Client {
	w.Helper()
	c, err := w.tryDial(opt)
	if err != nil {
		w.Fatal(err)
	}
	return c
}

// seal appends the next block and announces it, block included.
func (w *world) seal() chain.BlockID {
	tips, _ := w.archive.Tips()
	b := w.fork.Block(tips.Proposed.Number + 1)
	w.archive.Append(b)
	w.server.Announce(b.Header.ID(), b.Append(nil))
	return b.Header.ID()
}

// follower is a read node without the executing: a store and its passes.
type follower struct {
	*follow.MemoryTips
	added []chain.BlockID
}

func newFollower(f *followtest.Fork) *follower {
	return &follower{MemoryTips: follow.NewMemoryTips(f.ID(0).Hash)}
}

func (f *follower) Handle(e follow.Event) error {
	if added, ok := e.(follow.BlocksAdded); ok {
		for _, b := range added.Blocks {
			f.added = append(f.added, b.Header.ID())
		}
	}
	return f.Apply(e)
}

func (f *follower) pass(s follow.Source, ride *chain.Block) error {
	p, err := follow.New(s, f, f, follow.Options{BatchSize: 7})
	if err != nil {
		return err
	}
	_, err = p.Pass(ride)
	return err
}

// contiguous checks that every block came once and in order (K-20).
func (f *follower) contiguous(t *testing.T, fork *followtest.Fork, last uint64) {
	t.Helper()
	if uint64(len(f.added)) != last {
		t.Fatalf("%d blocks were delivered, want %d", len(f.added), last)
	}
	for i, id := range f.added {
		if want := fork.ID(uint64(i) + 1); id != want {
			t.Fatalf("delivery %d is block %d, want %d", i, id.Number, want.Number)
		}
	}
}

func TestThreeReads(t *testing.T) {
	inBubble(t, wire.Limits{}, func(t *testing.T, w *world) {
		c := w.dial(wire.DialOptions{Head: w.fork.ID(3)})
		if got := c.Server(); got.Role != wire.RoleWriter || got.Head != w.fork.ID(10) || got.Agent != "test/1" {
			t.Errorf("server said %+v", got)
		}
		if tips, err := c.Tips(); err != nil || tips != chain.LocalTips(w.fork.ID(10)) {
			t.Errorf("tips %+v, %v", tips, err)
		}
		if h, err := c.BlockData(4); err != nil || h.ID() != w.fork.ID(4) {
			t.Errorf("header %d, %v", h.Height, err)
		}
		blocks, err := c.Blocks(8, 50)
		if err != nil || len(blocks) != 3 || blocks[2].Header.ID() != w.fork.ID(10) {
			t.Errorf("%d blocks, %v", len(blocks), err)
		}
		if _, err := c.BlockData(11); !errors.Is(err, follow.ErrNotAvailable) {
			t.Errorf("header above the tip: %v", err)
		}
		if _, err := c.Blocks(11, 1); !errors.Is(err, follow.ErrNotAvailable) {
			t.Errorf("block above the tip: %v", err)
		}
		if _, err := c.Blocks(1, 0); !errors.Is(err, wire.ErrRemote) {
			t.Errorf("limit 0: %v", err)
		}
		peers := w.server.Peers()
		if len(peers) != 1 || peers[0].Head != w.fork.ID(3) || peers[0].Transport != "tcp" || peers[0].Role != wire.RoleReader || peers[0].Sent == 0 || peers[0].Received == 0 {
			t.Errorf("peers %+v", peers)
		}
		if got := w.server.Stats().Requests; got != 6 {
			t.Errorf("%d requests reached the archive, want 6", got)
		}
		c.Close()
		if _, err := c.Tips(); !errors.Is(err, wire.ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
	})
}

// TestRefusals: two nodes that cannot agree say so to each other, with both
// values, whichever side finds out.
func TestRefusals(t *testing.T) {
	other := chain.Hash{9}
	for _, c := range []struct {
		name  string
		edit  func(*wire.Hello)
		want  error
		value string
	}{
		{"version", func(h *wire.Hello) { h.Version = 7 }, wire.ErrVersion, "7"},
		{"chain", func(h *wire.Hello) { h.ChainID = 4711 }, wire.ErrChain, "4711"},
		{"genesis", func(h *wire.Hello) { h.Genesis = other }, wire.ErrGenesis, other.String()},
		{"module", func(h *wire.Hello) { h.Module = other }, wire.ErrModule, other.String()},
		{"frame", func(h *wire.Hello) { h.MaxFrame = 1 << 20 }, wire.ErrFrame, "1048576"},
	} {
		hello := wire.Hello{Version: wire.ProtocolVersion, ChainID: 1, Genesis: chain.Hash{1}, Module: chain.Hash{2},
			Role: wire.RoleReader, MaxFrame: wire.MaxFrameBytes}
		c.edit(&hello)
		check := func(t *testing.T, r *wire.Refusal, value string, byPeer bool) {
			t.Helper()
			if !errors.Is(r, c.want) || r.ByPeer != byPeer || value != c.value {
				t.Errorf("refusal %+v, want %v about %s", r, c.want, c.value)
			}
			if !strings.Contains(r.Error(), r.Ours) || !strings.Contains(r.Error(), r.Theirs) {
				t.Errorf("%q does not name both values", r)
			}
		}
		t.Run("client "+c.name, func(t *testing.T) {
			inBubble(t, wire.Limits{}, func(t *testing.T, w *world) {
				conn := w.raw()
				conn.send(hello)
				r, ok := conn.receive().(wire.Refusal)
				if !ok {
					t.Fatal("no refusal came")
				}
				check(t, &r, r.Theirs, false) // as sent: "ours" is the server's
				conn.ended()
				if got := w.server.Stats(); got.Refused != 1 || len(w.server.Peers()) != 0 {
					t.Errorf("stats %+v", got)
				}
			})
		})
		t.Run("server "+c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				err := dialScript(t, wire.DialOptions{}, func(s *script) {
					s.receive()
					s.send(hello)
					if r, ok := s.receive().(wire.Refusal); !ok || r.Theirs != c.value {
						t.Errorf("the server heard %+v", r)
					}
				})
				var r *wire.Refusal
				if !errors.As(err, &r) {
					t.Fatalf("dial: %v", err)
				}
				check(t, r, r.Theirs, false)
			})
		})
		t.Run("told "+c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				err := dialScript(t, wire.DialOptions{}, func(s *script) {
					s.receive()
					s.send(wire.Refusal{Code: codeOf[c.name], Ours: c.value, Theirs: "mine"})
				})
				var r *wire.Refusal
				if !errors.As(err, &r) {
					t.Fatalf("dial: %v", err)
				}
				check(t, r, r.Theirs, true)
			})
		})
	}
}

var codeOf = map[string]wire.Code{"version": wire.CodeVersion, "chain": wire.CodeChain, "genesis": wire.CodeGenesis,
	"module": wire.CodeModule, "frame": wire.CodeFrame}

// TestStranger: a node that knows no chain yet may ask for the genesis document
// and for nothing else. The other way round there are no strangers: a server must
// name its chain.
func TestStranger(t *testing.T) {
	g := &chain.Genesis{ChainID: 1, IntervalMs: 100, MaxTxsPerBlock: 10, MaxStaleMs: 3000, ModuleHash: chain.Hash{2}}
	serving := wire.Identity{ChainID: 1, Genesis: g.Hash(), Module: g.ModuleHash, Role: wire.RoleWriter, Document: g.Append(nil)}
	lying, silent, huge := serving, serving, serving
	lying.Genesis[0]++
	silent.Document = nil
	huge.Document = make([]byte, wire.MaxFrameBytes)
	stranger := wire.Identity{Module: g.ModuleHash, Role: wire.RoleReader}
	other := stranger
	other.Module[0]++
	for _, c := range []struct {
		name             string
		server, client   wire.Identity
		dial, ask, after error
	}{
		{name: "stranger", server: serving, client: stranger, after: wire.ErrProtocol},
		{name: "one who knows the chain", server: serving, client: serving},
		{name: "stranger with another module", server: serving, client: other, dial: wire.ErrModule},
		{name: "no document", server: silent, client: stranger, ask: follow.ErrNotAvailable, after: wire.ErrProtocol},
		{name: "document larger than a frame", server: huge, client: stranger, ask: follow.ErrNotAvailable, after: wire.ErrProtocol},
		{name: "document of another chain", server: lying, client: stranger, ask: wire.ErrWrongAnswer, after: wire.ErrProtocol},
		{name: "server without chain", server: stranger, client: serving, dial: wire.ErrChain},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, wire.Limits{}, func(t *testing.T, w *world) {
				s := wire.NewServer(w.archive, c.server, wire.Limits{}, slog.New(slog.DiscardHandler))
				l, served := w.network.Listen("home:1"), make(chan error, 1)
				go func() { served <- s.Serve(l) }()
				defer func() {
					if err := errors.Join(s.Close(), <-served); err != nil {
						t.Error(err)
					}
				}()
				client, err := wire.Dial(context.Background(), "home:1", c.client, wire.DialOptions{Dial: w.network.Dial})
				if !errors.Is(err, c.dial) {
					t.Fatalf("dial: %v, want %v", err, c.dial)
				}
				if err != nil {
					return
				}
				got, err := client.Genesis()
				if !errors.Is(err, c.ask) || err == nil && got.Hash() != g.Hash() {
					t.Errorf("genesis: %v, want %v", err, c.ask)
				}
				if _, err := client.Tips(); !errors.Is(err, c.after) {
					t.Errorf("tips: %v, want %v", err, c.after)
				}
				client.Close()
			})
		})
	}
}

// TestCatchUpWhileSealing is K-20: the writer keeps sealing, the reader catches up
// and goes live; heights are contiguous, with no gap and no repetition at the
// switch.
func TestCatchUpWhileSealing(t *testing.T) {
	inBubble(t, wire.Limits{}, func(t *testing.T, w *world) {
		w.archive.Append(w.fork.Blocks(11, 400)...)
		sealed := make(chan struct{})
		go func() {
			defer close(sealed)
			tick := time.NewTicker(100 * time.Millisecond)
			defer tick.Stop()
			for range 100 {
				<-tick.C
				w.seal()
			}
		}()
		c := w.dial(wire.DialOptions{Doorbells: true, Ride: true})
		f := newFollower(w.fork)
		var bell follow.Bell
		var rode int
		for start := time.Now(); len(f.added) < 500; {
			now := uint64(time.Since(start).Milliseconds())
			if ride, ok := bell.Begin(now); ok {
				if ride != nil {
					rode++
				}
				if err := f.pass(c, ride); err != nil {
					t.Fatal(err)
				}
				bell.End(now)
			}
			poll := time.NewTimer(time.Duration(bell.Wait(now)) * time.Millisecond)
			select {
			case d := <-c.Doorbells():
				bell.Ring(d.Block)
			case <-poll.C:
			}
			poll.Stop()
		}
		<-sealed
		f.contiguous(t, w.fork, 500)
		if rode < 90 {
			t.Errorf("only %d passes had a block riding along", rode)
		}
		c.Close()
	})
}

// TestReadersFollowReaders: a chain of nodes, each following the one before.
func TestReadersFollowReaders(t *testing.T) {
	inBubble(t, wire.Limits{}, func(t *testing.T, w *world) {
		middle := &hosttest.Archive{}
		middle.Append(w.fork.Block(0))
		relay := wire.NewServer(middle, identity, wire.Limits{}, slog.New(slog.DiscardHandler))
		first := w.served
		w.serve(relay, "relay:9001")

		upstream := w.dial(wire.DialOptions{})
		node := newFollower(w.fork)
		if err := node.pass(upstream, nil); err != nil {
			t.Fatal(err)
		}
		middle.Append(w.fork.Blocks(1, 10)...)

		leaf, err := wire.Dial(t.Context(), "relay:9001", identity, wire.DialOptions{Dial: w.network.Dial, Doorbells: true})
		if err != nil {
			t.Fatal(err)
		}
		end := newFollower(w.fork)
		if err := end.pass(leaf, nil); err != nil {
			t.Fatal(err)
		}
		end.contiguous(t, w.fork, 10)
		<-leaf.Doorbells() // of the subscription itself
		middle.Append(w.fork.Block(11))
		relay.Announce(w.fork.ID(11), nil)
		if d := <-leaf.Doorbells(); d.Tip != w.fork.ID(11) || d.Block != nil {
			t.Errorf("doorbell %+v", d)
		}
		if err := end.pass(leaf, nil); err != nil {
			t.Fatal(err)
		}
		end.contiguous(t, w.fork, 11)
		leaf.Close()
		upstream.Close()
		if err := errors.Join(relay.Close(), <-w.served); err != nil {
			t.Error(err)
		}
		w.served = first
	})
}

// TestDoorbellsCoalesce: a subscriber hears of the tip at once, and then of the
// newest of what it did not take.
func TestDoorbellsCoalesce(t *testing.T) {
	inBubble(t, wire.Limits{}, func(t *testing.T, w *world) {
		c := w.dial(wire.DialOptions{Doorbells: true, Ride: true})
		if d := <-c.Doorbells(); d.Tip != w.fork.ID(10) || d.Block != nil {
			t.Errorf("first doorbell %+v", d)
		}
		for range 30 {
			w.seal()
			synctest.Wait()
		}
		d := <-c.Doorbells()
		if d.Tip != w.fork.ID(40) || d.Block == nil || d.Block.Header.ID() != d.Tip {
			t.Errorf("doorbell %+v", d)
		}
		select {
		case d := <-c.Doorbells():
			t.Errorf("one more: %+v", d)
		default:
		}
		c.Close()

		silent := w.dial(wire.DialOptions{})
		w.seal()
		synctest.Wait()
		select {
		case d := <-silent.Doorbells():
			t.Errorf("a client that did not subscribe got %+v", d)
		default:
		}
		silent.Close()
	})
}

// TestOpenBlock: who asked gets what the open block has, what was said within a
// moment in one message, and nothing of a block that has been announced.
func TestOpenBlock(t *testing.T) {
	inBubble(t, wire.Limits{}, func(t *testing.T, w *world) {
		part := func(number uint64, first uint32, txs ...string) wire.OpenTxs {
			m := wire.OpenTxs{Number: number, Time: 77, First: first}
			for _, tx := range txs {
				m.Txs = append(m.Txs, []byte(tx))
			}
			return m
		}
		w.server.Open(part(11, 0, "before anybody asked"))
		c := w.dial(wire.DialOptions{Doorbells: true, Open: true})
		silent := w.dial(wire.DialOptions{Doorbells: true})
		synctest.Wait()
		w.server.Open(part(11, 1, "b"))
		w.server.Open(part(11, 2, "c", "d"))
		w.server.Open(wire.OpenTxs{Number: 11, First: 4})
		if got, want := <-c.Open(), part(11, 1, "b", "c", "d"); !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, want %+v", got, want)
		}
		w.server.Open(part(11, 4, "too late"))
		w.seal()
		<-time.After(time.Second)
		w.server.Open(part(12, 0, "x"))
		w.server.Open(part(12, 7, "not the next"))
		if got, want := <-c.Open(), part(12, 7, "not the next"); !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, want %+v", got, want)
		}
		last := func(m wire.OpenTxs) wire.OpenTxs { m.Last = true; return m }
		at := time.Now()
		w.server.Open(part(12, 8, "y"))
		w.server.Open(last(part(12, 9)))
		w.server.Open(part(13, 0, "of the next block"))
		if got, want := <-c.Open(), last(part(12, 8, "y")); !reflect.DeepEqual(got, want) || time.Since(at) > 0 {
			t.Errorf("got %+v after %s, want %+v at once", got, time.Since(at), want)
		}
		if got, want := <-c.Open(), part(13, 0, "of the next block"); !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, want %+v", got, want)
		}
		w.server.Open(last(wire.OpenTxs{Number: 13, Time: 77, First: 1}))
		if got := <-c.Open(); !got.Last || got.First != 1 || len(got.Txs) != 0 {
			t.Errorf("got %+v, want nothing but the end of block 13", got)
		}
		select {
		case m := <-silent.Open():
			t.Errorf("who did not ask got %+v", m)
		default:
		}
		c.Close()
		silent.Close()
	})
}

// TestOpenBlockOfASlowReader: what a reader does not take in time is dropped, the
// doorbell is not.
func TestOpenBlockOfASlowReader(t *testing.T) {
	inBubble(t, wire.Limits{}, func(t *testing.T, w *world) {
		c := w.dial(wire.DialOptions{Doorbells: true, Open: true})
		<-c.Doorbells()
		synctest.Wait()
		const sent = 100
		for n := range uint32(sent) {
			w.server.Open(wire.OpenTxs{Number: 11, First: n, Txs: [][]byte{{byte(n)}}})
			<-time.After(20 * time.Millisecond)
		}
		tip := w.seal()
		if d := <-c.Doorbells(); d.Tip != tip {
			t.Errorf("doorbell %+v", d)
		}
		taken := 0
		for len(c.Open()) > 0 {
			if m := <-c.Open(); m.First != uint32(taken) {
				t.Errorf("part %d begins at %d", taken, m.First)
			}
			taken++
		}
		if taken == 0 || taken == sent {
			t.Errorf("%d of %d parts", taken, sent)
		}
		c.Close()
	})
}

// TestLargeBlocksDoNotRide: what may pile up behind a slow subscriber is bounded.
func TestLargeBlocksDoNotRide(t *testing.T) {
	inBubble(t, wire.Limits{}, func(t *testing.T, w *world) {
		c := w.dial(wire.DialOptions{Doorbells: true, Ride: true})
		<-c.Doorbells()
		w.server.Announce(w.fork.ID(11), make([]byte, wire.MaxRideBytes+1))
		if d := <-c.Doorbells(); d.Tip != w.fork.ID(11) || d.Block != nil {
			t.Errorf("doorbell %+v", d)
		}
		c.Close()
	})
}

// TestIdleConnectionLives: pings keep a connection without traffic, for hours.
func TestIdleConnectionLives(t *testing.T) {
	inBubble(t, wire.Limits{}, func(t *testing.T, w *world) {
		c := w.dial(wire.DialOptions{})
		select {
		case <-time.After(3 * time.Hour):
		case <-c.Done():
			t.Fatal(c.Err())
		}
		if _, err := c.Tips(); err != nil {
			t.Error(err)
		}
		c.Close()
	})
}

func TestConnectionLimits(t *testing.T) {
	inBubble(t, wire.Limits{MaxConns: 3, MaxConnsPerIP: -1}, func(t *testing.T, w *world) {
		var open []*wire.Client
		for range 3 {
			open = append(open, w.dial(wire.DialOptions{}))
		}
		if _, err := w.tryDial(wire.DialOptions{}); !errors.Is(err, wire.ErrBusy) {
			t.Errorf("a fourth connection: %v", err)
		}
		open[0].Close()
		synctest.Wait()
		open[0] = w.dial(wire.DialOptions{}) // there is room again
		for _, c := range open {
			c.Close()
		}
		if got := w.server.Stats(); got.TooMany != 1 || got.Accepted != 4 {
			t.Errorf("stats %+v", got)
		}
	})
}

func TestConnectionsPerAddress(t *testing.T) {
	inBubble(t, wire.Limits{MaxConnsPerIP: 1}, func(t *testing.T, w *world) {
		// The clients of this network have addresses client:0, client:1 …: one host.
		c := w.dial(wire.DialOptions{})
		if _, err := w.tryDial(wire.DialOptions{}); !errors.Is(err, wire.ErrBusy) {
			t.Errorf("a second connection: %v", err)
		}
		c.Close()
	})
}

// slowArchive answers only when it is let go.
type slowArchive struct {
	*hosttest.Archive
	gate    chan struct{}
	reading chan struct{}
}

func (a *slowArchive) Header(n uint64) (chain.Header, error) {
	a.reading <- struct{}{}
	<-a.gate
	return a.Archive.Header(n)
}

// TestReadsAreBounded: however many peers ask, only MaxReads reads run.
func TestReadsAreBounded(t *testing.T) {
	inBubble(t, wire.Limits{}, func(t *testing.T, w *world) {
		slow := &slowArchive{w.archive, make(chan struct{}), make(chan struct{}, 100)}
		s := wire.NewServer(slow, identity, wire.Limits{MaxReads: 2}, slog.New(slog.DiscardHandler))
		first := w.served
		w.serve(s, "slow:1")
		answers := make(chan error, 8)
		for range 8 {
			c, err := wire.Dial(t.Context(), "slow:1", identity, wire.DialOptions{Dial: w.network.Dial})
			if err != nil {
				t.Fatal(err)
			}
			go func() {
				_, err := c.BlockData(1)
				c.Close()
				answers <- err
			}()
		}
		synctest.Wait()
		if n := len(slow.reading); n != 2 {
			t.Errorf("%d reads at a time, want 2", n)
		}
		close(slow.gate)
		for range 8 {
			if err := <-answers; err != nil {
				t.Error(err)
			}
		}
		if err := errors.Join(s.Close(), <-w.served); err != nil {
			t.Error(err)
		}
		w.served = first
	})
}

// brokenArchive fails.
type brokenArchive struct{ *hosttest.Archive }

func (brokenArchive) Header(uint64) (chain.Header, error) {
	return chain.Header{}, errors.New("disk 7 is on fire")
}

// TestInternalErrorsStayInside: a peer learns that something failed, the log of
// this node learns what.
func TestInternalErrorsStayInside(t *testing.T) {
	inBubble(t, wire.Limits{}, func(t *testing.T, w *world) {
		var logged strings.Builder
		s := wire.NewServer(brokenArchive{w.archive}, identity, wire.Limits{}, slog.New(slog.NewTextHandler(&logged, nil)))
		first := w.served
		w.serve(s, "broken:1")
		c, err := wire.Dial(t.Context(), "broken:1", identity, wire.DialOptions{Dial: w.network.Dial})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.BlockData(1); !errors.Is(err, wire.ErrRemote) || strings.Contains(err.Error(), "fire") {
			t.Errorf("the client got %v", err)
		}
		c.Close()
		if err := errors.Join(s.Close(), <-w.served); err != nil {
			t.Error(err)
		}
		if !strings.Contains(logged.String(), "disk 7 is on fire") {
			t.Errorf("logged %q", logged.String())
		}
		w.served = first
	})
}

// TestFaultyNetwork: frames are lost, doubled, delayed, cut in the middle, and
// connections break; a reader that keeps dialling ends up with every block once,
// in order, and with the right tips (2.4: pushes change latency, never
// correctness).
func TestFaultyNetwork(t *testing.T) {
	for name, fault := range map[string]func(conn, write int, toClient bool, frame []byte) []hosttest.Delivery{
		"doorbells lost": func(_, write int, toClient bool, frame []byte) []hosttest.Delivery {
			if toClient && frame[4] == byte(wire.TypeDoorbell) && write%2 == 0 {
				return nil
			}
			return []hosttest.Delivery{{Bytes: frame}}
		},
		"doorbells doubled": func(_, _ int, toClient bool, frame []byte) []hosttest.Delivery {
			if toClient && frame[4] == byte(wire.TypeDoorbell) {
				return []hosttest.Delivery{{Bytes: frame}, {Bytes: frame}}
			}
			return []hosttest.Delivery{{Bytes: frame}}
		},
		"doorbells reordered": reorderDoorbells(),
		"slow": func(_, _ int, _ bool, frame []byte) []hosttest.Delivery {
			return []hosttest.Delivery{{Bytes: frame, After: 70 * time.Millisecond}}
		},
		"answers lost": func(conn, write int, toClient bool, frame []byte) []hosttest.Delivery {
			if toClient && (write+conn)%5 == 4 {
				return nil
			}
			return []hosttest.Delivery{{Bytes: frame}}
		},
		"cut inside a frame": func(conn, write int, toClient bool, frame []byte) []hosttest.Delivery {
			if toClient && write == 2*conn { // at first in the greeting, then ever later
				return []hosttest.Delivery{{Bytes: frame[:len(frame)/2], Cut: true}}
			}
			return []hosttest.Delivery{{Bytes: frame}}
		},
		"requests doubled": func(_, write int, toClient bool, frame []byte) []hosttest.Delivery {
			if !toClient && write == 5 {
				return []hosttest.Delivery{{Bytes: frame}, {Bytes: frame}}
			}
			return []hosttest.Delivery{{Bytes: frame}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, wire.Limits{RequestTimeout: time.Second}, func(t *testing.T, w *world) {
				w.network.Fault = fault
				f := newFollower(w.fork)
				sealed := make(chan struct{})
				go func() {
					defer close(sealed)
					for range 60 {
						<-time.After(100 * time.Millisecond)
						w.seal()
					}
				}()
				keepFollowing(t, w, f, 70)
				<-sealed
				f.contiguous(t, w.fork, 70)
				if tips, _ := f.Tips(); tips != chain.LocalTips(w.fork.ID(70)) {
					t.Errorf("tips %+v", tips)
				}
			})
		})
	}
}

// reorderDoorbells holds every third doorbell back until after the next one.
func reorderDoorbells() func(conn, write int, toClient bool, frame []byte) []hosttest.Delivery {
	var held []byte
	var seen int
	return func(_, _ int, toClient bool, frame []byte) []hosttest.Delivery {
		if !toClient || frame[4] != byte(wire.TypeDoorbell) {
			return []hosttest.Delivery{{Bytes: frame}}
		}
		if seen++; seen%3 == 0 {
			held = slices.Clone(frame)
			return nil
		}
		out := []hosttest.Delivery{{Bytes: frame}}
		if held != nil {
			out, held = append(out, hosttest.Delivery{Bytes: held}), nil
		}
		return out
	}
}

// keepFollowing is a read node's loop: dial, pass on doorbells and polls, dial
// again after an error, until block last is there.
func keepFollowing(t *testing.T, w *world, f *follower, last int) {
	t.Helper()
	backoff := wire.Backoff{Min: 50 * time.Millisecond, Max: time.Second}
	for deadline := time.Now().Add(time.Hour); len(f.added) < last; {
		if time.Now().After(deadline) {
			t.Fatalf("stuck at %d blocks", len(f.added))
		}
		c, err := w.tryDial(wire.DialOptions{Doorbells: true, Ride: true, Limits: wire.Limits{RequestTimeout: time.Second}})
		if err == nil {
			var ride *chain.Block
			for c.Err() == nil && len(f.added) < last {
				if f.pass(c, ride) == nil {
					backoff.Reset()
				}
				select {
				case d := <-c.Doorbells():
					ride = d.Block
				case <-time.After(follow.DefaultPollMs * time.Millisecond):
				case <-c.Done():
				}
			}
			c.Close()
		}
		<-time.After(backoff.Next())
	}
}

// TestCloseEndsEverything: a server that closes ends its clients, and they say so.
func TestCloseEndsEverything(t *testing.T) {
	inBubble(t, wire.Limits{}, func(t *testing.T, w *world) {
		c := w.dial(wire.DialOptions{Doorbells: true})
		<-c.Doorbells()
		if err := w.server.Close(); err != nil {
			t.Error(err)
		}
		<-c.Done()
		if _, err := c.Tips(); err == nil {
			t.Error("tips of a server that is gone")
		}
		if _, err := w.tryDial(wire.DialOptions{}); !errors.Is(err, hosttest.ErrRefused) {
			t.Errorf("dialling: %v", err)
		}
		if err := w.server.Serve(w.network.Listen("again:1")); err != nil {
			t.Errorf("serving again: %v", err)
		}
		if _, err := w.network.Dial(context.Background(), "tcp", "again:1"); !errors.Is(err, hosttest.ErrRefused) {
			t.Errorf("dialling the second listener: %v", err)
		}
	})
}

// TestDialIsBounded: nobody who listens and says nothing holds a client up.
func TestDialIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		err := dialScript(t, wire.DialOptions{}, func(s *script) { s.receive(); s.ended() })
		if !errors.Is(err, wire.ErrSlow) && !errors.Is(err, wire.ErrIdle) {
			t.Errorf("dial: %v", err)
		}
		if took := time.Since(began); took != 5*time.Second {
			t.Errorf("it took %s", took)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		here, there := net.Pipe()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		go func() { _, _ = io.Copy(io.Discard, there) }()
		began := time.Now()
		if _, err := wire.NewClient(ctx, here, identity, wire.DialOptions{}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("greeting: %v", err)
		}
		if took := time.Since(began); took != time.Second {
			t.Errorf("it took %s", took)
		}
		there.Close()
	})
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		n := &hosttest.Network{}
		l := n.Listen(port)
		time.AfterFunc(time.Second, cancel)
		if _, err := wire.Dial(ctx, port, identity, wire.DialOptions{Dial: n.Dial}); !errors.Is(err, context.Canceled) {
			t.Errorf("dial: %v", err)
		}
		l.Close()
	})
}

func TestParseAddress(t *testing.T) {
	for in, want := range map[string]string{
		"localhost:9000": "tcp://localhost:9000", "tcp://10.0.0.1:9000": "tcp://10.0.0.1:9000", "[::1]:9000": "tcp://[::1]:9000",
		"ws://localhost:9000": "ws://localhost:9000", "ws://localhost:9000/": "ws://localhost:9000", "wss://a.b:443/sync": "wss://a.b:443/sync",
		"tls://a.b:9000": "tls://a.b:9000",
	} {
		a, err := wire.ParseAddress(in)
		if err != nil || a.String() != want {
			t.Errorf("%s: %s, %v, want %s", in, a, err, want)
		}
		if again, err := wire.ParseAddress(a.String()); err != nil || again != a {
			t.Errorf("%s does not read back: %+v, %v", a, again, err)
		}
	}
	for _, in := range []string{"", "localhost", "http://localhost:9000", "ws://localhost", ":9000", "tcp://:9000", "localhost:0", "localhost:70000",
		"localhost:http", "tcp://localhost:9000/x", "ws://u:p@localhost:9000", "ws://localhost:9000?x=1", "ws://local host:9000", "a:b:c"} {
		if a, err := wire.ParseAddress(in); !errors.Is(err, wire.ErrAddress) {
			t.Errorf("%q: %+v, %v", in, a, err)
		}
	}
}

func TestBackoff(t *testing.T) {
	b := wire.Backoff{Min: time.Second, Max: 5 * time.Second}
	for range 2 {
		var got []string
		for range 5 {
			got = append(got, b.Next().String())
		}
		if want := "1s 2s 4s 5s 5s"; strings.Join(got, " ") != want {
			t.Errorf("pauses %v, want %s", got, want)
		}
		b.Reset()
	}
	if got := new(wire.Backoff).Next(); got != 250*time.Millisecond {
		t.Errorf("first pause by default is %s", got)
	}
}

var _ net.Conn = (*hosttest.Conn)(nil)

func TestRoleNames(t *testing.T) {
	if got := fmt.Sprint(wire.RoleWriter, wire.RoleReader, wire.RoleSettler, wire.RoleTool, wire.Role(0), wire.Role(9)); got != "writer reader settler tool role 0 role 9" {
		t.Error(got)
	}
}
