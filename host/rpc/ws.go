package rpc

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"github.com/kaizenchain/kaizen/host/rpc/api"
)

// session is one WebSocket connection.
//
//	reader ─ parse ─┬─▶ lane (sends, in order, neighbours together) ─┬─▶ outbox ─▶ writer
//	                └─▶ a goroutine each (everything else)          ─┘
//
// A message holds one of MaxSessionCalls slots from when it was read until its
// answer is written, so a client that stops reading answers stops being read.
// The writer asks the hub for notifications when there are no answers, some at a
// time, so that they need no room of their own. Lane and writer have a goroutine
// only while there is work: a session that waits is its reader and its keeper.
type session struct {
	socket
	slots  chan struct{}
	lane   chan message
	outbox chan outgoing // as many as there are slots
	unsent atomic.Int64  // bytes in the outbox
	before int           // bytes of the message before; the reader's

	sends   work           // in the lane
	writes  work           // in the outbox, or notifications
	answers []outgoing     // that are being written; the writer's
	notices []notification // the same

	// The hub's, under its lock.
	queue []*subscription // that have something to say
	subs  []*subscription
	ended bool
}

// message is one that was read: parsed, and what to call when it is answered.
type message struct {
	body body
	done func()
}

// outgoing is an answer on its way, and what to call when it is written.
type outgoing struct {
	b    []byte
	done func()
}

// serveWS turns a request into a session, or into a stream if it asks for that
// subprotocol, and runs it.
func (s *Server) serveWS(w http.ResponseWriter, r *http.Request) {
	if !strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
		w.Header().Set("Upgrade", "websocket")
		writeStatus(w, http.StatusUpgradeRequired, api.FieldError(api.CodeInvalidRequest, "Upgrade", "a WebSocket handshake"))
		return
	}
	if !s.enter() {
		writeStatus(w, http.StatusServiceUnavailable, api.NewError(api.CodeStopping, ""))
		return
	}
	defer s.sessions.Done()
	out := gathering{ResponseWriter: w, timeout: s.limits.WriteTimeout}
	// The caller's origin has been checked for every path alike.
	conn, err := websocket.Accept(&out, r, &websocket.AcceptOptions{InsecureSkipVerify: true, CompressionMode: websocket.CompressionDisabled, Subprotocols: []string{api.SubmitProtocol}})
	if err != nil {
		return // Accept has answered
	}
	s.metrics.connections.WithLabelValues("ws").Inc()
	defer s.metrics.connections.WithLabelValues("ws").Dec()
	if conn.Subprotocol() == api.SubmitProtocol {
		s.metrics.connections.WithLabelValues("stream").Inc()
		defer s.metrics.connections.WithLabelValues("stream").Dec()
		s.newStream(conn, out.conn, callerAt(r.RemoteAddr)).run()
		return
	}
	s.newSession(conn, out.conn, callerAt(r.RemoteAddr)).run()
}

func (s *Server) newSession(conn *websocket.Conn, out *gatherer, from caller) *session {
	n := s.limits.MaxSessionCalls
	c := &session{slots: make(chan struct{}, n), lane: make(chan message, n), outbox: make(chan outgoing, n)}
	c.open(s, conn, out, from)
	return c
}

// run serves the connection until it ends, and leaves no goroutine behind.
func (c *session) run() {
	c.wg.Go(func() { c.keep(func() { c.checkPeer(c.full) }, c.drain) })
	c.readAll()
	c.end()
	c.server.hub.end(c) // it begins no writer any more
	c.wg.Wait()
	c.release()
}

// work has a goroutine while there is some.
type work struct{ left atomic.Int64 }

// add says that there is more to do; do must do all there is.
func (w *work) add(wg *sync.WaitGroup, do func()) {
	if w.left.Add(1) > 1 {
		return // who is at it sees it
	}
	wg.Go(func() {
		for n := w.left.Load(); n > 0; n = w.left.Add(-n) {
			do()
		}
	})
}

