package wasm

import (
	"encoding/binary"
	"errors"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"
)

// sealed is an image in an anonymous file that nobody can write any more. Every
// memory maps it privately: a page costs memory only once it is written, and
// dropping the written pages puts the image back.
type sealed struct {
	fd    int
	size  uintptr
	image []byte // the file, to read from
	// pages is the kernel's file about this process's pages, which says what was
	// written; -1: there is none, or it is not believed.
	pages int
}

// newBacking makes a backing of img.
func newBacking(img []byte) (backing, error) {
	fd, err := unix.MemfdCreate("kaizen-image", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, memoryError("create image", err)
	}
	s := &sealed{fd: fd, size: uintptr(len(img)), pages: -1}
	if err := s.write(img); err != nil {
		return nil, errors.Join(err, s.close())
	}
	if s.size == 0 {
		return s, nil
	}
	if s.image, err = unix.Mmap(fd, 0, len(img), unix.PROT_READ, unix.MAP_PRIVATE); err != nil {
		return nil, errors.Join(memoryError("map image to read", err), s.close())
	}
	if s.pages, err = unix.Open("/proc/self/pagemap", unix.O_RDONLY|unix.O_CLOEXEC, 0); err != nil {
		s.pages = -1
		return s, nil
	}
	told, err := s.tells()
	if err == nil && !told {
		err = s.forgetPages()
	}
	if err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

// tells tries whether the kernel says which pages were written: what only looks like
// Linux may say anything, and a page that is left out would fork the chain
// (invariant 8).
func (s *sealed) tells() (told bool, err error) {
	mem, err := s.memory(uint64(s.size))
	if err != nil {
		return false, err
	}
	defer mem.Free()
	m := mem.(*mapped)
	page := unix.Getpagesize()
	last := len(m.area)/page - 1
	var read byte
	for _, want := range [][]int{{}, {last}, slices.Compact([]int{0, last})} {
		for i := 0; i < len(m.area); i += page {
			read ^= m.area[i] // a page that is only read is not written
		}
		for _, i := range want {
			m.area[i*page] ^= read | 1
		}
		if got, ok := m.written(); !ok || !slices.Equal(got, want) {
			return false, nil
		}
	}
	return true, nil
}

func (s *sealed) forgetPages() error {
	fd := s.pages
	s.pages = -1
	return unix.Close(fd)
}

func (s *sealed) write(img []byte) error {
	for at := 0; at < len(img); {
		n, err := unix.Pwrite(s.fd, img[at:], int64(at))
		if err != nil {
			return memoryError("write image", err)
		}
		at += n
	}
	const seals = unix.F_SEAL_WRITE | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_SEAL
	if _, err := unix.FcntlInt(uintptr(s.fd), unix.F_ADD_SEALS, seals); err != nil {
		return memoryError("seal image", err)
	}
	return nil
}

func (s *sealed) close() error {
	err := unix.Close(s.fd)
	if s.image != nil {
		err = errors.Join(err, unix.Munmap(s.image))
	}
	if s.pages >= 0 {
		err = errors.Join(err, s.forgetPages())
	}
	return err
}

// mapped is a memory whose address never changes: the most it can grow to is
// reserved when it is made, and the image lies over its beginning.
type mapped struct {
	of   *sealed
	area []byte
	buf  []byte // of area, as much as the guest has

	entries []byte // reused: what the kernel says of each page
	numbers []int  // reused: the pages that were written
}

func (s *sealed) memory(max uint64) (linear, error) {
	area, err := unix.Mmap(-1, 0, int(max), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_NORESERVE)
	if err != nil {
		return nil, memoryError("reserve", err)
	}
	m := &mapped{of: s, area: area}
	if s.size == 0 {
		return m, nil
	}
	_, err = unix.MmapPtr(s.fd, 0, unsafe.Pointer(&area[0]), s.size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_FIXED)
	if err != nil {
		m.Free()
		return nil, memoryError("map image", err)
	}
	return m, nil
}

func (m *mapped) Reallocate(size uint64) []byte {
	m.buf = m.area[:size:size]
	return m.buf
}

func (m *mapped) live() *[]byte { return &m.buf }

func (m *mapped) Free() {
	if m.area != nil {
		// Unmapping what was mapped fails only if the address is wrong.
		if err := unix.Munmap(m.area); err != nil {
			panic(memoryError("unmap", err))
		}
		m.area, m.buf = nil, nil
	}
}

// maxKept is how much of the image may have been written for it to be copied back,
// bytes: more is dropped, so that a block which writes everywhere leaves nothing behind.
const maxKept = 512 << 10

// reset copies the image over what was written, if the kernel tells. Then the next
// block has its pages: to drop them takes longer, and each would fault when it is
// written again, which is longer than all that a small block executes.
func (m *mapped) reset() error {
	if m.of.size == 0 {
		return nil
	}
	page := unix.Getpagesize()
	written, ok := m.written()
	if !ok || len(written)*page > maxKept {
		if err := unix.Madvise(m.area[:m.of.size], unix.MADV_DONTNEED); err != nil {
			return memoryError("restore image", err)
		}
		return nil
	}
	for _, n := range written {
		copy(m.area[n*page:(n+1)*page], m.of.image[n*page:])
	}
	return nil
}

// What the kernel says of a page: Documentation/admin-guide/mm/pagemap.rst in Linux.
const (
	pageEntry   = 8       // bytes
	pageFile    = 1 << 61 // it is the file's; a private page is not
	pageSwapped = 1 << 62
	pagePresent = 1 << 63
)

// written is the numbers of the image's pages that are not the file's any more, valid until the next call;
// false if the kernel does not tell.
func (m *mapped) written() ([]int, bool) {
	if m.of.pages < 0 {
		return nil, false
	}
	page := uintptr(unix.Getpagesize())
	if m.entries == nil {
		m.entries = make([]byte, m.of.size/page*pageEntry)
	}
	at := uintptr(unsafe.Pointer(&m.area[0])) / page * pageEntry
	if n, err := unix.Pread(m.of.pages, m.entries, int64(at)); err != nil || n != len(m.entries) {
		return nil, false
	}
	m.numbers = m.numbers[:0]
	for i := 0; i < len(m.entries); i += pageEntry {
		if e := binary.NativeEndian.Uint64(m.entries[i:]); e&(pagePresent|pageSwapped) != 0 && e&pageFile == 0 {
			m.numbers = append(m.numbers, i/pageEntry)
		}
	}
	return m.numbers, true
}
