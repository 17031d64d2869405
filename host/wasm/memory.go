package wasm

import "fmt"

// image is what every copy of a module starts from: memory and mutable globals
// once the module is initialised and has told its version and its input area.
type image struct {
	pages   uint32
	globals []uint64
	area    uint32 // where inputs of up to abi.InputAreaBytes go
	bytes   backing
}

// linear is the memory of one copy. It implements wazero's LinearMemory.
type linear interface {
	// Reallocate makes the memory size bytes long; what is new is zero, or the
	// image's where it is still within the image.
	Reallocate(size uint64) []byte
	Free()
	// live is where the memory as it is can be found, also after it has grown.
	live() *[]byte
	// reset makes the memory equal the image it was made from, as far as the
	// image goes.
	reset() error
}

// portable is a linear memory that works everywhere: reset copies the image.
type portable struct {
	buf []byte
	img []byte
}

func newPortable(img []byte, max uint64) *portable { return &portable{img: img} }

func (p *portable) Reallocate(size uint64) []byte {
	grown := make([]byte, size)
	if p.buf == nil {
		copy(grown, p.img)
	}
	if n := copy(grown, p.buf); n < len(p.img) && p.buf != nil {
		copy(grown[n:], p.img[n:])
	}
	p.buf = grown
	return grown
}

func (p *portable) Free()         { p.buf = nil }
func (p *portable) live() *[]byte { return &p.buf }

func (p *portable) reset() error {
	copy(p.buf, p.img)
	return nil
}

// portableBacking keeps the image's bytes in the heap.
type portableBacking struct{ img []byte }

func (b portableBacking) memory(max uint64) (linear, error) { return newPortable(b.img, max), nil }
func (b portableBacking) close() error                      { return nil }

// backing keeps an image's bytes and makes memories from them.
type backing interface {
	memory(max uint64) (linear, error)
	close() error
}

func memoryError(what string, err error) error { return fmt.Errorf("guest memory: %s: %w", what, err) }