// release gives back what messages hold that nobody will answer any more.
func (c *session) release() {
	for {
		select {
		case m := <-c.lane:
			m.done()
		case m := <-c.outbox:
			m.done()
		default:
			return
		}
	}
}

func (c *session) readAll() {
	for {
		b, release, err := c.read()
		if err != nil {
			release()
			c.refuseRead(err, "JSON-RPC wants text messages")
			return
		}
		select {
		case c.slots <- struct{}{}:
			c.receive(b, func() {
				release()
				<-c.slots
			})
		case <-c.server.stop: // drain is taking the slots
			c.refuseLate(b)
			release()
		case <-c.ctx.Done():
			release()
			return
		}
	}
}

// refuseLate answers a message that came after the shutdown began. It has no
// slot, and so no place in the outbox.
func (c *session) refuseLate(b []byte) {
	v, e := c.server.parse(b)
	if e == nil {
		e = api.NewError(api.CodeStopping, "")
	}
	answer := refuse(&v, e)
	c.writeFrame(answer)
}

// read takes one message. Waiting for one may take for ever, its bytes must then
// arrive within ReadTimeout.
func (c *session) read() ([]byte, func(), error) {
	ctx, cancel := context.WithCancel(c.ctx)
	defer cancel()
	kind, r, err := c.conn.Reader(ctx)
	if err != nil {
		return nil, func() {}, err
	}
	if kind != websocket.MessageText {
		return nil, func() {}, errKind
	}
	c.heard.Add(1)
	defer c.heard.Add(1)
	defer time.AfterFunc(c.server.limits.ReadTimeout, cancel).Stop()
	// Messages of one client are alike, so this one fits most likely.
	b, release, err := c.server.read(r, min(max(c.before, blindRead), firstRead))
	c.before = len(b) + 1
	return b, release, err
}

// receive parses a message and hands it on; done is called once it is answered.
func (c *session) receive(b []byte, done func()) {
	s := c.server
	v, e := s.parse(b)
	switch {
	case e != nil:
		s.metrics.observe(nil, e.Code, 0)
		c.push(refuse(nil, e), done)
	case s.isStopping():
		c.push(refuse(&v, api.NewError(api.CodeStopping, "")), done)
	case !s.withinRate(c.from, &v):
		c.push(refuse(&v, s.rateLimited()), done)
	case !v.batch && s.sendRun(v.requests) == 1:
		c.lane <- message{v, done} // there is room: it holds a slot
		c.sends.add(&c.wg, c.send)
	default:
		c.wg.Go(func() {
			call := &sessionCall{session: c}
			answer := c.execute(&v, call)
			c.push(answer, func() { s.hub.activate(call.started); done() })
		})
	}
}

func (c *session) execute(v *body, call *sessionCall) []byte {
	s := c.server
	ctx, cancel := context.WithTimeout(context.WithValue(c.ctx, callKey{}, call), s.limits.CallTimeout)
	defer cancel()
	leave, e := s.place(ctx)
	if e != nil {
		return refuse(v, e)
	}
	defer leave()
	return s.answer(ctx, v)
}

// send executes single send calls in the order in which they arrived. Those that
// arrive while others wait for the disk are submitted together next.
func (c *session) send() {
	for c.ctx.Err() == nil {
		select {
		case first := <-c.lane:
			c.sendTogether(c.gather(first))
		default:
			return
		}
	}
}

// gather takes what is waiting in the lane, up to a full submission.
func (c *session) gather(first message) []message {
	run, txs := []message{first}, first.body.cost()
	for txs < c.server.limits.MaxTxs {
		select {
		case m := <-c.lane:
			run, txs = append(run, m), txs+m.body.cost()
		default:
			return run
		}
	}
	return run
}

