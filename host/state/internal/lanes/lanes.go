package lanes

import (
	"crypto/sha256"
	"encoding/binary"
)

// Lanes is the number of messages that are hashed side by side.
const Lanes = 16

const (
	blockBytes = 64
	// maxBlocks bounds what is worth lanes of its own: nodes and leaves are two
	// blocks, keys one, most values one to three.
	maxBlocks = 3
	// minLanes is the least number of messages for which all lanes together are
	// about as fast as one message after the other (BenchmarkFew).
	minLanes = 4
	// tailBytes is room for what does not fill a block, and the padding.
	tailBytes = 2 * blockBytes
	// shortRest is so few bytes that calling copy for them takes longer: those that
	// nodes and leaves have beyond a block.
	shortRest = 2
	// padBytes is the least that SHA-256 appends to a message.
	padBytes = 9
)

// Hasher hashes messages that do not depend on each other. The zero value is ready.
type Hasher struct {
	queues [maxBlocks]queue
	state  [8][Lanes]uint32
}

// queue holds messages of equally many blocks.
type queue struct {
	n     int
	block [maxBlocks][Lanes]*byte // of each message, the padded end of it included
	msg   [Lanes][]byte
	out   [Lanes]*[32]byte
	tail  [Lanes]tail
}

// tail is the end of a message with its padding.
type tail struct {
	bytes [tailBytes]byte
	size  int // of the message that it is padded for
}

// Sum puts the SHA-256 of msg into out, at the latest at the next Flush. Until then
// nobody may write msg or touch out.
func (h *Hasher) Sum(msg []byte, out *[32]byte) {
	blocks := (len(msg) + padBytes + blockBytes - 1) / blockBytes
	if !wide || blocks > maxBlocks {
		*out = sha256.Sum256(msg)
		return
	}
	q := &h.queues[blocks-1]
	q.add(msg, out, blocks)
	if q.n == Lanes {
		h.run(q, blocks)
	}
}

func (q *queue) add(msg []byte, out *[32]byte, blocks int) {
	i := q.n & (Lanes - 1)
	whole := len(msg) / blockBytes
	for b := range whole {
		q.block[b][i] = &msg[b*blockBytes]
	}
	t := &q.tail[i]
	t.fill(msg[whole*blockBytes:], len(msg))
	for b := whole; b < blocks; b++ {
		q.block[b][i] = &t.bytes[(b-whole)*blockBytes]
	}
	q.msg[i], q.out[i] = msg, out
	q.n++
}

// fill makes t the rest of a message of size bytes. Messages of one size come
// together, so that the padding is mostly there.
func (t *tail) fill(rest []byte, size int) {
	if t.size != size || size == 0 {
		t.pad(len(rest), size)
	}
	if len(rest) > shortRest {
		copy(t.bytes[:], rest)
		return
	}
	for i, b := range rest {
		t.bytes[i] = b
	}
}

func (t *tail) pad(rest, size int) {
	end := (rest + padBytes + blockBytes - 1) / blockBytes * blockBytes
	clear(t.bytes[rest:end])
	t.bytes[rest] = 0x80
	binary.BigEndian.PutUint64(t.bytes[end-8:end], uint64(size)*8)
	t.size = size
}

// Flush hashes what waits. The Hasher may go on pointing to it; set to its zero value
// it lets go.
func (h *Hasher) Flush() {
	for i := range h.queues {
		if q := &h.queues[i]; q.n > 0 {
			h.flush(q, i+1)
		}
	}
}

func (h *Hasher) flush(q *queue, blocks int) {
	if q.n >= minLanes {
		h.fill(q, blocks)
		return
	}
	for i := range q.n {
		*q.out[i] = sha256.Sum256(q.msg[i])
	}
	q.n = 0
}

// fill runs with fewer messages than lanes: those without one repeat the first.
func (h *Hasher) fill(q *queue, blocks int) {
	for i := q.n; i < Lanes; i++ {
		q.out[i] = q.out[0]
		for b := range blocks {
			q.block[b][i] = q.block[b][0]
		}
	}
	h.run(q, blocks)
}

// run hashes a message in every lane.
func (h *Hasher) run(q *queue, blocks int) {
	h.state = initial
	for b := range blocks {
		compress(&h.state, &q.block[b])
	}
	digest(&h.state, &q.out)
	q.n = 0
}

// initial is the hash before the first block, FIPS 180-4 section 5.3.3, in every
// lane.
var initial = func() (s [8][Lanes]uint32) {
	for i, word := range [8]uint32{0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19} {
		for lane := range s[i] {
			s[i][lane] = word
		}
	}
	return s
}()
