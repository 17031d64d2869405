package node

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"runtime/metrics"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/follow"
	"github.com/kaizenchain/kaizen/host/hosttest"
	"github.com/kaizenchain/kaizen/host/hosttest/faultfs"
	"github.com/kaizenchain/kaizen/host/state"
	"github.com/kaizenchain/kaizen/host/store/vfs"
	"github.com/kaizenchain/kaizen/host/wire"
	"github.com/kaizenchain/kaizen/snapshot"
	"github.com/kaizenchain/kaizen/snapshot/fetch"
)

// unsynced is the disk without its durability, which these tests do not test and
// should not wait for.
type unsynced struct{ vfs.OS }

type unsyncedFile struct{ vfs.File }

func (unsyncedFile) Sync() error { return nil }

func (unsynced) SyncDir(string) error { return nil }

func (d unsynced) Create(name string) (vfs.File, error) {
	f, err := d.OS.Create(name)
	return unsyncedFile{f}, err
}

func quick(dir string) *snapshot.Dir {
	return &snapshot.Dir{Path: SnapshotDir(dir).Path, FS: unsynced{}}
}

// stock is a directory of snapshots as a source has it.
type stock struct {
	dir     string
	headers map[uint64]chain.Header
}

// values are the keys of a state: n of 8 KiB that do not compress, a few of which
// differ from one height to another.
func values(height uint64, n int) func(yield func(k, v []byte) bool) {
	tree := state.NewTree()
	var changes []state.Change
	for i := range n {
		seed := sha256.Sum256(fmt.Appendf(nil, "%d", i))
		if i%100 == 0 {
			seed = sha256.Sum256(fmt.Appendf(nil, "%d at %d", i, height))
		}
		v := make([]byte, 8<<10)
		_, _ = rand.NewChaCha8(seed).Read(v) // it cannot fail
		k := fmt.Appendf(nil, "key %d", i)
		changes = append(changes, state.Change{Key: k, Path: state.PathOf(k), Value: v})
	}
	slices.SortFunc(changes, func(a, b state.Change) int { return bytes.Compare(a.Path[:], b.Path[:]) })
	tree.Commit(changes, nil)
	return func(yield func(k, v []byte) bool) { tree.Ascend(chain.Hash{}, yield) }
}

// rootOf is the state root of keys.
func rootOf(t testing.TB, keys func(yield func(k, v []byte) bool)) chain.Hash {
	t.Helper()
	root, _, err := state.RootOf(func(yield func(state.Leaf) bool) {
		keys(func(k, v []byte) bool { return yield(state.Prepare(k, v)) })
	})
	must(t, err)
	return root
}

func signedHeader(g *chain.Genesis, height uint64, root chain.Hash, key ed25519.PrivateKey) chain.Header {
	h := chain.Header{Version: chain.BlockVersion, ChainID: g.ChainID, Height: height, Parent: chain.Hash{1, byte(height)}, Time: 1000 * height, ModuleHash: g.ModuleHash, StateRoot: root}
	copy(h.Sequencer[:], key.Public().(ed25519.PublicKey))
	h.Sign(key)
	return h
}

// snap puts a full snapshot into a directory.
func snap(t testing.TB, dir string, g *chain.Genesis, h chain.Header, keys func(yield func(k, v []byte) bool)) *snapshot.Snapshot {
	t.Helper()
	w, err := quick(dir).Create(snapshot.Meta{GenesisHash: g.Hash(), Header: h, Jobs: 2})
	must(t, err)
	for k, v := range keys {
		path := state.PathOf(k)
		must(t, w.Add(&path, k, v))
	}
	s, err := w.Commit()
	must(t, err)
	return s
}

const (
	stockKeys   = 700 // six chunks
	stockHeight = 1000
)

// newStock has one snapshot, of block 1000. It is verified once, so that what the
// compression library makes once is not made inside a bubble.
func newStock(t testing.TB) *stock {
	t.Helper()
	g, s := testGenesis(), &stock{dir: t.TempDir(), headers: map[uint64]chain.Header{}}
	s.add(t, g, stockHeight, stockKeys)
	return s
}

func (s *stock) add(t testing.TB, g *chain.Genesis, height uint64, keys int) *snapshot.Snapshot {
	t.Helper()
	v := values(height, keys)
	s.headers[height] = signedHeader(g, height, rootOf(t, v), testKey)
	made := snap(t, s.dir, g, s.headers[height], v)
	must(t, made.Verify())
	return made
}

