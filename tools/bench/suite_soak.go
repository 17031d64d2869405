package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/kaizenchain/kaizen/host/rpc/client"
)

// Suite soak is load for as long as -soak says: a write node that prunes, a read
// node that follows and prunes as well, and a load generator that signs as it goes,
// since nobody can store an hour of signed transfers.
//
//	what all of it reaches ─▶ 70 % of that, call by call when due ─▶ a window each soak/60
const (
	defaultSoak = 20 * time.Second
	soakShare   = 0.7
	soakCall    = 50    // transfers in a call
	soakKeep    = 2_000 // blocks kept, and from one snapshot to the next
	soakWindows = 60    // of a run, if that makes them a second long or more
	// missedBy is how much later than an interval after the block before a block
	// may end without having missed its tick.
	missedBy = 50 * time.Millisecond
	// maxGrowth bounds memory and disk at the end / at a tenth of the time. It is
	// only asked of runs from soakLong on: by then the history in memory and the
	// blocks on disk are as many as they ever become.
	maxGrowth = 1.1
	soakLong  = 10 * time.Minute
	probeTime = 10 * time.Second // at most, to find what it reaches
)

// soaking is one run.
type soaking struct {
	*bench
	write, read *soaked
	lean        *poster
	answers     answerTimes
	windows     []soakWindow
	lastSeal    int64 // Unix ns
	ticks       []time.Duration
}

// soaked is one of its nodes.
type soaked struct {
	*child
	dir    string
	client *client.Client
}

// soakWindow is what a part of the run came to.
type soakWindow struct {
	p50, p99 float64 // of answers, ms
	answers  int     // calls
	rss      [2]float64
	disk     [2]float64 // of write node and read node, MB
	behind   float64    // blocks
}

// answerTimes collects answer times of calls from many goroutines.
type answerTimes struct {
	mu   sync.Mutex
	took []time.Duration
}

func (a *answerTimes) add(d time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.took = append(a.took, d)
}

func (a *answerTimes) take() []time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	t := a.took
	a.took = nil
	return t
}

// soak runs for -soak.
func (b *bench) soak() (err error) {
	s := &soaking{bench: b}
	defer func() { err = errors.Join(err, s.stop()) }()
	if err := s.start(); err != nil {
		return err
	}
	most, err := s.most()
	if err != nil {
		return err
	}
	rate := most * soakShare
	b.say("soak: %.0f transfers a second at most, so %.0f for %s", most, rate, b.soakTime)
	took, err := s.watch(rate)
	if err != nil {
		return err
	}
	return s.report(most, took)
}

func (s *soaking) start() (err error) {
	c, err := s.theChain()
	if err != nil {
		return err
	}
	if s.write, err = s.node(c, "soak-write", ""); err != nil {
		return err
	}
	s.lean = newPoster(s.write.RPC)
	if s.read, err = s.node(c, "soak-read", s.write.Sync); err != nil {
		return err
	}
	return s.caughtUp(s.write.child, s.read.child)
}

func (s *soaking) node(c *testChain, name, follow string) (*soaked, error) {
	n := &soaked{dir: filepath.Join(s.temp, name)}
	if err := c.copyTo(n.dir); err != nil {
		return nil, err
	}
	s.say("soak: start %s", name)
	var err error
	if n.child, err = startChild(s.ctx, setup{Dir: n.dir, Cache: s.cacheDir(), Follow: follow, Blocks: soakKeep}); err != nil {
		return nil, err
	}
	if n.client, err = client.New("http://" + n.RPC); err != nil {
		return nil, errors.Join(err, n.child.stop())
	}
	return n, nil
}

func (s *soaking) stop() (err error) {
	for _, n := range []*soaked{s.read, s.write} {
		if n != nil {
			err = errors.Join(err, n.client.Close(), n.child.stop(), os.RemoveAll(n.dir))
		}
	}
	if s.lean != nil {
		s.lean.close()
	}
	return err
}

// dueCall is a request and when it is to be sent.
type dueCall struct {
	body []byte
	due  time.Time
}

