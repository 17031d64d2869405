package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/coder/websocket"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/rpc/api"
	"github.com/kaizenchain/kaizen/stf-modules/abi"
)

// StreamWindow is how many transactions of one [Stream] may be without an answer.
const StreamWindow = 1024

// keptBytes is how large a buffer for writing is kept, bytes.
const keptBytes = 64 << 10

// Stream sends transactions over a connection of its own, many under way at a time:
// for programs that decide about each of theirs and send many (host/rpc/SUBMIT.md).
//
//	s, err := c.Stream(ctx)
//	sent, err := s.Send(ctx, raw)          on its way; an error means that it is not
//	…                                      more of them
//	done, err := sent.Wait(ctx)            executed and durable, at done.Height
//	var e *client.Error; errors.As(err, &e)                   refused: nothing happened
//	var lost *client.OutcomeError; errors.As(err, &lost)      ask by its id
//	s.Close()
//
// Transactions are executed in the order in which Send returned, and answered in that
// order. A connection that breaks is not dialled again: every transaction without an
// answer says [OutcomeError], and what to send again, in which order, is for the
// program to decide, on a new Stream.
//
// A Stream may be used by any number of goroutines at once.
type Stream struct {
	client *Client
	conn   *websocket.Conn
	silent *time.Timer
	window chan struct{} // a place for each transaction without an answer
	broken chan struct{} // closed when err is set

	mu       sync.Mutex
	next     uint64              // number of the next transaction
	answered uint64              // number of the next answer
	waiting  [StreamWindow]*Sent // those between, each at its number modulo StreamWindow
	out      []byte              // what is not written
	spare    []byte              // for out, while out is being written
	writing  bool                // somebody is
	closing  bool                // Close was called
	writeErr error
	err      error // why nothing goes any more
}

// Sent is a transaction on its way, or what it came to.
type Sent struct {
	number uint64
	done   chan struct{}
	result Executed
	err    error
}

// Executed is a transaction that is in a block, and durable. It may have failed: see
// Receipt.Code. The events are the module's bytes, which its schema describes.
type Executed struct {
	Height  uint64
	Index   uint32
	Receipt chain.Receipt
}

// OutcomeError says that a transaction was sent and that its answer will not come: it
// may have been executed, may be executed still, or never arrived. Ask for its receipt
// by its id ([Client.Receipt]), on this node or another: what is there is durable. A
// transaction that is not there after a block or two was lost with the connection; to
// send the same bytes again is safe where the module takes a transaction once only, as
// rfq does. It wraps [ErrUnreachable].
type OutcomeError struct {
	Number uint64 // of the transaction on its stream, from 0
	Err    error  // why the stream broke
}

func (e *OutcomeError) Error() string {
	return fmt.Sprintf("outcome of transaction %d of the stream is unknown: %v", e.Number, e.Err)
}

// Unwrap is why the stream broke.
func (e *OutcomeError) Unwrap() error { return e.Err }

// ErrNoStreams is the error of a node that does not speak [api.SubmitProtocol].
var ErrNoStreams = errors.New("node has no submit streams of this version")

// Stream connects. ctx is only for that; DefaultTimeout bounds it as it does calls.
// Errors wrap ErrUnreachable, or are ErrNoStreams.
func (c *Client) Stream(ctx context.Context) (*Stream, error) {
	ctx, cancel := context.WithTimeout(ctx, DefaultTimeout)
	defer cancel()
	s := &Stream{client: c, window: make(chan struct{}, StreamWindow), broken: make(chan struct{})}
	var err error
	s.conn, err = c.dialWS(ctx, func() { s.silent.Reset(silence) }, api.SubmitProtocol) // pings are seen by read
	if err != nil {
		return nil, fmt.Errorf("stream to %s: %w", c.url, unreachable(ctx, err))
	}
	if s.conn.Subprotocol() != api.SubmitProtocol {
		s.conn.CloseNow() // nothing was said on it
		return nil, fmt.Errorf("stream to %s: %w: %s", c.url, ErrNoStreams, api.SubmitProtocol)
	}
	s.silent = time.AfterFunc(silence, func() { s.conn.CloseNow() })
	go s.read()
	return s, nil
}

// Send puts a transaction on its way and does not wait for its answer. It waits while
// StreamWindow transactions have none, for as long as ctx allows. It copies raw. What
// several goroutines send at once leaves in one write, by one of them. An error means
// that the transaction was not sent.
func (s *Stream) Send(ctx context.Context, raw []byte) (*Sent, error) {
	if len(raw) == 0 || len(raw) > abi.MaxTxBytes {
		return nil, fmt.Errorf("transaction of %d bytes, want 1 to %d", len(raw), abi.MaxTxBytes)
	}
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	t := &Sent{done: make(chan struct{})}
	s.mu.Lock()
	if s.err != nil || s.closing || s.writeErr != nil {
		s.mu.Unlock()
		<-s.window
		return nil, s.notSent()
	}
	t.number = s.next
	s.next++
	s.waiting[t.number%StreamWindow] = t
	s.out = api.AppendSubmission(s.out, raw)
	if !s.writing {
		s.write()
	}
	s.mu.Unlock()
	return t, nil
}

