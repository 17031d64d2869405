package event_test

import (
	"fmt"
	"reflect"
	"testing"

	"github.com/kaizenchain/kaizen/host/stf"
	"github.com/kaizenchain/kaizen/stf-modules/rfq"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/event"
)

func a(n byte) (v [20]byte) { v[3] = n; return v }

var (
	price   = event.Price{Base: a(1), Quote: a(2), Timestamp: 3, Price: 4}
	created = event.ThesisCreated{ThesisID: 1, QuoteHash: [32]byte{2}, User: a(3), Solver: a(4), Base: a(5), Quote: a(6), Lower: 7, Upper: 8,
		BetAmount: 9, Payout: 10, Start: 11, End: 12, Due: 13}
	settled = event.ThesisSettled{ThesisID: 1, Outcome: event.SolverWins, User: a(2), Solver: a(3), Payout: 4, UserReceived: 5, SolverReceived: 6,
		BreachTimestamp: 7, BreachPrice: 8, SettledBy: a(9)}
)

// decoders decode what they are given, whatever its tag.
var decoders = []func([]byte) (any, bool){
	func(b []byte) (any, bool) { v, ok := event.DecodePrice(b); return v, ok },
	func(b []byte) (any, bool) { v, ok := event.DecodeThesisCreated(b); return v, ok },
	func(b []byte) (any, bool) { v, ok := event.DecodeThesisSettled(b); return v, ok },
}

func encodings() [][]byte {
	return [][]byte{price.Append(nil), created.Append(nil), settled.Append(nil)}
}

func TestRoundTrip(t *testing.T) {
	values := []any{price, created, settled}
	for i, b := range encodings() {
		for j, decode := range decoders {
			v, ok := decode(b)
			if ok != (i == j) || ok && !reflect.DeepEqual(v, values[i]) {
				t.Errorf("decoder %d makes %+v, %v of %+v", j, v, ok, values[i])
			}
		}
		for n := range b {
			if _, ok := decoders[i](b[:n]); ok {
				t.Errorf("%T cut to %d of %d bytes", values[i], n, len(b))
			}
		}
		if _, ok := decoders[i](append(b, 0)); ok {
			t.Errorf("%T with a tail", values[i])
		}
	}
	if event.TagOf(nil) != 0 {
		t.Error("nothing has a tag")
	}
}

// TestSchema: the module describes these very bytes, and names the same fields.
func TestSchema(t *testing.T) {
	schema, err := stf.ParseSchema(rfq.New().Schema())
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"price [{base 0x0000000100000000000000000000000000000000} {quote 0x0000000200000000000000000000000000000000} {timestamp 3} {price 4}]",
		"thesis_created [{thesis_id 1} {quote_hash 0x0200000000000000000000000000000000000000000000000000000000000000} {user 0x0000000300000000000000000000000000000000} {solver 0x0000000400000000000000000000000000000000} {base 0x0000000500000000000000000000000000000000} {quote 0x0000000600000000000000000000000000000000} {lower 7} {upper 8} {bet_amount 9} {payout 10} {start 11} {end 12} {due 13}]",
		"thesis_settled [{thesis_id 1} {outcome solver_wins} {user 0x0000000200000000000000000000000000000000} {solver 0x0000000300000000000000000000000000000000} {payout 4} {user_received 5} {solver_received 6} {breach_timestamp 7} {breach_price 8} {settled_by 0x0000000900000000000000000000000000000000}]",
	}
	for i, b := range encodings() {
		typ, fields := schema.Event(b)
		if got := fmt.Sprint(typ, " ", fields); got != want[i] {
			t.Errorf("got  %s\nwant %s", got, want[i])
		}
	}
	for tag, name := range map[event.Tag]int{event.TagPrice: rfq.EventPrice, event.TagThesisCreated: rfq.EventThesisCreated, event.TagThesisSettled: rfq.EventThesisSettled} {
		if int(tag) != name {
			t.Errorf("tag %d is the module's %d", tag, name)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, b := range encodings() {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var again []byte
		switch event.TagOf(b) {
		case event.TagPrice:
			if v, ok := event.DecodePrice(b); ok {
				again = v.Append(nil)
			}
		case event.TagThesisCreated:
			if v, ok := event.DecodeThesisCreated(b); ok {
				again = v.Append(nil)
			}
		case event.TagThesisSettled:
			if v, ok := event.DecodeThesisSettled(b); ok {
				again = v.Append(nil)
			}
		}
		if again != nil && string(again) != string(b) {
			t.Fatalf("two encodings: %x and %x", b, again)
		}
	})
}
