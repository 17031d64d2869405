package wire

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// framer reads and writes frames on a connection, under deadlines. One goroutine
// may read while others write.
type framer struct {
	conn   net.Conn
	r      *bufio.Reader
	limits Limits
	max    int       // largest frame to take, bytes
	until  time.Time // end of the handshake, after which no read goes on; then zero

	writing  sync.Mutex
	sent     atomic.Uint64 // bytes
	received atomic.Uint64 // bytes
}

// newFramer reads through r, which wraps conn and may hold bytes already.
func newFramer(conn net.Conn, r *bufio.Reader, limits Limits, max int) *framer {
	return &framer{conn: conn, r: r, limits: limits, max: max}
}

// read returns the next message. It waits until idle has passed for a frame to
// begin, and for the frame timeout for it to end.
func (f *framer) read(idle time.Duration) (Message, error) {
	t, payload, err := f.readFrame(idle)
	if err != nil {
		return nil, err
	}
	return Decode(t, payload)
}

func (f *framer) readFrame(idle time.Duration) (Type, []byte, error) {
	deadline, err := f.readBy(idle)
	if err != nil {
		return 0, nil, err
	}
	var prefix [4]byte
	if n, err := io.ReadFull(f.r, prefix[:]); err != nil {
		return 0, nil, classify(err, deadline, n > 0, ErrIdle)
	}
	n := binary.LittleEndian.Uint32(prefix[:])
	if n == 0 || uint64(n) > uint64(f.max) {
		return 0, nil, fmt.Errorf("%w: %d bytes, limit %d", ErrFrameSize, n, f.max)
	}
	if deadline, err = f.readBy(f.limits.FrameTimeout); err != nil {
		return 0, nil, err
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(f.r, body); err != nil {
		return 0, nil, classify(err, deadline, true, ErrSlow)
	}
	f.received.Add(4 + uint64(n))
	return Type(body[0]), body[1:], nil
}

func (f *framer) readBy(d time.Duration) (time.Time, error) {
	deadline := time.Now().Add(d)
	if !f.until.IsZero() && deadline.After(f.until) {
		deadline = f.until
	}
	return deadline, f.conn.SetReadDeadline(deadline)
}

// classify says what a failed read or write means. A WebSocket connection does
// not report deadlines as such, so the clock decides. begun is whether it
// happened inside a frame.
func classify(err error, deadline time.Time, begun bool, late error) error {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded) || !time.Now().Before(deadline):
		return fmt.Errorf("%w: %w", late, err)
	case begun && (errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)):
		return ErrTruncated
	}
	return err
}

// send writes one message.
func (f *framer) send(m Message) error { return f.write(encode(m, 256)) }

// write writes one whole frame with one call, so that a WebSocket message is a
// frame, or fails for good.
func (f *framer) write(frame []byte) error {
	f.writing.Lock()
	defer f.writing.Unlock()
	deadline := time.Now().Add(f.limits.FrameTimeout)
	if err := f.conn.SetWriteDeadline(deadline); err != nil {
		return err
	}
	n, err := f.conn.Write(frame)
	f.sent.Add(uint64(n))
	if err != nil {
		return classify(err, deadline, false, ErrSlow)
	}
	return nil
}