// load sends calls for d, one each every; with 0 each as soon as it is signed. It
// returns how many transfers were answered, and how long that took.
func (s *soaking) load(ctx context.Context, every, d time.Duration) (int, time.Duration, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	calls := make(chan dueCall, 2*pacers)
	failures := make([]error, pacers)
	sent := make([]int, pacers)
	var all sync.WaitGroup
	start := time.Now()
	for p := range pacers {
		all.Go(func() {
			if sent[p], failures[p] = s.sendDue(ctx, calls); failures[p] != nil {
				cancel()
			}
		})
	}
	s.sign(ctx, calls, start, every, d)
	close(calls)
	all.Wait()
	n := 0
	for _, v := range sent {
		n += v
	}
	took := time.Since(start)
	if i := slices.IndexFunc(failures, func(err error) bool { return err != nil && !errors.Is(err, context.Canceled) }); i >= 0 {
		return n, took, failures[i]
	}
	return n, took, s.ctx.Err()
}

// sign makes calls until what is due after d, never further ahead than the channel
// holds.
func (s *soaking) sign(ctx context.Context, calls chan<- dueCall, start time.Time, every, d time.Duration) {
	const atOnce = 16 // calls that are signed together, on all cores
	for i := 0; ; {
		if due := start.Add(time.Duration(i) * every); due.Sub(start) >= d || time.Since(start) >= d+probeTime || every == 0 && time.Since(start) >= d {
			return
		}
		for _, body := range requests(slices.Collect(slices.Chunk(s.chain.wallets.load(atOnce*soakCall), soakCall))) {
			select {
			case calls <- dueCall{body, start.Add(time.Duration(i) * every)}:
			case <-ctx.Done():
				return
			}
			i++
		}
	}
}

// sendDue sends calls when they are due. A call that is late counts from when it
// was due.
func (s *soaking) sendDue(ctx context.Context, calls <-chan dueCall) (sent int, err error) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for c := range calls {
		if wait := time.Until(c.due); wait > 0 {
			timer.Reset(wait)
			select {
			case <-timer.C:
			case <-ctx.Done():
				return sent, ctx.Err()
			}
		}
		if err := s.lean.post(ctx, c.body, soakCall); err != nil {
			return sent, err
		}
		s.answers.add(time.Since(c.due))
		sent += soakCall
	}
	return sent, nil
}

// most is what write node, read node and load generator reach together, transfers
// a second.
func (s *soaking) most() (float64, error) {
	n, took, err := s.load(s.ctx, 0, min(probeTime, max(s.slice(), s.soakTime/10)))
	if err != nil {
		return 0, err
	}
	s.answers.take()
	return perSecond(n, took), s.caughtUp(s.write.child, s.read.child)
}

// watch is the run itself.
func (s *soaking) watch(rate float64) (took time.Duration, err error) {
	if _, err := s.write.lap(); err != nil { // seals until now are not of the run
		return 0, err
	}
	every := time.Duration(float64(time.Second) * soakCall / rate)
	done := make(chan struct{})
	start := time.Now()
	ctx, cancel := context.WithCancel(s.ctx)
	var failed error // of the load; not before done
	go func() {
		defer close(done)
		_, _, failed = s.load(ctx, every, s.soakTime)
	}()
	defer func() {
		cancel()
		<-done
		err = errors.Join(err, failed)
	}()
	look := time.NewTicker(max(s.soakTime/soakWindows, min(time.Second, s.soakTime/10)))
	defer look.Stop()
	for {
		select {
		case <-look.C:
			if err := s.window(time.Since(start)); err != nil {
				return 0, err
			}
		case <-done:
			took := time.Since(start)
			return took, s.window(took)
		}
	}
}

// window takes what there is since the last.
func (s *soaking) window(at time.Duration) error {
	var w soakWindow
	ms := ascendingMs(s.answers.take())
	if w.answers = len(ms); w.answers > 0 {
		w.p50, w.p99 = quantile(ms, 0.5), quantile(ms, 0.99)
	}
	var heights [2]uint64
	for i, n := range []*soaked{s.read, s.write} { // the read node first: it is behind, if anything
		status, err := n.client.Status(s.ctx)
		if err != nil {
			return err
		}
		used, err := n.lap()
		if err != nil {
			return err
		}
		bytes, err := diskBytes(n.dir)
		if err != nil {
			return err
		}
		const mb = 1 << 20
		heights[1-i], w.rss[1-i], w.disk[1-i] = status.Height, float64(used.RSS)/mb, float64(bytes)/mb
		if n == s.write { // the read node ends no blocks: its seals say when it has verified one
			s.seals(used.Seals)
		}
	}
	w.behind = float64(heights[0] - min(heights[0], heights[1]))
	s.windows = append(s.windows, w)
	missed, ticks := s.missed()
	s.say("soak: %3.0f %%, p99 %.2f ms, resident %.0f and %.0f MB, disk %.0f and %.0f MB, %.0f blocks behind, %d of %.0f ticks missed, %s left", 100*min(1, at.Seconds()/s.soakTime.Seconds()),
		w.p99, w.rss[0], w.rss[1], w.disk[0], w.disk[1], w.behind, missed, ticks, max(0, s.soakTime-at).Round(time.Second))
	return nil
}

