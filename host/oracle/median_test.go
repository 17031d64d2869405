package oracle

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// say makes upstream i of m answer, received at now, one price of BTC/USDT dated
// now.
func say(t *testing.T, m *Median, i int, price, now uint64) {
	t.Helper()
	m.feeds[i].take(answer(now, entry(t, "BTC/USDT", price, now)), nil, now)
}

func newMedian(t *testing.T, names string, minSources int) *Median {
	t.Helper()
	c := MedianConfig{MinSources: minSources}
	for _, name := range names {
		c.Upstreams = append(c.Upstreams, Upstream{Name: string(name)})
	}
	m, err := NewMedian(c)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestMedianOfPrices(t *testing.T) {
	for _, c := range []struct {
		name   string
		prices []uint64
		want   uint64
	}{
		{"one", []uint64{7}, 7},
		{"two", []uint64{10, 20}, 15},
		{"two, rounded down", []uint64{10, 21}, 15},
		{"three in any order", []uint64{30, 10, 20}, 20},
		{"an outlier", []uint64{100, 101, 1_000_000}, 101},
		{"an outlier below", []uint64{1, 101, 100}, 100},
		{"four", []uint64{1, 10, 13, 1 << 60}, 11},
		{"the largest", []uint64{1<<64 - 1, 1<<64 - 1}, 1<<64 - 1},
		{"both odd", []uint64{3, 5}, 4},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := newMedian(t, "abcd"[:len(c.prices)], len(c.prices))
			for i, price := range c.prices {
				say(t, m, i, price, t0)
			}
			got := m.Quotes(t0)
			if len(got) != 1 || got[0].Price != c.want || got[0].Name != "BTC/USDT" || got[0].LastUpdate != t0 {
				t.Errorf("median of %v is %+v, want %d", c.prices, got, c.want)
			}
			if len(got[0].Sources) != len(c.prices) {
				t.Errorf("sources %v", got[0].Sources)
			}
		})
	}
}

func TestMedianNeedsSources(t *testing.T) {
	m := newMedian(t, "abc", 2)
	if q := m.Quotes(t0); q != nil {
		t.Errorf("quotes %v before anything was heard", q)
	}
	say(t, m, 0, 10, t0)
	if q := m.Quotes(t0); q != nil {
		t.Errorf("quotes %v from one source of two", q)
	}
	say(t, m, 2, 20, t0)
	if q := m.Quotes(t0); len(q) != 1 || !slices.Equal(q[0].Sources, []string{"a", "c"}) {
		t.Errorf("quotes %+v, want a and c", q)
	}
	m.feeds[1].take(answer(t0, entry(t, "ETH/USDT", 5, t0)), nil, t0)
	if q := m.Quotes(t0); len(q) != 1 {
		t.Errorf("quotes %+v: min sources counts pair by pair", q)
	}
}

// A silent upstream, one that repeats an old observation, and one that lies do
// not count.
func TestMedianExcludes(t *testing.T) {
	m := newMedian(t, "abcd", 1)
	for i := range 4 {
		say(t, m, i, uint64(10*(i+1)), t0)
	}
	now := uint64(t0 + DefaultUpstreamStaleMs + 1)
	m.feeds[0].take(nil, errors.New("unreachable"), now)
	m.feeds[1].take(answer(now, entry(t, "BTC/USDT", 20, t0)), nil, now) // alive, but its price is frozen
	m.feeds[2].take(answer(now, entry(t, "BTC/USDT", 0, now)), nil, now)
	say(t, m, 3, 41, now)
	if q := m.Quotes(now); len(q) != 1 || q[0].Price != 41 || !slices.Equal(q[0].Sources, []string{"d"}) {
		t.Errorf("quotes %+v, want 41 from d", q)
	}
	want := []Provider{{"a", false, 0}, {"b", false, 0}, {"c", false, 0}, {"d", true, 1}}
	if got := m.Providers(now); !reflect.DeepEqual(got, want) {
		t.Errorf("providers %v, want %v", got, want)
	}
}

// The median moves when a source falls out, without any new observation: a node
// must not see a second price for an instant.
func TestMedianDatesEveryChange(t *testing.T) {
	m, feed := newMedian(t, "ab", 1), newFeed()
	node := func(now uint64) {
		t.Helper()
		a := answer(now)
		for _, q := range m.Quotes(now) {
			a.Entries = append(a.Entries, Entry{Pair: q.Pair, Price: q.Price, LastUpdate: q.LastUpdate})
		}
		accept(t, feed, a, now)
	}
	say(t, m, 0, 10, t0)
	node(t0)
	say(t, m, 1, 20, t0+2000)
	node(t0 + 2000)
	node(t0 + 2500)
	node(t0 + 3500) // a is too old now
	if price, at := priceOf(feed.Snapshot(t0+3500, 3000), mustPair(t, "BTC/USDT")); price != 20 || at != t0+3500 {
		t.Errorf("price %d at %d, want 20 at the moment it changed", price, at)
	}
	say(t, m, 0, 20, t0+3400) // b's price, and older than what was served
	node(t0 + 3600)
}

func TestNewMedianRefuses(t *testing.T) {
	two := []Upstream{{Name: "a"}, {Name: "b"}}
	for name, c := range map[string]MedianConfig{
		"no upstream":      {},
		"too many":         {Upstreams: make([]Upstream, MaxUpstreams+1)},
		"one twice":        {Upstreams: []Upstream{{Name: "a"}, {Name: "a"}}},
		"min above count":  {Upstreams: two, MinSources: 3},
		"min below one":    {Upstreams: two, MinSources: -1},
		"interval below 0": {Upstreams: two, PollInterval: -1},
	} {
		if _, err := NewMedian(c); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := Upstreams([]string{"http://a:1", "b:2"}); !errors.Is(err, ErrServiceURL) {
		t.Errorf("bad address: %v", err)
	}
	if u, err := Upstreams([]string{"http://a:1", "http://b:2"}); err != nil || u[1].Name != "http://b:2" {
		t.Errorf("%v, %v", u, err)
	}
}

type pullFunc func(context.Context) (*Answer, error)

func (f pullFunc) Pull(ctx context.Context) (*Answer, error) { return f(ctx) }

// Run asks each upstream on its own: one that hangs delays no other, and all end
// with the context.
func TestMedianRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pulls := 0
		steady := pullFunc(func(context.Context) (*Answer, error) {
			pulls++
			now := systemClock()
			return answer(now, entry(t, "BTC/USDT", uint64(100+pulls), now)), nil
		})
		hanging := pullFunc(func(ctx context.Context) (*Answer, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		})
		m, err := NewMedian(MedianConfig{Upstreams: []Upstream{{"steady", steady}, {"hanging", hanging}}})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second-time.Millisecond)
		defer cancel()
		m.Run(ctx)
		if want := int(time.Second / DefaultPollInterval); pulls != want {
			t.Errorf("%d pulls in a second, want %d", pulls, want)
		}
		if q := m.Quotes(systemClock()); len(q) != 1 || q[0].Price != uint64(100+pulls) {
			t.Errorf("quotes %+v after %d pulls", q, pulls)
		}
		if n := m.feeds[1].feed.Stats().Failures; n != 0 {
			t.Errorf("being stopped counts as %d failures of the upstream", n)
		}
	})
}
