package wire

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/follow"
	"github.com/kaizenchain/kaizen/snapshot/fetch"
	"github.com/kaizenchain/kaizen/stf-modules/abi"
)

var update = flag.Bool("update", false, "rewrite the golden file")

// samples has every message once, with a different value in every field.
func samples() []Message {
	h := func(b byte) (h chain.Hash) {
		for i := range h {
			h[i] = b + byte(i)
		}
		return h
	}
	id := func(n uint64) chain.BlockID { return chain.BlockID{Number: n, Hash: h(byte(n))} }
	tip := func(n uint64) chain.TipID { return chain.TipID{Block: id(n), Batch: chain.BatchID(id(n + 100))} }
	header := chain.Header{Version: chain.BlockVersion, ChainID: 1, Height: 7, Parent: h(1), Time: 1234, OracleHash: h(2), TxsRoot: h(3),
		ReceiptsRoot: h(4), StateRoot: h(5), ModuleHash: h(6), Sequencer: h(7)}
	return []Message{
		Hello{Version: ProtocolVersion, ChainID: 42, Genesis: h(10), Module: h(20), Role: RoleReader, Head: id(9), MaxFrame: MaxFrameBytes, Agent: "kaizen/1.0"},
		Refusal{Code: CodeModule, Ours: "0xaa", Theirs: "0xbb"},
		Ping{Nonce: 5}, Pong{Nonce: 6},
		GetTips{ID: 1}, Tips{ID: 2, Tips: chain.Tips{Proposed: id(1), Checkpointed: tip(2), Proven: tip(3), Finalized: tip(4)}},
		GetBlocks{ID: 3, From: 1000, Limit: 50, MaxBytes: 1 << 20}, Blocks{ID: 4, Blocks: [][]byte{[]byte("one"), []byte("two")}},
		GetHeader{ID: 5, Number: 77}, Header{ID: 6, Header: header},
		GetGenesis{ID: 8}, Genesis{ID: 9, Document: []byte("document")},
		Failed{ID: 7, Code: FailNotAvailable, Text: "block 9"},
		Subscribe{Ride: true}, Doorbell{Tip: id(8), Block: []byte("block")},
		SubscribeOpen{}, OpenTxs{Number: 8, Time: 5678, Oracle: chain.OracleSnapshot{Timestamp: 5670}, First: 3, Txs: [][]byte{[]byte("fourth"), []byte("fifth")}}, OpenTxs{Number: 8, First: 5, Last: true, Txs: [][]byte{}},
		GetEvents{ID: 10, From: 2000, Limit: 20, MaxBytes: 1 << 19}, Events{ID: 11, Blocks: [][]byte{[]byte("three"), []byte("four")}},
		Gap{ID: 12, Base: 28771},
		GetSnapshots{ID: 13}, Snapshots{ID: 14, Offers: []fetch.Offer{
			{Hash: h(30), Identity: h(40), Base: h(50), Block: id(4000), ManifestBytes: 525, Chunks: 1, Bytes: 70_000, Signed: true},
			{Hash: h(60), Identity: h(50), Block: id(3000), ManifestBytes: 633, Chunks: 2, Bytes: 1_900_000}}},
		GetManifest{ID: 15, Hash: h(60)}, Manifest{ID: 16, Bytes: []byte("manifest")},
		GetChunk{ID: 17, Hash: h(60), Index: 1}, Chunk{ID: 18, Bytes: []byte("chunk")},
	}
}