// seals notes the times between blocks of the write node.
func (s *soaking) seals(seals []seal) {
	for _, v := range seals {
		if s.lastSeal > 0 {
			s.ticks = append(s.ticks, time.Duration(v.At-s.lastSeal))
		}
		s.lastSeal = v.At
	}
}

// missed is how many blocks were late, of how many ticks there were in their time.
func (s *soaking) missed() (late int, ticks float64) {
	all := time.Duration(0)
	for _, d := range s.ticks {
		all += d
		if d > s.interval()+missedBy {
			late++
		}
	}
	return late, all.Seconds() / s.interval().Seconds()
}

// diskBytes is how long the files below dir are. Files that go meanwhile are gone.
func diskBytes(dir string) (sum int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		var info fs.FileInfo
		if err == nil && !d.IsDir() {
			if info, err = d.Info(); err == nil {
				sum += info.Size()
			}
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
	return sum, err
}

func (s *soaking) report(most float64, took time.Duration) error {
	var p50, p99, behind []float64
	answered := 0
	for _, w := range s.windows {
		behind = append(behind, w.behind)
		if answered += w.answers; w.answers > 0 {
			p50, p99 = append(p50, w.p50), append(p99, w.p99)
		}
	}
	if len(p99) < 2 || len(s.ticks) == 0 {
		return fmt.Errorf("%s are too short: %d windows with answers, %d times between blocks", s.soakTime, len(p99), len(s.ticks))
	}
	missed, ticks := s.missed()
	note := fmt.Sprintf("%.0f %% of %.0f, what write node, read node and a load generator that signs reach together; for %s", 100*soakShare, most, took.Round(time.Second))
	s.add(plain("soak", "transfers answered", "1/s", perSecond(answered*soakCall, took)).noted(note),
		plain("soak", "ticks missed", "%", 100*float64(missed)/ticks).want(atMost(0.1), nil).
			noted(fmt.Sprintf("%d of %.0f: blocks that ended more than %s after the one before", missed, ticks, s.interval()+missedBy)),
		plain("soak", "longest time between two blocks", "ms", milliseconds(slices.Max(s.ticks))),
		plain("soak", fmt.Sprintf("calls of %d transfers, p50", soakCall), "ms", p50...).noted("by window"),
		plain("soak", fmt.Sprintf("calls of %d transfers, p99", soakCall), "ms", p99...).noted("by window"),
		plain("soak", "p99 in the second half / in the first", "1", spread(p99[len(p99)/2:]).Median/spread(p99[:len(p99)/2]).Median),
		plain("soak", "blocks that the read node is behind", "1", behind...).noted("by window"))
	for i, who := range []string{"write node", "read node"} {
		s.growth("memory of the "+who, "resident", func(w *soakWindow) float64 { return w.rss[i] })
		s.growth("disk of the "+who, fmt.Sprintf("%d blocks kept, with snapshots", soakKeep), func(w *soakWindow) float64 { return w.disk[i] })
	}
	return nil
}

// growth is a value at 10, 50 and 100 % of the time, each the highest of the tenth
// before, and how much it grew.
func (s *soaking) growth(name, note string, of func(*soakWindow) float64) {
	at := func(percent int) float64 {
		to := max(1, len(s.windows)*percent/100)
		highest := 0.0
		for i := max(0, min(to-1, len(s.windows)*(percent-10)/100)); i < to; i++ {
			highest = max(highest, of(&s.windows[i]))
		}
		return highest
	}
	for _, percent := range []int{10, 50, 100} {
		s.add(plain("soak", fmt.Sprintf("%s at %d %% of the time", name, percent), "MB", at(percent)).noted(note))
	}
	f := plain("soak", "growth of the "+name+" from 10 % to 100 %", "1", at(100)/at(10))
	if s.soakTime >= soakLong {
		f = f.want(atMost(maxGrowth), nil)
	} else {
		f = f.noted(fmt.Sprintf("wanted ≤ %g of a run of %s or longer", maxGrowth, soakLong))
	}
	s.add(f)
}
