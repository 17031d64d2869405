package oracle

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestParsePrice(t *testing.T) {
	for text, want := range map[string]uint64{
		"1": 1_000_000, "15993.5": 15_993_500_000, "15994.96": 15_994_960_000, "0.000001": 1, "00.10": 100_000,
		"1.0000000000": 1_000_000, "104250": 104_250_000_000, "18446744073709.551615": 1<<64 - 1,
	} {
		if got, err := ParsePrice(text); err != nil || got != want {
			t.Errorf("ParsePrice(%q) = %d, %v, want %d", text, got, err, want)
		}
	}
	for _, bad := range []string{"", ".", "1.", ".5", "-1", "+1", "1e5", "1,5", "0", "0.0", "0.0000001", "1.0000001",
		"18446744073709.551616", "99999999999999999999", "NaN", "Inf", " 1", "1 ", "1.2.3", "0x10", "1_000", "١"} {
		if got, err := ParsePrice(bad); !errors.Is(err, ErrPrice) {
			t.Errorf("ParsePrice(%q) = %d, %v, want an error", bad, got, err)
		}
	}
}

func readRecording(t *testing.T, lines ...string) *Recording {
	t.Helper()
	rec, err := ReadRecording(strings.NewReader(strings.Join(lines, "\n")))
	if err != nil {
		t.Fatal(err)
	}
	return rec
}

func TestReadRecordingRefuses(t *testing.T) {
	good := "1605499846,15993.5,0.026472,ANY\n"
	for _, c := range []struct{ name, file, want string }{
		{"empty", "", "empty"},
		{"a heading", "unix_seconds,price,amount,side\n" + good, "line 1"},
		{"three fields", good + "1605499846,15993.5,0.02\n", "line 2"},
		{"five fields", good + good + "1605499846,15993.5,0.02,ANY,1\n", "line 3"},
		{"an empty line", good + "\n" + good, "line 2"},
		{"time goes back", good + "1605499845,1,1,ANY\n", "line 2: second 1605499845 comes after second 1605499846"},
		{"fractional time", "1605499846.5,1,1,ANY\n", "unix_seconds"},
		{"time in ms", "1605499846000,1,1,ANY\n", "unix_seconds"},
		{"negative time", "-1,1,1,ANY\n", "unix_seconds"},
		{"zero price", good + "1605499846,0.00,1,ANY\n", "line 2: price"},
		{"seven decimals", good + "1605499846,1.0000001,1,ANY\n", "line 2: price"},
		{"price in words", good + "1605499846,one,1,ANY\n", "line 2: price"},
		{"amount in words", good + "1605499846,1,many,ANY\n", "line 2: amount"},
		{"no side", good + "1605499846,1,1,\n", "line 2: side"},
		{"a long line", good + "1605499846,1,1," + strings.Repeat("A", MaxTradeBytes) + "\n", "line 2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := ReadRecording(strings.NewReader(c.file))
			if !errors.Is(err, ErrRecording) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error that says %q", err, c.want)
			}
		})
	}
}

func FuzzReadRecording(f *testing.F) {
	f.Add("1605499846,15993.5,0.026472,ANY\n1605499847,15994,1e-06,BUY\r\n", uint64(1500))
	f.Add("0,18446744073709.551615,0,S\n253402300799,0.000001,0,S", uint64(1<<63))
	f.Add("1,1,1,A\n0,1,1,A", uint64(0))
	f.Fuzz(func(t *testing.T, file string, after uint64) {
		rec, err := ReadRecording(strings.NewReader(file))
		if err != nil {
			return
		}
		for _, c := range []ReplayConfig{{Speed: 1}, {Speed: MaxReplaySpeed, Once: true}} {
			if q := replay(t, rec, c).Quotes(after); q[0].Price == 0 {
				t.Fatalf("a price of zero at %d", after)
			}
		}
	})
}

