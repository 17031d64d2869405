package main

import (
	"context"
	"errors"
	"log/slog"

	"github.com/kaizenchain/kaizen/host/node"
	"github.com/kaizenchain/kaizen/host/stf"
)

// reader is a running read node.
type reader struct {
	*node.Reader
	blocks  *sealWatch
	program stf.Program
	cancel  context.CancelFunc
	done    chan error
}

// startReader runs a read node of the chain in its directory, which follows a write
// node.
func startReader(s setup, log *slog.Logger) (*reader, error) {
	return runReader(s.config(), s.Follow, log)
}

// startBootstrap runs one in an empty directory, which begins with a snapshot of the
// write node.
func startBootstrap(s setup, log *slog.Logger) (*reader, error) {
	cfg := s.config()
	cfg.Sync.Bootstrap = true
	return runReader(cfg, s.Follow, log)
}

func runReader(cfg *node.Config, follow string, log *slog.Logger) (r *reader, err error) {
	cfg.Sync.WriteNode = "ws://" + follow
	cfg.RPC.MaxConns = 2 * (idleSubscribers + busySubscribers)
	ctx, cancel := context.WithCancel(context.Background())
	r = &reader{cancel: cancel, blocks: &sealWatch{}}
	opened := r // a return with an error sets r to nil
	defer func() {
		if err != nil {
			err = errors.Join(err, opened.stop())
		}
	}()
	if r.program, err = node.LoadProgram(ctx, cfg, log); err != nil {
		return nil, err
	}
	if r.Reader, err = node.NewReader(ctx, *cfg, node.Deps{Program: r.program, Log: log}); err != nil {
		return nil, err
	}
	r.done = make(chan error, 1)
	go func() { r.done <- r.Run(ctx) }()
	go watch(ctx, r, r.blocks.verified)
	return r, nil
}

func (r *reader) hello() hello {
	rpc, sync := r.Addrs()
	return hello{RPC: rpc, Sync: sync, Blocks: r.Head().Height}
}

func (r *reader) sealed() []seal { return r.blocks.take() }

func (r *reader) stop() (err error) {
	r.cancel()
	if r.done != nil {
		err = <-r.done
	}
	if r.program != nil {
		err = errors.Join(err, r.program.Close())
	}
	return err
}