// peer is a source: it serves a stock, as a hook lets it.
type peer struct {
	*stock
	tip    uint64
	lie    func(r fetch.Request, b []byte) ([]byte, error)
	offers func([]fetch.Offer) []fetch.Offer
	chunks atomic.Int64 // served
}

func (p *peer) Tips() (chain.Tips, error) {
	return chain.LocalTips(chain.BlockID{Number: max(p.tip, stockHeight), Hash: chain.Hash{9}}), nil
}

func (p *peer) Block(uint64) ([]byte, error) { return nil, follow.ErrNotAvailable }

func (p *peer) Header(n uint64) (chain.Header, error) {
	h, ok := p.headers[n]
	if !ok {
		return h, follow.ErrNotAvailable
	}
	return h, nil
}

func (p *peer) Snapshots() ([]fetch.Offer, error) {
	list, err := SnapshotDir(p.dir).List()
	var offers []fetch.Offer
	for _, i := range list {
		offers = append(offers, offerOf(i.Snapshot.Manifest))
	}
	if p.offers != nil {
		offers = p.offers(offers)
	}
	return offers, err
}

func (p *peer) find(hash chain.Hash) *snapshot.Snapshot {
	list, _ := SnapshotDir(p.dir).List()
	for _, i := range list {
		if i.Snapshot.Manifest.Hash() == hash {
			return i.Snapshot
		}
	}
	return nil
}

func (p *peer) Manifest(hash chain.Hash) ([]byte, error) {
	s := p.find(hash)
	if s == nil {
		return nil, fetch.ErrNotAvailable
	}
	return p.hooked(fetch.Request{Kind: fetch.Manifest, Hash: hash}, s.Manifest.Append(nil))
}

func (p *peer) Chunk(hash chain.Hash, index uint32) ([]byte, error) {
	s := p.find(hash)
	if s == nil {
		return nil, fetch.ErrNotAvailable
	}
	b, err := s.ChunkBytes(int(index), nil)
	if err != nil {
		return nil, err
	}
	p.chunks.Add(1)
	return p.hooked(fetch.Request{Kind: fetch.File, Hash: hash, Index: index}, b)
}

func (p *peer) hooked(r fetch.Request, b []byte) ([]byte, error) {
	if p.lie == nil {
		return b, nil
	}
	return p.lie(r, b)
}

// bazaar is a network of sources inside a bubble, and one who fetches.
type bazaar struct {
	t       *testing.T
	network *hosttest.Network
	servers []*wire.Server
	names   []string
	into    string
	log     bytes.Buffer
	free    uint64
	wish    fetch.Wish
	limits  wire.Limits
}

// inBazaar runs a test in a bubble with sources named by their number; source 0 is
// the one that is to be followed. into is where snapshots are fetched to.
func inBazaar(t *testing.T, into string, peers []*peer, test func(m *bazaar)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		m := &bazaar{t: t, network: &hosttest.Network{Buffer: 1 << 20}, into: into, free: 1 << 40}
		g := testGenesis()
		for i, p := range peers {
			name := fmt.Sprintf("node%d:9000", i)
			s := wire.NewServer(p, wire.Identity{ChainID: g.ChainID, Genesis: g.Hash(), Module: g.ModuleHash, Role: wire.RoleReader}, wire.Limits{SnapshotBytesPerSecond: -1}, quiet())
			go s.Serve(m.network.Listen(name))
			m.servers, m.names = append(m.servers, s), append(m.names, "tcp://"+name)
		}
		test(m)
		for _, s := range m.servers {
			must(t, s.Close())
		}
	})
}

// fetch runs one download.
func (m *bazaar) fetch(ctx context.Context) ([]*snapshot.Snapshot, *download, error) {
	d := m.download()
	links, err := d.run(ctx)
	return links, d, err
}

func (m *bazaar) download() *download {
	g := testGenesis()
	d := newDownload(&Config{DataDir: m.into}, Deps{Log: slog.New(slog.NewTextHandler(&m.log, nil))}, g)
	d.dir = quick(m.into)
	d.sources, d.followed, d.wish, d.progress = m.names, 0, m.wish, func(uint64, uint64, uint64) {}
	d.finish = func(links []*snapshot.Snapshot) error { return snapshot.VerifyChain(links, snapshot.Options{}) }
	d.free = func(string) (uint64, error) { return m.free, nil }
	identity := wire.Identity{ChainID: g.ChainID, Genesis: g.Hash(), Module: g.ModuleHash, Role: wire.RoleReader}
	d.dial = func(ctx context.Context, address string) (*wire.Client, error) {
		return wire.Dial(ctx, address, identity, wire.DialOptions{Dial: m.network.Dial, Limits: m.limits})
	}
	return d
}

