package rpc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"time"

	"github.com/kaizenchain/kaizen/host/invariant"
	"github.com/kaizenchain/kaizen/host/rpc/api"
)

// reply collects the answers to one body. It stays empty if there is nothing to
// answer.
type reply struct {
	buf   []byte
	batch bool
	full  bool // an answer did not fit: nothing more is executed
}

func (r *reply) open() {
	switch {
	case !r.batch:
	case len(r.buf) == 0:
		r.buf = append(r.buf, '[')
	default:
		r.buf = append(r.buf, ',')
	}
}

func (r *reply) close() []byte {
	if r.batch && len(r.buf) > 0 {
		return append(r.buf, ']')
	}
	return r.buf
}

// answer executes a parsed body and returns what to send back, nil if nothing.
//
// Calls run in the order of the batch. Send calls that stand next to each other
// are submitted together, so that a batch of single sends waits for one fsync
// and not for one each.
func (s *Server) answer(ctx context.Context, v *body) []byte {
	out := reply{batch: v.batch}
	for rest := v.requests; len(rest) > 0; {
		n := s.sendRun(rest)
		if n == 0 || out.full {
			s.call(ctx, &rest[0], &out)
			rest = rest[1:]
			continue
		}
		for i, sent := range s.submit(ctx, rest[:n]) {
			s.finishSend(&rest[i], sent, &out)
		}
		rest = rest[n:]
	}
	return out.close()
}

// sendRun is how many requests at the front can be submitted together.
func (s *Server) sendRun(requests []request) int {
	txs := 0
	for i := range requests {
		r := &requests[i]
		txs += len(r.raws)
		if r.err != nil || len(r.raws) == 0 || (i > 0 && txs > s.limits.MaxTxs) {
			return i
		}
	}
	return len(requests)
}

// call executes one request that sends nothing.
func (s *Server) call(ctx context.Context, r *request, out *reply) {
	start := time.Now()
	s.finish(r, start, out, func(dst []byte) ([]byte, error) {
		switch {
		case r.err != nil:
			return dst, r.err
		case out.full:
			return dst, api.NewError(api.CodeResponseTooLarge, "not executed: an earlier answer of the batch was too large")
		}
		return s.guard(r, dst, func() ([]byte, error) { return r.method.run(ctx, &r.params, dst) })
	})
}

// guard turns a panic into an error, except a broken invariant, which is fatal
// and must not be swallowed by net/http.
func (s *Server) guard(r *request, dst []byte, run func() ([]byte, error)) (b []byte, err error) {
	defer func() {
		if v := recover(); v != nil {
			b, err = dst, s.panicked(r.method.name, v)
		}
	}()
	return run()
}

func (s *Server) panicked(method string, v any) error {
	if _, broken := v.(invariant.Violation); broken {
		s.fatal(v)
	}
	s.log.Error("rpc method panicked", slog.String("method", method), slog.Any("panic", v), slog.String("stack", string(debug.Stack())))
	return fmt.Errorf("panic: %v", v)
}

// finish writes one answer: head, then what result appends, or an error.
func (s *Server) finish(r *request, start time.Time, out *reply, result func(dst []byte) ([]byte, error)) {
	mark := len(out.buf)
	out.open()
	body := len(out.buf)
	out.buf = append(appendHead(out.buf, r.id), `,"result":`...)
	buf, err := result(out.buf)
	if err == nil && len(buf) > s.limits.MaxResponseBytes {
		err = errResponseTooLarge
	}
	out.full = out.full || errors.Is(err, errResponseTooLarge)
	code := api.Code(0)
	if err != nil {
		e := s.answerable(err, r.methodName())
		code = e.Code
		buf = appendError(buf[:body], r.id, e)
	} else {
		buf = append(buf, '}')
	}
	out.buf = buf
	if r.id == nil { // a notification
		out.buf = out.buf[:mark]
	}
	s.metrics.observe(r.method, code, time.Since(start))
}

func (r *request) methodName() string {
	if r.method == nil {
		return ""
	}
	return r.method.name
}

