package relay

import (
	"context"
	"crypto/ed25519"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kaizenchain/kaizen/host/hosttest"
	"github.com/kaizenchain/kaizen/host/rpc/api"
	"github.com/kaizenchain/kaizen/host/rpc/client"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/event"
)

// TestLife: a user's win, a solver's, and nobody's, each in the first block in
// which it can be.
func TestLife(t *testing.T) {
	inBubble(t, func(c *fakeChain) {
		c.market = 100
		s := c.settleWith(c.TempDir())
		wait(time.Second)
		stays := c.submit(btc, 90, 110, 0, 3000)
		breaks := c.submit(eth, 90, 110, 0, 3000)
		wait(time.Second)
		c.mu.Lock()
		c.market = 111
		c.mu.Unlock()
		wait(intervalMs * time.Millisecond) // the next block begins with the breach; btc breaks too
		wait(3 * intervalMs * time.Millisecond)
		c.mu.Lock()
		for _, id := range []uint64{stays, breaks} {
			if v := c.theses[id]; v.outcome != event.SolverWins {
				t.Errorf("thesis %d is %q 300 ms after its breach", id, v.outcome)
			}
		}
		c.market = 100
		c.mu.Unlock()
		holds := c.submit(btc, 90, 110, 50, 1000)
		wait(2100 * time.Millisecond)
		c.mu.Lock()
		if v := c.theses[holds]; v.settled != 0 {
			t.Error("settled before the buffer is over")
		}
		c.mu.Unlock()
		wait(500 * time.Millisecond)
		c.mu.Lock()
		if v := c.theses[holds]; v.outcome != event.UserWins {
			t.Errorf("thesis %d is %q", holds, v.outcome)
		}
		c.quiet = true
		c.mu.Unlock()
		gap := c.submit(btc, 90, 110, 0, 4000)
		wait(6 * time.Second)
		c.mu.Lock()
		if v := c.theses[gap]; v.outcome != event.Void {
			t.Errorf("thesis %d is %q", gap, v.outcome)
		}
		c.mu.Unlock()
		c.settledAll()
		c.nothingFailed()
		v := s.Stats()
		if !v.Live || !v.StreamUp || !v.NodeUp || v.Ours != 4 || v.Settled != [4]uint64{1, 2, 1, 0} || v.Core.Open != 0 {
			t.Errorf("stats %+v", v)
		}
		for _, check := range s.health() {
			if !check.OK {
				t.Errorf("%+v", check)
			}
		}
		s.stop()
	})
}

// TestCrashAnywhere: the settler ends without a word at any moment, before or
// after the node has executed a batch, and another takes over from its files.
func TestCrashAnywhere(t *testing.T) {
	for _, moment := range []string{"before", "after", "any"} {
		t.Run(moment, func(t *testing.T) {
			inBubble(t, func(c *fakeChain) {
				crash := make(chan string, 1)
				var current atomic.Pointer[running]
				strike := func(call string) error {
					s := current.Load()
					if call != "send" || s.dead.Load() || c.roll(4) > 0 {
						return nil
					}
					s.dead.Store(true)
					crash <- c.copyDir(s.dir)
					return errDown
				}
				c.mu.Lock()
				switch moment {
				case "before":
					c.down = strike
				case "after":
					c.after = strike
				}
				c.mu.Unlock()
				s := c.settleWith(c.TempDir())
				current.Store(s)
				for range 25 {
					c.submitMany(12)
					wait(time.Duration(50+c.roll(900)) * time.Millisecond)
					var left string
					select {
					case left = <-crash:
					default:
						if moment != "any" {
							continue
						}
						s.dead.Store(true)
						left = c.copyDir(s.dir)
					}
					s.cancel()
					<-s.done
					s = c.settleWith(left)
					current.Store(s)
				}
				c.mu.Lock()
				c.down, c.after = nil, nil
				c.mu.Unlock()
				wait(15 * time.Second)
				c.settledAll()
				c.nothingFailed()
				s.stop()
			})
		})
	}
}