// sendTogether answers each message on its own, as if each had come alone.
func (c *session) sendTogether(run []message) {
	v := body{batch: true}
	for i := range run {
		v.requests = append(v.requests, run[i].body.requests...)
	}
	s := c.server
	ctx, cancel := context.WithTimeout(c.ctx, s.limits.CallTimeout)
	defer cancel()
	leave, e := s.place(ctx)
	if e != nil {
		for i := range run {
			c.push(refuse(&run[i].body, e), run[i].done)
		}
		return
	}
	defer leave()
	for rest := v.requests; len(rest) > 0; {
		n := s.sendRun(rest)
		for i, result := range s.submit(ctx, rest[:n]) {
			out := reply{}
			s.finishSend(&rest[i], result, &out)
			c.push(out.close(), run[i].done)
		}
		rest, run = rest[n:], run[n:]
	}
}

// push puts an answer into the outbox. A client that leaves more unread than
// MaxSessionBytes, or than the node can hold for all, is closed.
func (c *session) push(b []byte, done func()) {
	if len(b) == 0 {
		done()
		return
	}
	s := c.server
	if c.unsent.Add(int64(len(b))) > int64(s.limits.MaxSessionBytes) {
		c.slow(websocket.StatusPolicyViolation, "SlowClient")
		done()
		return
	}
	if !s.held.take(len(b)) {
		c.slow(websocket.StatusTryAgainLater, "Overloaded")
		done()
		return
	}
	c.outbox <- outgoing{b, func() { s.held.give(len(b)); done() }} // there is room: it holds a slot
	c.writes.add(&c.wg, c.write)
}

// slow closes the connection with a reason that a program can read.
func (c *session) slow(code websocket.StatusCode, reason string) {
	c.server.metrics.limited.WithLabelValues("slow_client").Inc()
	c.wg.Go(func() {
		c.conn.Close(code, reason)
		c.cancel()
	})
}

// write sends what there is, answers before notifications, and again. What goes
// out in one piece is only of one kind: an answer to kaizen_unsubscribe may not
// overtake notifications that were taken before it.
func (c *session) write() {
	for c.ctx.Err() == nil {
		if len(c.outbox) > 0 {
			c.writeAnswers()
		} else if !c.writeNotices() {
			return
		}
	}
}

// writeAnswers writes those that wait, of which there are no more than slots.
func (c *session) writeAnswers() {
	c.out.hold()
	for len(c.outbox) > 0 && len(c.answers) < cap(c.outbox) {
		m := <-c.outbox
		c.writeFrame(m.b)
		c.answers = append(c.answers, m)
	}
	c.wrote(c.out.release())
	for _, m := range c.answers {
		c.unsent.Add(-int64(len(m.b)))
		m.done()
	}
	clear(c.answers)
	c.answers = c.answers[:0]
}

// writeNotices writes some, or reports that there are none.
func (c *session) writeNotices() bool {
	c.notices = c.server.hub.next(c, c.notices[:0])
	if len(c.notices) == 0 {
		return false
	}
	c.out.hold()
	message := takeBuffer()
	for i := range c.notices {
		*message = append(append((*message)[:0], c.notices[i].prefix...), c.notices[i].body...)
		c.writeFrame(*message)
	}
	giveBuffer(message)
	c.wrote(c.out.release())
	clear(c.notices)
	return true
}

// writeFrame gathers a message. The connection has the time limit: one of the
// library's costs more than the message.
func (c *session) writeFrame(b []byte) {
	c.wrote(c.conn.Write(context.Background(), websocket.MessageText, b))
}

// full reports whether every slot is taken: then the connection is not read.
func (c *session) full() bool { return len(c.slots) == cap(c.slots) }

// drain waits for every message under way to be answered, and says goodbye.
func (c *session) drain() {
	for range cap(c.slots) {
		select {
		case c.slots <- struct{}{}:
		case <-c.ctx.Done():
			return
		}
	}
	c.conn.Close(websocket.StatusGoingAway, "Stopping")
}