// TestGolden: the bytes of protocol version 1 never change.
func TestGolden(t *testing.T) {
	var out strings.Builder
	for _, m := range samples() {
		fmt.Fprintf(&out, "%#x %T\n%s\n", uint8(m.kind()), m, hex.EncodeToString(encode(m, 0)))
	}
	const file = "testdata/messages_v1.txt"
	if *update {
		if err := os.WriteFile(file, []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if out.String() != string(want) {
		t.Errorf("the encoding has changed:\n%s\nwant\n%s", out.String(), want)
	}
}

// TestRoundTrip also checks that every proper prefix of a message, and a message
// with a tail, is refused.
func TestRoundTrip(t *testing.T) {
	for _, m := range samples() {
		payload := m.append(nil)
		got, err := Decode(m.kind(), payload)
		if err != nil || !reflect.DeepEqual(got, m) {
			t.Errorf("%T came back as %+v, %v", m, got, err)
		}
		for n := range payload {
			if got, err := Decode(m.kind(), payload[:n]); !errors.Is(err, ErrMalformed) {
				t.Errorf("%T cut to %d of %d bytes: %+v, %v", m, n, len(payload), got, err)
			}
		}
		if _, err := Decode(m.kind(), append(payload, 0)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%T with a tail: %v", m, err)
		}
	}
}

// TestHelloOfAnotherVersion: of a version that is not ours, the number is known.
func TestHelloOfAnotherVersion(t *testing.T) {
	m, err := Decode(TypeHello, append([]byte(magic), 9, 0, 'a', 'n', 'y'))
	if h, ok := m.(Hello); err != nil || !ok || h != (Hello{Version: 9}) {
		t.Errorf("%+v, %v", m, err)
	}
}

// TestTextsAreClipped: a text for people never makes a message that the other
// side refuses.
func TestTextsAreClipped(t *testing.T) {
	long := strings.Repeat("x", 1000)
	for _, m := range []Message{Refusal{Ours: long, Theirs: long}, Failed{Text: long}, Hello{Version: ProtocolVersion, Agent: long}} {
		if _, err := Decode(m.kind(), m.append(nil)); err != nil {
			t.Errorf("%T: %v", m, err)
		}
		if n := len(encode(m, 0)); n > MaxRequestFrameBytes {
			t.Errorf("%T takes %d bytes of %d", m, n, MaxRequestFrameBytes)
		}
	}
}

// TestLargestAnswerFits: what a server may put into one frame fits one.
func TestLargestAnswerFits(t *testing.T) {
	limits := Limits{MaxResponseBytes: 1 << 30}.withDefaults()
	if n := limits.MaxResponseBytes + blocksOverhead; n > MaxFrameBytes {
		t.Errorf("%d bytes", n)
	}
	if n := chain.MaxBlockBytes + blocksOverhead; n > MaxFrameBytes {
		t.Errorf("the largest block takes %d bytes", n)
	}
	encode(Blocks{Blocks: [][]byte{make([]byte, chain.MaxBlockBytes)}}, 0)
	encode(Events{Blocks: [][]byte{make([]byte, follow.MaxEventBlockBytes)}}, 0)
	encode(Genesis{Document: make([]byte, maxDocumentBytes)}, 0)
	encode(Manifest{Bytes: make([]byte, fetch.MaxManifestBytes)}, 0)
	encode(Chunk{Bytes: make([]byte, fetch.MaxChunkBytes)}, 0)
	encode(OpenTxs{Txs: [][]byte{make([]byte, max(MaxOpenBytes, abi.MaxTxBytes))}}, 0)
}

func FuzzDecode(f *testing.F) {
	for _, m := range samples() {
		f.Add(uint8(m.kind()), m.append(nil))
	}
	f.Add(uint8(TypeBlocks), []byte{0, 0, 0, 0, 255, 255, 255, 255})
	f.Add(uint8(TypeEvents), []byte{0, 0, 0, 0, 255, 255, 255, 255})
	f.Add(uint8(TypeSnapshots), []byte{0, 0, 0, 0, 255, 255, 255, 255})
	f.Fuzz(func(t *testing.T, kind uint8, payload []byte) {
		m, err := Decode(Type(kind), payload)
		if err != nil {
			if !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrUnknownType) {
				t.Fatalf("an error of no kind: %v", err)
			}
			return
		}
		if h, ok := m.(Hello); ok && h.Version != ProtocolVersion {
			return // it keeps nothing else
		}
		if again := m.append(nil); !bytes.Equal(again, payload) {
			t.Fatalf("%T has two encodings:\n%x\n%x", m, payload, again)
		}
	})
}

// FuzzFrames reads frames from any bytes: it ends, with an error of the list, and
// never takes more memory than the limit.
func FuzzFrames(f *testing.F) {
	var all []byte
	for _, m := range samples() {
		all = append(all, encode(m, 0)...)
	}
	f.Add(all)
	f.Add([]byte{255, 255, 255, 255, 1})
	f.Add([]byte{0, 0, 0, 0})
	f.Add(binary.LittleEndian.AppendUint32(nil, MaxRequestFrameBytes))
	f.Fuzz(func(t *testing.T, stream []byte) {
		r := newFramer(noDeadlines{}, bufio.NewReader(bytes.NewReader(stream)), Limits{}.withDefaults(), MaxRequestFrameBytes)
		for {
			if _, body, err := r.readFrame(time.Hour); err != nil {
				if err.Error() != "EOF" && !errors.Is(err, ErrTruncated) && !errors.Is(err, ErrFrameSize) {
					t.Fatalf("an error of no kind: %v", err)
				}
				return
			} else if len(body) > MaxRequestFrameBytes {
				t.Fatalf("a frame of %d bytes", len(body))
			}
		}
	})
}

// noDeadlines is a connection of which only the deadlines are used.
type noDeadlines struct{ net.Conn }

func (noDeadlines) SetReadDeadline(time.Time) error { return nil }

func TestSubscriber(t *testing.T) {
	frames := func(n byte) push { return push{bell: []byte{n}, ride: []byte{n, n}} }
	s := newSubscriber()
	s.offer(frames(1))
	if _, _, ok := s.next(); ok {
		t.Error("a peer that did not subscribe gets something")
	}
	s.subscribe(true)
	if _, ring, ok := s.next(); !ok || !ring {
		t.Error("no doorbell at the start")
	}
	for n := range byte(maxPushes) {
		s.offer(frames(n))
	}
	for n := range byte(maxPushes) {
		if f, ring, ok := s.next(); !ok || ring || !bytes.Equal(f, []byte{n, n}) {
			t.Errorf("push %d is %v", n, f)
		}
	}
	for n := range byte(maxPushes + 3) {
		s.offer(frames(n))
	}
	if _, lagging, dropped := s.state(); !lagging || dropped != maxPushes+3 {
		t.Errorf("lagging %v, dropped %d", lagging, dropped)
	}
	if _, ring, ok := s.next(); !ok || !ring {
		t.Error("no doorbell after a lag")
	}
	if f, _, ok := s.next(); ok {
		t.Errorf("more after it: %v", f)
	}
	s.subscribe(false)
	s.next()
	s.offer(frames(9))
	if f, _, _ := s.next(); !bytes.Equal(f, []byte{9}) {
		t.Errorf("a block rides along unasked: %v", f)
	}
}

// TestSubscriberOfTheOpenBlock: parts of the open block keep their place between
// doorbells, never make a peer lag, and are dropped once there are too many.
func TestSubscriberOfTheOpenBlock(t *testing.T) {
	part := func(n int) push { return push{open: []byte{100, byte(n)}} }
	s := newSubscriber()
	s.subscribe(false)
	s.next()
	s.offerOpen(part(0))
	if _, _, ok := s.next(); ok {
		t.Error("a peer that did not ask gets the open block")
	}
	if !s.subscribeOpen() || s.subscribeOpen() {
		t.Error("it asks for the first time twice")
	}
	s.offerOpen(part(1))
	s.offer(push{bell: []byte{1}})
	for n := range maxOpens {
		s.offerOpen(part(2 + n))
	}
	want := [][]byte{{100, 1}, {1}}
	for n := range maxOpens - 1 {
		want = append(want, []byte{100, byte(2 + n)})
	}
	for _, f := range want {
		if got, ring, ok := s.next(); !ok || ring || !bytes.Equal(got, f) {
			t.Errorf("got %v, want %v", got, f)
		}
	}
	if f, _, ok := s.next(); ok {
		t.Errorf("more than %d: %v", maxOpens, f)
	}
	for n := range maxOpens {
		s.offerOpen(part(n))
	}
	for range maxPushes + 1 {
		s.offer(push{bell: []byte{2}})
	}
	s.offerOpen(part(99))
	if _, lagging, dropped := s.state(); !lagging || dropped != maxPushes+1 {
		t.Errorf("lagging %v, %d doorbells dropped", lagging, dropped)
	}
	if _, ring, ok := s.next(); !ok || !ring {
		t.Error("no doorbell after a lag")
	}
	s.offerOpen(part(7))
	if f, _, _ := s.next(); !bytes.Equal(f, part(7).open) {
		t.Errorf("after the lag %v", f)
	}
}

// TestOpenIsCut: a message has as much as fits, and one transaction at least.
func TestOpenIsCut(t *testing.T) {
	txs := [][]byte{make([]byte, MaxOpenBytes), make([]byte, 1), make([]byte, MaxOpenBytes-2), make([]byte, 2)}
	m := OpenTxs{Number: 9, Time: 1, First: 5, Last: true, Txs: txs}
	var firsts []uint32
	for len(m.Txs) > 0 {
		part := m.cut()
		if part.Number != 9 || part.Time != 1 || part.Last != (len(m.Txs) == 0) {
			t.Errorf("part of %d at %d, last %t", part.Number, part.Time, part.Last)
		}
		firsts = append(firsts, part.First)
	}
	if want := []uint32{5, 6, 8}; !reflect.DeepEqual(firsts, want) {
		t.Errorf("parts begin at %v, want %v", firsts, want)
	}
}
