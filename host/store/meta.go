package store

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/store/vfs"
)

// Meta is meta.db: small things that change in transactions. bbolt's own pages
// have no checksums, so every value has one over its bucket, key and itself, and
// one more covers all of them together: an entry that is lost, too, is found.
type Meta struct {
	db    *bbolt.DB
	store *Store // whose failure it shares
}

// Buckets and keys.
var (
	metaBucket   = []byte("meta")
	tipsBucket   = []byte("tips")
	hashesBucket = []byte("hashes")

	identityKey = []byte("identity")
	digestKey   = []byte("digest")
	cursorsKey  = []byte("cursors")
)

var metaBuckets = [][]byte{metaBucket, tipsBucket, hashesBucket}

const (
	identityBytes = 2 + 32 + 32
	// maxMetaBytes bounds meta.db, bytes.
	maxMetaBytes = 1 << 30
	// metaLockTimeout is how long a reader waits for a node to let go of meta.db.
	metaLockTimeout = 10 * time.Millisecond
)

// metaOptions: the freelist is not stored. It can always be found by reading the
// tree, which is small; leaving it out saves a page a commit, and one more page
// that damage could hide in.
func metaOptions(readOnly bool) *bbolt.Options {
	return &bbolt.Options{NoFreelistSync: true, FreelistType: bbolt.FreelistMapType, ReadOnly: readOnly, Timeout: metaLockTimeout, MaxSize: maxMetaBytes}
}

// createMeta makes a new meta.db by way of a temporary file.
func createMeta(dir string, g *chain.Genesis) error {
	name := filepath.Join(dir, metaFile)
	if err := os.Remove(name + tmpSuffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	db, err := bbolt.Open(name+tmpSuffix, 0o644, metaOptions(false))
	if err != nil {
		return fmt.Errorf("create %s: %w", metaFile, err)
	}
	hash := g.Hash()
	identity := le.AppendUint16(nil, FormatVersion)
	identity = append(append(identity, hash[:]...), g.ModuleHash[:]...)
	err = db.Update(func(tx *bbolt.Tx) error {
		for _, name := range metaBuckets {
			if _, err := tx.CreateBucket(name); err != nil {
				return err
			}
		}
		t := &metaTx{tx: tx}
		if err := t.put(metaBucket, identityKey, identity); err != nil {
			return err
		}
		return t.writeDigest()
	})
	if err := errors.Join(err, db.Close()); err != nil {
		return fmt.Errorf("create %s: %w", metaFile, err)
	}
	return os.Rename(name+tmpSuffix, name)
}

// openMeta opens meta.db. A store on another file system has none, and a reader
// beside a running node cannot have it.
func (s *Store) openMeta() error {
	if s.opts.FS != (vfs.OS{}) {
		return nil
	}
	m, err := s.loadMeta()
	if errors.Is(err, berrors.ErrTimeout) && s.opts.ReadOnly {
		return nil // the node has it
	}
	s.meta = m
	return err
}

func (s *Store) loadMeta() (*Meta, error) {
	name := filepath.Join(s.dir, metaFile)
	if _, err := os.Stat(name); err != nil {
		return nil, corrupt(metaFile, -1, NoHeight, "%v", err)
	}
	m := &Meta{store: s}
	err := guard(func() (err error) {
		if m.db, err = bbolt.Open(name, 0o644, metaOptions(s.opts.ReadOnly)); err != nil {
			return err
		}
		return m.db.View(func(tx *bbolt.Tx) error { return checkIdentity(&metaTx{tx: tx}, s.genesis) })
	})
	if err == nil {
		// What the older root shows is what a crash before the last transaction would
		// have left, so a node may go on with it. Check reports it.
		if err := m.checkRoots(); err != nil {
			s.opts.Log("%v", err)
		}
		return m, nil
	}
	if m.db != nil {
		err = errors.Join(err, m.db.Close())
	}
	if errors.Is(err, berrors.ErrTimeout) || errors.Is(err, ErrGenesis) || errors.Is(err, ErrVersion) {
		return nil, err
	}
	return nil, corrupt(metaFile, -1, NoHeight, "%v", err)
}

// guard turns what bbolt does on a damaged file, which is to panic or to read
// outside its map, into an error.
func guard(fn func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("bbolt: %v", r)
		}
	}()
	return fn()
}