// same checks that a fetched snapshot is byte for byte that of a stock, and that
// nothing else is left in the directory.
func (m *bazaar) same(links []*snapshot.Snapshot, s *stock, height uint64) {
	m.t.Helper()
	want, err := SnapshotDir(s.dir).At(height)
	must(m.t, err)
	if len(links) != 1 || links[0].Manifest.Name() != want.Manifest.Name() {
		m.t.Fatalf("got %d snapshots, want %s", len(links), want.Manifest.Name())
	}
	for _, name := range append([]string{snapshot.ManifestFile}, chunkFiles(want)...) {
		a, err := os.ReadFile(filepath.Join(want.Path, name))
		must(m.t, err)
		b, err := os.ReadFile(filepath.Join(links[0].Path, name))
		must(m.t, err)
		if !bytes.Equal(a, b) {
			m.t.Errorf("%s differs", name)
		}
	}
	left, err := namesIn(SnapshotDir(m.into).Path)
	must(m.t, err)
	if !slices.Equal(left, []string{want.Manifest.Name(), fetchLock, "LOCK"}) {
		m.t.Errorf("left in the directory: %v", left)
	}
}

func chunkFiles(s *snapshot.Snapshot) (names []string) {
	for i := range s.Manifest.Chunks {
		names = append(names, snapshot.ChunkFile(i))
	}
	return names
}

func served(peers []*peer) (n int64) {
	for _, p := range peers {
		n += p.chunks.Load()
	}
	return n
}

// TestDownload takes chunks from all sources, each about once.
func TestDownload(t *testing.T) {
	s := newStock(t)
	peers := []*peer{{stock: s}, {stock: s}, {stock: s}}
	inBazaar(t, t.TempDir(), peers, func(m *bazaar) {
		t := m.t
		links, d, err := m.fetch(t.Context())
		must(t, err)
		m.same(links, s, stockHeight)
		n := int64(len(links[0].Manifest.Chunks))
		if got := served(peers); n < 5 || got < n || got > n+int64(fetch.Window*len(peers)) {
			t.Errorf("%d chunks were served, there are %d", got, n)
		}
		if d.plan.Status().Done != links[0].Manifest.CompressedBytes() {
			t.Errorf("%+v", d.plan.Status())
		}
		// Once more: it is there.
		before := served(peers)
		links, _, err = m.fetch(t.Context())
		must(t, err)
		m.same(links, s, stockHeight)
		if got := served(peers); got != before {
			t.Errorf("%d chunks were fetched again", got-before)
		}
	})
}

// TestDownloadInterrupted ends the process, the connection, or the source at every
// chunk: what has arrived is not fetched again, and another source can go on.
func TestDownloadInterrupted(t *testing.T) {
	s := newStock(t)
	total := int64(len(mustAt(t, s, stockHeight).Manifest.Chunks))
	for stop := int64(1); stop <= total; stop++ {
		into := t.TempDir()
		first := &peer{stock: s}
		inBazaar(t, into, []*peer{first}, func(m *bazaar) {
			t := m.t
			ctx, cancel := context.WithCancel(t.Context())
			first.lie = func(_ fetch.Request, b []byte) ([]byte, error) {
				if first.chunks.Load() == stop {
					cancel() // the answer comes too late
				}
				return b, nil
			}
			if _, _, err := m.fetch(ctx); !errors.Is(err, context.Canceled) {
				t.Fatalf("chunk %d: %v", stop, err)
			}
		})
		second := &peer{stock: s}
		inBazaar(t, into, []*peer{second}, func(m *bazaar) {
			t := m.t
			links, _, err := m.fetch(t.Context())
			must(t, err)
			m.same(links, s, stockHeight)
			// What was on its way when it ended comes again.
			if again := first.chunks.Load() + second.chunks.Load() - total; again > fetch.Window {
				t.Errorf("stopped at chunk %d: %d were fetched again", stop, again)
			}
		})
	}
}

func mustAt(t testing.TB, s *stock, height uint64) *snapshot.Snapshot {
	t.Helper()
	found, err := SnapshotDir(s.dir).At(height)
	must(t, err)
	return found
}

