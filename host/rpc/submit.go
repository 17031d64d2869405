package rpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync"
	"time"

	"github.com/coder/websocket"

	"github.com/kaizenchain/kaizen/host/rpc/api"
)

// stream is one WebSocket connection of api.SubmitProtocol (SUBMIT.md; host/RATIONALE.md
// says what it saves).
//
//	reader ─ arrived ─▶ Backend.Enqueue ─▶ flights, in order ─▶ answerer ─▶ one write
//
// The reader gathers whole transactions and enqueues them before it waits for the
// network: one that comes alone waits for no other, those that come together go
// together. The backend keeps the order of what is enqueued, so that the next leave
// while the last wait for the disk. An answer that is there goes out with those that
// are there too. Beyond MaxStreamTxs or MaxStreamBytes without an answer, the
// connection is not read.
type stream struct {
	socket
	buffer []byte      // of messages; the reader's
	late   *time.Timer // ends the connection when a message does not arrive

	flights chan *flight
	room    chan struct{} // capacity 1: there may be room, or nothing more is taken
	ended   chan struct{} // closed when the answerer has ended
	number  uint64        // of the next answer; the answerer's
	deaf    bool          // the client is told nothing more; the answerer's

	mu       sync.Mutex
	arrived  []byte        // transactions that are not enqueued, one after the other
	ends     []int         // where each of them ends
	txs      int           // without an answer, those that arrived included
	bytes    int           // of these
	stopping bool          // what comes now is refused
	calm     chan struct{} // closed when it is and all that was taken is answered
}

// flight is transactions that were enqueued together, or are refused together.
type flight struct {
	start   time.Time
	txs     int
	bytes   int
	pending Pending // nil: they are refused
	err     error   // with this
}

const (
	// maxFlights is how many submissions of a connection wait for the disk. What comes
	// then gathers for the next, so that a connection under load has few that are large.
	maxFlights = 16
	// answerBytes is where a message of answers ends.
	answerBytes = maxGatheredBytes / 2
	// streamBuffer is what the buffer for messages begins with, and keptBuffer what a
	// connection keeps of it, bytes.
	streamBuffer = 4 << 10
	keptBuffer   = 64 << 10
	// submitStream is the label of streams where calls have their method's name.
	submitStream = "submit_stream"
)

// errStreamStopped is why a stream's reader ends when the server does.
var errStreamStopped = errors.New("the server is stopping")

func (s *Server) newStream(conn *websocket.Conn, out *gatherer, from caller) *stream {
	c := &stream{flights: make(chan *flight, maxFlights),
		room: make(chan struct{}, 1), ended: make(chan struct{}), calm: make(chan struct{})}
	c.open(s, conn, out, from)
	out.drained = c.handOver
	return c
}

// run serves the connection until it ends, and leaves no goroutine behind.
func (c *stream) run() {
	c.late = time.AfterFunc(c.server.limits.ReadTimeout, func() {
		c.server.metrics.limited.WithLabelValues("read_timeout").Inc()
		c.end()
	})
	c.late.Stop()
	c.wg.Go(func() { c.keep(func() { c.checkPeer(c.busy) }, c.drain) })
	go c.answerAll()
	err := c.readAll()
	c.land()
	close(c.flights)
	<-c.ended
	c.sayWhy(err)
	c.end()
	c.wg.Wait()
	c.resize(0)
}

// readAll takes messages until one is no good or the connection ends.
func (c *stream) readAll() error {
	if !c.resize(streamBuffer) {
		return errNoMemory
	}
	for {
		// Without a context: one that can end costs more than all else about a message,
		// and end closes the connection.
		kind, r, err := c.conn.Reader(context.Background())
		if err != nil {
			return err
		}
		if kind != websocket.MessageBinary {
			return errKind
		}
		c.late.Reset(c.server.limits.ReadTimeout)
		b, err := c.read(r)
		c.late.Stop()
		if err != nil {
			return err
		}
		c.heard.Add(1)
		if err := c.receive(b); err != nil {
			return err
		}
		if cap(c.buffer) > keptBuffer {
			c.resize(streamBuffer)
		}
	}
}

// read takes a message of at most MaxBodyBytes, which is good until the next call.
func (c *stream) read(src io.Reader) ([]byte, error) {
	for n := 0; ; {
		if n == len(c.buffer) && !c.resize(min(2*n, c.server.limits.MaxBodyBytes+1)) {
			return nil, errNoMemory
		}
		got, err := src.Read(c.buffer[n:])
		n += got
		switch {
		case n > c.server.limits.MaxBodyBytes:
			return nil, errBodyTooLarge
		case err == io.EOF:
			return c.buffer[:n], nil
		case err != nil:
			return nil, err
		}
	}
}

