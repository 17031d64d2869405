package node

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/rpc/client"
	"github.com/kaizenchain/kaizen/host/wire"
	"github.com/kaizenchain/kaizen/snapshot/fetch"
)

// bootDir, if set, makes this test binary a read node that bootstraps into that
// directory from the node at bootFrom, to be killed.
const (
	bootDir  = "KAIZEN_TEST_BOOT_DIR"
	bootFrom = "KAIZEN_TEST_BOOT_FROM"
)

func runBootReader(dir, from string) error {
	cfg := testConfig(dir, testGenesis())
	cfg.Sync.WriteNode, cfg.Sync.Bootstrap = from, true
	r, err := NewReader(context.Background(), cfg, deps())
	if err != nil {
		return err
	}
	rpc, _ := r.Addrs()
	fmt.Println(rpc)
	return r.Run(context.Background())
}

// stalling is what a source serves from: it answers so many requests for chunks, and
// leaves those that follow waiting.
type stalling struct {
	*archive
	*offers
	left    atomic.Int64
	served  atomic.Int64
	stalled chan struct{} // of capacity 1
	done    chan struct{}
}

func (s *stalling) Chunk(hash chain.Hash, index uint32) ([]byte, error) {
	if s.left.Add(-1) < 0 {
		select {
		case s.stalled <- struct{}{}:
		default:
		}
		<-s.done
		return nil, fetch.ErrNotAvailable
	}
	s.served.Add(1)
	return s.offers.Chunk(hash, index)
}

// bigChain is a write node whose state takes several chunks, with a snapshot of it.
func bigChain(t *testing.T) (*Writer, *runner, int) {
	t.Helper()
	g := testGenesis()
	w, run := startWriter(t, testConfig(initDir(t, g), g), deps())
	var h uint64
	for i := range 45 {
		lines := make([]string, 16)
		for j := range lines {
			lines[j] = fmt.Sprintf("set big%d-%d %s", i, j, strings.Repeat(fmt.Sprint(i*j), 8000)[:8000])
		}
		h = send(t, w, lines...)
	}
	must(t, w.WaitFor(within(t), h))
	s, err := w.TakeSnapshot(within(t))
	must(t, err)
	return w, run, len(s.Manifest.Chunks)
}

// TestBootstrapKilled kills the process that bootstraps again and again, each time
// when at least one more chunk has arrived. None that did is fetched again, and in
// the end there is a read node like any other.
func TestBootstrapKilled(t *testing.T) {
	w, run, chunks := bigChain(t)
	if chunks < 4 {
		t.Fatalf("%d chunks", chunks)
	}
	s := &stalling{archive: &archive{w.views}, offers: newOffers(w.views, quiet()), stalled: make(chan struct{}, 1), done: make(chan struct{})}
	server := wire.NewServer(s, identityOf(w.views), wire.Limits{MaxSnapshotAnswers: 64}, quiet())
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	go server.Serve(l)
	dir := t.TempDir()
	kills := 0
	var up string
	for ; up == ""; kills++ {
		if kills > chunks {
			t.Fatalf("not there after %d kills, with %d chunks", kills, chunks)
		}
		s.left.Store(2) // both of a window; who asks a third time has written one
		up = bootOnce(t, dir, l.Addr().String(), s.stalled)
	}
	close(s.done)
	if again := s.served.Load() - int64(chunks); kills < 3 || again > int64(kills) {
		t.Errorf("%d chunks were served beyond the %d that there are, after %d kills", again, chunks, kills)
	}
	c, err := client.New(up)
	must(t, err)
	defer c.Close()
	h := send(t, w, "set after kills")
	for {
		head, err := c.Status(within(t))
		must(t, err)
		if head.Height >= h {
			break
		}
	}
	must(t, server.Close())
	run.mustStop()
}

// bootOnce runs the read node until it stalls, and kills it, or until it is up, and
// returns where.
func bootOnce(t *testing.T, dir, from string, stalled <-chan struct{}) string {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), bootDir+"="+dir, bootFrom+"="+from)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	line := make(chan string, 1)
	go func() {
		text, _ := bufio.NewReader(out).ReadString('\n') // nothing, if it was killed
		line <- strings.TrimSpace(text)
	}()
	select {
	case <-stalled:
		must(t, cmd.Process.Kill())
		<-line
		_ = cmd.Wait() // it was killed
		return ""
	case addr := <-line:
		if addr == "" {
			t.Fatal("the read node ended")
		}
		return "http://" + addr
	case <-within(t).Done():
		t.Fatal("neither stalled nor up")
	}
	return ""
}