func checkIdentity(t *metaTx, g *chain.Genesis) error {
	v, err := t.get(metaBucket, identityKey)
	if err != nil {
		return err
	}
	if len(v) != identityBytes {
		return fmt.Errorf("identity is %d bytes, want %d", len(v), identityBytes)
	}
	genesis, module := chain.Hash(v[2:34]), chain.Hash(v[34:])
	switch {
	case le.Uint16(v) != FormatVersion:
		return fmt.Errorf("%w: %s has version %d, this program reads %d", ErrVersion, metaFile, le.Uint16(v), FormatVersion)
	case genesis != g.Hash() || module != g.ModuleHash:
		return fmt.Errorf("%w: %s has genesis %s and module %s, want %s and %s", ErrGenesis, metaFile, genesis, module, g.Hash(), g.ModuleHash)
	}
	return nil
}

func (m *Meta) close() error { return m.db.Close() }

// view reads, and update writes, in one transaction.
func (m *Meta) view(fn func(*metaTx) error) error {
	return guard(func() error {
		return m.db.View(func(tx *bbolt.Tx) error { return fn(&metaTx{tx: tx}) })
	})
}

func (m *Meta) update(fn func(*metaTx) error) error {
	return guard(func() error {
		return m.db.Update(func(tx *bbolt.Tx) error {
			t := &metaTx{tx: tx}
			if err := t.readDigest(); err != nil {
				return err
			}
			if err := fn(t); err != nil {
				return err
			}
			return t.writeDigest()
		})
	})
}

// metaTx is a transaction on meta.db.
type metaTx struct {
	tx     *bbolt.Tx
	digest [32]byte // XOR of the hashes of all entries but itself
}

func metaSum(bucket, key, value []byte) uint32 {
	return checksum(bytes.Join([][]byte{bucket, key, value}, []byte{0}))
}

func (t *metaTx) toggle(bucket, key, sealed []byte) {
	h := sha256.Sum256(bytes.Join([][]byte{bucket, key, sealed}, []byte{0}))
	for i := range h {
		t.digest[i] ^= h[i]
	}
}

// unseal checks a stored value and returns what was put.
func unseal(bucket, key, sealed []byte) ([]byte, error) {
	if len(sealed) < 4 {
		return nil, corrupt(metaFile, -1, NoHeight, "%s/%x has a value of %d bytes", bucket, key, len(sealed))
	}
	v := sealed[:len(sealed)-4]
	if le.Uint32(sealed[len(v):]) != metaSum(bucket, key, v) {
		return nil, corrupt(metaFile, -1, NoHeight, "%s/%x does not match its checksum", bucket, key)
	}
	return v, nil
}

func (t *metaTx) bucket(name []byte) (*bbolt.Bucket, error) {
	b := t.tx.Bucket(name)
	if b == nil {
		return nil, corrupt(metaFile, -1, NoHeight, "bucket %s is missing", name)
	}
	return b, nil
}

// get returns a value, valid until the transaction ends; nil if there is none.
func (t *metaTx) get(bucket, key []byte) ([]byte, error) {
	b, err := t.bucket(bucket)
	if err != nil {
		return nil, err
	}
	sealed := b.Get(key)
	if sealed == nil {
		return nil, nil
	}
	return unseal(bucket, key, sealed)
}

