package relay

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/stf-modules/abi"
)

// fileVersion is the version of the frame around both files. STATE.md shows every
// byte.
const fileVersion uint16 = 1

// fileMagic opens both files.
const fileMagic = "KZSE"

// Names in the data directory.
const (
	stateName    = "state"
	inFlightName = "in-flight"
	lockName     = "lock"
)

// maxFileBytes bounds a file, bytes: 100,000 theses take 9 MB.
const maxFileBytes = 256 << 20

// errFile is wrapped when a file is not what was written.
var errFile = errors.New("damaged settler file")

// identity is the chain that files, stream and node must agree on.
type identity struct {
	chainID   uint64
	genesis   chain.Hash
	module    chain.Hash
	sequencer [32]byte
}

// disk is a settler's data directory, locked while it is open.
type disk struct {
	dir  string
	lock *os.File
}

func openDisk(dir string) (*disk, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("settler data directory: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("settler data directory: %w", err)
	}
	if err := lockFile(f); err != nil {
		return nil, errors.Join(fmt.Errorf("%w: %s: %w", ErrInUse, dir, err), f.Close())
	}
	return &disk{dir, f}, nil
}

func (d *disk) close() error { return d.lock.Close() }

// frame is a file's bytes: which chain, what, and a checksum over all of it.
func frame(id *identity, body []byte) []byte {
	b := append(make([]byte, 0, len(body)+100), fileMagic...)
	b = abi.AppendU64(abi.AppendU16(b, fileVersion), id.chainID)
	b = abi.AppendBytes(append(b, id.genesis[:]...), body)
	sum := sha256.Sum256(b)
	return append(b, sum[:]...)
}

// unframe returns what is in a file of the chain; nothing if it is of another.
func unframe(id *identity, b []byte) (body []byte, ours bool, err error) {
	if len(b) < sha256.Size {
		return nil, false, fmt.Errorf("%w: %d bytes", errFile, len(b))
	}
	framed := b[:len(b)-sha256.Size]
	if sum := sha256.Sum256(framed); string(sum[:]) != string(b[len(framed):]) {
		return nil, false, fmt.Errorf("%w: checksum", errFile)
	}
	r := abi.NewReader(framed)
	magic, version := string(r.Take(len(fileMagic))), r.U16()
	if magic != fileMagic || version != fileVersion {
		return nil, false, fmt.Errorf("%w: magic %q, version %d, this program reads %q, %d", errFile, magic, version, fileMagic, fileVersion)
	}
	ours = r.U64() == id.chainID
	ours = r.Bytes32() == id.genesis && ours
	body = r.Bytes(maxFileBytes)
	if !r.Done() {
		return nil, false, fmt.Errorf("%w: length", errFile)
	}
	return body, ours, nil
}

// write replaces a file: whatever happens, afterwards there is the old one or the
// new one, whole, and once it returns, the new one.
func (d *disk) write(name string, b []byte) error {
	path := filepath.Join(d.dir, name)
	f, err := os.OpenFile(path+".new", os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("save settler %s: %w", name, err)
	}
	_, err = f.Write(b)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err == nil {
		err = syncDir(d.dir)
	}
	if err != nil {
		return fmt.Errorf("save settler %s: %w", name, err)
	}
	return nil
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// read returns a file, nil if there is none.
func (d *disk) read(name string) ([]byte, error) {
	path := filepath.Join(d.dir, name)
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil && info.Size() > maxFileBytes {
		return nil, fmt.Errorf("%w: %s has %d bytes, limit %d", errFile, path, info.Size(), maxFileBytes)
	}
	if err != nil {
		return nil, fmt.Errorf("read settler %s: %w", name, err)
	}
	return os.ReadFile(path)
}
