package main

import (
	"bufio"
	"bytes"
	"strings"
	"testing"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/rpc/api"
)

// TestSubmitAnswers: the shortcut sees what the reader of host/rpc/api sees.
func TestSubmitAnswers(t *testing.T) {
	ok := (&api.SubmitAnswer{Number: 1, Height: 2, Index: 3, Receipt: chain.Receipt{ID: chain.Hash{9}, Events: [][]byte{{1, 2}}}}).Append(nil)
	failed := (&api.SubmitAnswer{Receipt: chain.Receipt{Code: 256, Detail: "no"}}).Append(nil)
	refused := (&api.SubmitAnswer{Refused: api.NewError(api.CodeBusy, "")}).Append(nil)
	if n, err := submitAnswers(append(bytes.Clone(ok), ok...)); n != 2 || err != nil {
		t.Errorf("two that went through are %d, %v", n, err)
	}
	for name, b := range map[string][]byte{"failed": failed, "refused": refused, "half": ok[:len(ok)-1], "short": ok[:9]} {
		if n, err := submitAnswers(append(bytes.Clone(ok), b...)); n != 1 || err == nil {
			t.Errorf("one that went through and one that is %s are %d, %v", name, n, err)
		}
	}
}

// TestSocketReads: what is no answer of a node ends the round.
func TestSocketReads(t *testing.T) {
	long := strings.Repeat("x", 70_000)
	for _, c := range []struct{ bytes, want, failure string }{
		{"\x82\x01a", "a", ""}, {"\x81\x02ab", "ab", ""}, {"\x89\x01p\x82\x01a", "a", ""}, {"\x82\x7e\x00\x80" + long[:128], long[:128], ""},
		{"\x82\x7f\x00\x00\x00\x00\x00\x01\x11\x70" + long, long, ""},
		{"", "", "EOF"}, {"\x82", "", "EOF"}, {"\x82\x02a", "", "EOF"}, {"\x82\x7e\x00", "", "EOF"}, {"\x88\x02\x03\xe9", "", "frame 0x88"}, {"\x02\x01a", "", "frame 0x2"},
		{"\x82\x7f\xff\xff\xff\xff\xff\xff\xff\xff", "", "limit"},
	} {
		conn := &socket{in: bufio.NewReader(strings.NewReader(c.bytes))}
		got, err := conn.read()
		if string(got) != c.want || (err == nil) != (c.failure == "") || err != nil && !strings.Contains(err.Error(), c.failure) {
			t.Errorf("%.20q: %.20q, %v, want %.20q, %q", c.bytes, got, err, c.want, c.failure)
		}
	}
	for answer, want := range map[string]string{"HTTP/1.1 200 OK\r\n\r\n": "no WebSocket", "HTTP/1.1 101 \r\n\r\n": `speaks ""`, "HTTP/1.1 101 \r\nsec-websocket-protocol: x\r\n\r\n": `speaks "x"`, "HTTP/1.1 101 \r\nA: b": "EOF"} {
		conn := &socket{in: bufio.NewReader(strings.NewReader(answer))}
		if err := conn.upgraded(api.SubmitProtocol); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want an error with %q", answer, err, want)
		}
	}
}
