package wire_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/follow/followtest"
	"github.com/kaizenchain/kaizen/host/hosttest"
	"github.com/kaizenchain/kaizen/host/wire"
)

// script is a peer that does as the test says, byte by byte if need be.
type script struct {
	t    *testing.T
	conn net.Conn
}

func (w *world) raw() *script {
	conn, err := w.network.Dial(w.Context(), "tcp", port)
	if err != nil {
		w.Fatal(err)
	}
	return &script{w.T, conn}
}

func (s *script) bytes(b []byte) {
	_, _ = s.conn.Write(b) // the other side may have hung up already: that is what is tested
}

// trickle writes a byte at a time until the other side hangs up.
func (s *script) trickle(b []byte, pause time.Duration) {
	for i := range b {
		if _, err := s.conn.Write(b[i : i+1]); err != nil {
			return
		}
		<-time.After(pause)
	}
}

func (s *script) send(m wire.Message) { s.bytes(wire.Encode(m)) }

// receive returns the next message, nil at the end of the connection.
func (s *script) receive() wire.Message {
	s.t.Helper()
	var prefix [4]byte
	if _, err := io.ReadFull(s.conn, prefix[:]); err != nil {
		return nil
	}
	body := make([]byte, binary.LittleEndian.Uint32(prefix[:]))
	if _, err := io.ReadFull(s.conn, body); err != nil {
		s.t.Fatal(err)
	}
	m, err := wire.Decode(wire.Type(body[0]), body[1:])
	if err != nil {
		s.t.Fatal(err)
	}
	return m
}

// ended waits for the other side to hang up.
func (s *script) ended() {
	for s.receive() != nil {
		continue
	}
	s.conn.Close()
}

func hello() wire.Hello {
	return wire.Hello{Version: wire.ProtocolVersion, ChainID: 1, Genesis: chain.Hash{1}, Module: chain.Hash{2},
		Role: wire.RoleReader, MaxFrame: wire.MaxFrameBytes}
}

// greet makes a session with the server.
func (s *script) greet() {
	s.t.Helper()
	s.send(hello())
	if _, ok := s.receive().(wire.Hello); !ok {
		s.t.Fatal("the server did not greet")
	}
}

// dialScript dials a server that does as the test says, and returns what the
// client makes of the greeting.
func dialScript(t *testing.T, opt wire.DialOptions, serve func(*script)) error {
	c, done, err := dialServer(t, opt, serve)
	if c != nil {
		c.Close()
	}
	<-done
	return err
}

func dialServer(t *testing.T, opt wire.DialOptions, serve func(*script)) (*wire.Client, chan struct{}, error) {
	n := &hosttest.Network{}
	l := n.Listen(port)
	done := make(chan struct{})
	go func() {
		defer close(done)
		conn, err := l.Accept()
		if err != nil {
			return
		}
		serve(&script{t, conn})
		conn.Close()
		l.Close()
	}()
	opt.Dial = n.Dial
	c, err := wire.Dial(t.Context(), port, identity, opt)
	return c, done, err
}

