package node

import (
	"fmt"
	"sync"

	"github.com/kaizenchain/kaizen/host/procs"
	"github.com/kaizenchain/kaizen/host/stf"
)

// chunkTxs is how many transactions travel together to one core. A smaller chunk
// spreads a burst over the cores sooner; 16 signatures fill the lanes that recover
// them together (host/secp), and with 32 one takes 4% less.
const chunkTxs = 16

// laneTxs is how many signatures are recovered side by side (host/secp): a call with
// four more costs as much as one with eight more.
const laneTxs = 8

// chunk is a run of transactions on its way through inspection. Whoever receives
// from done may read txs.
type chunk struct {
	txs  []stf.Tx
	done chan error // capacity 1: one value, when inspected
	tag  any        // the owner's
}

// inspectors recover signers ahead of execution on all cores (one goroutine and
// one module instance each). Chunks are taken in the order they were given.
type inspectors struct {
	jobs chan *chunk
	wg   sync.WaitGroup
}

// newInspectors starts n goroutines, one per core if n is 0. queue is how many
// chunks may wait.
func newInspectors(program stf.Program, n, queue int) (*inspectors, error) {
	if n <= 0 {
		n = procs.Cores()
	}
	p := &inspectors{jobs: make(chan *chunk, queue)}
	for range n {
		in, err := program.NewInspector()
		if err != nil {
			p.close()
			return nil, fmt.Errorf("start signature recovery: %w", err)
		}
		p.wg.Add(1)
		go p.run(in)
	}
	return p, nil
}

func (p *inspectors) run(in stf.Inspector) {
	defer p.wg.Done()
	defer in.Close()
	var w worker
	for c := range p.jobs {
		w.take(c)
		w.fill(p.jobs)
		w.inspect(in)
	}
}

// worker is what one goroutine inspects together: signatures are recovered many at
// a time, so chunks that wait and are small share one call.
type worker struct {
	chunks []*chunk
	txs    []*stf.Tx
}

func (w *worker) take(c *chunk) {
	w.chunks = append(w.chunks, c)
	for i := range c.txs {
		w.txs = append(w.txs, &c.txs[i])
	}
}

// fill takes more of what already waits, until that is as much as a full chunk, and
// a little more where that fills lanes: blocks of 20 come as chunks of 16 and 4. It
// never waits itself: a lone transaction is inspected at once.
func (w *worker) fill(jobs <-chan *chunk) {
	for len(w.txs) < chunkTxs || len(w.txs) < 2*chunkTxs && len(w.txs)%laneTxs != 0 {
		select {
		case c, open := <-jobs:
			if !open {
				return
			}
			w.take(c)
		default:
			return
		}
	}
}

func (w *worker) inspect(in stf.Inspector) {
	err := in.Inspect(w.txs...)
	for _, c := range w.chunks {
		c.done <- err
	}
	clear(w.chunks)
	clear(w.txs)
	w.chunks, w.txs = w.chunks[:0], w.txs[:0]
}

// close waits until every chunk that was given has been inspected.
func (p *inspectors) close() {
	close(p.jobs)
	p.wg.Wait()
}

// give hands chunks over; it waits while the queue is full.
func (p *inspectors) give(chunks []*chunk) {
	for _, c := range chunks {
		p.jobs <- c
	}
}

// noted is transactions that are not inspected, since signers says who signed them; nil
// if it does not.
func noted(raws [][]byte, signers []byte) []*chunk {
	txs, ok := stf.Trust(raws, signers)
	if !ok {
		return nil
	}
	c := &chunk{txs: txs, done: make(chan error, 1)}
	c.done <- nil
	return []*chunk{c}
}

// newChunks splits raws; tag, if not nil, gives each chunk the owner's mark for
// the range [from, to).
func newChunks(raws [][]byte, tag func(from, to int) any) []*chunk {
	chunks := make([]*chunk, 0, (len(raws)+chunkTxs-1)/chunkTxs)
	for from := 0; from < len(raws); from += chunkTxs {
		to := min(from+chunkTxs, len(raws))
		c := &chunk{txs: make([]stf.Tx, to-from), done: make(chan error, 1)}
		for i := range c.txs {
			c.txs[i].Raw = raws[from+i]
		}
		if tag != nil {
			c.tag = tag(from, to)
		}
		chunks = append(chunks, c)
	}
	return chunks
}
