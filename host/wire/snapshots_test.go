package wire_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/hosttest"
	"github.com/kaizenchain/kaizen/host/wire"
	"github.com/kaizenchain/kaizen/snapshot/fetch"
)

// snapshotArchive serves two snapshots beside its blocks.
type snapshotArchive struct {
	*hosttest.Archive
	offers []fetch.Offer
	size   int   // of every chunk
	err    error // of every read, if not nil
}

func newSnapshotArchive(a *hosttest.Archive) *snapshotArchive {
	return &snapshotArchive{Archive: a, size: 1 << 20, offers: []fetch.Offer{
		{Hash: chain.Hash{2}, Identity: chain.Hash{3}, Base: chain.Hash{5}, Block: chain.BlockID{Number: 9, Hash: chain.Hash{6}}, ManifestBytes: 400, Chunks: 1, Bytes: 1 << 20, Signed: true},
		{Hash: chain.Hash{4}, Identity: chain.Hash{5}, Block: chain.BlockID{Number: 5, Hash: chain.Hash{7}}, ManifestBytes: 500, Chunks: 2, Bytes: 2 << 20},
	}}
}

func (a *snapshotArchive) Snapshots() ([]fetch.Offer, error) { return a.offers, a.err }

func (a *snapshotArchive) Manifest(h chain.Hash) ([]byte, error) {
	if err := a.check(h, 0); err != nil {
		return nil, err
	}
	return bytes.Repeat(h[:1], 400), nil
}

func (a *snapshotArchive) Chunk(h chain.Hash, i uint32) ([]byte, error) {
	if err := a.check(h, i); err != nil {
		return nil, err
	}
	return bytes.Repeat([]byte{h[0], byte(i)}, a.size/2), nil
}

func (a *snapshotArchive) check(h chain.Hash, i uint32) error {
	for _, o := range a.offers {
		if o.Hash == h && i < o.Chunks {
			return a.err
		}
	}
	return fmt.Errorf("%w: %s, chunk %d", fetch.ErrNotAvailable, h, i)
}

// withSnapshots runs a test against a server of snapshots.
func withSnapshots(t *testing.T, limits wire.Limits, test func(t *testing.T, w *world, a *snapshotArchive)) {
	inBubble(t, limits, func(t *testing.T, w *world) {
		a := newSnapshotArchive(w.archive)
		s := wire.NewServer(a, writer(), limits, slog.New(slog.DiscardHandler))
		first, plain := w.served, w.server
		w.server = s
		w.serve(s, port) // in the place of the other, which serves none
		test(t, w, a)
		if err := errors.Join(s.Close(), <-w.served); err != nil {
			t.Error(err)
		}
		w.served, w.server = first, plain
	})
}

// TestSnapshots: list, manifests and chunks come as the archive has them, over
// both transports' common frames, and what is not there is an error of its own.
func TestSnapshots(t *testing.T) {
	withSnapshots(t, wire.Limits{}, func(t *testing.T, w *world, a *snapshotArchive) {
		c := w.dial(wire.DialOptions{})
		defer c.Close()
		if got, err := c.Snapshots(); err != nil || !reflect.DeepEqual(got, a.offers) {
			t.Errorf("%+v, %v", got, err)
		}
		for _, o := range a.offers {
			want, _ := a.Manifest(o.Hash)
			if got, err := c.Manifest(o.Hash); err != nil || !bytes.Equal(got, want) {
				t.Errorf("manifest %s: %d bytes, %v", o.Hash, len(got), err)
			}
			for i := range o.Chunks {
				want, _ := a.Chunk(o.Hash, i)
				if got, err := c.Chunk(o.Hash, i); err != nil || !bytes.Equal(got, want) {
					t.Errorf("chunk %d of %s: %d bytes, %v", i, o.Hash, len(got), err)
				}
			}
			if _, err := c.Chunk(o.Hash, o.Chunks); !errors.Is(err, fetch.ErrNotAvailable) {
				t.Errorf("a chunk behind the last: %v", err)
			}
		}
		if _, err := c.Manifest(chain.Hash{9}); !errors.Is(err, fetch.ErrNotAvailable) {
			t.Errorf("a manifest that is not there: %v", err)
		}
		a.err = errors.New("disk 7 is on fire")
		if _, err := c.Chunk(a.offers[0].Hash, 0); !errors.Is(err, wire.ErrRemote) {
			t.Errorf("a disk that fails: %v", err)
		}
	})
}