// TestBadConnections: frames of the stream get lost, cut and delayed.
func TestBadConnections(t *testing.T) {
	inBubble(t, func(c *fakeChain) {
		c.network.Fault = func(conn, write int, toClient bool, frame []byte) []hosttest.Delivery {
			switch {
			case !toClient || write < 3:
				return []hosttest.Delivery{{Bytes: frame}}
			case (conn*7+write)%23 == 0:
				return []hosttest.Delivery{{Bytes: frame[:len(frame)/2], Cut: true}}
			case (conn+write)%5 == 0:
				return []hosttest.Delivery{{Bytes: frame, After: 130 * time.Millisecond}}
			}
			return []hosttest.Delivery{{Bytes: frame}}
		}
		s := c.settleWith(c.TempDir())
		for range 30 {
			c.submitMany(8)
			wait(700 * time.Millisecond)
		}
		wait(15 * time.Second)
		c.settledAll()
		c.nothingFailed()
		if v := s.Stats(); v.Disconnects < 5 {
			t.Errorf("the connection broke %d times", v.Disconnects)
		}
		s.stop()
	})
}

// TestStreamDown: the sync port goes away for a while; the other port does not.
func TestStreamDown(t *testing.T) {
	inBubble(t, func(c *fakeChain) {
		s := c.settleWith(c.TempDir())
		c.submitMany(40)
		wait(time.Second)
		if err := c.server.Close(); err != nil {
			t.Fatal(err)
		}
		<-c.served
		c.submitMany(40)
		wait(20 * time.Second)
		if v := s.Stats(); v.StreamUp || !v.Live {
			t.Errorf("stats %+v", v)
		}
		c.mu.Lock()
		c.serve()
		c.mu.Unlock()
		wait(20 * time.Second)
		c.settledAll()
		c.nothingFailed()
		s.stop()
	})
}

// TestPruned: the settler was away for so long that the stream does not reach
// back. It asks the state, once, and goes on.
func TestPruned(t *testing.T) {
	inBubble(t, func(c *fakeChain) {
		dir := c.TempDir()
		s := c.settleWith(dir)
		c.submitMany(30)
		wait(2 * time.Second)
		s.stop()
		c.submitMany(60)
		wait(5 * time.Second)
		c.prune(10)
		s = c.settleWith(dir)
		wait(15 * time.Second)
		c.settledAll()
		c.nothingFailed()
		if v := s.Stats(); v.Gaps != 1 || v.Core.Rebuilt != 1 {
			t.Errorf("%d gaps, the state was asked %d times", v.Gaps, v.Core.Rebuilt)
		}
		s.stop()
	})
}

// TestOtherBlocks: the chain has another block where the settler was. It asks the
// state, once.
func TestOtherBlocks(t *testing.T) {
	inBubble(t, func(c *fakeChain) {
		dir := c.TempDir()
		s := c.settleWith(dir)
		c.submitMany(30)
		wait(2 * time.Second)
		s.stop()
		c.rewrite(5)
		s = c.settleWith(dir)
		wait(15 * time.Second)
		c.settledAll()
		c.nothingFailed()
		if v := s.Stats(); v.Gaps != 1 || v.Core.Rebuilt != 1 {
			t.Errorf("%d gaps, the state was asked %d times", v.Gaps, v.Core.Rebuilt)
		}
		s.stop()
	})
}

// TestFarApart: the node that serves the stream is pruned past what the node that
// is asked for the state knows. That does not mend itself, and it must not become
// a loop that keeps both nodes busy.
func TestFarApart(t *testing.T) {
	inBubble(t, func(c *fakeChain) {
		wait(5 * time.Second)
		var calls atomic.Int64
		c.mu.Lock()
		c.base = 1 << 40
		c.down = func(string) error { calls.Add(1); return nil }
		c.mu.Unlock()
		s := c.settleWith(c.TempDir())
		wait(time.Minute)
		if n := calls.Load(); n > 100 {
			t.Errorf("%d calls in a minute", n)
		}
		c.prune(20)
		c.submitMany(10)
		wait(20 * time.Second)
		c.settledAll()
		s.stop()
	})
}

// TestNodeDown: the RPC port is away for a minute. Nothing is lost, and nothing
// fails afterwards.
func TestNodeDown(t *testing.T) {
	for name, err := range map[string]error{"unreachable": errDown, "stopping": &client.Error{Code: api.CodeStopping, Name: "Stopping"}} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(c *fakeChain) {
				s := c.settleWith(c.TempDir())
				c.submitMany(20)
				wait(2 * time.Second)
				c.mu.Lock()
				c.down = func(string) error { return err }
				c.mu.Unlock()
				for range 60 {
					c.submitMany(5)
					wait(time.Second)
				}
				if v := s.Stats(); v.NodeUp || v.NodeErrors > 40 {
					t.Errorf("stats %+v", v)
				}
				c.mu.Lock()
				c.down = nil
				c.mu.Unlock()
				wait(20 * time.Second)
				c.settledAll()
				c.nothingFailed()
				s.stop()
			})
		})
	}
}