// TestHostileClients: whatever a client does, the server tells it if it still
// listens, hangs up within a bounded time, counts it, and goes on serving.
func TestHostileClients(t *testing.T) {
	frame := func(n uint32, rest ...byte) []byte { return append(binary.LittleEndian.AppendUint32(nil, n), rest...) }
	for _, c := range []struct {
		name    string
		do      func(s *script)
		told    string        // part of the refusal, if one comes
		within  time.Duration // after which the server must have hung up
		refused bool          // in the handshake
		breach  bool
		slow    bool
	}{
		{name: "garbage", do: func(s *script) { s.bytes([]byte("how do you do?")) }, told: "does not speak", refused: true},
		{name: "frame of 4 GiB", do: func(s *script) { s.bytes(frame(1<<32-1, 1)) }, told: "out of range", refused: true},
		{name: "frame of nothing", do: func(s *script) { s.bytes(frame(0)) }, told: "out of range", refused: true},
		{name: "first frame too long", do: func(s *script) { s.bytes(frame(wire.MaxRequestFrameBytes+1, 1)) }, told: "out of range", refused: true},
		{name: "TLS", do: func(s *script) { s.bytes([]byte{0x16, 0x03, 0x01, 0x02, 0x00, 0x01}) }, refused: true},
		{name: "hello without magic", do: func(s *script) { s.bytes(frame(5, 1, 'E', 'V', 'I', 'L')) }, told: "does not speak", refused: true},
		{name: "request before hello", do: func(s *script) { s.send(wire.GetTips{ID: 1}) }, told: "before the handshake", refused: true},
		{name: "half a hello", do: func(s *script) { s.bytes(wire.Encode(hello())[:20]); s.conn.Close() }, refused: true},
		{name: "nothing at all", do: func(*script) {}, within: 5 * time.Second, refused: true},
		{name: "three bytes", do: func(s *script) { s.bytes([]byte{1, 0, 0}) }, within: 5 * time.Second, refused: true},
		{name: "a hello that trickles", do: func(s *script) {
			s.trickle(wire.Encode(hello()), time.Second)
		}, within: 6 * time.Second, refused: true},

		{name: "frame too long", do: func(s *script) { s.greet(); s.bytes(frame(wire.MaxRequestFrameBytes + 1)) }, told: "out of range", breach: true},
		{name: "frame of nothing later", do: func(s *script) { s.greet(); s.bytes(frame(0)) }, told: "out of range", breach: true},
		{name: "unknown type", do: func(s *script) { s.greet(); s.bytes(frame(1, 0x77)) }, told: "unknown message type", breach: true},
		{name: "reserved type", do: func(s *script) { s.greet(); s.bytes(frame(1, 0x3f)) }, told: "unknown message type", breach: true},
		{name: "malformed request", do: func(s *script) { s.greet(); s.bytes(frame(3, byte(wire.TypeGetTips), 1, 2)) }, told: "malformed", breach: true},
		{name: "request with a tail", do: func(s *script) { s.greet(); s.bytes(frame(6, byte(wire.TypeGetTips), 1, 2, 3, 4, 5)) }, told: "malformed", breach: true},
		{name: "second hello", do: func(s *script) { s.greet(); s.send(hello()) }, told: "unexpected", breach: true},
		{name: "an answer", do: func(s *script) { s.greet(); s.send(wire.Tips{ID: 1}) }, told: "unexpected", breach: true},
		{name: "a doorbell", do: func(s *script) { s.greet(); s.send(wire.Doorbell{}) }, told: "unexpected", breach: true},
		{name: "an open block", do: func(s *script) { s.greet(); s.send(wire.OpenTxs{Txs: [][]byte{{1}}}) }, told: "unexpected", breach: true},
		{name: "half a request", do: func(s *script) { s.greet(); s.bytes(wire.Encode(wire.GetTips{ID: 1})[:6]); s.conn.Close() }},
		{name: "silence", do: func(s *script) { s.greet() }, within: 45 * time.Second, slow: true},
		{name: "a request that trickles", do: func(s *script) {
			s.greet()
			s.trickle(wire.Encode(wire.GetBlocks{ID: 1, From: 1, Limit: 1, MaxBytes: 1}), 2*time.Second)
		}, within: 30 * time.Second, slow: true},
		{name: "hanging up", do: func(s *script) { s.greet(); s.conn.Close() }},
		{name: "refusing", do: func(s *script) { s.greet(); s.send(wire.Refusal{Code: wire.CodeProtocol}) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, wire.Limits{}, func(t *testing.T, w *world) {
				bystander := w.dial(wire.DialOptions{})
				began := time.Now()
				s := w.raw()
				c.do(s)
				var told wire.Refusal
				for m := s.receive(); m != nil; m = s.receive() {
					if r, ok := m.(wire.Refusal); ok {
						told = r
					}
				}
				s.conn.Close()
				if took := time.Since(began); took > c.within {
					t.Errorf("it took %s, want at most %s", took, c.within)
				}
				if c.told != "" && (told.Code != wire.CodeProtocol || !strings.Contains(told.Theirs, c.told)) {
					t.Errorf("told %+v, want %q", told, c.told)
				}
				synctest.Wait()
				got := w.server.Stats()
				if (got.Refused == 1) != c.refused || (got.Violation == 1) != c.breach || (got.Slow == 1) != c.slow || (got.Ended == 1) == c.refused {
					t.Errorf("stats %+v", got)
				}
				if _, err := bystander.Tips(); err != nil {
					t.Errorf("the bystander: %v", err)
				}
				bystander.Close()
			})
		})
	}
}

