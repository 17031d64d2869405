package rpc

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kaizenchain/kaizen/host/rpc/api"
)

// written is a connection that keeps what is written, write by write.
type written struct {
	net.Conn // nil: only what is below is used
	mu       sync.Mutex
	writes   [][]byte
}

func (w *written) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.writes = append(w.writes, bytes.Clone(b))
	return len(b), nil
}

func (w *written) SetWriteDeadline(time.Time) error { return nil }

// TestGathererKeepsOrder compares the bytes that come out with those that went in,
// whatever is held when, and counts writes.
func TestGathererKeepsOrder(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		w := &written{}
		g := newGatherer(w, time.Second)
		var want []byte
		for range 1 + random.IntN(6) {
			held := random.IntN(3) > 0
			if held {
				g.hold()
			}
			before, bytesBefore := len(w.writes), len(want)
			for range random.IntN(40) {
				b := bytes.Repeat([]byte{byte(random.Uint32())}, []int{0, 1, 500, 4096, maxGatheredBytes, maxGatheredBytes + 1}[random.IntN(6)])
				want = append(want, b...)
				if n, err := g.Write(b); n != len(b) || err != nil {
					t.Fatalf("wrote %d of %d bytes: %v", n, len(b), err)
				}
			}
			if !held {
				continue
			}
			if err := g.release(); err != nil {
				t.Fatal(err)
			}
			if got, most := len(w.writes)-before, 1+2*(len(want)-bytesBefore)/maxGatheredBytes; got > most {
				t.Fatalf("%d bytes went out in %d writes, want at most %d", len(want)-bytesBefore, got, most)
			}
		}
		if got := bytes.Join(w.writes, nil); !bytes.Equal(got, want) {
			t.Fatalf("%d bytes came out, %d went in", len(got), len(want))
		}
	}
}

// TestGathererGivesUp: a client has timeout for each write of the system.
func TestGathererGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		defer ours.Close()
		defer theirs.Close()
		g := newGatherer(ours, 3*time.Second)
		start := time.Now()
		g.hold()
		if _, err := g.Write([]byte("nobody reads")); err != nil {
			t.Fatal(err)
		}
		if err := g.release(); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != 3*time.Second {
			t.Errorf("%v after %s", err, time.Since(start))
		}
		go io.Copy(io.Discard, theirs)
		if _, err := g.Write([]byte("now somebody does")); err != nil {
			t.Error(err)
		}
	})
}

// TestBlockGoesOutTogether: all that a block has for a client is one write.
func TestBlockGoesOutTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newLive(t)
		n.grow(4, 0)
		w := startLive(t, n)
		defer w.stop()
		counted := &writeCounter{}
		w.net.wrap = counted.wrap
		s := w.subscribe(kinds[1].params, `null`)
		defer s.ws.CloseNow()
		wantAnswer(t, s.call("kaizen_subscribe", `["theses"]`))
		synctest.Wait()
		before := counted.count()
		n.grow(3, 0) // block 7 has most events
		synctest.Wait()
		from := api.Position{Height: 4, Index: api.EndOfBlock}
		messages := len(after(n.expect(t, api.TopicEvents, kinds[1].match), from)) + len(after(n.expect(t, api.TopicTheses, kinds[4].match), from))
		for range messages {
			wsRead(t, s.ws)
		}
		synctest.Wait()
		if got := counted.count() - before; got > 3 || messages < 10 {
			t.Errorf("%d messages of 3 blocks went out in %d writes", messages, got)
		}
	})
}

// writeCounter counts the writes of the server.
type writeCounter struct {
	mu sync.Mutex
	n  int
}

func (c *writeCounter) wrap(conn net.Conn) net.Conn { return &tallied{conn, c} }

func (c *writeCounter) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n
}

type tallied struct {
	net.Conn
	counter *writeCounter
}

func (c *tallied) Write(b []byte) (int, error) {
	c.counter.mu.Lock()
	c.counter.n++
	c.counter.mu.Unlock()
	return c.Conn.Write(b)
}

// TestSessionWaitsCheaply: a client that waits costs its reader and its keeper.
func TestSessionWaitsCheaply(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newLive(t)
		w := startLive(t, n)
		defer w.stop()
		const nothing = `"events",{"type":"unknown"}`
		first := w.subscribe(nothing, `null`) // the tailer runs
		defer first.ws.CloseNow()
		synctest.Wait()
		before := sessionGoroutines(t)
		const clients = 10
		for range clients {
			s := w.subscribe(nothing, `null`)
			defer s.ws.CloseNow()
		}
		synctest.Wait()
		if got := sessionGoroutines(t) - before; got != 2*clients {
			t.Errorf("%d clients that wait have %d goroutines of the server", clients, got)
		}
	})
}

// sessionGoroutines are those that run a method of a session.
func sessionGoroutines(t *testing.T) (n int) {
	t.Helper()
	b := make([]byte, 1<<20)
	for g := range strings.SplitSeq(string(b[:runtime.Stack(b, true)]), "\n\n") {
		if strings.Contains(g, "rpc.(*session).") {
			n++
		}
	}
	return n
}

// TestFiltersAreShared: equal filters are one, whatever order they are written in,
// and forgotten with the last who uses them.
func TestFiltersAreShared(t *testing.T) {
	n := newLive(t)
	w := startLive(t, n)
	defer w.stop()
	user := token(1).String()
	var all []*subscriber
	for i, want := range []struct {
		params  string
		filters int
	}{
		{`"events",{"type":["transfer","odd"]}`, 1}, {`"events",{"type":["odd","transfer"]}`, 1}, {`"events",{"type":"odd"}`, 2},
		{`"theses",{"pair":"BTC/USDT"}`, 3}, {`"theses",{"pair":"btc/usdt"}`, 3}, {`"theses",{"user":"` + user + `"}`, 4}, {`"theses",{"solver":"` + user + `"}`, 5},
	} {
		all = append(all, w.subscribe(want.params, `null`))
		if got := w.server.hub.filterCount(); got != want.filters {
			t.Errorf("%d filters after %d subscriptions, the last %s; want %d", got, i+1, want.params, want.filters)
		}
	}
	for _, s := range all {
		wantAnswer(t, s.call("kaizen_unsubscribe", `["`+s.name+`"]`))
		s.ws.CloseNow()
	}
	if got := w.server.hub.filterCount(); got != 0 {
		t.Errorf("%d filters of nobody", got)
	}
}

func (h *hub) filterCount() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.filters)
}
