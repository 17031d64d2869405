package store

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/hosttest/faultfs"
)

// TestCheckContents: bytes that are as they were written, and wrong.
func TestCheckContents(t *testing.T) {
	for _, tc := range []struct {
		name string
		do   func(c *testChain, r *Record)
		want string
	}{
		{"results", func(_ *testChain, r *Record) { r.Results.End = [][]byte{{1}} }, "receipts root is"},
		{"a receipt too few", func(c *testChain, r *Record) {
			r.Results.Receipts = nil
			r.Block.Header.ReceiptsRoot = r.Results.Root()
			r.Block.Header.Sign(c.key)
		}, "0 receipts for"},
		{"a transaction", func(_ *testChain, r *Record) { r.Block.Txs[0][0] ^= 1 }, "transactions root is"},
		{"prices", func(_ *testChain, r *Record) { r.Block.Oracle.Timestamp++ }, "oracle hash is"},
		{"a signature", func(_ *testChain, r *Record) { r.Block.Header.Signature[0] ^= 1 }, "signature does not verify"},
		{"a time", func(c *testChain, r *Record) {
			r.Block.Header.Time = 1
			r.Block.Header.Sign(c.key)
		}, "time does not increase"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := newTestChain(2, 0)
			c.maxTxs = 30
			c.extend(1, "main")
			if len(c.at(3).Block.Txs) == 0 {
				t.Fatal("block 3 has no transactions")
			}
			s := mustInit(t, testDir, c, small(faultfs.New()))
			tc.do(c, &c.records[2])
			must(t, s.AppendBatch(c.records))
			found, ok := isCorrupt(s.Check(nil))
			if !ok || found.Height != 3 || !strings.Contains(found.What, tc.want) {
				t.Errorf("found %v, want %q at block 3", found, tc.want)
			}
		})
	}
}

// TestCheckFirstBlock: the first block has no parent in the log.
func TestCheckFirstBlock(t *testing.T) {
	c := newTestChain(1, 2)
	r := c.records[0]
	r.Block.Header.ChainID = 9
	r.Block.Header.Sign(c.key)
	s := mustInit(t, testDir, c, small(faultfs.New()))
	must(t, s.Append(r))
	if found, ok := isCorrupt(s.Check(nil)); !ok || !strings.Contains(found.What, "is of chain 9") {
		t.Errorf("found %v", found)
	}
}

// TestCheckLimit: a directory that is wrong everywhere gives so many findings.
func TestCheckLimit(t *testing.T) {
	c := newTestChain(MaxFindings+20, 0)
	for i := range c.records {
		c.records[i].Block.Header.Signature = [64]byte{}
	}
	s := mustInit(t, testDir, c, small(faultfs.New()))
	must(t, s.AppendBatch(c.records))
	err := s.Check(nil)
	if n := strings.Count(fmt.Sprint(err), "signature does not verify"); n != MaxFindings {
		t.Errorf("%d findings, want %d", n, MaxFindings)
	}
}

func TestCheckProgress(t *testing.T) {
	c := newTestChain(2*checkReport+5, 0)
	o := small(faultfs.New())
	o.SegmentBytes = 0
	s := mustInit(t, testDir, c, o)
	must(t, s.AppendBatch(c.records))
	var seen []uint64
	must(t, s.Check(func(p CheckProgress) {
		seen = append(seen, p.Height)
		if p.Head != 2*checkReport+5 {
			t.Errorf("head is %d", p.Head)
		}
	}))
	if fmt.Sprint(seen) != "[1000 2000 2005]" {
		t.Errorf("progress at %v", seen)
	}
}

// TestCheckMetaEntryLost: an entry that is gone leaves no checksum that fails.
func TestCheckMetaEntryLost(t *testing.T) {
	s := mustInit(t, t.TempDir(), newTestChain(0, 0), Options{})
	tips, err := s.Meta().Tips(chain.Hash{1})
	must(t, err)
	must(t, tips.Witness(chain.BlockID{Number: 4, Hash: chain.Hash{4}}))
	must(t, s.Check(nil))
	must(t, s.meta.db.Update(func(tx *bbolt.Tx) error { return tx.Bucket(hashesBucket).Delete(hashKey(4)) }))
	if found, ok := isCorrupt(s.Check(nil)); !ok || found.File != metaFile || !strings.Contains(found.What, "digest") {
		t.Errorf("found %v", found)
	}
}

// TestCheckBesideANode: verify reads a directory that a node writes, with a record
// half written after the head.
func TestCheckBesideANode(t *testing.T) {
	c := newTestChain(8, 3)
	disk := faultfs.New()
	s := mustInit(t, testDir, c, small(disk))
	must(t, s.AppendBatch(c.records[:5]))
	next := appendRecord(nil, c.at(6))
	f, err := disk.OpenWrite(testDir + "/" + s.log.segs[len(s.log.segs)-1].name())
	must(t, err)
	_, err = f.WriteAt(next[:len(next)/2], s.log.segs[len(s.log.segs)-1].size)
	must(t, err)
	o := small(disk)
	o.ReadOnly = true
	r := mustOpen(t, testDir, o)
	must(t, r.Check(nil))
	must(t, s.AppendBatch(c.records[5:]))
	must(t, r.Check(nil))
	must(t, c.holds(r, 1, 5))
	if err := r.Maintain(nil); !errors.Is(err, ErrReadOnly) {
		t.Errorf("maintain a reader: %v", err)
	}
}