// enter waits for a place in the window.
func (s *Stream) enter(ctx context.Context) error {
	select {
	case s.window <- struct{}{}:
		return nil
	default:
	}
	select {
	case s.window <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("not sent, %d transactions have no answer: %w", StreamWindow, ctx.Err())
	case <-s.broken:
		return s.notSent()
	}
}

func (s *Stream) notSent() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.err
	switch {
	case s.closing:
		err = errClosed
	case err == nil:
		err = s.writeErr
	}
	return fmt.Errorf("not sent, the stream has ended: %w: %w", ErrUnreachable, err)
}

// write sends what is there until there is no more, with the lock and, while it
// writes, without.
func (s *Stream) write() {
	s.writing = true
	for len(s.out) > 0 && s.writeErr == nil {
		b := s.out
		s.out, s.spare = s.spare[:0], nil
		s.mu.Unlock()
		err := s.conn.Write(context.Background(), websocket.MessageBinary, b)
		s.mu.Lock()
		if cap(b) <= keptBytes {
			s.spare = b[:0]
		}
		if err != nil {
			s.writeErr = err
			s.conn.CloseNow() // the reader says what became of the stream
		}
	}
	s.writing = false
}

// read completes transactions until the connection ends.
func (s *Stream) read() {
	for {
		_, b, err := s.conn.Read(context.Background())
		if err == nil {
			s.silent.Reset(silence)
			err = s.take(b)
		}
		if err != nil {
			s.silent.Stop()
			s.fail(err)
			s.conn.CloseNow() // it is of no use any more
			return
		}
	}
}

// take reads a message of answers.
func (s *Stream) take(message []byte) error {
	for len(message) > 0 {
		a, rest, err := api.CutSubmitAnswer(message)
		if err != nil {
			return err
		}
		message = rest
		s.mu.Lock()
		t := s.waiting[s.answered%StreamWindow]
		if a.Number != s.answered || t == nil {
			s.mu.Unlock()
			return fmt.Errorf("answer to transaction %d, waiting for %d of %d: %w", a.Number, s.answered, s.next, api.ErrMalformedSubmit)
		}
		s.waiting[s.answered%StreamWindow] = nil
		s.answered++
		s.mu.Unlock()
		t.complete(&a)
		<-s.window
	}
	return nil
}

// fail ends the stream; what has no answer has none for good.
func (s *Stream) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		err = errClosed
	}
	if s.writeErr != nil && !errors.Is(err, s.writeErr) {
		err = errors.Join(err, s.writeErr)
	}
	s.err = fmt.Errorf("stream to %s: %w: %w", s.client.url, ErrUnreachable, err)
	close(s.broken)
	for ; s.answered < s.next; s.answered++ {
		t := s.waiting[s.answered%StreamWindow]
		s.waiting[s.answered%StreamWindow] = nil
		t.err = &OutcomeError{Number: t.number, Err: s.err}
		close(t.done)
	}
}

// Broken is closed when the connection has ended, for whatever reason: every
// transaction has its answer or an [OutcomeError] then, and Send fails.
func (s *Stream) Broken() <-chan struct{} { return s.broken }

// Close ends the connection. It waits for no answers: who wants them waits for the
// last transaction that was sent, which is answered last.
func (s *Stream) Close() error {
	s.mu.Lock()
	s.closing = true
	s.mu.Unlock()
	err := s.conn.Close(websocket.StatusNormalClosure, "")
	<-s.broken
	if errors.Is(err, net.ErrClosed) { // it had ended before
		return nil
	}
	return err
}

func (t *Sent) complete(a *api.SubmitAnswer) {
	if a.Refused != nil {
		t.err = &Error{Method: api.SubmitProtocol, Code: a.Refused.Code, Name: a.Refused.Data.Name, Detail: a.Refused.Data.Detail, Message: a.Refused.Message}
		t.result.Receipt.ID = a.ID
	} else {
		t.result = Executed{Height: a.Height, Index: a.Index, Receipt: a.Receipt}
	}
	close(t.done)
}

// Number is the transaction's on its stream, from 0.
func (t *Sent) Number() uint64 { return t.number }

// Done is closed when the transaction has its answer, or will have none.
func (t *Sent) Done() <-chan struct{} { return t.done }

// Result is what it came to, after Done. Errors: an [*Error] if it was refused, then
// Receipt.ID is its id if the node knows it; an [*OutcomeError].
func (t *Sent) Result() (Executed, error) { return t.result, t.err }

// Wait waits for the answer: Done, then Result. When ctx is done first, its error; the
// transaction is as it was, and may be waited for again.
func (t *Sent) Wait(ctx context.Context) (Executed, error) {
	select {
	case <-t.done:
		return t.Result()
	case <-ctx.Done():
		return Executed{}, fmt.Errorf("transaction %d of the stream has no answer: %w", t.number, ctx.Err())
	}
}