// TestLostAnswers: the node executes and nobody hears of it. The same bytes again
// are refused as such, and the first receipt is asked for.
func TestLostAnswers(t *testing.T) {
	inBubble(t, func(c *fakeChain) {
		var sent atomic.Int64
		c.mu.Lock()
		c.after = func(call string) error {
			if call == "send" && sent.Add(1)%3 > 0 {
				return errDown
			}
			return nil
		}
		c.mu.Unlock()
		s := c.settleWith(c.TempDir())
		for range 20 {
			c.submitMany(10)
			wait(500 * time.Millisecond)
		}
		wait(20 * time.Second)
		c.settledAll()
		c.nothingFailed()
		if n := sent.Load(); n < 10 {
			t.Errorf("%d answers", n)
		}
		s.stop()
	})
}

// TestStartsBeforeTheNode: whatever is not there yet is waited for.
func TestStartsBeforeTheNode(t *testing.T) {
	inBubble(t, func(c *fakeChain) {
		c.down = func(string) error { return errDown }
		s := c.settleWith(c.TempDir())
		c.submitMany(10)
		wait(10 * time.Second)
		c.mu.Lock()
		c.down = nil
		c.mu.Unlock()
		wait(20 * time.Second)
		c.settledAll()
		c.nothingFailed()
		s.stop()
	})
}

// TestTwoSettlers: on the same pairs with the same key, and on pairs of their own.
func TestTwoSettlers(t *testing.T) {
	inBubble(t, func(c *fakeChain) {
		one, two := c.settleWith(c.TempDir()), c.settleWith(c.TempDir(), func(o *Options) { o.CheckInterval = 130 * time.Millisecond })
		for range 20 {
			c.submitMany(20)
			wait(400 * time.Millisecond)
		}
		wait(20 * time.Second)
		c.settledAll()
		for _, s := range []*running{one, two} {
			if n := s.Stats().Core.Open; n != 0 {
				t.Errorf("%d are still open", n)
			}
			s.stop()
		}
	})
	inBubble(t, func(c *fakeChain) {
		pair := func(name string) func(*Options) { return func(o *Options) { o.Pairs = []string{name} } }
		one, two := c.settleWith(c.TempDir(), pair("BTC/USDT")), c.settleWith(c.TempDir(), pair("ETH/USDT"))
		for i := range 20 {
			c.submitMany(20)
			wait(400 * time.Millisecond)
			if i == 10 {
				one.stop() // and the other one goes on
			}
		}
		wait(20 * time.Second)
		c.mu.Lock()
		left := 0
		for _, v := range c.theses {
			if v.settled == 0 {
				left++
				if v.Base != btc.Base {
					t.Error("one settler's end touched the other")
				}
			}
		}
		c.mu.Unlock()
		if left == 0 {
			t.Error("a settler that ended goes on")
		}
		one = c.settleWith(c.TempDir(), pair("BTC/USDT"))
		wait(20 * time.Second)
		c.settledAll()
		c.nothingFailed()
		one.stop()
		two.stop()
	})
}

// TestStranger: somebody whose word the chain does not take has it decide, a
// minute after the challenge window.
func TestStranger(t *testing.T) {
	inBubble(t, func(c *fakeChain) {
		s := c.settleWith(c.TempDir(), func(o *Options) { o.Key = keyOf(8) })
		c.submitMany(20)
		wait(150 * time.Second)
		c.settledAll()
		s.stop()
		if n := len(c.failed); n > 20*12 {
			t.Errorf("%d transactions failed for 20 theses", n)
		}
	})
}

