package client

import (
	"errors"
	"io"
	"testing"
)

// TestLastAnswer: a call that comes late to look finds the answer of a node that
// has hung up since.
func TestLastAnswer(t *testing.T) {
	for range 32 { // of two channels that are ready, select takes any
		l := &link{waiting: map[uint64]chan<- []byte{}, broken: make(chan struct{})}
		answered, never := make(chan []byte, 1), make(chan []byte, 1)
		l.expect(7, answered)
		l.expect(8, never)
		l.deliver([]byte(`{"jsonrpc":"2.0","id":7,"result":true}`))
		l.err = io.EOF
		close(l.broken)
		if b, err := l.await(t.Context(), answered); err != nil || len(b) == 0 {
			t.Fatalf("answered: %q, %v", b, err)
		}
		if _, err := l.await(t.Context(), never); !errors.Is(err, ErrUnreachable) || !errors.Is(err, io.EOF) {
			t.Fatalf("not answered: %v", err)
		}
	}
}