func appendHead(dst, id []byte) []byte {
	if id == nil {
		id = nullID
	}
	return append(append(dst, `{"jsonrpc":"2.0","id":`...), id...)
}

func appendError(dst, id []byte, e *api.Error) []byte {
	dst = append(appendHead(dst, id), `,"error":`...)
	b, err := json.Marshal(e)
	if err != nil { // strings and a number always marshal
		panic(err)
	}
	return append(append(dst, b...), '}')
}

// sent is what became of one send request.
type sent struct {
	start time.Time
	txs   []Submitted
	err   error // of the whole run
}

// submit gives the transactions of several requests to the backend at once.
func (s *Server) submit(ctx context.Context, run []request) []sent {
	start := time.Now()
	raws := run[0].raws
	if len(run) > 1 {
		raws = make([][]byte, 0, len(run))
		for i := range run {
			raws = append(raws, run[i].raws...)
		}
	}
	done, err := s.submitAll(ctx, run[0].method.name, raws)
	results := make([]sent, len(run))
	for i := range run {
		results[i] = sent{start: start, err: err}
		if err == nil {
			n := len(run[i].raws)
			results[i].txs, done = done[:n], done[n:]
		}
	}
	return results
}

func (s *Server) submitAll(ctx context.Context, method string, raws [][]byte) (done []Submitted, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = s.panicked(method, v)
		}
	}()
	done = s.backend.Submit(ctx, raws)
	if len(done) != len(raws) {
		return nil, fmt.Errorf("%d transactions submitted, %d results", len(raws), len(done))
	}
	return done, nil
}

// finishSend answers one send request.
func (s *Server) finishSend(r *request, v sent, out *reply) {
	s.finish(r, v.start, out, func(dst []byte) ([]byte, error) {
		switch {
		case v.err != nil:
			return dst, v.err
		case r.method.many:
			return s.appendSent(dst, r.method.name, v.txs), nil
		case v.txs[0].Err != nil:
			return dst, v.txs[0].Err
		}
		t := &v.txs[0]
		return append(s.appendReceipt(slices.Grow(dst, sentBytes), &t.Receipt, t.Height, t.Index), '}'), nil
	})
}

// sentBytes is about how long the answer for one transaction is.
const sentBytes = 512

func (s *Server) appendSent(dst []byte, method string, txs []Submitted) []byte {
	dst = append(slices.Grow(dst, sentBytes*len(txs)), '[')
	for i := range txs {
		if i > 0 {
			dst = append(dst, ',')
		}
		t := &txs[i]
		if t.Err != nil {
			dst = appendRefused(dst, t.Receipt.ID, s.answerable(t.Err, method))
			continue
		}
		dst = append(s.appendReceipt(dst, &t.Receipt, t.Height, t.Index), '}')
	}
	return append(dst, ']')
}

// refuse is the answer to a body of which nothing is executed.
func refuse(v *body, e *api.Error) []byte {
	id := nullID
	if v != nil && !v.batch && len(v.requests) == 1 && v.requests[0].id != nil {
		id = v.requests[0].id
	}
	return appendError(nil, id, e)
}

// withinRate takes what a body costs from its sender's allowance.
func (s *Server) withinRate(from caller, v *body) bool {
	return from.loopback || s.rates.allow(from.key, v.cost(), time.Now())
}

func (s *Server) rateLimited() *api.Error {
	s.metrics.limited.WithLabelValues("rate").Inc()
	return api.NewError(api.CodeRateLimited, sprintf("%d calls a second, %d at once", s.limits.RatePerSecond, s.limits.RateBurst))
}

// place waits for a place among the requests being executed; leave gives it
// back.
func (s *Server) place(ctx context.Context) (leave func(), err *api.Error) {
	select {
	case s.running <- struct{}{}:
		return func() { <-s.running }, nil
	case <-ctx.Done():
		return nil, s.overloaded("concurrent", sprintf("%d requests are being executed", s.limits.MaxConcurrent))
	}
}

func (b *body) cost() (n int) {
	for i := range b.requests {
		n += b.requests[i].cost()
	}
	return n
}