// TestDownloadOnABrokenDisk breaks every single change to the file system: an error
// ends the download, or a crash does, and what can be opened afterwards is whole; the
// next run fetches what is not there and no more.
func TestDownloadOnABrokenDisk(t *testing.T) {
	s := &stock{dir: t.TempDir(), headers: map[uint64]chain.Header{}}
	whole := s.add(t, testGenesis(), stockHeight, 200)
	manifest, chunks := whole.Manifest.Append(nil), len(whole.Manifest.Chunks)
	if chunks != 2 {
		t.Fatalf("%d chunks, want 2", chunks)
	}
	run := func(disk *faultfs.FS) (served int, err error) {
		p := &peer{stock: s}
		inBazaar(t, "/data", []*peer{p}, func(m *bazaar) {
			d := m.download()
			d.dir = &snapshot.Dir{Path: SnapshotDir(m.into).Path, FS: disk}
			_, err = d.run(m.t.Context())
		})
		return int(p.chunks.Load()), err
	}
	good := faultfs.New()
	if served, err := run(good); err != nil || served != chunks || good.Ops() < 10 {
		t.Fatalf("%d chunks, %d changes: %v", served, good.Ops(), err)
	}
	broken := 0
	for op := 1; op <= good.Ops(); op++ {
		for _, fault := range []faultfs.Fault{faultfs.Fail, faultfs.FailPersisted, faultfs.Crash, faultfs.CrashShort} {
			for _, loss := range []faultfs.Loss{faultfs.LoseAll, faultfs.KeepAll, faultfs.Torn(uint64(op))} {
				name := fmt.Sprintf("change %d, %s, %s", op, fault, loss)
				disk := faultfs.New()
				disk.FailAt(op, fault)
				if _, err := run(disk); err != nil {
					broken++
				}
				disk.PowerLoss(loss)
				missing := missingFrom(t, name, &snapshot.Dir{Path: SnapshotDir("/data").Path, FS: disk}, manifest, chunks)
				if served, err := run(disk); err != nil || served != missing {
					t.Fatalf("%s: the next run fetched %d chunks, %d were missing: %v", name, served, missing, err)
				}
			}
		}
	}
	if broken == 0 {
		t.Error("no download was broken")
	}
}

// missingFrom is how many chunks of a snapshot are not in a directory. What can be
// opened there must be whole.
func missingFrom(t *testing.T, name string, d *snapshot.Dir, manifest []byte, chunks int) int {
	t.Helper()
	if list, err := d.List(); err == nil && len(list) > 0 {
		if i := list[0]; len(list) > 1 || i.Err != nil || i.Snapshot.Verify() != nil {
			t.Fatalf("%s: %d snapshots, the first %v", name, len(list), i.Err)
		}
		return 0
	}
	parts, err := d.Unfinished()
	if err != nil || len(parts) == 0 {
		return chunks
	}
	in, err := d.Receive(manifest)
	must(t, err)
	n := len(in.Missing())
	must(t, in.Close())
	return n
}

// TestDownloadOverBrokenConnections: every connection breaks after a few frames, and
// the download goes on over the next one.
func TestDownloadOverBrokenConnections(t *testing.T) {
	s := newStock(t)
	p := &peer{stock: s}
	inBazaar(t, t.TempDir(), []*peer{p}, func(m *bazaar) {
		t := m.t
		m.network.Fault = func(_, write int, toClient bool, frame []byte) []hosttest.Delivery {
			cut := toClient && write == 5
			if cut {
				frame = frame[:len(frame)/2]
			}
			return []hosttest.Delivery{{Bytes: frame, Cut: cut}}
		}
		links, d, err := m.fetch(t.Context())
		must(t, err)
		m.same(links, s, stockHeight)
		if got := d.plan.Sources()[0]; got.Dropped {
			t.Errorf("%+v", got)
		}
	})
}

// forged is a stock with one snapshot that is not what it says.
func forged(t *testing.T, make func(dir string, g *chain.Genesis, truth chain.Header)) *stock {
	t.Helper()
	g := testGenesis()
	s := &stock{dir: t.TempDir(), headers: map[uint64]chain.Header{}}
	make(s.dir, g, signedHeader(g, 2000, rootOf(t, values(2000, 10)), testKey))
	return s
}

// rewrite changes a snapshot's manifest in place, hash and all, and renames the
// directory as its new content wants.
func rewrite(t *testing.T, s *snapshot.Snapshot, change func(m *snapshot.Manifest)) {
	t.Helper()
	m := *s.Manifest
	m.Chunks = slices.Clone(m.Chunks)
	change(&m)
	must(t, os.WriteFile(filepath.Join(s.Path, snapshot.ManifestFile), m.Append(nil), 0o644))
	if s.Path != filepath.Join(filepath.Dir(s.Path), m.Name()) {
		must(t, os.Rename(s.Path, filepath.Join(filepath.Dir(s.Path), m.Name())))
	}
}

