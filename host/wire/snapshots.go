package wire

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/snapshot/fetch"
	"github.com/kaizenchain/kaizen/stf-modules/abi"
)

// Snapshots, for those who start from one. They are served beside blocks, from
// slots and a rate of their own, so that no block ever waits for a chunk.
type (
	// GetSnapshots asks for Snapshots.
	GetSnapshots struct{ ID uint32 }
	// Snapshots are those that can be had, the newest first.
	Snapshots struct {
		ID     uint32
		Offers []fetch.Offer
	}
	// GetManifest asks for the manifest with a hash.
	GetManifest struct {
		ID   uint32
		Hash chain.Hash
	}
	// Manifest is the file of a manifest.
	Manifest struct {
		ID    uint32
		Bytes []byte
	}
	// GetChunk asks for the file of a chunk of the manifest with a hash.
	GetChunk struct {
		ID    uint32
		Hash  chain.Hash
		Index uint32
	}
	// Chunk is the file of a chunk.
	Chunk struct {
		ID    uint32
		Bytes []byte
	}
)

func (GetSnapshots) kind() Type { return TypeGetSnapshots }
func (Snapshots) kind() Type    { return TypeSnapshots }
func (GetManifest) kind() Type  { return TypeGetManifest }
func (Manifest) kind() Type     { return TypeManifest }
func (GetChunk) kind() Type     { return TypeGetChunk }
func (Chunk) kind() Type        { return TypeChunk }

// offerBytes is the size of an offer in a list.
const offerBytes = 3*32 + 8 + 32 + 4 + 4 + 8 + 1

func (m GetSnapshots) append(dst []byte) []byte { return abi.AppendU32(dst, m.ID) }

func (m Snapshots) append(dst []byte) []byte {
	dst = abi.AppendU32(abi.AppendU32(dst, m.ID), uint32(len(m.Offers)))
	for i := range m.Offers {
		o := &m.Offers[i]
		dst = append(append(append(dst, o.Hash[:]...), o.Identity[:]...), o.Base[:]...)
		dst = abi.AppendU32(appendID(dst, o.Block), o.ManifestBytes)
		dst = abi.AppendU64(abi.AppendU32(dst, o.Chunks), o.Bytes)
		dst = abi.AppendBool(dst, o.Signed)
	}
	return dst
}

func (m GetManifest) append(dst []byte) []byte {
	return append(abi.AppendU32(dst, m.ID), m.Hash[:]...)
}

func (m Manifest) append(dst []byte) []byte {
	return abi.AppendBytes(abi.AppendU32(dst, m.ID), m.Bytes)
}

func (m GetChunk) append(dst []byte) []byte {
	return abi.AppendU32(append(abi.AppendU32(dst, m.ID), m.Hash[:]...), m.Index)
}

func (m Chunk) append(dst []byte) []byte { return abi.AppendBytes(abi.AppendU32(dst, m.ID), m.Bytes) }

func readSnapshots(r *abi.Reader) (m Snapshots) {
	m.ID = r.U32()
	n := r.Count(offerBytes)
	if n > fetch.MaxOffers {
		r.Fail()
		return m
	}
	for range n {
		m.Offers = append(m.Offers, fetch.Offer{Hash: r.Bytes32(), Identity: r.Bytes32(), Base: r.Bytes32(), Block: readID(r),
			ManifestBytes: r.U32(), Chunks: r.U32(), Bytes: r.U64(), Signed: r.Bool()})
	}
	return m
}

// gate bounds what the server spends on snapshots: answers under way, and bytes
// per second over all peers.
type gate struct {
	slots chan struct{}
	rate  int // bytes per second; negative: unlimited

	mu   sync.Mutex
	next time.Time // when the next answer may begin
}

func newGate(l *Limits) *gate {
	return &gate{slots: make(chan struct{}, l.MaxSnapshotAnswers), rate: l.SnapshotBytesPerSecond}
}