func (t *metaTx) put(bucket, key, value []byte) error {
	b, err := t.bucket(bucket)
	if err != nil {
		return err
	}
	if old := b.Get(key); old != nil {
		t.toggle(bucket, key, old)
	}
	sealed := le.AppendUint32(bytes.Clone(value), metaSum(bucket, key, value))
	t.toggle(bucket, key, sealed)
	return b.Put(key, sealed)
}

func (t *metaTx) delete(bucket, key []byte) error {
	b, err := t.bucket(bucket)
	if err != nil {
		return err
	}
	old := b.Get(key)
	if old == nil {
		return nil
	}
	t.toggle(bucket, key, old)
	return b.Delete(key)
}

// keys lists the keys of a bucket, ascending, for which keep is true.
func (t *metaTx) keys(bucket []byte, keep func(key []byte) bool) (keys [][]byte, err error) {
	b, err := t.bucket(bucket)
	if err != nil {
		return nil, err
	}
	return keys, b.ForEach(func(k, _ []byte) error {
		if keep(k) {
			keys = append(keys, bytes.Clone(k))
		}
		return nil
	})
}

func (t *metaTx) readDigest() error {
	v, err := t.get(metaBucket, digestKey)
	if err == nil && len(v) != len(t.digest) {
		err = corrupt(metaFile, -1, NoHeight, "digest is %d bytes, want %d", len(v), len(t.digest))
	}
	copy(t.digest[:], v)
	return err
}

func (t *metaTx) writeDigest() error {
	b, err := t.bucket(metaBucket)
	if err != nil {
		return err
	}
	return b.Put(digestKey, le.AppendUint32(bytes.Clone(t.digest[:]), metaSum(metaBucket, digestKey, t.digest[:])))
}

// bbolt keeps two root pages, and falls back to the older one, a transaction back,
// when the newer does not match its checksum. After a crash both match: a root is
// less than a sector.
const (
	rootHeaderBytes = 16 // of the page, before the root in it
	rootBytes       = 56 // of the root, before its checksum
)

// checkRoots compares both root pages with their checksums.
func (m *Meta) checkRoots() error {
	f, err := os.Open(m.db.Path())
	if err != nil {
		return err
	}
	defer f.Close()
	for i := range 2 {
		var b [rootHeaderBytes + rootBytes + 8]byte
		at := int64(i * m.db.Info().PageSize)
		if _, err := f.ReadAt(b[:], at); err != nil {
			return fmt.Errorf("read %s at %d: %w", metaFile, at, err)
		}
		h := fnv.New64a()
		h.Write(b[rootHeaderBytes : rootHeaderBytes+rootBytes])
		if binary.NativeEndian.Uint64(b[rootHeaderBytes+rootBytes:]) != h.Sum64() {
			return corrupt(metaFile, at, NoHeight, "root page does not match its checksum")
		}
	}
	return nil
}

// check reads every entry, compares the digest, and has bbolt check its pages.
func (m *Meta) check() error {
	if err := m.checkRoots(); err != nil {
		return err
	}
	return m.view(func(t *metaTx) error {
		if err := t.readDigest(); err != nil {
			return err
		}
		for _, name := range metaBuckets {
			if err := t.checkBucket(name); err != nil {
				return err
			}
		}
		if t.digest != ([32]byte{}) {
			return corrupt(metaFile, -1, NoHeight, "entries do not match their digest")
		}
		var first error
		for err := range t.tx.Check() {
			if first == nil {
				first = corrupt(metaFile, -1, NoHeight, "%v", err)
			}
		}
		return first
	})
}

// checkBucket takes every entry out of the digest, which must end up empty.
func (t *metaTx) checkBucket(name []byte) error {
	b, err := t.bucket(name)
	if err != nil {
		return err
	}
	return b.ForEach(func(k, sealed []byte) error {
		if _, err := unseal(name, k, sealed); err != nil {
			return err
		}
		if !bytes.Equal(name, metaBucket) || !bytes.Equal(k, digestKey) {
			t.toggle(name, k, sealed)
		}
		return nil
	})
}