// replaceChunk puts another file in the place of chunk 0, and makes the manifest name
// it.
func replaceChunk(t *testing.T, s *snapshot.Snapshot, b []byte) {
	t.Helper()
	must(t, os.WriteFile(filepath.Join(s.Path, snapshot.ChunkFile(0)), b, 0o644))
	rewrite(t, s, func(m *snapshot.Manifest) {
		m.Chunks[0].Compressed, m.Chunks[0].Transfer = uint32(len(b)), sha256.Sum256(b)
	})
}

// bomb is a zstd frame of a few bytes that decompresses to a gigabyte: blocks that
// repeat a byte, 128 KiB each.
func bomb() []byte {
	b := []byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x50} // magic, no checksum, window of 1 MiB
	for range 8192 {
		b = append(b, 0x02, 0x00, 0x10, 0x00) // repeat, 128 KiB
	}
	return b
}

// TestHostileDownload: each lie of a source ends in its own error, which names the
// source; the state that comes out is that of the honest one.
func TestHostileDownload(t *testing.T) {
	honest := newStock(t)
	g := testGenesis()
	onChunk := func(change func(i uint32, b []byte) []byte) *peer {
		return &peer{stock: honest, lie: func(r fetch.Request, b []byte) ([]byte, error) {
			if r.Kind == fetch.File {
				return change(r.Index, b), nil
			}
			return b, nil
		}}
	}
	onManifest := func(change func(b []byte) []byte) *peer {
		return &peer{stock: honest, lie: func(r fetch.Request, b []byte) ([]byte, error) {
			if r.Kind == fetch.Manifest {
				return change(b), nil
			}
			return b, nil
		}}
	}
	onOffer := func(change func(o *fetch.Offer)) *peer {
		return &peer{stock: honest, offers: func(list []fetch.Offer) []fetch.Offer { change(&list[0]); return list }}
	}
	file := func(i int) []byte {
		b, err := mustAt(t, honest, stockHeight).ChunkBytes(i, nil)
		must(t, err)
		return b
	}
	false10 := values(1, 10)
	stranger := ed25519.NewKeyFromSeed([]byte(strings.Repeat("x", ed25519.SeedSize)))
	for _, c := range []struct {
		name string
		evil *peer
		want error
	}{
		{"flipped bit", onChunk(func(_ uint32, b []byte) []byte { b[9] ^= 1; return b }), fetch.ErrChunkHash},
		{"one byte less", onChunk(func(_ uint32, b []byte) []byte { return b[:len(b)-1] }), fetch.ErrChunkSize},
		{"bytes after the end", onChunk(func(_ uint32, b []byte) []byte { return append(b, 0) }), fetch.ErrChunkSize},
		{"swapped chunks", onChunk(func(i uint32, _ []byte) []byte { return file(int(i+1) % 5) }), nil},
		{"one chunk for all", onChunk(func(uint32, []byte) []byte { return file(0) }), nil},
		{"manifest cut short", onManifest(func(b []byte) []byte { return b[:len(b)-1] }), fetch.ErrManifest},
		{"manifest with a flipped bit", onManifest(func(b []byte) []byte { b[400] ^= 1; return b }), snapshot.ErrManifestHash},
		{"another manifest", onManifest(func([]byte) []byte {
			m := *mustAt(t, honest, stockHeight).Manifest
			m.Header = signedHeader(g, 999, chain.Hash{}, testKey)
			return m.Append(nil)
		}), fetch.ErrManifest},
		{"too large a manifest", onOffer(func(o *fetch.Offer) { o.ManifestBytes = fetch.MaxManifestBytes + 1 }), fetch.ErrOffers},
		{"lying about the size", onOffer(func(o *fetch.Offer) { o.Bytes = 1 }), fetch.ErrOffer},
		{"lying about the height", onOffer(func(o *fetch.Offer) { o.Block.Number = 5000 }), fetch.ErrOffer},
		{"no answer but garbage", &peer{stock: honest, offers: func(list []fetch.Offer) []fetch.Offer {
			return append(list, list...)
		}}, fetch.ErrOffers},
		{"header of another sequencer", &peer{stock: forged(t, func(dir string, g *chain.Genesis, truth chain.Header) {
			snap(t, dir, g, signedHeader(g, 2000, truth.StateRoot, stranger), values(2000, 10))
		})}, snapshot.ErrChain},
		{"signature over something else", &peer{stock: forged(t, func(dir string, g *chain.Genesis, truth chain.Header) {
			truth.Height++
			snap(t, dir, g, truth, values(2000, 10))
		})}, snapshot.ErrSignature},
		{"another chain's", &peer{stock: forged(t, func(dir string, g *chain.Genesis, truth chain.Header) {
			other := *g
			other.Time++
			snap(t, dir, &other, truth, values(2000, 10))
		})}, snapshot.ErrChain},
		{"false state under a true header", &peer{stock: forged(t, func(dir string, g *chain.Genesis, truth chain.Header) {
			snap(t, dir, g, truth, false10)
		})}, snapshot.ErrRoot},
		{"bomb", &peer{stock: forged(t, func(dir string, g *chain.Genesis, truth chain.Header) {
			replaceChunk(t, snap(t, dir, g, truth, values(2000, 10)), bomb())
		})}, snapshot.ErrBomb},
		{"not zstd", &peer{stock: forged(t, func(dir string, g *chain.Genesis, truth chain.Header) {
			replaceChunk(t, snap(t, dir, g, truth, values(2000, 10)), []byte("these bytes are their hash's"))
		})}, snapshot.ErrCompression},
		{"fewer keys than said", &peer{stock: forged(t, func(dir string, g *chain.Genesis, truth chain.Header) {
			rewrite(t, snap(t, dir, g, truth, values(2000, 10)), func(m *snapshot.Manifest) { m.Chunks[0].Entries++; m.Entries++ })
		})}, snapshot.ErrEntries},
		{"another first key", &peer{stock: forged(t, func(dir string, g *chain.Genesis, truth chain.Header) {
			rewrite(t, snap(t, dir, g, truth, values(2000, 10)), func(m *snapshot.Manifest) { m.Chunks[0].First[0]++ })
		})}, snapshot.ErrFirstPath},
		{"another content", &peer{stock: forged(t, func(dir string, g *chain.Genesis, truth chain.Header) {
			rewrite(t, snap(t, dir, g, truth, values(2000, 10)), func(m *snapshot.Manifest) { m.Chunks[0].Hash[0]++ })
		})}, snapshot.ErrChunkHash},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.evil.tip = 6000
			inBazaar(t, t.TempDir(), []*peer{c.evil, {stock: honest}}, func(m *bazaar) {
				t := m.t
				followed := m.download()
				followed.followed = -1 // the liar would not be followed
				links, err := followed.run(t.Context())
				must(t, err)
				m.same(links, honest, stockHeight)
				fates := followed.plan.Sources()
				switch liar := fates[0]; {
				case fates[1].Dropped:
					t.Errorf("the honest one was dropped: %v", fates[1].Err)
				case !liar.Dropped: // the honest one may have been faster
				case c.want != nil && !errors.Is(liar.Err, c.want):
					t.Errorf("dropped for %v, want %v", liar.Err, c.want)
				case !strings.Contains(liar.Err.Error(), "node0:9000") || !strings.Contains(m.log.String(), "node0:9000"):
					t.Errorf("nobody is named: %v\n%s", liar.Err, m.log.String())
				}
			})
			if c.want == nil {
				return
			}
			// Alone, it gets nobody anywhere.
			inBazaar(t, t.TempDir(), []*peer{c.evil}, func(m *bazaar) {
				t := m.t
				alone := m.download()
				alone.followed = -1
				if _, err := alone.run(t.Context()); !errors.Is(err, ErrVerification) || !errors.Is(err, ErrNoSnapshot) || !strings.Contains(err.Error(), c.want.Error()) {
					t.Errorf("alone: %v", err)
				}
				if left, _ := SnapshotDir(m.into).List(); len(left) != 0 {
					t.Errorf("left: %+v", left)
				}
			})
		})
	}
}

