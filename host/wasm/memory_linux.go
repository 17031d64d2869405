package wasm

import (
	"errors"
	"unsafe"

	"golang.org/x/sys/unix"
)

// sealed is an image in an anonymous file that nobody can write any more. Every
// memory maps it privately: a page costs memory only once it is written, and
// dropping the written pages puts the image back.
type sealed struct {
	fd   int
	size uintptr
}

// newBacking makes a backing of img.
func newBacking(img []byte) (backing, error) {
	fd, err := unix.MemfdCreate("kaizen-image", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, memoryError("create image", err)
	}
	s := &sealed{fd: fd, size: uintptr(len(img))}
	if err := s.write(img); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
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

func (s *sealed) close() error { return unix.Close(s.fd) }

// mapped is a memory whose address never changes: the most it can grow to is
// reserved when it is made, and the image lies over its beginning.
type mapped struct {
	area []byte
	buf  []byte  // of area, as much as the guest has
	img  uintptr // bytes of the image
}

func (s *sealed) memory(max uint64) (linear, error) {
	area, err := unix.Mmap(-1, 0, int(max), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_NORESERVE)
	if err != nil {
		return nil, memoryError("reserve", err)
	}
	m := &mapped{area: area, img: s.size}
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

func (m *mapped) reset() error {
	if m.img == 0 {
		return nil
	}
	if err := unix.Madvise(m.area[:m.img], unix.MADV_DONTNEED); err != nil {
		return memoryError("restore image", err)
	}
	return nil
}
