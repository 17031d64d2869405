package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/kaizenchain/kaizen/host/node"
	"github.com/kaizenchain/kaizen/host/oracle"
	"github.com/kaizenchain/kaizen/host/stf"
)

// writer is a running write node and the price service that it asks.
type writer struct {
	*node.Writer
	seals   *sealWatch
	started time.Duration // until it had executed the stored blocks
	program stf.Program
	cancel  context.CancelFunc
	oracle  chan error
	done    chan error
}

// startWriter runs a write node on a data directory until stop.
func startWriter(s setup, log *slog.Logger) (w *writer, err error) {
	w = &writer{seals: &sealWatch{}}
	cfg := s.config()
	ctx, cancel := context.WithCancel(context.Background())
	w.cancel = cancel
	opened := w // a return with an error sets w to nil
	defer func() {
		if err != nil {
			err = errors.Join(err, opened.release())
		}
	}()
	if cfg.Oracle.ServiceURL, err = w.startOracle(ctx); err != nil {
		return nil, err
	}
	if w.program, err = node.LoadProgram(ctx, cfg, log); err != nil {
		return nil, err
	}
	start := time.Now()
	if w.Writer, err = node.NewWriter(ctx, *cfg, node.Deps{Program: watched{w.program, w.seals}, Log: log}); err != nil {
		return nil, err
	}
	w.started = time.Since(start)
	w.done = make(chan error, 1)
	go func() { w.done <- w.Run(ctx) }()
	go watch(ctx, w, w.seals.published)
	return w, nil
}

func (w *writer) hello() hello {
	rpc, sync := w.Addrs()
	return hello{RPC: rpc, Sync: sync, Started: w.started, Blocks: w.Head().Height}
}

func (w *writer) sealed() []seal { return w.seals.take() }

func (w *writer) startOracle(ctx context.Context) (url string, err error) {
	walk, err := oracle.NewWalk(1, uint64(time.Now().UnixMilli()), oracle.DefaultWalk())
	if err != nil {
		return "", err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	w.oracle = make(chan error, 1)
	go func() { w.oracle <- oracle.NewService(walk, nil).Run(ctx, l) }()
	return "http://" + l.Addr().String(), nil
}

// stop seals what was answered and releases everything.
func (w *writer) stop() error { return w.release() }

func (w *writer) release() error {
	w.cancel()
	var errs []error
	for _, done := range []chan error{w.done, w.oracle} {
		if done != nil {
			errs = append(errs, <-done)
		}
	}
	if w.program != nil {
		errs = append(errs, w.program.Close())
	}
	return errors.Join(errs...)
}

// sealPatience bounds the wait for the block with the last answer.
const sealPatience = 30 * time.Second

// waitSealed waits until block height is published.
func (w *writer) waitSealed(ctx context.Context, height uint64) error {
	poll := time.NewTicker(time.Millisecond)
	defer poll.Stop()
	until := time.Now().Add(sealPatience)
	for w.Head().Height < height {
		select {
		case now := <-poll.C:
			if now.After(until) {
				return fmt.Errorf("block %d is not sealed after %s, the head is %d", height, sealPatience, w.Head().Height)
			}
		case err := <-w.done:
			w.done <- err
			return fmt.Errorf("the write node ended: %w", err)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
