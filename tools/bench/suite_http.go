package main

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/kaizenchain/kaizen/host/rpc/client"
)

// http measures the write node in a process of its own, over loopback.
func (b *bench) http() (err error) {
	n, err := b.theChild()
	if err != nil {
		return err
	}
	goClient, err := client.New("http://" + n.RPC)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, goClient.Close()) }()
	lean := newPoster(n.RPC)
	defer lean.close()
	ones := &singles{address: n.RPC}
	defer ones.close()
	if err := b.started(n); err != nil {
		return err
	}
	for _, way := range []struct {
		name, generator string
		send            func(raws [][]byte) (float64, error)
	}{
		{"kaizen_sendTransactions", "load generator: requests made before, answers counted", func(raws [][]byte) (float64, error) {
			took, err := lean.postAll(b.ctx, raws)
			return perSecond(len(raws), took), err
		}},
		{"kaizen_sendTransactions, Go client", "load generator: host/rpc/client", func(raws [][]byte) (float64, error) {
			took, err := sendAll(b.ctx, goClient, raws)
			return perSecond(len(raws), took), err
		}},
		{"kaizen_sendTransaction, one a request", "load generator: requests made before, answers counted", func(raws [][]byte) (float64, error) {
			took, err := ones.sendAll(b.ctx, raws)
			return perSecond(len(raws), took), err
		}},
		{"submit stream, one a message", fmt.Sprintf("load generator: messages made before, of answers the status is read, %d under way", manyUnderWay), func(raws [][]byte) (float64, error) {
			took, err := streams(n.RPC, manyUnderWay).sendAll(b.ctx, raws)
			return perSecond(len(raws), took), err
		}},
	} {
		if err := b.overHTTP(n, way.name, way.generator, way.send); err != nil {
			return err
		}
	}
	if err := b.memory(n); err != nil {
		return err
	}
	return b.splitHTTP(n, lean)
}

// started reports the start of the node, which executes every stored block.
func (b *bench) started(n *child) error {
	rate, err := b.limit()
	if err != nil {
		return err
	}
	r := round{perSecond(b.chain.txs, n.Started), rate}
	b.add(rated("http", "start of the node: stored transfers executed again", "1/s", recoveryLimit, "1/s", []round{r}).
		noted(fmt.Sprintf("%d blocks, genesis and opening included", n.Blocks)))
	return nil
}

func (b *bench) overHTTP(n *child, name, generator string, send func([][]byte) (float64, error)) error {
	var node, own, recover []float64
	rounds, err := b.throughput(func(raws [][]byte) (float64, error) {
		if _, err := n.lap(); err != nil {
			return 0, err
		}
		before := ownStats()
		rate, err := send(raws)
		if err != nil {
			return 0, err
		}
		after := ownStats()
		used, err := n.lap()
		node = append(node, microseconds(used.CPU)/float64(len(raws)))
		recover = append(recover, b.recover1)
		own = append(own, microseconds(after.CPU-before.CPU)/float64(len(raws)))
		return rate, err
	})
	if err != nil {
		return err
	}
	f := rated("http", name, "1/s", recoveryLimit, "1/s", rounds).noted(generator + ", in another process")
	b.add(f, byTime("http", name, node, recover).noted("of the node alone"),
		plain("http", name+": processor time of the node for a transfer", "µs", node...),
		plain("http", name+": processor time of the load generator for a transfer", "µs", own...))
	return nil
}

// memory is what the node takes, right after load.
func (b *bench) memory(n *child) error {
	s, err := n.lap()
	if err != nil {
		return err
	}
	const mb = 1 << 20
	b.add(plain("http", "memory of the node under load", "MB", float64(s.RSS)/mb).want(atMost(700), nil).noted(fmt.Sprintf("resident, %d accounts", b.accounts)),
		plain("http", "heap of the node under load", "MB", float64(s.Heap)/mb).noted("with what is not collected yet"),
		plain("http", "memory of the node, highest", "MB", float64(s.MaxRSS)/mb).want(nil, atMost(700)).noted("resident, since its start"))
	return nil
}

// splitHTTP profiles the node for one more round.
func (b *bench) splitHTTP(n *child, lean *poster) error {
	rate, err := b.limit()
	if err != nil {
		return err
	}
	raws := b.chain.wallets.load(b.roundSize(rate))
	name := filepath.Join(b.temp, "http.pprof")
	if b.cpuProfile != "" {
		name = b.cpuProfile + ".http"
	}
	if _, err := n.command(commandProfile + " " + name); err != nil {
		return err
	}
	_, err = lean.postAll(b.ctx, raws)
	_, ended := n.command(commandProfile)
	if err = errors.Join(err, ended); err != nil {
		return err
	}
	return b.addSplit("write node over HTTP", name)
}
