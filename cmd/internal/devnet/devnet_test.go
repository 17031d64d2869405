package devnet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/kaizenchain/kaizen/host/node"
	"github.com/kaizenchain/kaizen/host/oracle"
	"github.com/kaizenchain/kaizen/host/rpc/api"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/tx"
)

// The accounts that the protocol promises: ten, funded, three with a job.
func TestParams(t *testing.T) {
	p, err := Params()
	if err != nil {
		t.Fatal(err)
	}
	accounts, err := Accounts()
	if err != nil {
		t.Fatal(err)
	}
	want := map[tx.Address]uint8{}
	for _, a := range accounts {
		want[tx.Address(a.Address)] = map[int]uint8{0: tx.PermAdmin, 8: tx.PermRelayer, 9: tx.PermSettler}[a.Index]
	}
	for _, a := range p.Accounts {
		if bits, ok := want[a.Address]; !ok || bits != a.Permissions || a.Balance != 1_000_000_000_000 {
			t.Errorf("account %x has balance %d and permissions %d", a.Address, a.Balance, a.Permissions)
		}
		delete(want, a.Address)
	}
	if len(want) > 0 {
		t.Errorf("not funded: %d accounts", len(want))
	}
	for _, m := range p.Markets {
		if _, err := oracle.ParsePair(m.Name); err != nil {
			t.Errorf("market %s has no price: %v", m.Name, err)
		}
	}
}

// All taken ports are named at once, with who wants them.
func TestTakenPorts(t *testing.T) {
	var s Services
	var listeners []net.Listener
	for _, p := range []*string{&s.RPC, &s.Sync, &s.Oracle, &s.ReadRPC, &s.ReadSync} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		*p = l.Addr().String()
		listeners = append(listeners, l)
	}
	listeners[1].Close()
	err := s.check()
	if !errors.Is(err, ErrPorts) {
		t.Fatalf("check is %v", err)
	}
	for _, want := range []string{s.RPC + " (write node RPC)", s.Oracle + " (price service)", s.ReadSync + " (read node sync)"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error lacks %q: %v", want, err)
		}
	}
	if strings.Contains(err.Error(), s.Sync) {
		t.Errorf("error names a port that is free: %v", err)
	}
}

// Transfers of one sender have rising timestamps even within a millisecond, so
// that none is the copy of another, and they go round the ring.
func TestTransfersDiffer(t *testing.T) {
	accounts, err := Accounts()
	if err != nil {
		t.Fatal(err)
	}
	s := newSender(&traffic{stamps: map[int]*stamps{7: {}}}, accounts[4:8], 3)
	var last tx.Transaction
	for range 100 {
		raw, err := s.next()
		if err != nil {
			t.Fatal(err)
		}
		var got tx.Transaction
		if !tx.Decode(raw, &got) || got.Timestamp <= last.Timestamp {
			t.Fatalf("timestamp %d after %d", got.Timestamp, last.Timestamp)
		}
		if got.From != tx.Address(accounts[7].Address) || got.Transfer.To != tx.Address(accounts[4].Address) {
			t.Fatalf("transfer from %x to %x", got.From, got.Transfer.To)
		}
		last = got
	}
}

func TestTrafficCounts(t *testing.T) {
	tr := &traffic{}
	name := "InsufficientBalance"
	for _, r := range []api.Receipt{{Status: api.StatusOK}, {Status: api.StatusFailed, Error: &name}, {Status: api.StatusRefused, Error: &name, ErrorDetail: "why"}} {
		tr.note(&r)
	}
	got := tr.report()
	if got.OK != 1 || got.Failed != 1 || got.Refused != 1 || got.Trouble != "transfer refused: InsufficientBalance why" {
		t.Errorf("report is %+v", got)
	}
}

func TestJudge(t *testing.T) {
	broken := errors.New("disk full")
	for name, c := range map[string]struct {
		sealed, verified uint64
		err              error
		verification     bool
		nothing          bool
	}{
		"all verified":          {sealed: 7, verified: 7, nothing: true},
		"nothing sealed":        {nothing: true},
		"one short":             {sealed: 7, verified: 6, verification: true},
		"short and broken":      {sealed: 7, verified: 6, err: broken, verification: true},
		"verified but broken":   {sealed: 7, verified: 7, err: broken},
		"another block instead": {sealed: 7, verified: 7, err: fmt.Errorf("at 7: %w", node.ErrVerification), verification: true},
	} {
		r := Report{Height: c.sealed, Verified: c.verified}
		err := r.judge(c.err)
		if errors.Is(err, node.ErrVerification) != c.verification || (err == nil) != c.nothing || c.err != nil && !errors.Is(err, c.err) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What went wrong in a component is in the report once, though Stop ends some of
// them twice.
func TestPartSaysItOnce(t *testing.T) {
	full := errors.New("disk is full")
	n := &Net{failed: make(chan struct{})}
	p := n.start(func(context.Context) error { return full })
	<-n.Failed()
	if err := p.end(); err != full {
		t.Errorf("first: %v", err)
	}
	if err := errors.Join(p.end(), (*part)(nil).end()); err != nil {
		t.Errorf("again: %v", err)
	}
}
