package node

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/hosttest"
	"github.com/kaizenchain/kaizen/host/stf"
	"github.com/kaizenchain/kaizen/host/store"
	"github.com/kaizenchain/kaizen/stf-modules/abi"
)

// signing is a script whose transactions are signed: by whom reaches the state, and
// nothing is executed without. It counts the signers that it recovers.
type signing struct {
	hosttest.Script
	recovered *atomic.Int64
}

func newSigning() signing { return signing{recovered: new(atomic.Int64)} }

func (s signing) deps() Deps { return Deps{Program: s, Log: quiet()} }

// since is how many signers were recovered since the last call.
func (s signing) since() int { return int(s.recovered.Swap(0)) }

func (s signing) NewInspector() (stf.Inspector, error) {
	in, err := s.Script.NewInspector()
	return &signingInspector{Inspector: in, crypto: signingCrypto{recovered: s.recovered}}, err
}

func (s signing) NewMachine() (stf.Machine, error) {
	m, err := s.Script.NewMachine()
	return signingMachine{m, signingCrypto{recovered: s.recovered}}, err
}

type signingInspector struct {
	stf.Inspector
	crypto   signingCrypto
	recovery stf.Recovery
}

func (in *signingInspector) Inspect(txs ...*stf.Tx) error {
	for _, tx := range txs {
		tx.Signers = []stf.Signer{{Signature: abi.Signature{Digest: sha256.Sum256(tx.Raw)}}}
	}
	in.recovery.Run(in.crypto, txs)
	return in.Inspector.Inspect(txs...)
}

// signingCrypto takes the signer from the digest.
type signingCrypto struct {
	stf.Crypto
	recovered *atomic.Int64
}

func (c signingCrypto) RecoverAll(signers []*stf.Signer) {
	c.recovered.Add(int64(len(signers)))
	for _, s := range signers {
		s.Address, s.OK = chain.Address(s.Digest[:20]), true
	}
}

type signingMachine struct {
	stf.Machine
	crypto signingCrypto
}

// Execute recovers the signer if it is not known, as a session does.
func (m signingMachine) Execute(st stf.State, ctx abi.Context, tx *stf.Tx) (stf.Outcome, error) {
	if len(tx.Signers) == 0 {
		tx.Signers = []stf.Signer{{Signature: abi.Signature{Digest: sha256.Sum256(tx.Raw)}}}
		m.crypto.RecoverAll([]*stf.Signer{&tx.Signers[0]})
	}
	if !tx.Signers[0].OK {
		return stf.Outcome{Code: 2, Detail: "signed by nobody"}, nil
	}
	out, err := m.Machine.Execute(st, ctx, tx)
	if out.Accepted {
		st.Set([]byte("signer"), tx.Signers[0].Address[:])
	}
	return out, err
}

// signedChain is a write node's directory of n blocks with a transaction each.
func signedChain(t *testing.T, s signing, n int) (dir string, cfg Config) {
	g := testGenesis()
	cfg = testConfig(initDir(t, g), g)
	w, run := startWriter(t, cfg, s.deps())
	for i := range n {
		must(t, w.WaitFor(within(t), send(t, w, fmt.Sprintf("set k %d", i))))
	}
	run.mustStop()
	if got := s.since(); got != n {
		t.Fatalf("%d signers were recovered for %d transactions", got, n)
	}
	return cfg.DataDir, cfg
}

// TestStartBelievesItsOwnSigners: a node that starts recovers no signer of a block that
// it stored; verification and replay do, unless told to trust.
func TestStartBelievesItsOwnSigners(t *testing.T) {
	const txs = 7
	s := newSigning()
	dir, cfg := signedChain(t, s, txs)
	for _, c := range []struct {
		name      string
		recovered int
		run       func() error
	}{
		{"write node", 0, func() error {
			_, run := startWriter(t, cfg, s.deps())
			return run.stop()
		}},
		{"replay", txs, func() error {
			_, err := Replay(within(t), dir, s.deps(), ReplayOptions{})
			return err
		}},
		{"replay that trusts", 0, func() error {
			_, err := Replay(within(t), dir, s.deps(), ReplayOptions{TrustSignatures: true})
			return err
		}},
		{"verify", txs, func() error {
			_, err := VerifyRange(within(t), dir, s.deps(), VerifyOptions{From: 1})
			return err
		}},
	} {
		must(t, c.run())
		if got := s.since(); got != c.recovered {
			t.Errorf("%s recovered %d signers, want %d", c.name, got, c.recovered)
		}
	}
}

