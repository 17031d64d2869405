package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"

	"github.com/kaizenchain/kaizen/host/wire"
)

// stalledReaders is as many followers as a node takes from one address.
const stalledReaders = 16

// stalled measures what followers cost that have subscribed to blocks and then
// read nothing any more.
func (b *bench) stalled() error {
	n, err := b.theChild()
	if err != nil {
		return err
	}
	lean := newPoster(n.RPC)
	defer lean.close()
	send := func(raws [][]byte) (float64, error) {
		took, err := lean.postAll(b.ctx, raws)
		return perSecond(len(raws), took), err
	}
	size, err := b.limit()
	if err != nil {
		return err
	}
	var rounds []round
	for i := range b.rounds {
		var r round
		first, second := &r.value, &r.limit // the order changes, against drift
		if i%2 == 1 {
			first, second = second, first
		}
		for _, v := range []*float64{first, second} {
			readers := 0
			if v == &r.value {
				readers = stalledReaders
			}
			raws := b.chain.wallets.load(b.roundSize(size))
			if *v, err = b.beside(n, readers, func() (float64, error) { return send(raws) }); err != nil {
				return err
			}
		}
		rounds = append(rounds, r)
	}
	b.add(rated("stalled", fmt.Sprintf("transfers over HTTP while %d followers read nothing", stalledReaders), "1/s", "the same without them", "1/s", rounds).want(atLeast(0.95), nil))
	return nil
}

// beside measures with so many followers that have stopped to read.
func (b *bench) beside(n *child, followers int, measured func() (float64, error)) (rate float64, err error) {
	for range followers {
		c, err := b.stalledFollower(n)
		if err != nil {
			return 0, err
		}
		defer func() { err = errors.Join(err, c.Close()) }()
	}
	return measured()
}

// stalledFollower subscribes to blocks and reads nothing from then on.
func (b *bench) stalledFollower(n *child) (*wire.Client, error) {
	var conn *stallingConn
	identity := wire.Identity{ChainID: b.chain.genesis.ChainID, Genesis: b.chain.genesis.Hash(), Module: b.chain.genesis.ModuleHash, Role: wire.RoleReader, Agent: "kaizen-bench"}
	c, err := wire.Dial(b.ctx, n.Sync, identity, wire.DialOptions{Doorbells: true, Ride: true,
		Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			plain, err := (&net.Dialer{}).DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			if tcp, ok := plain.(*net.TCPConn); ok {
				err = tcp.SetReadBuffer(4 << 10)
			}
			conn = &stallingConn{Conn: plain, stall: make(chan struct{}), closed: make(chan struct{})}
			return conn, err
		}})
	if err != nil {
		return nil, err
	}
	close(conn.stall)
	return c, nil
}

// stallingConn reads nothing after stall is closed.
type stallingConn struct {
	net.Conn
	stall  chan struct{}
	once   sync.Once
	closed chan struct{}
}

func (c *stallingConn) Read(b []byte) (int, error) {
	select {
	case <-c.stall:
		<-c.closed
		return 0, io.EOF
	default:
		return c.Conn.Read(b)
	}
}

func (c *stallingConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}
