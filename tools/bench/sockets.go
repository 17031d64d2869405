package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kaizenchain/kaizen/host/rpc/api"
	"github.com/kaizenchain/kaizen/stf-modules/abi"
)

// Load of one transaction a message comes over few connections with many under way: in
// messages of a submit stream, or in JSON.
const (
	socketConns = workers
	// fewUnderWay is as many, over all connections, as [singles] have; manyUnderWay is
	// what costs a stream nothing, and [singles] as many connections.
	fewUnderWay  = singleConns
	manyUnderWay = 1024
)

// sockets sends messages that are framed before the clock starts, each in a write of
// its own, and of the answers reads no more than whether the transaction went through.
// It does without a WebSocket library for the reason for which [singles] do without
// net/http.
type sockets struct {
	address  string
	window   int    // transactions of one connection without an answer
	protocol string // "": JSON
	message  func(raw []byte) []byte
	// answers is how many answers a message of the node has.
	answers func(message []byte) (int, error)
}

// streams are messages of a submit stream.
func streams(address string, underWay int) *sockets {
	return &sockets{address: address, window: underWay / socketConns, protocol: api.SubmitProtocol, answers: submitAnswers,
		message: func(raw []byte) []byte { return api.AppendSubmission(nil, raw) }}
}

// jsonSockets are calls of kaizen_sendTransaction.
func jsonSockets(address string) *sockets {
	return &sockets{address: address, window: fewUnderWay / socketConns,
		message: func(raw []byte) []byte { return append(hex.AppendEncode([]byte(singleStart), raw), singleEnd...) },
		answers: func(message []byte) (int, error) { return 1, checkReceipts(message, 1) }}
}

// submitAnswers reads a message of a submit stream: of each answer its status, length
// and, after height, index and id, the receipt's code (host/rpc/SUBMIT.md).
func submitAnswers(message []byte) (n int, err error) {
	const code = 8 + 4 + 32
	for ; len(message) > 0; n++ {
		r := abi.NewReader(message)
		r.Take(8)
		status, body := r.U8(), r.Bytes(len(message))
		if !r.OK() || status != 0 || len(body) < code+2 || body[code] != 0 || body[code+1] != 0 {
			return n, fmt.Errorf("a transaction of a stream did not go through: %.120x", message)
		}
		message = r.Rest()
	}
	return n, nil
}

// socketRequest is a handshake of RFC 6455; the key of one who checks no answer to it
// may be any.
const socketRequest = "GET /ws HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: a2FpemVuLWJlbmNobWFyaw==\r\n"

// socket is one connection.
type socket struct {
	net.Conn
	in   *bufio.Reader
	body []byte
}

func (s *sockets) dial(ctx context.Context) (*socket, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", s.address)
	if err != nil {
		return nil, err
	}
	c := &socket{Conn: conn, in: bufio.NewReader(conn)}
	request := fmt.Sprintf(socketRequest, s.address)
	if s.protocol != "" {
		request += "Sec-WebSocket-Protocol: " + s.protocol + "\r\n"
	}
	if _, err = io.WriteString(conn, request+"\r\n"); err == nil {
		err = c.upgraded(s.protocol)
	}
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return c, conn.SetDeadline(time.Now().Add(singlePatience))
}

// upgraded reads the answer to a handshake.
func (c *socket) upgraded(protocol string) error {
	spoken := ""
	for first := true; ; first = false {
		line, err := c.in.ReadSlice('\n')
		if err != nil {
			return fmt.Errorf("answer to a WebSocket handshake: %w", err)
		}
		line = bytes.TrimSpace(line)
		if first && !bytes.HasPrefix(line, []byte("HTTP/1.1 101")) {
			return fmt.Errorf("no WebSocket: %.60q", line)
		}
		if len(line) == 0 {
			break
		}
		if name, value, ok := bytes.Cut(line, []byte(": ")); ok && bytes.EqualFold(name, []byte("Sec-WebSocket-Protocol")) {
			spoken = string(value)
		}
	}
	if spoken != protocol {
		return fmt.Errorf("the node speaks %q, want %q", spoken, protocol)
	}
	return nil
}

// Opcodes of RFC 6455.
const (
	opText   = 1
	opBinary = 2
	opPing   = 9
)

// frames are whole messages, masked with zero: a mask hides nothing from the node, and
// costs it the same.
func (s *sockets) frames(raws [][]byte) [][]byte {
	op := byte(opBinary)
	if s.protocol == "" {
		op = opText
	}
	all := make([][]byte, len(raws))
	for i, raw := range raws {
		message := s.message(raw)
		b := make([]byte, 0, len(message)+8)
		if b = append(b, 0x80|op); len(message) < 126 {
			b = append(b, 0x80|byte(len(message)))
		} else {
			b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(len(message))) // a transaction has at most 16 KiB
		}
		all[i] = append(append(b, 0, 0, 0, 0), message...)
	}
	return all
}

// read takes a message of the node; pings between are passed over.
func (c *socket) read() ([]byte, error) {
	for {
		var head [2]byte
		if _, err := io.ReadFull(c.in, head[:]); err != nil {
			return nil, fmt.Errorf("read an answer: %w", err)
		}
		length, wide := uint64(head[1]), [8]byte{}
		if n := map[byte]int{126: 2, 127: 8}[head[1]]; n > 0 {
			if _, err := io.ReadFull(c.in, wide[8-n:]); err != nil {
				return nil, fmt.Errorf("read the length of an answer: %w", err)
			}
			length = binary.BigEndian.Uint64(wide[:])
		}
		if length > maxSocketMessage {
			return nil, fmt.Errorf("a message of the node has %d bytes, limit %d", length, maxSocketMessage)
		}
		c.body = append(c.body[:0], make([]byte, length)...)
		if _, err := io.ReadFull(c.in, c.body); err != nil {
			return nil, fmt.Errorf("read the body of an answer: %w", err)
		}
		switch head[0] {
		case 0x80 | opText, 0x80 | opBinary:
			return c.body, nil
		case 0x80 | opPing: // it is busy: the next message is answer enough
		default:
			return nil, fmt.Errorf("the node sends frame %#x with %.120q", head[0], c.body)
		}
	}
}

// maxSocketMessage bounds a message of the node, bytes.
const maxSocketMessage = 2 << 20

// sendAll sends until all are answered.
func (s *sockets) sendAll(ctx context.Context, raws [][]byte) (took time.Duration, err error) {
	frames := s.frames(raws)
	conns := make([]*socket, socketConns)
	for i := range conns {
		if conns[i], err = s.dial(ctx); err != nil {
			return 0, err
		}
		defer conns[i].Close() // nothing is left to be lost
	}
	var next atomic.Int64
	var all sync.WaitGroup
	failures := make([]error, len(conns))
	start := time.Now()
	for i, c := range conns {
		all.Go(func() {
			failures[i] = s.send(c, func() []byte {
				if i := int(next.Add(1)) - 1; i < len(frames) {
					return frames[i]
				}
				return nil
			})
		})
	}
	all.Wait()
	return time.Since(start), errors.Join(append(failures, ctx.Err())...)
}

// send writes frames for as long as there are, and keeps the window full.
func (s *sockets) send(c *socket, next func() []byte) error {
	frame := next()
	for underWay := 0; frame != nil || underWay > 0; {
		for ; frame != nil && underWay < s.window; underWay++ {
			if _, err := c.Write(frame); err != nil {
				return err
			}
			frame = next()
		}
		message, err := c.read()
		if err != nil {
			return err
		}
		n, err := s.answers(message)
		if err != nil {
			return err
		}
		underWay -= n
	}
	return nil
}