// TestDownloadFromADrip: a source that sends a byte now and then does not hold up
// the others; alone, it is given up after a while, and what came is kept.
func TestDownloadFromADrip(t *testing.T) {
	s := newStock(t)
	drip := func(m *bazaar, who string) {
		m.network.Fault = func(conn, write int, toClient bool, frame []byte) []hosttest.Delivery {
			if !toClient || len(frame) < 100_000 || conn%len(m.names) != 0 && who == "one" {
				return []hosttest.Delivery{{Bytes: frame}}
			}
			var slow []hosttest.Delivery
			for i := 0; i < len(frame); i += 1000 {
				slow = append(slow, hosttest.Delivery{Bytes: frame[i:min(i+1000, len(frame))], After: time.Minute})
			}
			return slow
		}
	}
	inBazaar(t, t.TempDir(), []*peer{{stock: s}, {stock: s}}, func(m *bazaar) {
		t := m.t
		drip(m, "one")
		start := time.Now()
		links, _, err := m.fetch(t.Context())
		must(t, err)
		m.same(links, s, stockHeight)
		if took := time.Since(start); took > time.Minute {
			t.Errorf("it took %s", took)
		}
	})
	inBazaar(t, t.TempDir(), []*peer{{stock: s}}, func(m *bazaar) {
		t := m.t
		drip(m, "all")
		start := time.Now()
		_, _, err := m.fetch(t.Context())
		if took := time.Since(start); !errors.Is(err, ErrUnreachable) || took < stallPatience || took > 2*stallPatience {
			t.Errorf("after %s: %v", took, err)
		}
	})
}

