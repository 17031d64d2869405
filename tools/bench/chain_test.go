package main

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
)

// TestKeptChain: what one run has kept another takes, if it is the chain that it
// would make.
func TestKeptChain(t *testing.T) {
	o := options{dir: t.TempDir(), chainDir: filepath.Join(t.TempDir(), "chain"), accounts: minAccounts}
	take := func(o options) (*testChain, string, error) {
		var progress bytes.Buffer
		b := &bench{options: &o, ctx: context.Background(), progress: &progress, temp: t.TempDir(), log: slog.New(slog.DiscardHandler)}
		c, err := b.theChain()
		return c, progress.String(), errors.Join(err, b.close())
	}
	made, _, err := take(o)
	if err != nil {
		t.Fatal(err)
	}
	taken, said, err := take(o)
	if err != nil || !strings.Contains(said, "took") {
		t.Fatalf("%v, it says %q", err, said)
	}
	if taken.genesis.Hash() != made.genesis.Hash() || taken.blocks != made.blocks || taken.txs != made.txs || taken.dir != o.chainDir {
		t.Errorf("took %+v, made was %+v", taken, made)
	}
	o.accounts *= 2
	if _, _, err := take(o); err == nil || !strings.Contains(err.Error(), "another chain") {
		t.Errorf("a chain of other accounts: %v", err)
	}
}
