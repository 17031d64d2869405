package rpc

import (
	"encoding/json"
	"fmt"
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/rpc/api"
	"github.com/kaizenchain/kaizen/host/stf"
	"github.com/kaizenchain/kaizen/stf-modules/abi"
)

// topic is one of the topics of kaizen_subscribe.
type topic uint8

const (
	topicBlocks topic = iota
	topicEvents
	topicTheses
	topicPrices
	topicCount
)

var topicNames = [topicCount]string{api.TopicBlocks, api.TopicEvents, api.TopicTheses, api.TopicPrices}

// Indexes of a position fit below api.EndOfBlock.
const _ uint = api.EndOfBlock - 2 - (chain.MaxBlockTxs+2)*abi.MaxEventsPerRun

// thesisPrefix is how the types of events about theses begin.
const thesisPrefix = "thesis_"

// feed is one block as subscribers see it: everything it may send, rendered once
// for all of them. Topics that nobody asks for are not rendered.
type feed struct {
	server    *Server
	height    uint64
	hash      *chain.Hash // not part of another object: positions keep it alive
	rollbacks uint64      // of the chain that it was read from
	cost      int         // what it may come to in memory, bytes; an estimate

	block   *chain.Block
	results *chain.Results
	before  *chain.OracleSnapshot // of the parent; nil: not kept here

	topics [topicCount]struct {
		once    sync.Once
		ready   atomic.Bool // rendered, and err is nil
		notices []notice    // ascending by index
		err     error
	}
}

// notice is one notification without the name of its subscription.
type notice struct {
	index uint64
	body  []byte // ,"position":{…},"result":{…}}}

	spec   *stf.EventSpec // of an event; nil: one that the schema does not describe
	thesis thesisKeys     // of an event about a thesis
	pair   string         // of a price
}

// thesisKeys are what a filter of topic theses looks at.
type thesisKeys struct {
	user, solver chain.Address
	pair         string
}

// render makes the notices of a topic, once.
func (f *feed) render(t topic) ([]notice, error) {
	v := &f.topics[t]
	v.once.Do(func() {
		switch t {
		case topicBlocks:
			v.notices, v.err = f.renderBlock()
		case topicEvents:
			v.notices = f.renderEvents()
		case topicTheses:
			v.notices, v.err = f.renderTheses()
		case topicPrices:
			v.notices, v.err = f.renderPrices()
		}
		v.ready.Store(v.err == nil)
	})
	return v.notices, v.err
}

// next is the first message for a filter at or after an index.
func (f *feed) next(q *filter, first uint64) (*notice, error) {
	notices, err := f.render(q.topic)
	if err != nil {
		return nil, err
	}
	for i := sort.Search(len(notices), func(i int) bool { return notices[i].index >= first }); i < len(notices); i++ {
		if q.match(&notices[i]) {
			return &notices[i], nil
		}
	}
	return nil, nil
}

func (f *feed) end() api.Position {
	return api.Position{Height: f.height, Index: api.EndOfBlock, Hash: f.hash}
}

// open begins the body of a message.
func (f *feed) open(dst []byte, index uint64) []byte {
	dst = strconv.AppendUint(append(dst, `,"position":{"height":`...), f.height, 10)
	dst = strconv.AppendUint(append(dst, `,"index":`...), index, 10)
	dst = appendHexText(append(dst, `,"hash":`...), f.hash[:])
	return append(dst, `},"result":`...)
}

func (f *feed) renderJSON(index uint64, result any) ([]byte, error) {
	b, err := appendJSON(f.open(nil, index), result)
	return append(b, "}}"...), err
}

func (f *feed) renderBlock() ([]notice, error) {
	n := api.BlockNotice{Height: f.height, Hash: *f.hash, Header: api.HeaderOf(&f.block.Header), Transactions: uint64(len(f.block.Txs)),
		Events: uint64(len(f.results.Begin) + len(f.results.End)), Size: uint64(f.block.Size())}
	for i := range f.results.Receipts {
		r := &f.results.Receipts[i]
		n.Events += uint64(len(r.Events))
		if r.Code != abi.CodeOK {
			n.Failed++
		}
	}
	b, err := f.renderJSON(api.EndOfBlock, n)
	return []notice{{index: api.EndOfBlock, body: b}}, err
}

// eventIndex is the index of the first event of a block.
const eventIndex = 1

// events calls each with every event of the block in order; tx is -1 for those
// of the hooks.
func (f *feed) events(each func(index uint64, tx int, event []byte)) {
	index := uint64(eventIndex)
	run := func(tx int, events [][]byte) {
		for _, e := range events {
			each(index, tx, e)
			index++
		}
	}
	run(-1, f.results.Begin)
	for i := range f.results.Receipts {
		run(i, f.results.Receipts[i].Events)
	}
	run(-1, f.results.End)
}

// renderEvents writes all events into one buffer.
func (f *feed) renderEvents() []notice {
	var arena []byte
	var notices []notice
	var ends []int
	f.events(func(index uint64, tx int, event []byte) {
		arena = f.appendEvent(f.open(arena, index), tx, event)
		ends = append(ends, len(arena))
		m := notice{index: index}
		if len(event) > 0 {
			m.spec = f.server.events[event[0]]
		}
		notices = append(notices, m)
	})
	start := 0
	for i, end := range ends {
		notices[i].body, start = arena[start:end:end], end
	}
	return notices
}

// placeMembers are the members of an event's notification that are not the
// event's own.
var placeMembers = [...]string{"height", "time", "tx_hash", "index"}