// TestHostileServers: whatever a server does, the call returns the reason within
// a bounded time, and so does every later one.
func TestHostileServers(t *testing.T) {
	fork := followtest.NewFork("a", 30)
	encoded := func(numbers ...uint64) (out [][]byte) {
		for _, n := range numbers {
			out = append(out, fork.Block(n).Append(nil))
		}
		return out
	}
	// answer gives a reply to the first request, whose id is 1.
	answer := func(replies ...wire.Message) func(*script) {
		return func(s *script) {
			s.receive()
			for _, r := range replies {
				s.send(r)
			}
			s.ended()
		}
	}
	tips := func(c *wire.Client) error { _, err := c.Tips(); return err }
	blocks := func(c *wire.Client) error { _, err := c.Blocks(5, 3); return err }
	header := func(c *wire.Client) error { _, err := c.BlockData(5); return err }
	waitEnd := func(c *wire.Client) error { <-c.Done(); return c.Err() }
	for _, c := range []struct {
		name  string
		serve func(*script)
		call  func(*wire.Client) error
		want  error
		ring  bool // the client subscribes
		lives bool // the connection survives
	}{
		{name: "answer to another id", serve: answer(wire.Tips{ID: 2}), call: tips, want: wire.ErrUnsolicited},
		{name: "two answers", serve: answer(wire.Tips{ID: 1}, wire.Tips{ID: 1}), call: func(c *wire.Client) error { _ = tips(c); return waitEnd(c) }, want: wire.ErrUnsolicited},
		{name: "answer of another kind", serve: answer(wire.Header{ID: 1, Header: fork.Block(3).Header}), call: tips, want: wire.ErrWrongAnswer},
		{name: "answer to nothing", serve: func(s *script) { s.send(wire.Tips{ID: 1}); s.ended() }, call: waitEnd, want: wire.ErrUnsolicited},
		{name: "blocks in disorder", serve: answer(wire.Blocks{ID: 1, Blocks: encoded(5, 7, 6)}), call: blocks, want: wire.ErrOutOfOrder},
		{name: "a gap", serve: answer(wire.Blocks{ID: 1, Blocks: encoded(5, 7)}), call: blocks, want: wire.ErrOutOfOrder},
		{name: "other blocks", serve: answer(wire.Blocks{ID: 1, Blocks: encoded(6)}), call: blocks, want: wire.ErrOutOfOrder},
		{name: "more blocks than asked for", serve: answer(wire.Blocks{ID: 1, Blocks: encoded(5, 6, 7, 8)}), call: blocks, want: wire.ErrOutOfOrder},
		{name: "no block", serve: answer(wire.Blocks{ID: 1}), call: blocks, want: wire.ErrMalformed},
		{name: "a block that is none", serve: answer(wire.Blocks{ID: 1, Blocks: [][]byte{[]byte("block")}}), call: blocks, want: chain.ErrMalformed},
		{name: "another header", serve: answer(wire.Header{ID: 1, Header: fork.Block(6).Header}), call: header, want: wire.ErrOutOfOrder},
		{name: "it fails", serve: answer(wire.Failed{ID: 1, Code: wire.FailInternal}), call: tips, want: wire.ErrRemote, lives: true},
		{name: "a request", serve: func(s *script) { s.send(wire.GetTips{ID: 1}); s.ended() }, call: waitEnd, want: wire.ErrUnexpected},
		{name: "a second hello", serve: func(s *script) { s.send(hello()); s.ended() }, call: waitEnd, want: wire.ErrUnexpected},
		{name: "frame too long", serve: func(s *script) {
			s.bytes(binary.LittleEndian.AppendUint32(nil, wire.MaxFrameBytes+1))
			s.ended()
		}, call: waitEnd, want: wire.ErrFrameSize},
		{name: "half an answer", serve: func(s *script) {
			s.receive()
			b := wire.Encode(wire.Tips{ID: 1})
			s.bytes(b[:len(b)-1])
		}, call: tips, want: wire.ErrTruncated},
		{name: "an answer that stops", serve: func(s *script) {
			s.receive()
			s.bytes(wire.Encode(wire.Tips{ID: 1})[:40])
			s.ended()
		}, call: tips, want: wire.ErrSlow},
		{name: "no answer", serve: func(s *script) {
			s.receive()
			for n := range uint64(4) { // alive, and yet
				<-time.After(10 * time.Second)
				s.send(wire.Ping{Nonce: n})
			}
			s.ended()
		}, call: tips, want: wire.ErrNoAnswer},
		{name: "silence", serve: func(s *script) { s.ended() }, call: waitEnd, want: wire.ErrIdle},
		{name: "hanging up", serve: func(s *script) { s.receive() }, call: tips, want: io.EOF},
		{name: "refusing later", serve: func(s *script) { s.send(wire.Refusal{Code: wire.CodeBusy, Ours: "x", Theirs: "y"}); s.ended() }, call: waitEnd, want: wire.ErrBusy},
		{name: "a doorbell nobody asked for", serve: func(s *script) { s.send(wire.Doorbell{}); s.ended() }, call: waitEnd, want: wire.ErrUnexpected},
		{name: "an open block nobody asked for", serve: func(s *script) {
			s.send(wire.OpenTxs{Number: 6, Txs: [][]byte{{1}}})
			s.ended()
		}, call: waitEnd, want: wire.ErrUnexpected},
		{name: "a doorbell with another block", ring: true, serve: func(s *script) {
			s.send(wire.Doorbell{Tip: fork.ID(5), Block: encoded(6)[0]})
			s.ended()
		}, call: waitEnd, want: wire.ErrDoorbell},
		{name: "a doorbell with garbage", ring: true, serve: func(s *script) {
			s.send(wire.Doorbell{Tip: fork.ID(5), Block: []byte{1}})
			s.ended()
		}, call: waitEnd, want: wire.ErrDoorbell},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, done, err := dialServer(t, wire.DialOptions{Doorbells: c.ring}, func(s *script) {
					s.receive()
					s.send(hello())
					if c.ring {
						s.receive()
					}
					c.serve(s)
				})
				if err != nil {
					t.Fatal(err)
				}
				if err := c.call(client); !errors.Is(err, c.want) {
					t.Errorf("got %v, want %v", err, c.want)
				}
				synctest.Wait()
				if lives := client.Err() == nil; lives != c.lives {
					t.Errorf("the connection ended with %v", client.Err())
				}
				client.Close()
				if err := tips(client); err == nil {
					t.Error("a call after the end succeeded")
				}
				<-done
			})
		})
	}
}

