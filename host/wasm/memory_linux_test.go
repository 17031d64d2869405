package wasm

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// newSealed is an image of random bytes that a test may ask about.
func newSealed(t *testing.T, pages int) (*sealed, []byte) {
	t.Helper()
	img := make([]byte, pages*unix.Getpagesize())
	_, _ = rand.NewChaCha8([32]byte{}).Read(img)
	b, err := newBacking(img)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.close(); err != nil {
			t.Error(err)
		}
	})
	return b.(*sealed), img
}

func newMapped(t *testing.T, s *sealed, max int) *mapped {
	t.Helper()
	mem, err := s.memory(uint64(max))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(mem.Free)
	return mem.(*mapped)
}

// TestResetPutsTheImageBack: whatever was written, however much of it, and whether or
// not the kernel tells.
func TestResetPutsTheImageBack(t *testing.T) {
	s, img := newSealed(t, 3*maxKept/unix.Getpagesize())
	silent := *s
	silent.pages = -1
	random := rand.New(rand.NewPCG(1, 2))
	for name, s := range map[string]*sealed{"told": s, "not told": &silent} {
		m := newMapped(t, s, len(img))
		for round := range 40 {
			for range random.IntN(1 + 8<<(round%8)) {
				at := random.IntN(len(img))
				m.area[at] ^= byte(1 + random.IntN(255))
			}
			if err := m.reset(); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(m.area, img) {
				t.Fatalf("%s: round %d: memory differs from its image after a reset", name, round)
			}
		}
	}
}

// TestResetKeepsPages: what was written stays this memory's, so that writing it again
// does not fault, unless it is a lot; reading makes no page its own. Where the kernel
// does not tell, nothing is asked.
func TestResetKeepsPages(t *testing.T) {
	page := unix.Getpagesize()
	s, img := newSealed(t, 2*maxKept/page)
	if _, err := os.Stat("/proc/self/pagemap"); err == nil && s.pages < 0 {
		t.Error("what the kernel tells is not believed")
	}
	silent := *s
	silent.pages = -1
	most := make([]int, maxKept/page)
	for i := range most {
		most[i] = 2 * i
	}
	for _, s := range []*sealed{s, &silent} {
		m := newMapped(t, s, len(img))
		write := func(pages []int) {
			for _, n := range pages {
				m.area[n*page+n%page]++
			}
		}
		check := func(what string, want []int) {
			t.Helper()
			if got, ok := m.written(); ok != (s.pages >= 0) || ok && !slices.Equal(got, want) {
				t.Errorf("%s: pages written are %v, %t, want %v", what, got, ok, want)
			}
		}
		for _, c := range []struct {
			name       string
			write      []int
			kept, more []int // after a reset; once page 1 is written, too
		}{
			{"nothing", nil, []int{}, []int{1}},
			{"some", []int{3, 4, len(img)/page - 1}, []int{3, 4, len(img)/page - 1}, []int{1, 3, 4, len(img)/page - 1}},
			{"as many as are kept", most, most, slices.Insert(slices.Clone(most), 1, 1)},
			{"more", append([]int{1}, most...), []int{}, []int{1}},
		} {
			if err := unix.Madvise(m.area, unix.MADV_DONTNEED); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(m.area, img) { // and every page was read
				t.Fatal("the memory is not the image")
			}
			write(c.write)
			if err := m.reset(); err != nil {
				t.Fatal(err)
			}
			check(c.name, c.kept)
			write([]int{1})
			check(c.name+", then page 1", c.more)
		}
	}
}

// TestImageWithoutPages: a kernel that tells nothing, or something else, is found out
// before it is believed.
func TestImageWithoutPages(t *testing.T) {
	s, img := newSealed(t, 4)
	for _, name := range []string{"/dev/zero", "/dev/null", "/dev/urandom"} {
		fd, err := unix.Open(name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		other := *s
		other.pages = fd
		told, err := other.tells()
		if told || err != nil {
			t.Errorf("%s in the place of /proc/self/pagemap: told %t, %v, want false", name, told, err)
		}
		m := newMapped(t, &other, len(img))
		if err := errors.Join(other.forgetPages(), m.reset()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if _, ok := m.written(); ok {
			t.Errorf("%s: still asked", name)
		}
	}
}