// TestNoSnapshots: a node that serves none says so, and a stranger may not ask.
func TestNoSnapshots(t *testing.T) {
	inBubble(t, wire.Limits{}, func(t *testing.T, w *world) {
		c := w.dial(wire.DialOptions{})
		defer c.Close()
		if _, err := c.Snapshots(); !errors.Is(err, fetch.ErrNotAvailable) {
			t.Error(err)
		}
		s, err := wire.Dial(t.Context(), port, wire.Identity{Module: identity.Module, Role: wire.RoleReader}, wire.DialOptions{Dial: w.network.Dial})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Snapshots(); !errors.Is(err, wire.ErrProtocol) {
			t.Errorf("a stranger asks for snapshots: %v", err)
		}
		s.Close()
	})
}

// TestSnapshotSlots: peers that ask for chunks and read none take all slots. Blocks
// are served meanwhile without a moment's delay, others who want snapshots are told
// to come again, and once the peers are cut off there is room.
func TestSnapshotSlots(t *testing.T) {
	withSnapshots(t, wire.Limits{MaxSnapshotAnswers: 2, SnapshotBytesPerSecond: -1}, func(t *testing.T, w *world, a *snapshotArchive) {
		w.network.Buffer = 2 << 10
		var stalled []*script
		for range 5 {
			s := w.raw()
			s.greet()
			for id := range uint32(5) {
				go s.send(wire.GetChunk{ID: id, Hash: a.offers[0].Hash})
			}
			stalled = append(stalled, s)
		}
		synctest.Wait()
		if got := w.server.Stats().Requests; got != 2 {
			t.Errorf("%d answers are in memory, want 2", got)
		}
		c := w.dial(wire.DialOptions{})
		defer c.Close()
		start := time.Now()
		if _, err := c.Blocks(1, 10); err != nil || time.Since(start) != 0 {
			t.Errorf("blocks came after %s: %v", time.Since(start), err)
		}
		if _, err := c.Snapshots(); !errors.Is(err, fetch.ErrBusy) || time.Since(start) != 10*time.Second {
			t.Errorf("after %s: %v", time.Since(start), err)
		}
		for begin := time.Now(); ; {
			_, err := c.Chunk(a.offers[0].Hash, 0)
			if err == nil {
				break
			}
			if !errors.Is(err, fetch.ErrBusy) || time.Since(begin) > 2*time.Minute {
				t.Fatal(err)
			}
		}
		for _, s := range stalled {
			s.conn.Close()
		}
	})
}

// TestSnapshotRate: chunks leave at the configured rate, whoever asks for them, and
// blocks do not wait for it.
func TestSnapshotRate(t *testing.T) {
	const rate = 1 << 20
	withSnapshots(t, wire.Limits{SnapshotBytesPerSecond: rate}, func(t *testing.T, w *world, a *snapshotArchive) {
		clients := []*wire.Client{w.dial(wire.DialOptions{}), w.dial(wire.DialOptions{})}
		start, done := time.Now(), make(chan error, len(clients))
		for _, c := range clients {
			go func() {
				for range 5 {
					if _, err := c.Chunk(a.offers[0].Hash, 0); err != nil {
						done <- err
						return
					}
				}
				done <- nil
			}()
		}
		c := w.dial(wire.DialOptions{})
		if _, err := c.Blocks(1, 10); err != nil || time.Since(start) != 0 {
			t.Errorf("blocks came after %s: %v", time.Since(start), err)
		}
		c.Close()
		for range clients {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		for _, c := range clients {
			c.Close()
		}
		// The last ones are sent before they are booked.
		if took := time.Since(start); took < 8*time.Second || took > 10*time.Second {
			t.Errorf("10 MiB at 1 MiB/s took %s", took)
		}
	})
}

// TestHostileSnapshots: answers about snapshots that break the protocol end the
// connection.
func TestHostileSnapshots(t *testing.T) {
	many := wire.Snapshots{ID: 1, Offers: make([]fetch.Offer, fetch.MaxOffers+1)}
	for name, c := range map[string]struct {
		answer wire.Message
		want   error
	}{
		"too many offers":   {many, wire.ErrMalformed},
		"a chunk":           {wire.Chunk{ID: 1, Bytes: []byte{1}}, wire.ErrWrongAnswer},
		"unasked":           {wire.Snapshots{ID: 2}, wire.ErrUnsolicited},
		"too large a chunk": {wire.Chunk{ID: 1, Bytes: make([]byte, fetch.MaxChunkBytes+1)}, wire.ErrMalformed},
		"a request":         {wire.GetChunk{ID: 1}, wire.ErrUnexpected},
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
				if _, err := client.Snapshots(); !errors.Is(err, c.want) {
					t.Errorf("got %v, want %v", err, c.want)
				}
				client.Close()
				<-done
			})
		})
	}
}