// TestDownloadsAtOnce: two into one directory are refused, by name.
func TestDownloadsAtOnce(t *testing.T) {
	s := newStock(t)
	p := &peer{stock: s}
	inBazaar(t, t.TempDir(), []*peer{p}, func(m *bazaar) {
		t := m.t
		var once sync.Once
		p.lie = func(_ fetch.Request, b []byte) ([]byte, error) {
			once.Do(func() {
				if _, _, err := m.fetch(t.Context()); !errors.Is(err, ErrFetching) {
					t.Errorf("the second: %v", err)
				}
			})
			return b, nil
		}
		links, _, err := m.fetch(t.Context())
		must(t, err)
		m.same(links, s, stockHeight)
	})
}

// TestDownloadWithoutRoom: too little space is found before chunks are fetched, and a
// smaller snapshot may fit.
func TestDownloadWithoutRoom(t *testing.T) {
	s := newStock(t)
	small := s.add(t, testGenesis(), 500, 10)
	inBazaar(t, t.TempDir(), []*peer{{stock: s}}, func(m *bazaar) {
		t := m.t
		m.free = spareBytes + small.Manifest.CompressedBytes()
		links, _, err := m.fetch(t.Context())
		must(t, err)
		m.same(links, s, 500)
	})
	p := &peer{stock: s}
	inBazaar(t, t.TempDir(), []*peer{p}, func(m *bazaar) {
		t := m.t
		m.free = spareBytes
		if _, _, err := m.fetch(t.Context()); !errors.Is(err, ErrNoSpace) || !errors.Is(err, ErrNoSnapshot) {
			t.Error(err)
		}
		if p.chunks.Load() != 0 {
			t.Error("chunks were fetched")
		}
	})
}

// TestDownloadOffTheChain: a snapshot whose block the node to follow does not have is
// of no use, whoever signed it; an older one is taken.
func TestDownloadOffTheChain(t *testing.T) {
	s, other := newStock(t), newStock(t)
	g := testGenesis()
	s.headers[2000], s.headers[2001] = signedHeader(g, 2000, chain.Hash{1}, testKey), signedHeader(g, 2001, chain.Hash{1}, testKey)
	other.add(t, g, 2000, 10)
	other.add(t, g, 3000, 10)
	inBazaar(t, t.TempDir(), []*peer{{stock: s, tip: 3000}, {stock: other, tip: 3000}}, func(m *bazaar) {
		t := m.t
		links, d, err := m.fetch(t.Context())
		must(t, err)
		m.same(links, s, stockHeight)
		if len(d.refusals) != 2 || !errors.Is(d.refusals[0], ErrFork) || !errors.Is(d.refusals[1], ErrFork) {
			t.Errorf("refused %v", d.refusals)
		}
		for _, f := range d.plan.Sources() {
			if f.Dropped {
				t.Errorf("%+v", f)
			}
		}
	})
}

// TestDownloadMendsTheDisk: damage that this disk did to what was fetched before is
// mended by fetching again, and nobody is blamed.
func TestDownloadMendsTheDisk(t *testing.T) {
	s := newStock(t)
	into := t.TempDir()
	inBazaar(t, into, []*peer{{stock: s}}, func(m *bazaar) {
		t := m.t
		_, _, err := m.fetch(t.Context())
		must(t, err)
		spoil(t, into, stockHeight)
		links, d, err := m.fetch(t.Context())
		must(t, err)
		m.same(links, s, stockHeight)
		if got := d.plan.Sources()[0]; got.Dropped {
			t.Errorf("%+v", got)
		}
	})
}