// resize makes the buffer n bytes long, with what was in it, if the budget of all
// clients has them.
func (c *stream) resize(n int) bool {
	if more := n - len(c.buffer); more > 0 && !c.server.held.take(more) {
		return false
	} else if more < 0 {
		c.server.held.give(-more)
	}
	old := c.buffer
	c.buffer = make([]byte, n)
	copy(c.buffer, old)
	return true
}

// receive takes the transactions of a message, all or none.
func (c *stream) receive(message []byte) error {
	n, err := api.CountSubmissions(message)
	if err != nil {
		return err
	}
	if !c.from.loopback && !c.server.rates.allow(c.from.key, n, time.Now()) {
		return c.refuse(n, c.server.rateLimited())
	}
	for ; n > 0; n-- {
		raw, rest := api.CutSubmission(message)
		switch err := c.take(raw); {
		case errors.Is(err, errStreamStopped):
			return c.refuse(n, api.NewError(api.CodeStopping, ""))
		case err != nil:
			return err
		}
		message = rest
	}
	return nil
}

// take adds a transaction to those that arrived, once the window has room.
func (c *stream) take(raw []byte) error {
	if !c.server.held.take(len(raw)) {
		return errNoMemory
	}
	err := c.await(func() (bool, error) {
		l := &c.server.limits
		switch {
		case c.stopping:
			return false, errStreamStopped
		case c.txs == l.MaxStreamTxs || c.txs > 0 && c.bytes+len(raw) > l.MaxStreamBytes || len(c.ends) == l.MaxTxs:
			return false, nil
		}
		c.arrived = append(c.arrived, raw...)
		c.ends = append(c.ends, len(c.arrived))
		c.txs, c.bytes = c.txs+1, c.bytes+len(raw)
		return true, nil
	})
	if err != nil {
		c.server.held.give(len(raw))
	}
	return err
}

// refuse answers n transactions with e, after those that came before.
func (c *stream) refuse(n int, e *api.Error) error {
	return c.await(func() (bool, error) {
		if len(c.ends) > 0 || len(c.flights) == cap(c.flights) {
			return false, nil
		}
		c.flights <- &flight{start: time.Now(), txs: n, err: e}
		return true, nil
	})
}

// land enqueues what arrived before the reader ended, unless nobody answers.
func (c *stream) land() {
	err := c.await(func() (bool, error) { return len(c.ends) == 0, nil })
	if err == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.server.held.give(len(c.arrived))
	c.arrived, c.ends = nil, nil
}

// await calls try, under the lock, until it has done its work. What waits meanwhile
// is under way.
func (c *stream) await(try func() (done bool, err error)) error {
	for {
		c.mu.Lock()
		done, err := try()
		if !done && err == nil {
			c.enqueue()
			done, err = try()
		}
		c.mu.Unlock()
		if done || err != nil {
			return err
		}
		select {
		case <-c.room:
		case <-c.ctx.Done():
			return c.ctx.Err()
		}
	}
}

// handOver enqueues what has arrived.
func (c *stream) handOver() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.enqueue()
}

// enqueue is handOver under the lock. The backend keeps what it is given, so that is
// a copy of its own.
func (c *stream) enqueue() {
	if len(c.ends) == 0 || len(c.flights) == cap(c.flights) {
		return
	}
	raws, from, own := make([][]byte, len(c.ends)), 0, append([]byte(nil), c.arrived...)
	for i, end := range c.ends {
		raws[i], from = own[from:end:end], end
	}
	f := &flight{start: time.Now(), txs: len(raws), bytes: len(own)}
	if f.pending, f.err = c.server.enqueue(raws); f.err != nil {
		f.pending = nil
	}
	c.flights <- f
	c.arrived, c.ends = c.arrived[:0], c.ends[:0]
	if cap(c.arrived) > keptBuffer {
		c.arrived = nil
	}
}

// enqueue guards the backend's.
func (s *Server) enqueue(raws [][]byte) (p Pending, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = s.panicked(submitStream, v)
		}
	}()
	return s.backend.Enqueue(raws), nil
}

// wait guards the backend's answer, which has CallTimeout from when f was enqueued.
func (c *stream) wait(f *flight) (done []Submitted, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = c.server.panicked(submitStream, v)
		}
	}()
	ctx := c.ctx
	if !f.pending.Done() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, f.start.Add(c.server.limits.CallTimeout))
		defer cancel()
	}
	if done = f.pending.Wait(ctx); len(done) != f.txs {
		return nil, fmt.Errorf("%d transactions enqueued, %d results", f.txs, len(done))
	}
	return done, nil
}

