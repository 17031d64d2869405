package rpc

import (
	"context"
	"errors"
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
// The writer asks the hub for notifications when there are no answers, one at a
// time, so that they need no room of their own.
type session struct {
	server *Server
	conn   *websocket.Conn
	from   caller
	ctx    context.Context
	cancel context.CancelFunc
	slots  chan struct{}
	lane   chan message
	outbox chan outgoing // as many as there are slots
	unsent atomic.Int64  // bytes in the outbox
	wg     sync.WaitGroup

	wake    chan struct{} // there may be notifications
	scratch []byte        // the one that is being written; the writer's

	// The hub's, under its lock.
	queue         []*subscription
	subscriptions int
	ended         bool
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

// serveWS turns a request into a session and runs it.
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
	// The caller's origin has been checked for every path alike.
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true, CompressionMode: websocket.CompressionDisabled})
	if err != nil {
		return // Accept has answered
	}
	s.metrics.connections.WithLabelValues("ws").Inc()
	defer s.metrics.connections.WithLabelValues("ws").Dec()
	s.newSession(conn, callerAt(r.RemoteAddr)).run()
}

func (s *Server) newSession(conn *websocket.Conn, from caller) *session {
	n := s.limits.MaxSessionCalls
	c := &session{server: s, conn: conn, from: from, slots: make(chan struct{}, n), lane: make(chan message, n), outbox: make(chan outgoing, n), wake: make(chan struct{}, 1)}
	c.ctx, c.cancel = context.WithCancel(s.base)
	conn.SetReadLimit(-1) // Server.read has the limit
	return c
}

// run serves the connection until it ends, and leaves no goroutine behind.
func (c *session) run() {
	for _, f := range []func(){c.write, c.send, c.ping, c.drain} {
		c.wg.Go(f)
	}
	c.readAll()
	c.end()
	c.wg.Wait()
	c.server.hub.end(c)
	c.release()
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

// end cuts the connection; everything of the session stops.
func (c *session) end() {
	c.cancel()
	c.conn.CloseNow() // it may be closed already
}

func (c *session) readAll() {
	for {
		b, release, err := c.read()
		if err != nil {
			release()
			c.refuseRead(err)
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
	c.unsent.Add(int64(len(answer)))
	c.writeOne(outgoing{answer, func() {}})
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
		return nil, func() {}, errBinary
	}
	defer time.AfterFunc(c.server.limits.ReadTimeout, cancel).Stop()
	return c.server.read(r, -1)
}

var errBinary = errors.New("binary message")

// refuseRead tells the client why its connection ends, where it can hear it.
func (c *session) refuseRead(err error) {
	switch {
	case errors.Is(err, errBinary):
		c.conn.Close(websocket.StatusUnsupportedData, "JSON-RPC wants text messages")
	case errors.Is(err, errNoMemory):
		c.server.metrics.limited.WithLabelValues("memory").Inc()
		c.conn.Close(websocket.StatusTryAgainLater, "Overloaded")
	case errors.Is(err, errBodyTooLarge):
		c.server.metrics.limited.WithLabelValues("body").Inc()
		c.conn.Close(websocket.StatusMessageTooBig, "BodyTooLarge")
	}
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
	for {
		select {
		case first := <-c.lane:
			c.sendTogether(c.gather(first))
		case <-c.ctx.Done():
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
}

// slow closes the connection with a reason that a program can read.
func (c *session) slow(code websocket.StatusCode, reason string) {
	c.server.metrics.limited.WithLabelValues("slow_client").Inc()
	c.wg.Go(func() {
		c.conn.Close(code, reason)
		c.cancel()
	})
}

// write sends what is in the outbox.
func (c *session) write() {
	for {
		select {
		case m := <-c.outbox:
			c.writeOne(m)
		case <-c.wake:
			c.notify()
		case <-c.ctx.Done():
			return
		}
	}
}

// notify writes notifications while there are any; answers go first.
func (c *session) notify() {
	for c.ctx.Err() == nil {
		select {
		case m := <-c.outbox:
			c.writeOne(m)
			continue
		default:
		}
		b := c.server.hub.next(c)
		if b == nil {
			return
		}
		c.writeBytes(b)
		if cap(c.scratch) > maxScratchBytes {
			c.scratch = nil
		}
	}
}

// maxScratchBytes is the largest buffer that a session keeps for its next
// notification.
const maxScratchBytes = 64 << 10

func (c *session) writeOne(m outgoing) {
	c.writeBytes(m.b)
	c.unsent.Add(-int64(len(m.b)))
	m.done()
}

func (c *session) writeBytes(b []byte) {
	ctx, cancel := context.WithTimeout(c.ctx, c.server.limits.WriteTimeout)
	defer cancel()
	if err := c.conn.Write(ctx, websocket.MessageText, b); err != nil {
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			c.server.metrics.limited.WithLabelValues("slow_client").Inc()
		}
		c.end()
	}
}

// ping finds clients that are gone without a word.
func (c *session) ping() {
	every := c.server.limits.PingInterval
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-c.ctx.Done():
			return
		}
		ctx, cancel := context.WithTimeout(c.ctx, every)
		err := c.conn.Ping(ctx)
		cancel()
		if err != nil {
			c.end()
			return
		}
	}
}

// drain waits for a shutdown, then for every message under way to be answered,
// and says goodbye.
func (c *session) drain() {
	select {
	case <-c.server.stop:
	case <-c.ctx.Done():
		return
	}
	for range cap(c.slots) {
		select {
		case c.slots <- struct{}{}:
		case <-c.ctx.Done():
			return
		}
	}
	c.conn.Close(websocket.StatusGoingAway, "Stopping")
	c.cancel()
}