// enter waits for a slot and for the rate, at most for patience; false means that
// the time, or the session, is over.
func (g *gate) enter(patience time.Duration, done <-chan struct{}) bool {
	over := time.NewTimer(patience)
	defer over.Stop()
	select {
	case g.slots <- struct{}{}:
	case <-over.C:
		return false
	case <-done:
		return false
	}
	due := time.NewTimer(g.wait())
	defer due.Stop()
	select {
	case <-due.C:
		return true
	case <-over.C:
	case <-done:
	}
	<-g.slots
	return false
}

func (g *gate) wait() time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	return time.Until(g.next)
}

// spend books the bytes of an answer, leave gives the slot back once it is
// written.
func (g *gate) spend(n int) {
	if g.rate < 0 {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if now := time.Now(); g.next.Before(now) {
		g.next = now
	}
	g.next = g.next.Add(time.Duration(n) * time.Second / time.Duration(g.rate))
}

func (g *gate) leave() { <-g.slots }

// snapshot answers a request for snapshots. The slot is held until the answer is
// written, so that peers that do not read cannot pile up manifests and chunks.
func (p *peer) snapshot(id uint32, m Message) answer {
	source, ok := p.server.archive.(fetch.Source)
	if !ok {
		return answer{frame: encode(Failed{id, FailNoSnapshot, "this node serves no snapshots"}, 64)}
	}
	g := p.server.gate
	if !g.enter(p.limits.RequestTimeout/3, p.done) {
		return answer{frame: encode(Failed{id, FailBusy, "this node serves snapshots to others"}, 64)}
	}
	p.server.count(func(s *Stats) { s.Requests++ })
	frame := p.readSnapshot(id, m, source)
	g.spend(len(frame))
	return answer{frame, g.leave}
}

// readSnapshot is the frame of an answer.
func (p *peer) readSnapshot(id uint32, m Message, source fetch.Source) []byte {
	var reply Message
	var b []byte
	var err error
	switch m := m.(type) {
	case GetSnapshots:
		var offers []fetch.Offer
		offers, err = source.Snapshots()
		reply = Snapshots{id, offers[:min(len(offers), fetch.MaxOffers)]}
	case GetManifest:
		b, err = source.Manifest(m.Hash)
		reply = Manifest{id, b}
	case GetChunk:
		b, err = source.Chunk(m.Hash, m.Index)
		reply = Chunk{id, b}
	}
	if errors.Is(err, fetch.ErrNotAvailable) {
		return encode(Failed{id, FailNoSnapshot, err.Error()}, 64+MaxTextBytes)
	}
	return p.reply(id, reply, 16+len(b), err)
}

// Snapshots implements [fetch.Source]: what the server says it has.
func (c *Client) Snapshots() ([]fetch.Offer, error) {
	m, err := c.call(func(id uint32) Message { return GetSnapshots{id} }, TypeSnapshots)
	if err != nil {
		return nil, fmt.Errorf("list of snapshots: %w", err)
	}
	return m.(Snapshots).Offers, nil
}

// Manifest implements [fetch.Source]. What is in it is not checked.
func (c *Client) Manifest(hash chain.Hash) ([]byte, error) {
	m, err := c.call(func(id uint32) Message { return GetManifest{id, hash} }, TypeManifest)
	if err != nil {
		return nil, fmt.Errorf("manifest %s: %w", hash.Short(), err)
	}
	return m.(Manifest).Bytes, nil
}

// Chunk implements [fetch.Source]. What is in it is not checked.
func (c *Client) Chunk(hash chain.Hash, index uint32) ([]byte, error) {
	m, err := c.call(func(id uint32) Message { return GetChunk{id, hash, index} }, TypeChunk)
	if err != nil {
		return nil, fmt.Errorf("chunk %d of manifest %s: %w", index, hash.Short(), err)
	}
	return m.(Chunk).Bytes, nil
}

var _ fetch.Source = (*Client)(nil)