// TestManyRequestsAtOnce: more requests than may be in flight wait for their turn.
func TestManyRequestsAtOnce(t *testing.T) {
	inBubble(t, wire.Limits{}, func(t *testing.T, w *world) {
		c := w.dial(wire.DialOptions{})
		results := make(chan error)
		for i := range uint64(200) {
			go func() {
				h, err := c.BlockData(i % 11)
				if err == nil && h.ID() != w.fork.ID(i%11) {
					err = errors.New("the answer to another request")
				}
				results <- err
			}()
		}
		for range 200 {
			if err := <-results; err != nil {
				t.Error(err)
			}
		}
		c.Close()
	})
}

// TestReaderThatStopsReading: subscribers that read nothing cost the announcing
// side nothing, and the server a bounded amount; they are cut off after the frame
// timeout. One that reads again in time has missed doorbells and gets one.
func TestReaderThatStopsReading(t *testing.T) {
	inBubble(t, wire.Limits{MaxConns: -1, MaxConnsPerIP: -1}, func(t *testing.T, w *world) {
		w.network.Buffer = 2 << 10
		var stalled []*script
		for range 50 {
			s := w.raw()
			s.greet()
			s.send(wire.Subscribe{Ride: true})
			stalled = append(stalled, s)
		}
		synctest.Wait()
		for range 100 {
			w.seal()
			synctest.Wait()
		}
		for i, p := range w.server.Peers() {
			if !p.Lagging || !p.Subscribed || p.Dropped < 80 {
				t.Fatalf("peer %d: %+v", i, p)
			}
		}
		// The first one reads again: what was under way, then one doorbell.
		s := stalled[0]
		var last wire.Doorbell
		for last.Tip != w.fork.ID(110) {
			m, ok := s.receive().(wire.Doorbell)
			if !ok {
				t.Fatal("the connection ended")
			}
			last = m
		}
		if len(last.Block) != 0 {
			t.Error("the doorbell after a lag carries a block")
		}
		if next := w.seal(); s.receive().(wire.Doorbell).Tip != next {
			t.Error("it does not hear of the next block")
		}
		// The others are cut off.
		<-time.After(21 * time.Second)
		synctest.Wait()
		if got := w.server.Stats(); got.Slow != 49 || len(w.server.Peers()) != 1 {
			t.Errorf("stats %+v, %d peers", got, len(w.server.Peers()))
		}
		for _, s := range stalled {
			s.conn.Close()
		}
	})
}