func replay(t testing.TB, rec *Recording, c ReplayConfig) *Replay {
	t.Helper()
	c.Pair, c.Start = mustPair(t, "BTC/USDT"), t0
	r, err := NewReplay(rec, c)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestReplay(t *testing.T) {
	rec := readRecording(t, "100,1,1,ANY", "100,2,1,BUY", "100,3,1,SELL", "100,4,1,ANY", "103,5,1,ANY\r", "104,6,1,ANY", "")
	for _, c := range []struct {
		after, speed uint64
		once         bool
		price        uint64
	}{
		{0, 1, false, 1}, {249, 1, false, 1}, {250, 1, false, 2}, {500, 1, false, 3}, {750, 1, false, 4},
		{999, 1, false, 4}, {2999, 1, false, 4}, {3000, 1, false, 5}, {3999, 1, false, 5}, {4000, 1, false, 6},
		{4999, 1, false, 6}, {5000, 1, false, 1}, {5250, 1, false, 2}, {5000*1000 + 3000, 1, false, 5},
		{4999, 1, true, 6}, {5000, 1, true, 6}, {1 << 60, 1, true, 6},
		{50, 5, false, 2}, {600, 5, false, 5}, {1000, 5, false, 1}, {1000, 5, true, 6}, {1 << 62, MaxReplaySpeed, true, 6},
	} {
		r := replay(t, rec, ReplayConfig{Speed: c.speed, Once: c.once})
		now := t0 + c.after
		want := []Quote{{Pair: mustPair(t, "BTC/USDT"), Price: c.price * 1_000_000, LastUpdate: now, Sources: []string{"recorded"}}}
		if got := r.Quotes(now); !reflect.DeepEqual(got, want) {
			t.Errorf("after %d ms at speed %d, once %v: %+v, want %+v", c.after, c.speed, c.once, got, want)
		}
	}
	if q := replay(t, rec, ReplayConfig{Speed: 1}).Quotes(t0 - 1); q[0].Price != 1_000_000 {
		t.Errorf("before the start: %+v", q)
	}
	for _, speed := range []uint64{0, MaxReplaySpeed + 1} {
		if _, err := NewReplay(rec, ReplayConfig{Speed: speed}); err == nil {
			t.Errorf("speed %d accepted", speed)
		}
	}
}

// Every trade of a second is served when the replay is asked often enough.
func TestReplayServesEveryTrade(t *testing.T) {
	lines := make([]string, 60)
	for i := range lines {
		lines[i] = fmt.Sprintf("7,%d,1,ANY", i+1)
	}
	r := replay(t, readRecording(t, lines...), ReplayConfig{Speed: 1})
	next := uint64(1)
	for ms := range uint64(1000) {
		if price := r.Quotes(t0 + ms)[0].Price / 1_000_000; price == next {
			next++
		} else if price != next-1 {
			t.Fatalf("after %d ms price %d follows %d", ms, price, next-1)
		}
	}
	if next != 61 {
		t.Errorf("served up to trade %d of 60", next-1)
	}
}

// The first part of a real recording: many trades in one second, gaps, tiny
// amounts with an exponent.
func TestReadRealTrades(t *testing.T) {
	f, err := os.Open("testdata/btcusdt-trades.csv")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rec, err := ReadRecording(f)
	if err != nil {
		t.Fatal(err)
	}
	first, last := rec.trades[0], rec.trades[len(rec.trades)-1]
	if len(rec.trades) != 200 || first != (trade{0, 15_993_500_000}) || rec.length != last.at/1000*1000+1000 {
		t.Errorf("%d trades from %v to %v, length %d ms", len(rec.trades), first, last, rec.length)
	}
	if !slices.IsSortedFunc(rec.trades, func(a, b trade) int { return cmp.Compare(a.at, b.at) }) {
		t.Error("trades are out of order")
	}
}

func TestAmounts(t *testing.T) {
	for s, want := range map[string]bool{"1": true, "0.5": true, "0": true, "1e-06": true, "2.5e+3": true, "7e2": true,
		"": false, "e": false, "1e": false, "1e-": false, "e5": false, "-1": false, "1e1e1": false, "1e--1": false, "x": false} {
		if isAmount(s) != want {
			t.Errorf("isAmount(%q) = %v", s, !want)
		}
	}
}

func newWalk(t *testing.T, seed uint64, pairs ...StartPrice) *Walk {
	t.Helper()
	w, err := NewWalk(seed, t0, pairs)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func TestWalkIsAFunctionOfSeedAndTick(t *testing.T) {
	forward, jump := newWalk(t, 7, DefaultWalk()...), newWalk(t, 7, DefaultWalk()...)
	var history [][]Quote
	for tick := range uint64(200) {
		history = append(history, forward.Quotes(t0+tick*WalkTickMs))
	}
	for _, tick := range []uint64{199, 3, 100, 0, 150} { // also backwards
		if got := jump.Quotes(t0 + tick*WalkTickMs + 99); !reflect.DeepEqual(got, history[tick]) {
			t.Errorf("tick %d: %+v, want %+v", tick, got, history[tick])
		}
	}
	if other := newWalk(t, 8, DefaultWalk()...).Quotes(t0 + 1000); reflect.DeepEqual(other, history[10]) {
		t.Error("another seed walks the same way")
	}
	if q := history[0]; q[0].Price != 104_250_000_000 || q[0].LastUpdate != t0 || q[0].Name != "BTC/USDT" {
		t.Errorf("starts with %+v", q[0])
	}
	if a, b := history[199][0], history[199][1]; a.Price*3_300 == b.Price*104_250 {
		t.Error("two pairs move together")
	}
	if before := newWalk(t, 7, DefaultWalk()...).Quotes(t0 - 5); before[0].LastUpdate != t0 {
		t.Errorf("before its start: %+v", before[0])
	}
}

// After WalkTicks the walk turns round; no clock, however wrong, costs more than
// one such walk.
func TestWalkTurns(t *testing.T) {
	w := newWalk(t, 1, DefaultWalk()...)
	price := func(tick uint64) uint64 { return w.Quotes(t0 + tick*WalkTickMs)[0].Price }
	for _, d := range []uint64{0, 1, markTicks, markTicks + 1, WalkTicks - 1, WalkTicks} {
		want := price(WalkTicks - d)
		if back, again := price(WalkTicks+d), price(3*WalkTicks-d); back != want || again != want {
			t.Errorf("%d ticks from the turn: %d, then %d and %d", d, want, back, again)
		}
	}
	if q := w.Quotes(1<<64 - 1); q[0].Price == 0 {
		t.Errorf("at the end of time: %+v", q)
	}
	if n := len(w.paths[0].marks); n != WalkTicks/markTicks+1 {
		t.Errorf("%d prices remembered, want %d", n, WalkTicks/markTicks+1)
	}
}

// The prices of seed 1 are part of the contract: a demonstration can be repeated.
func TestWalkGolden(t *testing.T) {
	w := newWalk(t, 1, DefaultWalk()...)
	var got []uint64
	for tick := range uint64(5) {
		got = append(got, w.Quotes(t0 + tick*WalkTickMs)[0].Price)
	}
	want := []uint64{104250000000, 104254685923, 104259466001, 104254639534, 104252737965}
	if !slices.Equal(got, want) {
		t.Errorf("prices %v, want %v", got, want)
	}
}

func TestWalkStaysInBounds(t *testing.T) {
	p := mustPair(t, "BTC/USDT")
	for _, first := range []uint64{MinWalkPrice, 1_000_003, MaxWalkPrice} {
		w := newWalk(t, 3, StartPrice{p, first})
		last, moved := first, 0
		for tick := range uint64(20_000) {
			price := w.Quotes(t0 + tick*WalkTickMs)[0].Price
			if price < first/2 || price > first*2 {
				t.Fatalf("start %d: price %d at tick %d", first, price, tick)
			}
			if step := max(price, last) - min(price, last); step > last*WalkStepPPM/1_000_000 {
				t.Fatalf("start %d: step of %d from %d", first, step, last)
			} else if step > 0 {
				moved++
			}
			last = price
		}
		if moved < 10_000 {
			t.Errorf("start %d: moved in %d of 20000 ticks", first, moved)
		}
	}
	for _, bad := range []uint64{0, MinWalkPrice - 1, MaxWalkPrice + 1} {
		if _, err := NewWalk(1, t0, []StartPrice{{p, bad}}); err == nil {
			t.Errorf("start price %d accepted", bad)
		}
	}
}

func TestMergeTakesFirst(t *testing.T) {
	rec := readRecording(t, "1,5,1,ANY")
	m := Merge(replay(t, rec, ReplayConfig{Speed: 1}), newWalk(t, 1, DefaultWalk()...))
	quotes := m.Quotes(t0)
	var got []string
	for _, q := range quotes {
		got = append(got, q.Name+" "+q.Sources[0])
	}
	if want := []string{"BTC/USDT recorded", "ETH/USDT walk", "SOL/USDT walk"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if n := len(m.Providers(t0)); n != 2 {
		t.Errorf("%d providers, want 2", n)
	}
}
