package node

import (
	"errors"
	"testing"

	"github.com/kaizenchain/kaizen/host/hosttest"
	"github.com/kaizenchain/kaizen/host/stf"
)

// gated is a program whose inspector tells how many transactions it is given and
// waits for an answer.
type gated struct {
	hosttest.Script
	given  chan int
	answer chan error
}

func (g gated) NewInspector() (stf.Inspector, error) { return g, nil }

func (g gated) Inspect(txs ...*stf.Tx) error {
	g.given <- len(txs)
	return <-g.answer
}

// TestSmallChunksTravelTogether: what waits is inspected in one call until that is a
// full chunk, and every chunk gets its answer; a lone transaction waits for nobody.
func TestSmallChunksTravelTogether(t *testing.T) {
	g := gated{given: make(chan int), answer: make(chan error)}
	const queue = 64
	p, err := newInspectors(g, 1, queue)
	if err != nil {
		t.Fatal(err)
	}
	send := func(n int) *chunk {
		c := newChunks(make([][]byte, n), nil)[0]
		p.jobs <- c
		return c
	}
	lone := send(1)
	if n := <-g.given; n != 1 {
		t.Fatalf("a lone transaction is inspected with %d others", n-1)
	}
	var waiting []*chunk
	for range 20 {
		waiting = append(waiting, send(1))
	}
	waiting = append(waiting, send(chunkTxs), send(4), send(chunkTxs), send(1))
	g.answer <- nil
	if err := <-lone.done; err != nil {
		t.Error(err)
	}
	failed := errors.New("inspector is broken")
	for _, call := range []struct {
		txs, chunks int
		err         error
	}{{chunkTxs, chunkTxs, nil}, {4 + chunkTxs + 4, 4 + 1 + 1, failed}, {chunkTxs, 1, nil}, {1, 1, nil}} {
		if n := <-g.given; n != call.txs {
			t.Fatalf("%d transactions in a call, want %d", n, call.txs)
		}
		g.answer <- call.err
		for _, c := range waiting[:call.chunks] {
			if err := <-c.done; !errors.Is(err, call.err) {
				t.Errorf("a chunk's answer is %v, want %v", err, call.err)
			}
		}
		waiting = waiting[call.chunks:]
	}
	p.close()
}
