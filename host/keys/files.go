package keys

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/secp"
)

// Errors of files and directories of keys.
var (
	ErrPermissions = errors.New("private key file is open to others")
	ErrNoKey       = errors.New("no such key")
	ErrExists      = errors.New("key is already there")
)

// privateFile and privateDir are the only permissions a secret is written with.
const privateFile, privateDir = 0o600, 0o700

// ReadHexFile reads a file with one private key as 64 hex digits. It refuses a
// file that anybody but its owner may read.
func ReadHexFile(path string) (*secp.Key, error) {
	b, err := readPrivate(path)
	if err != nil {
		return nil, err
	}
	key, err := secp.ParseKey(string(b))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return key, nil
}

// WriteHexFile writes what [ReadHexFile] reads. It never overwrites.
func WriteHexFile(path string, key *secp.Key) error {
	return writeNew(path, []byte(hex.EncodeToString(key.Bytes())+"\n"))
}

// ReadSecret reads a file with a password: its first line. It refuses a file
// that anybody but its owner may read.
func ReadSecret(path string) (string, error) {
	b, err := readPrivate(path)
	if err != nil {
		return "", err
	}
	line, _, _ := strings.Cut(string(b), "\n")
	return strings.TrimSuffix(line, "\r"), nil
}

func readPrivate(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	switch {
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s: not a regular file", path)
	case info.Mode().Perm()&0o077 != 0:
		return nil, fmt.Errorf("%w: %s has mode %#o, want 0600 (chmod 600 %[2]s)", ErrPermissions, path, info.Mode().Perm())
	case info.Size() > maxFileBytes:
		return nil, fmt.Errorf("%s: %d bytes, limit %d", path, info.Size(), maxFileBytes)
	}
	return os.ReadFile(path)
}

// writeNew makes a file that is complete or absent and that was not there before.
// When it returns, the file outlasts a power cut: somebody may send money to its
// account at once.
func writeNew(path string, b []byte) error {
	tmp, err := writeBeside(path, b)
	if err != nil {
		return err
	}
	defer os.Remove(tmp)
	// Link, unlike rename, fails if the name is taken.
	if err := os.Link(tmp, path); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("%w: %s", ErrExists, path)
		}
		return err
	}
	return syncDir(filepath.Dir(path))
}

// replace puts b where a file is, whole or not at all.
func replace(path string, b []byte) error {
	tmp, err := writeBeside(path, b)
	if err != nil {
		return err
	}
	if err := os.Rename(tmp, path); err != nil {
		return errors.Join(err, os.Remove(tmp))
	}
	return syncDir(filepath.Dir(path))
}

// syncDir makes the names in a directory durable.
func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// writeBeside writes a private file in the directory of path, durably, and returns
// its name.
func writeBeside(path string, b []byte) (string, error) {
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return "", err
	}
	_, err = tmp.Write(b)
	if err = errors.Join(err, tmp.Chmod(privateFile), tmp.Sync(), tmp.Close()); err != nil {
		return "", errors.Join(fmt.Errorf("write %s: %w", path, err), os.Remove(tmp.Name()))
	}
	return tmp.Name(), nil
}

// Dir is a directory of version 3 files, one key each, as geth lays it out.
type Dir string

// Entry is one file of a [Dir].
type Entry struct {
	Address chain.Address `json:"address"`
	Path    string        `json:"path"`
}

// List returns the keys of the directory by file name. Files that are no key
// files are passed over; a directory that does not exist has no keys.
func (d Dir) List() ([]Entry, error) {
	names, err := os.ReadDir(string(d))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var entries []Entry
	for _, n := range names {
		path := filepath.Join(string(d), n.Name())
		if info, err := n.Info(); err != nil || !info.Mode().IsRegular() || info.Size() > maxFileBytes {
			continue
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		if a, err := AddressOf(b); err == nil {
			entries = append(entries, Entry{a, path})
		}
	}
	return entries, nil
}

// Find returns the entry of an address.
func (d Dir) Find(a chain.Address) (Entry, error) {
	entries, err := d.List()
	if err != nil {
		return Entry{}, err
	}
	i := slices.IndexFunc(entries, func(e Entry) bool { return e.Address == a })
	if i < 0 {
		return Entry{}, fmt.Errorf("%w: %s in %s", ErrNoKey, a, d)
	}
	return entries[i], nil
}

// Store seals key into a new file of the directory, which it makes if needed,
// and opens the result once before it says that the key is safe.
func (d Dir) Store(key *secp.Key, password string, cost Cost) (Entry, error) {
	e := Entry{Address: key.Address()}
	if old, err := d.Find(e.Address); err == nil {
		return old, fmt.Errorf("%w: %s in %s", ErrExists, e.Address, old.Path)
	} else if !errors.Is(err, ErrNoKey) {
		return e, err
	}
	b, err := seal(key, password, cost)
	if err != nil {
		return e, err
	}
	if err := os.MkdirAll(string(d), privateDir); err != nil {
		return e, err
	}
	if err := syncDir(filepath.Dir(string(d))); err != nil {
		return e, err
	}
	e.Path = filepath.Join(string(d), fileName(time.Now(), e.Address))
	return e, writeNew(e.Path, b)
}

// seal encrypts key, and opens what came of it once: a file that cannot be opened
// would be found out when the key is needed.
func seal(key *secp.Key, password string, cost Cost) ([]byte, error) {
	b, err := Encrypt(key, password, cost)
	if err != nil {
		return nil, err
	}
	if _, err := Decrypt(b, password); err != nil {
		return nil, fmt.Errorf("check of the new file: %w", err)
	}
	return b, nil
}

// ChangePassword seals the key of an address under another password. The file
// keeps its name; a crash leaves the old one or the new one.
func (d Dir) ChangePassword(a chain.Address, old, password string, cost Cost) (Entry, error) {
	e, err := d.Find(a)
	if err != nil {
		return e, err
	}
	key, err := Load(e.Path, old)
	if err != nil {
		return e, err
	}
	b, err := seal(key, password, cost)
	if err != nil {
		return e, err
	}
	return e, replace(e.Path, b)
}

// fileName is geth's: sortable by the time of creation.
func fileName(now time.Time, a chain.Address) string {
	return fmt.Sprintf("UTC--%s--%x", now.UTC().Format("2006-01-02T15-04-05.000000000Z"), a[:])
}

// Load opens one file.
func Load(path, password string) (*secp.Key, error) {
	b, err := readPrivate(path)
	if err != nil {
		return nil, err
	}
	key, err := Decrypt(b, password)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return key, nil
}
