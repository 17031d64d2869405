package lanes

import (
	"crypto/sha256"
	"encoding/binary"
	"math"
)

// stride is how many blocks of each message are hashed between two calls of what
// [Long] is given for that: some 0.15 ms.
const stride = 1 << 10

// Long puts the SHA-256 of messages of any length into sums, which is as long. They
// begin in their order: it takes least time if the longest come first. between is
// called now and then, for a caller who wants to let others run.
func Long(messages [][]byte, sums [][32]byte, between func()) {
	if !wide || len(messages) < minLanes {
		for i, msg := range messages {
			sums[i] = sha256.Sum256(msg)
			between()
		}
		return
	}
	l := &long{messages: messages, sums: sums}
	for lane := range l.lines {
		l.settle(lane)
	}
	for n := l.common(); n > 0; n = l.common() {
		l.run(n)
		between()
	}
}

// long is one call of [Long]. A lane whose message is done takes the next one.
type long struct {
	messages [][]byte
	sums     [][32]byte
	begun    int // messages
	lines    [Lanes]line
	state    [8][Lanes]uint32
}

// line is the message in a lane.
type line struct {
	sum  *[32]byte // nil: there is none
	rest []byte    // blocks to be hashed next
	end  []byte    // blocks after rest, in tail
	tail tail
}

// begin puts a message into a lane.
func (l *long) begin(lane int) {
	line, msg := &l.lines[lane], l.messages[l.begun]
	whole := len(msg) / blockBytes * blockBytes
	line.tail.fill(msg[whole:], len(msg))
	line.sum, line.rest = &l.sums[l.begun], msg[:whole]
	line.end = line.tail.bytes[:(len(msg)-whole+padBytes+blockBytes-1)/blockBytes*blockBytes]
	for word := range initial {
		l.state[word][lane] = initial[word][lane]
	}
	l.begun++
}

// settle sees that a lane has something to do, if there is anything left.
func (l *long) settle(lane int) {
	line := &l.lines[lane]
	for len(line.rest) == 0 {
		switch {
		case len(line.end) > 0:
			line.rest, line.end = line.end, nil
			continue
		case line.sum != nil:
			l.digest(lane)
		}
		if line.sum = nil; l.begun == len(l.messages) {
			return
		}
		l.begin(lane)
	}
}

func (l *long) digest(lane int) {
	for word := range l.state {
		binary.BigEndian.PutUint32(l.lines[lane].sum[4*word:], l.state[word][lane])
	}
}

// common is how many blocks every lane has that has any, up to a stride; 0 at the end.
func (l *long) common() int {
	n := math.MaxInt
	for lane := range l.lines {
		if line := &l.lines[lane]; line.sum != nil {
			n = min(n, len(line.rest)/blockBytes, stride)
		}
	}
	if n == math.MaxInt {
		return 0
	}
	return n
}

// run hashes n blocks of every message. Lanes without one repeat what another does.
func (l *long) run(n int) {
	var from [Lanes][]byte
	var some []byte
	for lane := range l.lines {
		if rest := l.lines[lane].rest; len(rest) > 0 {
			from[lane], some = rest, rest
		}
	}
	for lane := range from {
		if from[lane] == nil {
			from[lane] = some
		}
	}
	var block [Lanes]*byte
	for at := 0; at < n*blockBytes; at += blockBytes {
		for lane := range block {
			block[lane] = &from[lane][at]
		}
		compress(&l.state, &block)
	}
	for lane := range l.lines {
		if line := &l.lines[lane]; line.sum != nil {
			line.rest = line.rest[n*blockBytes:]
			l.settle(lane)
		}
	}
}
