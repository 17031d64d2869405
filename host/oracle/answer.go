package oracle

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/kaizenchain/kaizen/host/chain"
)

// MaxAnswerBytes bounds the body of one answer to GET /prices, bytes. 256
// markets of 400 bytes fill less than half of it.
const MaxAnswerBytes = 256 << 10

// Answer is one body of GET /prices: when the service made it, ms, and what it
// says about each pair, in ascending order of pair name, each name once.
type Answer struct {
	Timestamp uint64
	Entries   []Entry
}

// Entry is one pair of an [Answer]. One bad entry does not spoil its neighbours:
// Bad says why it cannot be used, and only Name is meaningful then.
type Entry struct {
	Pair
	Price      uint64   // quote per base, [Decimals] decimals
	LastUpdate uint64   // when the price was observed, ms
	Sources    []string // who observed it
	Bad        *Refusal
}

// wireAnswer and wirePrice are the field names of the protocol. Pointers tell a
// field that is absent from one that is zero. Fields that the protocol does not
// name are ignored: a service may say more than a node needs.
type wireAnswer struct {
	Timestamp *uint64   `json:"timestamp"`
	Prices    *wireList `json:"prices"`
}

type wirePrice struct {
	Base       *chain.Address `json:"base"`
	Quote      *chain.Address `json:"quote"`
	Price      *string        `json:"price"`
	Decimals   *uint64        `json:"decimals"`
	LastUpdate *uint64        `json:"lastUpdate"`
	Sources    []string       `json:"sources"`
}

// wireList reads the object of prices key by key, because a map would let a
// repeated key silently replace the one before it.
type wireList struct {
	names   []string
	entries map[string]json.RawMessage
}

func (l *wireList) UnmarshalJSON(b []byte) error {
	if l.entries != nil {
		return errors.New("prices: given twice")
	}
	l.entries = make(map[string]json.RawMessage)
	d := json.NewDecoder(bytes.NewReader(b))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return fmt.Errorf("prices: want an object, got %.20s", b)
	}
	for d.More() {
		if err := l.readEntry(d); err != nil {
			return fmt.Errorf("prices: %w", err)
		}
	}
	return nil
}

func (l *wireList) readEntry(d *json.Decoder) error {
	key, err := d.Token()
	if err != nil {
		return err
	}
	name, _ := key.(string) // the key of an object is always a string
	if _, twice := l.entries[name]; twice {
		return fmt.Errorf("pair %.40q: given twice", name)
	}
	if len(l.names) == chain.MaxMarkets {
		return fmt.Errorf("more than %d pairs", chain.MaxMarkets)
	}
	var raw json.RawMessage
	if err := d.Decode(&raw); err != nil {
		return err
	}
	l.names = append(l.names, name)
	l.entries[name] = raw
	return nil
}

// DecodeAnswer reads the body of GET /prices. The error is a *[Refusal] of the
// whole answer; a single pair that cannot be used is an [Entry] with Bad set.
func DecodeAnswer(body []byte) (*Answer, error) {
	if len(body) > MaxAnswerBytes {
		return nil, refuse(TooLarge, "", "%d bytes, limit %d", len(body), MaxAnswerBytes)
	}
	var w wireAnswer
	if err := json.Unmarshal(body, &w); err != nil {
		return nil, refuse(Malformed, "", "%.200v", err)
	}
	switch {
	case w.Timestamp == nil || *w.Timestamp == 0:
		return nil, refuse(Malformed, "", "timestamp is missing or zero")
	case w.Prices == nil || len(w.Prices.names) == 0:
		return nil, refuse(Malformed, "", "prices is missing or empty")
	}
	a := &Answer{Timestamp: *w.Timestamp, Entries: make([]Entry, 0, len(w.Prices.names))}
	slices.Sort(w.Prices.names)
	for _, name := range w.Prices.names {
		a.Entries = append(a.Entries, decodeEntry(name, w.Prices.entries[name]))
	}
	return a, nil
}

func decodeEntry(name string, raw json.RawMessage) Entry {
	e := Entry{Pair: Pair{Name: name}}
	var w wirePrice
	if err := json.Unmarshal(raw, &w); err != nil {
		e.Bad = refuse(Malformed, name, "%.200v", err)
		return e
	}
	if w.Base == nil || w.Quote == nil || w.Price == nil || w.Decimals == nil || w.LastUpdate == nil {
		e.Bad = refuse(Malformed, name, "want base, quote, price, decimals and lastUpdate, got %.120s", raw)
		return e
	}
	e.Base, e.Quote, e.LastUpdate, e.Sources = *w.Base, *w.Quote, *w.LastUpdate, w.Sources
	e.Price, e.Bad = decodePrice(name, *w.Price, *w.Decimals)
	return e
}

// decodePrice accepts the one scale of the chain. A price in another scale is
// refused and not rescaled: a service that changes its scale may as well have
// changed what it says in the old one.
func decodePrice(name, digits string, decimals uint64) (uint64, *Refusal) {
	if decimals != Decimals {
		return 0, refuse(Malformed, name, "decimals is %d, want %d", decimals, Decimals)
	}
	v, err := strconv.ParseUint(digits, 10, 64)
	if err != nil || strconv.FormatUint(v, 10) != digits {
		return 0, refuse(Malformed, name, "price is %.40q, want a decimal u64", digits)
	}
	if v == 0 {
		return 0, refuse(Zero, name, "price is 0")
	}
	return v, nil
}

// MarshalJSON implements [json.Marshaler]: the body of GET /prices. Equal answers
// give equal bytes.
func (a *Answer) MarshalJSON() ([]byte, error) {
	prices := make(map[string]wirePrice, len(a.Entries)) // encoding/json sorts the keys
	for i := range a.Entries {
		e := &a.Entries[i]
		digits, decimals := strconv.FormatUint(e.Price, 10), uint64(Decimals)
		prices[e.Name] = wirePrice{Base: &e.Base, Quote: &e.Quote, Price: &digits, Decimals: &decimals,
			LastUpdate: &e.LastUpdate, Sources: append([]string{}, e.Sources...)} // [] and not null
	}
	return json.Marshal(map[string]any{"timestamp": a.Timestamp, "prices": prices})
}

func (a *Answer) sort() {
	slices.SortFunc(a.Entries, func(x, y Entry) int { return cmp.Compare(x.Name, y.Name) })
}