// TestAnswersToASlowReader: a peer that asks and does not read is not read from
// either: at most one answer waits for it.
func TestAnswersToASlowReader(t *testing.T) {
	inBubble(t, wire.Limits{}, func(t *testing.T, w *world) {
		w.archive.Append(w.fork.Blocks(11, 1000)...)
		s := w.raw()
		s.greet()
		for id := range uint32(2000) {
			go s.send(wire.GetBlocks{ID: id, From: 1, Limit: 1000, MaxBytes: 1 << 20})
		}
		synctest.Wait()
		if got := w.server.Stats().Requests; got > 3 {
			t.Errorf("%d requests were answered for a peer that reads nothing", got)
		}
		<-time.After(21 * time.Second)
		synctest.Wait()
		if got := w.server.Stats().Slow; got != 1 {
			t.Errorf("it was not cut off: %+v", w.server.Stats())
		}
		s.conn.Close()
	})
}

// TestAnnounceCostsTheSame: announcing allocates the same with a thousand stalled
// subscribers as with none. (What it costs in time is in the benchmark.)
func TestAnnounceCostsTheSame(t *testing.T) {
	allocs := func(subscribers int) float64 {
		w, closeAll := loopbackSubscribers(t, subscribers)
		defer closeAll()
		block := w.fork.Block(5).Append(nil)
		return testing.AllocsPerRun(200, func() { w.server.Announce(w.fork.ID(5), block) })
	}
	// The distributing goroutine allocates a frame or two beside the announcing one.
	if none, many := allocs(0), allocs(300); many > none+8 {
		t.Errorf("announcing allocates %v times without subscribers, %v times with 300 stalled ones", none, many)
	}
}

// loopbackSubscribers is a server with subscribers that never read, outside any
// bubble, over connections in memory.
func loopbackSubscribers(tb testing.TB, n int) (*world, func()) {
	w := &world{network: &hosttest.Network{Buffer: 1 << 10}, archive: &hosttest.Archive{}, fork: followtest.NewFork("a", 10)}
	w.archive.Append(w.fork.Blocks(0, 10)...)
	w.server = wire.NewServer(w.archive, writer(), wire.Limits{MaxConns: -1, MaxConnsPerIP: -1, FrameTimeout: time.Hour}, slog.New(slog.DiscardHandler))
	w.serve(w.server, port)
	greeting := wire.Encode(hello())
	var conns []net.Conn
	for i := range n + 1 {
		conn, err := w.network.Dial(tb.Context(), "tcp", port)
		if err != nil {
			tb.Fatal(err)
		}
		conns = append(conns, conn)
		if i == n {
			break // one that does not even greet: the server is up
		}
		for _, b := range [][]byte{greeting, wire.Encode(wire.Subscribe{Ride: true})} {
			if _, err := conn.Write(b); err != nil {
				tb.Fatal(err)
			}
		}
		if _, err := io.ReadFull(conn, bytes.Clone(greeting)); err != nil { // the server's hello is as long
			tb.Fatal(err)
		}
	}
	return w, func() {
		for _, c := range conns {
			c.Close()
		}
		if err := errors.Join(w.server.Close(), <-w.served); err != nil {
			tb.Error(err)
		}
	}
}