// TestReadNodeBelievesItsOwnSigners: what a read node has verified it need not recover
// again, what it has not yet it must.
func TestReadNodeBelievesItsOwnSigners(t *testing.T) {
	s := newSigning()
	_, cfg := signedChain(t, s, 5)
	w, writer := startWriter(t, cfg, s.deps())
	_, sync := w.Addrs()
	read := readerConfig(t, w.views.genesis, sync)
	for _, want := range []int{5, 0} {
		s.since()
		r, run := startReader(t, read, s.deps())
		must(t, r.WaitFor(within(t), w.Head().Height))
		run.mustStop()
		if got := s.since(); got != want {
			t.Errorf("%d signers were recovered, want %d", got, want)
		}
	}
	writer.mustStop()
}

// TestSignersThatAreWrong: what is stored of signers can be wrong in any way, and no
// state comes of it but that of the chain.
func TestSignersThatAreWrong(t *testing.T) {
	const txs = 6
	s := newSigning()
	dir, _ := signedChain(t, s, txs)
	for _, c := range []struct {
		name      string
		change    func(i int, signers []byte) []byte // of the i-th block that has a transaction
		recovered int
		warned    bool
	}{
		{"as they were", func(_ int, b []byte) []byte { return b }, 0, false},
		{"not there", func(int, []byte) []byte { return nil }, txs, false},
		{"of no transaction", func(int, []byte) []byte { return []byte{0} }, txs, false},
		{"cut", func(_ int, b []byte) []byte { return b[:len(b)-1] }, txs, false},
		{"not there for one block", func(i int, b []byte) []byte { return b[:len(b)*min(1, i-1)] }, 1, false},
		{"of somebody else, in the fourth block", func(i int, b []byte) []byte {
			if i == 4 {
				b[5] ^= 1
			}
			return b
		}, 3, true},
		{"of nobody, in the last block", func(i int, b []byte) []byte {
			if i == txs {
				b[1] = 0
			}
			return b
		}, 1, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			forged := forge(t, dir, c.change)
			want, err := Replay(within(t), forged, s.deps(), ReplayOptions{})
			must(t, err)
			s.since()
			var log bytes.Buffer
			got, err := Replay(within(t), forged, Deps{Program: s, Log: slog.New(slog.NewTextHandler(&log, nil))}, ReplayOptions{TrustSignatures: true})
			must(t, err)
			if got.Root != want.Root || got.Txs != want.Txs {
				t.Errorf("came to %s with %d transactions, want %s with %d", got.Root, got.Txs, want.Root, want.Txs)
			}
			if n := s.since(); n != c.recovered {
				t.Errorf("%d signers were recovered, want %d", n, c.recovered)
			}
			if warned := strings.Contains(log.String(), "signers"); warned != c.warned {
				t.Errorf("log is %q", &log)
			}
		})
	}
}

// forge copies a directory with other signers beside the blocks.
func forge(t *testing.T, dir string, change func(i int, signers []byte) []byte) string {
	from, err := store.Open(dir, store.Options{ReadOnly: true})
	must(t, err)
	defer from.Close()
	to := filepath.Join(t.TempDir(), "forged")
	must(t, store.Init(to, from.Genesis(), store.Options{}))
	st, err := openWritable(to)
	must(t, err)
	for h, i := uint64(1), 0; h <= from.Height(); h++ {
		b, signers, err := from.SignedBlock(h)
		must(t, err)
		results, err := from.Results(h)
		must(t, err)
		if len(b.Txs) > 0 {
			i++
			signers = change(i, bytes.Clone(signers))
		}
		must(t, st.Append(store.Record{Block: b, Results: results, Signers: signers}))
	}
	must(t, st.Close())
	return to
}

// TestTrustDoesNotHideAWrongBlock: where the block is wrong, its signers being right
// helps nothing.
func TestTrustDoesNotHideAWrongBlock(t *testing.T) {
	s := newSigning()
	dir, _ := signedChain(t, s, 3)
	log := filepath.Join(dir, "blocks", fmt.Sprintf("%016x.log", 1))
	raw, err := os.ReadFile(log)
	must(t, err)
	raw[bytes.Index(raw, []byte("set k 1"))]++
	must(t, os.WriteFile(log, raw, 0o644))
	if _, err := Replay(within(t), dir, s.deps(), ReplayOptions{TrustSignatures: true}); !errors.Is(err, ErrVerification) {
		t.Errorf("replay says %v", err)
	}
}

// TestSignersFitTheirRecord: the largest block's.
func TestSignersFitTheirRecord(t *testing.T) {
	if n := chain.MaxBlockTxs * stf.MaxTxSignersBytes; n > store.MaxSignersBytes {
		t.Errorf("%d bytes of signers, a record takes %d", n, store.MaxSignersBytes)
	}
}