// TestDownloadUnreachable: where nobody answers, there is an end.
func TestDownloadUnreachable(t *testing.T) {
	inBazaar(t, t.TempDir(), nil, func(m *bazaar) {
		t := m.t
		m.names = []string{"tcp://nobody:1", "tcp://nobody:2"}
		start := time.Now()
		_, _, err := m.fetch(t.Context())
		if !errors.Is(err, ErrUnreachable) || !strings.Contains(err.Error(), "nobody:2") || time.Since(start) > 2*settlePatience {
			t.Errorf("after %s: %v", time.Since(start), err)
		}
	})
}

// TestDownloadOverAnOutage: the only source goes away in the middle, for less than
// patience lasts, and what arrived before is not fetched again.
func TestDownloadOverAnOutage(t *testing.T) {
	s := newStock(t)
	p := &peer{stock: s}
	inBazaar(t, t.TempDir(), []*peer{p}, func(m *bazaar) {
		t := m.t
		back := make(chan *wire.Server, 1)
		var once sync.Once
		p.lie = func(_ fetch.Request, b []byte) ([]byte, error) {
			if p.chunks.Load() == 4 {
				once.Do(func() { go m.outage(p, back) })
			}
			return b, nil
		}
		start := time.Now()
		links, _, err := m.fetch(t.Context())
		must(t, err)
		m.same(links, s, stockHeight)
		if took := time.Since(start); took < stallPatience/2 || took > stallPatience {
			t.Errorf("it took %s", took)
		}
		if again := p.chunks.Load() - int64(len(links[0].Manifest.Chunks)); again > fetch.Window {
			t.Errorf("%d chunks were fetched again", again)
		}
		must(t, (<-back).Close())
	})
}

// outage closes the only server and starts another one later.
func (m *bazaar) outage(p *peer, back chan<- *wire.Server) {
	_ = m.servers[0].Close() // the test closes it again, and looks
	<-time.After(stallPatience / 2)
	g := testGenesis()
	s := wire.NewServer(p, wire.Identity{ChainID: g.ChainID, Genesis: g.Hash(), Module: g.ModuleHash, Role: wire.RoleReader}, wire.Limits{SnapshotBytesPerSecond: -1}, quiet())
	go s.Serve(m.network.Listen("node0:9000"))
	back <- s
}

// TestDownloadFromTheSilent: a source that does not say what it has is not one that
// has nothing.
func TestDownloadFromTheSilent(t *testing.T) {
	p := &peer{stock: newStock(t)}
	inBazaar(t, t.TempDir(), []*peer{p}, func(m *bazaar) {
		t := m.t
		m.network.Fault = func(_, write int, toClient bool, frame []byte) []hosttest.Delivery {
			if toClient && write > 0 {
				return nil
			}
			return []hosttest.Delivery{{Bytes: frame}}
		}
		_, d, err := m.fetch(t.Context())
		if !errors.Is(err, ErrNoSnapshot) || d.noneAtAll() || !strings.Contains(err.Error(), "did not say what it has") {
			t.Errorf("%v, none at all: %v", err, d.noneAtAll())
		}
	})
}

// TestDownloadMemory: what is in memory while a snapshot is fetched and checked does
// not grow with it: chunks on their way, and nothing else.
func TestDownloadMemory(t *testing.T) {
	// What a collection found alive: what servers and network leave behind while it is
	// read is nobody's memory.
	liveBytes := func() uint64 {
		runtime.GC()
		live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
		metrics.Read(live)
		return live[0].Value.Uint64()
	}
	const limit = 64 << 20
	s := &stock{dir: t.TempDir(), headers: map[uint64]chain.Header{}}
	s.add(t, testGenesis(), stockHeight, 4_000) // 32 MiB
	var peers []*peer
	var peak atomic.Uint64
	before := liveBytes()
	for range fetch.MaxSources {
		p := &peer{stock: s}
		p.lie = func(r fetch.Request, b []byte) ([]byte, error) {
			if r.Index%8 == 0 {
				now := liveBytes()
				peak.Store(max(peak.Load(), now-min(now, before)))
			}
			return b, nil
		}
		peers = append(peers, p)
	}
	inBazaar(t, t.TempDir(), peers, func(m *bazaar) {
		t := m.t
		links, _, err := m.fetch(t.Context())
		must(t, err)
		m.same(links, s, stockHeight)
	})
	t.Logf("peak of %d MiB, servers and network included", peak.Load()>>20)
	if peak.Load() > limit {
		t.Errorf("%d MiB at the peak, limit %d", peak.Load()>>20, limit>>20)
	}
}
