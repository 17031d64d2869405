package client

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
)

// httpTransport posts each request.
type httpTransport struct {
	url  string
	http *http.Client
}

func (t *httpTransport) roundTrip(ctx context.Context, _ uint64, request []byte) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, t.url, bytes.NewReader(request))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/json")
	b, status, err := do(t.http, r)
	if err != nil {
		return nil, err
	}
	if b = trimmed(b); len(b) == 0 || b[0] != '{' {
		return nil, fmt.Errorf("%w: HTTP %d with %.120q", ErrUnreachable, status, b)
	}
	return b, nil
}

func (t *httpTransport) close() error { return nil }

// do sends a request and reads the answer's body, within MaxAnswerBytes.
func do(h *http.Client, r *http.Request) ([]byte, int, error) {
	answer, err := h.Do(r)
	if err != nil {
		return nil, 0, unreachable(r.Context(), err)
	}
	defer answer.Body.Close()
	var b bytes.Buffer
	if n := answer.ContentLength; n > 0 && n <= MaxAnswerBytes {
		b.Grow(int(n) + bytes.MinRead)
	}
	if _, err := b.ReadFrom(io.LimitReader(answer.Body, MaxAnswerBytes+1)); err != nil {
		return nil, 0, unreachable(r.Context(), err)
	}
	if b.Len() > MaxAnswerBytes {
		return nil, 0, fmt.Errorf("answer of more than %d bytes", MaxAnswerBytes)
	}
	return b.Bytes(), answer.StatusCode, nil
}