// TestDamagedFiles: files that are of no use cost a question, not the settler.
func TestDamagedFiles(t *testing.T) {
	for name, damage := range map[string]func([]byte) []byte{
		"flipped": func(b []byte) []byte { b[len(b)/2] ^= 1; return b },
		"cut":     func(b []byte) []byte { return b[:len(b)/2] },
		"empty":   func([]byte) []byte { return nil },
		"of another chain": func(b []byte) []byte {
			return frame(&identity{chainID: 8}, b)
		},
		"of another form": func(b []byte) []byte {
			return frame(&identity{chainID: 7, genesis: [32]byte{1}}, []byte{9, 9, 9})
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(c *fakeChain) {
				dir := c.TempDir()
				s := c.settleWith(dir)
				c.submitMany(30)
				wait(2 * time.Second)
				s.stop()
				for _, file := range []string{stateName, inFlightName} {
					path := filepath.Join(dir, file)
					b, err := os.ReadFile(path)
					if err == nil {
						err = os.WriteFile(path, damage(b), 0o600)
					}
					if err != nil {
						t.Fatal(err)
					}
				}
				s = c.settleWith(dir)
				wait(15 * time.Second)
				c.settledAll() // what was in flight, and is not sealed, may be sent anew and fail
				s.stop()
			})
		})
	}
}

// TestEnds: what waiting does not mend ends the settler.
func TestEnds(t *testing.T) {
	for name, test := range map[string]struct {
		change func(c *fakeChain, o *Options)
		want   error
	}{
		"no such pair":  {func(_ *fakeChain, o *Options) { o.Pairs = []string{"DOGE/USDT"} }, ErrPair},
		"another chain": {func(_ *fakeChain, o *Options) { o.Node = otherNode{o.Node.(fakeNode)} }, ErrOtherChain},
		"another sequencer": {func(c *fakeChain, _ *Options) {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.key = ed25519.NewKeyFromSeed(append([]byte{1}, make([]byte, ed25519.SeedSize-1)...))
			copy(c.open.Header.Sequencer[:], c.key.Public().(ed25519.PublicKey))
		}, ErrOtherChain},
		"another module": {func(_ *fakeChain, o *Options) { o.Node = counterNode{o.Node.(fakeNode)} }, ErrModule},
		"no disk": {func(c *fakeChain, o *Options) {
			dir := o.DataDir
			c.down = func(call string) error {
				if call == "send" {
					return nil
				}
				return os.RemoveAll(dir)
			}
		}, os.ErrNotExist},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(c *fakeChain) {
				s := c.settleWith(c.TempDir(), func(o *Options) { test.change(c, o) })
				c.submitMany(5)
				if err := <-s.done; !errors.Is(err, test.want) {
					t.Errorf("ended with %v, want %v", err, test.want)
				}
				s.cancel()
			})
		})
	}
}

// otherNode is the RPC port of another chain than the sync port's.
type otherNode struct{ fakeNode }

func (n otherNode) Info(ctx context.Context) (api.Info, error) {
	v, err := n.fakeNode.Info(ctx)
	v.GenesisHash[5]++
	return v, err
}

// counterNode runs a module without theses.
type counterNode struct{ fakeNode }

func (n counterNode) Info(ctx context.Context) (api.Info, error) {
	v, err := n.fakeNode.Info(ctx)
	v.Module.Name = "counter"
	return v, err
}

func TestOptions(t *testing.T) {
	good := Options{WriteNode: DefaultWriteNode, CheckInterval: DefaultCheckInterval, BatchSize: 1, DataDir: t.TempDir(), Key: keyOf(1)}
	for want, change := range map[string]func(*Options){
		"write node": func(o *Options) { o.WriteNode = "http://x" }, "check interval": func(o *Options) { o.CheckInterval = time.Millisecond },
		"batch size": func(o *Options) { o.BatchSize = 1001 }, "deadline buffer": func(o *Options) { o.BufferMs = 1 << 40 },
		"data directory": func(o *Options) { o.DataDir = "" }, "key": func(o *Options) { o.Key = nil }, "node URL": func(o *Options) { o.RPCURL = "ftp://x" },
	} {
		o := good
		change(&o)
		if _, err := New(o); !errors.Is(err, ErrOptions) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
	good.RPCURL = DefaultRPCURL
	one, err := New(good)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := New(good); !errors.Is(err, ErrInUse) {
		t.Errorf("two on one directory: %v", err)
	}
	if err := one.Close(); err != nil {
		t.Error(err)
	}
}

func FuzzFrame(f *testing.F) {
	id := &identity{chainID: 7}
	f.Add(frame(id, []byte("body")))
	f.Add(frame(id, nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		body, ours, err := unframe(id, b)
		if err == nil && ours && !slices.Equal(frame(id, body), b) {
			t.Fatalf("two encodings of %x", body)
		}
	})
}