// answerAll answers flights in order. Who is answered does not wait for who is not:
// what is ready goes out before the next is waited for.
func (c *stream) answerAll() {
	defer close(c.ended)
	message := takeBuffer()
	var txs, bytes int // answered in message
	for f := range c.flights {
		if f.pending != nil && !f.pending.Done() {
			c.send(message, txs, bytes)
			txs, bytes = 0, 0
		}
		c.answer(message, f)
		if f.bytes > 0 { // it was taken
			txs, bytes = txs+f.txs, bytes+f.bytes
		}
		if len(c.flights) == 0 {
			c.send(message, txs, bytes)
			txs, bytes = 0, 0
		}
	}
	giveBuffer(message)
}

// answer appends the answers of a flight to message, and sends it whenever it is long
// enough.
func (c *stream) answer(message *[]byte, f *flight) {
	var done []Submitted
	err := f.err
	if f.pending != nil {
		done, err = c.wait(f)
	}
	executed := 0
	for i := range f.txs {
		if c.ctx.Err() != nil {
			return // nobody hears it
		}
		t := Submitted{Err: err}
		if err == nil {
			t = done[i]
		}
		if code := c.append(message, &t); code == 0 {
			executed++
		} else {
			c.server.metrics.requests.WithLabelValues(submitStream, strconv.Itoa(int(code))).Inc()
		}
		if len(*message) > answerBytes {
			c.write(message)
		}
	}
	seen := &c.server.metrics.stream
	seen.ok.Add(float64(executed))
	seen.seconds.Observe(time.Since(f.start).Seconds())
}

// append appends one answer and returns its code, 0 if the transaction has executed.
func (c *stream) append(message *[]byte, t *Submitted) api.Code {
	s := c.server
	a := api.SubmitAnswer{Number: c.number, ID: t.Receipt.ID, Height: t.Height, Index: uint32(t.Index), Receipt: t.Receipt}
	c.number++
	if t.Err != nil {
		a.Refused = s.answerable(t.Err, submitStream)
	}
	from := len(*message)
	if *message = a.Append(*message); len(*message)-from > s.limits.MaxResponseBytes {
		a.Refused = s.answerable(errResponseTooLarge, submitStream)
		*message = a.Append((*message)[:from])
	}
	if a.Refused != nil {
		return a.Refused.Code
	}
	return 0
}

// send writes message, after which txs transactions of so many bytes are answered.
func (c *stream) send(message *[]byte, txs, bytes int) {
	if len(*message) == 0 && txs == 0 {
		return
	}
	c.write(message)
	c.server.held.give(bytes)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.txs, c.bytes = c.txs-txs, c.bytes-bytes
	c.enqueue()
	c.check()
	select {
	case c.room <- struct{}{}:
	default:
	}
}

// write empties message.
func (c *stream) write(message *[]byte) {
	n := len(*message)
	if n == 0 || c.deaf || c.ctx.Err() != nil {
		*message = (*message)[:0]
		return
	}
	if !c.server.held.take(n) {
		c.overloaded()
	} else {
		c.out.hold()
		// The connection has the time limit.
		err := c.conn.Write(context.Background(), websocket.MessageBinary, *message)
		c.wrote(errors.Join(err, c.out.release()))
		c.server.held.give(n)
	}
	*message = (*message)[:0]
}

// overloaded closes the connection: answers are held for too many slow clients.
func (c *stream) overloaded() {
	c.server.metrics.limited.WithLabelValues("memory").Inc()
	c.deaf = true
	c.wg.Go(func() {
		c.conn.Close(websocket.StatusTryAgainLater, "Overloaded")
		c.cancel()
	})
}

// sayWhy tells the client why its connection ends, where it can hear it.
func (c *stream) sayWhy(err error) {
	if c.ctx.Err() != nil {
		return
	}
	if errors.Is(err, api.ErrMalformedSubmit) {
		c.conn.Close(websocket.StatusInvalidFramePayloadData, "Malformed")
		return
	}
	c.refuseRead(err, api.SubmitProtocol+" wants binary messages")
}

// busy reports whether there are transactions without an answer: then the connection may
// not be read.
func (c *stream) busy() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.txs > 0
}

// drain waits until everything that was taken is answered, and says goodbye.
func (c *stream) drain() {
	c.mu.Lock()
	c.stopping = true
	c.check()
	c.mu.Unlock()
	select {
	case c.room <- struct{}{}: // the reader may wait for it
	default:
	}
	select {
	case <-c.calm:
		c.conn.Close(websocket.StatusGoingAway, "Stopping")
	case <-c.ctx.Done():
	}
}

// check closes calm when it is time; under the lock.
func (c *stream) check() {
	if c.stopping && c.txs == 0 {
		select {
		case <-c.calm:
		default:
			close(c.calm)
		}
	}
}