// appendEvent appends where an event is and the event, in one object, and ends
// the message.
func (f *feed) appendEvent(dst []byte, tx int, event []byte) []byte {
	var taken [len(placeMembers)]bool
	if len(event) > 0 {
		taken = f.server.taken[event[0]]
	}
	dst = append(dst, '{')
	for i, name := range placeMembers {
		if taken[i] {
			continue
		}
		dst = append(append(append(dst, '"'), name...), '"', ':')
		dst = append(f.appendPlace(dst, i, tx), ',')
	}
	// The event's own brace becomes nothing: what came before is its beginning.
	start := len(dst)
	dst = f.server.appendEvent(dst, event)
	copy(dst[start:], dst[start+1:])
	return append(dst[:len(dst)-1], "}}"...)
}

func (f *feed) appendPlace(dst []byte, member, tx int) []byte {
	switch {
	case member == 0:
		return strconv.AppendUint(dst, f.height, 10)
	case member == 1:
		return strconv.AppendUint(dst, f.block.Header.Time, 10)
	case tx < 0:
		return append(dst, "null"...)
	case member == 2:
		return appendHexText(dst, f.results.Receipts[tx].ID[:])
	}
	return strconv.AppendInt(dst, int64(tx), 10)
}

// takenMembers says, by tag, which place members an event has itself.
func takenMembers(s *stf.Schema) (t [256][len(placeMembers)]bool) {
	for i := range s.Events {
		for _, field := range s.Events[i].Fields {
			for j, name := range placeMembers {
				t[s.Events[i].Tag][j] = t[s.Events[i].Tag][j] || field.Name == name
			}
		}
	}
	return t
}

// renderTheses picks the events about theses.
func (f *feed) renderTheses() (theses []notice, err error) {
	all, _ := f.render(topicEvents)
	i := 0
	f.events(func(_ uint64, _ int, event []byte) {
		m := &all[i]
		i++
		if err != nil || m.spec == nil || !strings.HasPrefix(m.spec.Type, thesisPrefix) {
			return
		}
		m.thesis, err = f.thesis(m.spec, event)
		theses = append(theses, *m)
	})
	return theses, err
}

// thesis reads the keys of an event about a thesis. Where the event does not say
// which market the thesis is of, the module is asked.
func (f *feed) thesis(spec *stf.EventSpec, event []byte) (k thesisKeys, err error) {
	r := abi.NewReader(event)
	r.U8() // the tag
	var base, quote chain.Address
	var id uint64
	pair := 0
	for i := range spec.Fields {
		value := skipField(&r, spec.Fields[i].Kind)
		if !r.OK() {
			return k, fmt.Errorf("block %d: event %s does not match its schema", f.height, spec.Type)
		}
		switch spec.Fields[i].Name {
		case "user":
			copy(k.user[:], value)
		case "solver":
			copy(k.solver[:], value)
		case "base":
			pair += copy(base[:], value)
		case "quote":
			pair += copy(quote[:], value)
		case "thesis_id":
			n := abi.NewReader(value)
			id = n.U64()
		}
	}
	if pair != len(base)+len(quote) {
		if f.server.module.Thesis == nil {
			return k, nil // nobody filters by market: see checkFilter
		}
		if base, quote, err = f.server.marketOf(id); err != nil {
			return k, fmt.Errorf("block %d: market of thesis %d: %w", f.height, id, err)
		}
	}
	k.pair = f.server.module.pair(base, quote)
	return k, nil
}

// skipField returns a field's bytes, without a length if it has one.
func skipField(r *abi.Reader, kind string) []byte {
	switch kind {
	case "amount", "number":
		return r.Take(8)
	case "u8", "bool":
		return r.Take(1)
	case "address":
		return r.Take(20)
	case "hash":
		return r.Take(32)
	default:
		return r.Bytes(abi.MaxEventBytes)
	}
}

// marketOf asks the module for a thesis's market. It never changes, so the newest
// state will do.
func (s *Server) marketOf(id uint64) (base, quote chain.Address, err error) {
	out, _, err := s.backend.Query(s.base, api.Ref{}, s.module.Thesis(id))
	if err != nil {
		return base, quote, err
	}
	var v struct{ Base, Quote *chain.Address }
	if err := json.Unmarshal(out, &v); err != nil {
		return base, quote, err
	}
	if v.Base == nil || v.Quote == nil {
		return base, quote, fmt.Errorf("answer %.80q has no base or quote", out)
	}
	return *v.Base, *v.Quote, nil
}

// renderPrices makes a message of each price that differs from the parent's.
func (f *feed) renderPrices() (notices []notice, err error) {
	if f.before == nil {
		return nil, errNoParent
	}
	now := &f.block.Oracle
	for i := range now.Prices {
		p := &now.Prices[i]
		if now.Stale == f.before.Stale && has(f.before, p) {
			continue
		}
		n := api.PriceNotice{Pair: f.server.module.pair(p.Base, p.Quote), Price: apiPrice(p), Stale: now.Stale, Height: f.height, Time: f.block.Header.Time}
		b, err := f.renderJSON(0, n)
		if err != nil {
			return nil, err
		}
		notices = append(notices, notice{pair: n.Pair, body: b})
	}
	return notices, nil
}

func has(o *chain.OracleSnapshot, p *chain.Price) bool {
	for i := range o.Prices {
		if o.Prices[i] == *p {
			return true
		}
	}
	return false
}
