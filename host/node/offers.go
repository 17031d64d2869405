package node

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/snapshot"
	"github.com/kaizenchain/kaizen/snapshot/fetch"
)

// What a snapshot may have fits what the sync protocol carries: a constant that
// overflows here is one that has to be raised there.
const (
	_ = uint(fetch.MaxManifestBytes - snapshot.MaxManifestBytes)
	_ = uint(fetch.MaxChunkBytes - snapshot.MaxCompressedBytes)
	_ = uint(fetch.MaxChunks - snapshot.MaxChunks)
	_ = uint(fetch.MaxLinks - snapshot.MaxLinks)
	_ = uint(snapshot.MaxLinks - fetch.MaxLinks)
)

// offers are the snapshots of a data directory that others may fetch: those that
// are whole and of a block that is stored here, which is final.
type offers struct {
	views *views
	dir   *snapshot.Dir
	log   *slog.Logger

	now func() time.Time

	mu     sync.Mutex
	names  []string // of the directory when list was made
	list   []offered
	leases map[chain.Hash]lease // by manifest
}

// lease keeps a snapshot from being removed while somebody fetches it: one that goes
// when it is half there would make a slow reader begin again and again.
type lease struct{ since, last time.Time }

const (
	// leaseIdle is how long after the last request for a chunk a snapshot stays.
	leaseIdle = 2 * time.Minute
	// leaseMost is how long requests can keep a snapshot: the disk is not theirs.
	leaseMost = time.Hour
)

func (l lease) holds(now time.Time) bool {
	return now.Sub(l.last) < leaseIdle && now.Sub(l.since) < leaseMost
}

type offered struct {
	fetch.Offer
	*snapshot.Snapshot
}

var _ fetch.Source = (*offers)(nil)

func newOffers(v *views, log *slog.Logger) *offers {
	return &offers{views: v, dir: SnapshotDir(v.store.Dir()), log: log, now: time.Now, leases: make(map[chain.Hash]lease)}
}

// Snapshots implements [fetch.Source]. Manifests are read again only when the
// directory has changed.
func (o *offers) Snapshots() ([]fetch.Offer, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := o.refresh(); err != nil {
		return nil, err
	}
	var list []fetch.Offer
	for _, s := range o.list[:min(len(o.list), fetch.MaxOffers)] {
		list = append(list, s.Offer)
	}
	return list, nil
}

func (o *offers) refresh() error {
	names, err := namesIn(o.dir.Path)
	if err != nil || slices.Equal(names, o.names) {
		return err
	}
	found, err := o.dir.List()
	if err != nil {
		return err
	}
	o.names, o.list = names, nil
	for _, i := range slices.Backward(found) { // from the lowest block up: what others stand on comes first
		if i.Err == nil {
			i.Err = o.check(i.Snapshot)
		}
		if i.Err != nil {
			o.log.Warn("snapshot is not offered to others", "snapshot", i.Path, "error", i.Err)
			continue
		}
		o.list = append(o.list, offered{offerOf(i.Snapshot.Manifest), i.Snapshot})
	}
	slices.Reverse(o.list)
	return nil
}

// namesIn lists a directory; one that does not exist has none.
func namesIn(dir string) (names []string, err error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, err
}

// check keeps what this node could not start from itself to itself.
func (o *offers) check(s *snapshot.Snapshot) error {
	if err := s.CheckChain(o.views.genesis); err != nil {
		return err
	}
	if height := s.Manifest.Header.Height; height >= o.views.store.Before().Number { // of an older one only the signature is known
		id, err := o.views.storedID(height)
		if err == nil {
			err = s.CheckBlock(id)
		}
		if err != nil {
			return err
		}
	}
	base := s.Manifest.Base
	if s.Manifest.Kind == snapshot.Full || slices.ContainsFunc(o.list, func(below offered) bool { return below.Identity == base.Identity }) {
		return nil
	}
	return fmt.Errorf("%w: block %d %s", snapshot.ErrBase, base.Height, base.Identity)
}

func offerOf(m *snapshot.Manifest) fetch.Offer {
	return fetch.Offer{Hash: m.Hash(), Identity: m.Identity(), Base: m.Base.Identity, Block: m.Header.ID(), ManifestBytes: uint32(len(m.Append(nil))),
		Chunks: uint32(len(m.Chunks)), Bytes: m.CompressedBytes(), Signed: m.Signed()}
}

// find is a snapshot that was offered.
func (o *offers) find(hash chain.Hash) (*snapshot.Snapshot, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := o.refresh(); err != nil {
		return nil, err
	}
	for _, s := range o.list {
		if s.Hash == hash {
			return s.Snapshot, nil
		}
	}
	return nil, fmt.Errorf("%w: manifest %s", fetch.ErrNotAvailable, hash.Short())
}

// Manifest implements [fetch.Source].
func (o *offers) Manifest(hash chain.Hash) ([]byte, error) {
	s, err := o.find(hash)
	if err != nil {
		return nil, err
	}
	return s.Manifest.Append(nil), nil
}

// Chunk implements [fetch.Source]. Bytes that are damaged here go to nobody.
func (o *offers) Chunk(hash chain.Hash, index uint32) ([]byte, error) {
	s, err := o.find(hash)
	if err != nil {
		return nil, err
	}
	if int64(index) >= int64(len(s.Manifest.Chunks)) {
		return nil, fmt.Errorf("%w: chunk %d of %d", fetch.ErrNotAvailable, index, len(s.Manifest.Chunks))
	}
	o.extend(hash)
	b, err := s.ChunkBytes(int(index), nil)
	if damage := (*snapshot.DamageError)(nil); errors.As(err, &damage) {
		o.log.Warn("snapshot cannot be served", "error", err)
		return nil, fmt.Errorf("%w: %w", fetch.ErrNotAvailable, err)
	}
	return b, err
}

// extend notes a request for a chunk.
func (o *offers) extend(hash chain.Hash) {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := o.now()
	l, ok := o.leases[hash]
	if !ok || now.Sub(l.last) >= leaseIdle {
		l.since = now
	}
	l.last = now
	o.leases[hash] = l
}

// fetched is how many of the newest snapshots have to stay for those who fetch one:
// the newer ones too, because what is fetched may be what they stand on.
func (o *offers) fetched() (n int, err error) {
	list, err := o.dir.List()
	if err != nil {
		return 0, err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	now, count := o.now(), 0
	for _, i := range list {
		if i.Err != nil {
			continue
		}
		count++
		if o.leases[i.Snapshot.Manifest.Hash()].holds(now) {
			n = count
		}
	}
	maps.DeleteFunc(o.leases, func(_ chain.Hash, l lease) bool { return now.Sub(l.last) >= leaseIdle })
	return n, nil
}
