package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/kaizenchain/kaizen/host/node"
	"github.com/kaizenchain/kaizen/snapshot"
)

// bootstraps measures a read node that begins with another's snapshot: from an
// empty directory to where it serves the block that was the newest when it began.
// The limit is the same files over a bare connection to the disk, and the state
// restored from there, one after the other.
func (b *bench) bootstraps() error {
	return b.onCopy("source", func(_ *testChain, dir string, deps node.Deps) error {
		s, err := b.snapshotOf(dir, deps)
		if err != nil {
			return err
		}
		return b.bootstrapsFrom(dir, s)
	})
}

func (b *bench) bootstrapsFrom(dir string, s *snapshot.Snapshot) (err error) {
	w, err := startWriter(b.here(dir), b.log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.stop()) }()
	rounds, err := b.repeat(func() (float64, error) { return b.transferAndRestore(s) }, func() (float64, error) { return b.bootstrapOnce(w) })
	if err != nil {
		return err
	}
	size := float64(s.Manifest.CompressedBytes()) / 1e6
	b.add(rated("bootstrap", "empty directory to serving the newest block, from a snapshot", "ms", "bare transfer of the files, and restore", "ms", rounds).
		noted(fmt.Sprintf("%d accounts, %.1f MB in %d files from a write node on the same processors; start of the node included", b.accounts, size, len(s.Manifest.Chunks))),
		plain("bootstrap", "bytes that are transferred", "MB", size))
	return nil
}

// bootstrapOnce is the time of one, ms.
func (b *bench) bootstrapOnce(w *writer) (float64, error) {
	dir := filepath.Join(b.temp, "bootstrapped")
	_, sync := w.Addrs()
	start, head := time.Now(), w.Head().Height
	r, err := startBootstrap(setup{Dir: dir, Cache: b.cacheDir(), Follow: sync}, b.log)
	if err != nil {
		return 0, err
	}
	err = r.WaitFor(b.ctx, head)
	took := time.Since(start)
	return milliseconds(took), errors.Join(err, r.stop(), os.RemoveAll(dir))
}

// transferAndRestore is the limit, ms: the chunk files through a TCP connection into
// files that are synced, and then the snapshot restored.
func (b *bench) transferAndRestore(s *snapshot.Snapshot) (float64, error) {
	start := time.Now()
	into := filepath.Join(b.temp, "transferred")
	if err := os.Mkdir(into, 0o755); err != nil {
		return 0, err
	}
	if err := transfer(s, into); err != nil {
		return 0, err
	}
	if _, _, err := s.Restore(); err != nil {
		return 0, err
	}
	took := time.Since(start)
	return milliseconds(took), os.RemoveAll(into)
}

// transfer copies the files of a snapshot over a loopback connection.
func transfer(s *snapshot.Snapshot, into string) (err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer l.Close()
	sent := make(chan error, 1)
	go func() { sent <- sendFiles(l, s) }()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		return err
	}
	defer conn.Close()
	for i := range s.Manifest.Chunks {
		if err := receiveFile(conn, filepath.Join(into, snapshot.ChunkFile(i)), int64(s.Manifest.Chunks[i].Compressed)); err != nil {
			return err
		}
	}
	return <-sent
}

func sendFiles(l net.Listener, s *snapshot.Snapshot) error {
	conn, err := l.Accept()
	if err != nil {
		return err
	}
	defer conn.Close()
	for i := range s.Manifest.Chunks {
		b, err := os.ReadFile(filepath.Join(s.Path, snapshot.ChunkFile(i)))
		if err != nil {
			return err
		}
		if _, err := conn.Write(b); err != nil {
			return err
		}
	}
	return nil
}

func receiveFile(conn net.Conn, name string, n int64) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	_, err = io.CopyN(f, conn, n)
	return errors.Join(err, f.Sync(), f.Close())
}
