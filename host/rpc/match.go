package rpc

import (
	"fmt"
	"slices"
	"sort"
	"strings"

	"github.com/kaizenchain/kaizen/host/chain"
)

// Two thousand subscribers mostly want one of a few things, or nothing that
// happens. So those with equal filters share one, and what it matches in the
// newest block is looked for once.

// matches are what filters find in one block; the hub's, under its lock.
type matches struct {
	feed *feed
	of   map[*filter][]*notice
}

func (m *matches) reset(f *feed) {
	m.feed = f
	clear(m.of)
}

// find is the first message for a subscription in a block, from its cursor on.
func (h *hub) find(f *feed, sub *subscription) (*notice, error) {
	if f != h.newest.feed || sub.filter.all() {
		return f.next(sub.filter, sub.first)
	}
	found, err := h.newest.matching(sub.filter)
	i := sort.Search(len(found), func(i int) bool { return found[i].index >= sub.first })
	if err != nil || i == len(found) {
		return nil, err
	}
	return found[i], nil
}

func (m *matches) matching(q *filter) ([]*notice, error) {
	if found, ok := m.of[q]; ok {
		return found, nil
	}
	notices, err := m.feed.render(q.topic)
	if err != nil {
		return nil, err
	}
	var found []*notice
	for i := range notices {
		if q.match(&notices[i]) {
			found = append(found, &notices[i])
		}
	}
	if m.of == nil {
		m.of = map[*filter][]*notice{}
	}
	m.of[q] = found
	return found, nil
}

// share finds the filter of those who want the same; the caller holds mu.
func (h *hub) share(q *filter) *filter {
	key := q.key()
	if h.filters[key] == nil {
		h.filters[key] = q
	}
	q = h.filters[key]
	q.users++
	return q
}

// release forgets a filter that nobody uses any more; the caller holds mu.
func (h *hub) release(q *filter) {
	if q.users--; q.users == 0 {
		delete(h.filters, q.key())
		delete(h.newest.of, q)
	}
}

// all reports whether a filter matches every message of its topic.
func (q *filter) all() bool {
	return q.topic != topicPrices && q.types == nil && q.user == nil && q.solver == nil && q.pair == ""
}

// key is the same for filters that match the same; some that match the same have
// different ones.
func (q *filter) key() string {
	who := func(a *chain.Address) []byte {
		if a == nil {
			return nil
		}
		return a[:]
	}
	types := slices.Sorted(slices.Values(q.types))
	return fmt.Sprintf("%d %q %x %x %q", q.topic, types, who(q.user), who(q.solver), strings.ToLower(q.pair))
}
