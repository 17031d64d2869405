package wire

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/kaizenchain/kaizen/host/follow"
)

// peer is one session of a server: one goroutine reads and answers requests one
// by one, another writes. A peer that does not read its answers therefore stops
// being read.
type peer struct {
	*framer
	server    *Server
	hello     Hello
	transport string
	addr      string
	since     time.Time
	sub       *subscriber
	out       chan answer // from the answering goroutine

	once sync.Once
	done chan struct{}
	err  error // why it ended, valid after done
}

// answer is a frame on its way to the writing goroutine.
type answer struct {
	frame []byte
	sent  func() // called once it is written, or never will be; nil: nothing to do
}

func (a *answer) end() {
	if a.sent != nil {
		a.sent()
	}
}

// run returns why the session ended.
func (p *peer) run() error {
	p.server.running.Go(p.writeLoop)
	err := p.readLoop()
	if isViolation(err) {
		_ = p.send(Refusal{Code: CodeProtocol, Ours: fmt.Sprint(ProtocolVersion), Theirs: err.Error()}) // it is about to be closed anyway
	}
	p.end(err)
	return p.err
}

// end closes the connection; the first reason counts.
func (p *peer) end(err error) {
	p.once.Do(func() {
		p.err = err
		close(p.done)
		_ = p.conn.Close()
	})
}

func (p *peer) readLoop() error {
	for {
		m, err := p.read(p.limits.IdleTimeout)
		if err != nil {
			return err
		}
		reply, err := p.handle(m)
		if err != nil {
			return err
		}
		if reply.frame == nil {
			continue
		}
		select {
		case p.out <- reply:
		case <-p.done:
			reply.end()
			return p.err
		}
	}
}

// handle answers one message; without a frame for those without answer.
func (p *peer) handle(m Message) (answer, error) {
	if p.hello.stranger() {
		switch m.(type) {
		case Subscribe, SubscribeOpen, GetTips, GetBlocks, GetHeader, GetEvents, GetSnapshots, GetManifest, GetChunk:
			return answer{}, fmt.Errorf("%w: type %#x from a peer that named no chain", ErrUnexpected, m.kind())
		}
	}
	switch m := m.(type) {
	case Ping:
		return answer{frame: encode(Pong(m), 16)}, nil
	case Pong:
		return answer{}, nil
	case Subscribe:
		p.sub.subscribe(m.Ride)
		return answer{}, nil
	case SubscribeOpen:
		if p.sub.subscribeOpen() {
			p.server.open.want(1)
		}
		return answer{}, nil
	case GetTips, GetBlocks, GetHeader, GetEvents:
		frame, err := p.answer(m)
		return answer{frame: frame}, err
	case GetSnapshots:
		return p.snapshot(m.ID, m), nil
	case GetManifest:
		return p.snapshot(m.ID, m), nil
	case GetChunk:
		return p.snapshot(m.ID, m), nil
	case GetGenesis:
		return answer{frame: p.genesis(m)}, nil
	case Refusal:
		return answer{}, m.received()
	}
	return answer{}, fmt.Errorf("%w: type %#x from a client", ErrUnexpected, m.kind())
}

// answer reads the archive, a bounded number of readers at a time.
func (p *peer) answer(m Message) ([]byte, error) {
	select {
	case p.server.reading <- struct{}{}:
		defer func() { <-p.server.reading }()
	case <-p.done:
		return nil, p.err
	}
	p.server.count(func(s *Stats) { s.Requests++ })
	switch m := m.(type) {
	case GetTips:
		tips, err := p.server.archive.Tips()
		return p.reply(m.ID, Tips{m.ID, tips}, 512, err), nil
	case GetHeader:
		h, err := follow.ReadHeader(p.server.archive, m.Number)
		return p.reply(m.ID, Header{m.ID, h}, 512, err), nil
	case GetBlocks:
		return p.blocks(m), nil
	case GetEvents:
		return p.events(m), nil
	}
	return nil, fmt.Errorf("%w: type %#x", ErrUnexpected, m.kind())
}

// genesis answers with the document, which may be larger than a frame: such a
// chain's nodes are given it by hand.
func (p *peer) genesis(m GetGenesis) []byte {
	document := p.server.identity.Document
	if len(document) == 0 || len(document) > maxDocumentBytes {
		return encode(Failed{m.ID, FailNotAvailable, "no genesis document here, or too large for a frame"}, 64)
	}
	return encode(Genesis{m.ID, document}, 16+len(document))
}

func (p *peer) blocks(m GetBlocks) []byte {
	if m.Limit == 0 {
		return encode(Failed{m.ID, FailBadRequest, "limit is 0"}, 64)
	}
	maxBytes := int(min(m.MaxBytes, uint32(p.limits.MaxResponseBytes)))
	blocks, err := follow.ReadRange(p.server.archive, m.From, int(min(m.Limit, MaxRangeBlocks)), maxBytes)
	size := 0
	for _, b := range blocks {
		size += 4 + len(b)
	}
	return p.reply(m.ID, Blocks{m.ID, blocks}, 16+size, err)
}

// reply is the frame of an answer, or of the reason why there is none. What went
// wrong inside is for this node's log.
func (p *peer) reply(id uint32, m Message, size int, err error) []byte {
	switch {
	case errors.Is(err, follow.ErrNotAvailable):
		return encode(Failed{id, FailNotAvailable, err.Error()}, 64+MaxTextBytes)
	case err != nil:
		p.server.log.Warn("request failed", "peer", p.addr, "type", m.kind(), "err", err)
		return encode(Failed{id, FailInternal, "see the log of this node"}, 64)
	}
	return encode(m, size)
}

// writeLoop writes answers, doorbells and pings until the session ends. It is
// the only place that waits for the peer to read.
func (p *peer) writeLoop() {
	ping := time.NewTicker(p.limits.IdleTimeout / 3)
	defer ping.Stop()
	for nonce := uint64(1); ; {
		var err error
		select {
		case <-p.done:
			return
		case a := <-p.out:
			err = p.write(a.frame)
			a.end()
		case <-p.sub.wake:
			err = p.ringAll()
		case <-ping.C:
			err = p.send(Ping{nonce})
			nonce++
		}
		if err != nil {
			p.end(err)
			return
		}
	}
}

// ringAll writes what waits for the subscriber. A peer that was lagging gets one
// doorbell with the tip of now.
func (p *peer) ringAll() error {
	for {
		frame, ring, ok := p.sub.next()
		if !ok {
			return nil
		}
		if ring {
			tips, err := p.server.archive.Tips()
			if err != nil {
				return err
			}
			frame = encode(Doorbell{Tip: tips.Proposed}, 64)
		}
		if err := p.write(frame); err != nil {
			return err
		}
	}
}