func BenchmarkAnnounce(b *testing.B) {
	for _, n := range []int{0, 10, 1000} {
		b.Run(map[int]string{0: "none", 10: "10 stalled", 1000: "1000 stalled"}[n], func(b *testing.B) {
			w, closeAll := loopbackSubscribers(b, n)
			defer closeAll()
			block := w.fork.Block(5).Append(nil)
			b.ReportAllocs()
			for b.Loop() {
				w.server.Announce(w.fork.ID(5), block)
			}
		})
	}
}

// TestStalledSubscribersHoldLittle: a hundred megabytes of blocks are announced
// to a hundred subscribers that read nothing; what stays in memory is a frame
// under way for each, not what they missed.
func TestStalledSubscribersHoldLittle(t *testing.T) {
	const subscribers, blockBytes, announcements = 100, 100 << 10, 1000
	w, closeAll := loopbackSubscribers(t, subscribers)
	defer closeAll()
	live, err := wire.Dial(t.Context(), port, identity, wire.DialOptions{Dial: w.network.Dial, Doorbells: true})
	if err != nil {
		t.Fatal(err)
	}
	defer live.Close()
	<-live.Doorbells()
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	for n := range uint64(announcements) {
		w.server.Announce(chain.BlockID{Number: n}, make([]byte, blockBytes))
		if d := <-live.Doorbells(); d.Tip.Number != n {
			t.Fatalf("doorbell %d, want %d", d.Tip.Number, n)
		}
	}
	// The network of this test copies what a writer waits with, hence the factor.
	if grown, most := int64(heap())-int64(before), int64(2*subscribers*blockBytes+8<<20); grown > most {
		t.Errorf("the heap grew by %d bytes, want at most %d", grown, most)
	} else {
		t.Logf("%d MB announced, heap grew by %.1f MB", announcements*blockBytes>>20, float64(grown)/(1<<20))
	}
}

// fullListener is a port of a process that has no file descriptor left for its
// first connections.
type fullListener struct {
	net.Listener
	full int
}

func (l *fullListener) Accept() (net.Conn, error) {
	if l.full > 0 {
		l.full--
		return nil, &net.OpError{Op: "accept", Net: "tcp", Err: os.NewSyscallError("accept4", syscall.EMFILE)}
	}
	return l.Listener.Accept()
}

func TestServeOutlastsFullProcess(t *testing.T) {
	inBubble(t, wire.Limits{}, func(t *testing.T, w *world) {
		start, served := time.Now(), make(chan error, 1)
		l := &fullListener{w.network.Listen("node:9002"), 12}
		go func() { served <- w.server.Serve(l) }()
		c, err := wire.Dial(t.Context(), "node:9002", identity, wire.DialOptions{Dial: w.network.Dial, Limits: wire.Limits{HandshakeTimeout: time.Minute}})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		// 5, 10, … 640 ms, then a second each.
		if took, want := time.Since(start), 1275*time.Millisecond+4*time.Second; took != want {
			t.Errorf("twelve failures cost %s, want %s", took, want)
		}
		if err := errors.Join(w.server.Close(), <-served); err != nil {
			t.Error(err)
		}
	})
}

func TestCloseWhileProcessIsFull(t *testing.T) {
	inBubble(t, wire.Limits{}, func(t *testing.T, w *world) {
		served := make(chan error, 1)
		go func() { served <- w.server.Serve(&fullListener{w.network.Listen("node:9002"), 1 << 20}) }()
		synctest.Wait() // it pauses after the first failure
		if err := errors.Join(w.server.Close(), <-served); err != nil {
			t.Error(err)
		}
	})
}

func TestServeEndsWithItsListener(t *testing.T) {
	inBubble(t, wire.Limits{}, func(t *testing.T, w *world) {
		l := w.network.Listen("node:9002")
		l.Close()
		if err := w.server.Serve(l); !errors.Is(err, net.ErrClosed) {
			t.Errorf("a listener that is gone: %v", err)
		}
	})
}
