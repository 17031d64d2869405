package store

import (
	"fmt"

	"github.com/kaizenchain/kaizen/host/invariant"
	"github.com/kaizenchain/kaizen/host/store/vfs"
	"github.com/kaizenchain/kaizen/stf-modules/abi"
)

// MaxOverlap is how many groups may be on their way to the disk at once. Two: what
// arrives while a group is written need not wait for it, and a disk does two writes
// in the time of one. More would only be smaller. host/RATIONALE.md has the figures.
const MaxOverlap = 2

// Group is what shares one write. [Journal.Begin] gives it its place, [Group.Write]
// brings it there.
type Group struct {
	j       *Journal
	before  *Group
	number  uint64
	file    vfs.File
	at      int64
	sectors []byte        // none: nothing is left to write
	done    chan struct{} // closed when it and every group before it is durable, or err is set
	err     error
}

// Write returns when the group and everything that was begun before it is durable;
// until then nothing in it may be answered. It is called once for every group that is
// begun, at once: the writes of later groups and the next Begin may wait for it.
func (g *Group) Write() error {
	var err error
	if len(g.sectors) > 0 {
		_, err = g.file.WriteAt(g.sectors, g.at)
	}
	if err != nil {
		err = fmt.Errorf("write journal group %d: %w", g.number, err)
	}
	if before := g.before.wait(); before != nil {
		err = before // what comes after a group that failed has failed
	}
	g.err, g.before = g.j.store.fail(err), nil
	close(g.done)
	return g.err
}

func (g *Group) wait() error {
	<-g.done
	return g.err
}

func (g *Group) ended() bool {
	select {
	case <-g.done:
		return true
	default:
		return false
	}
}

// Append adds records and returns when they are durable: [Journal.Begin] and
// [Group.Write].
func (j *Journal) Append(records []JournalRecord) error {
	g, err := j.Begin(records)
	if err != nil {
		return err
	}
	return g.Write()
}

// Begin puts records behind those of every call before, and has no use for them
// afterwards. A transaction belongs to the block opened last. It waits while
// [MaxOverlap] groups are under way. An error, here or of [Group.Write], is fatal:
// nobody knows which of the records under way will be there after a restart.
func (j *Journal) Begin(records []JournalRecord) (*Group, error) {
	if err := j.store.writable(); err != nil {
		return nil, err
	}
	for i := range records {
		j.check(&records[i])
		if len(j.payload)+maxJournalRecord > j.group {
			if err := j.flush(); err != nil {
				return nil, err
			}
		}
		j.payload = records[i].append(j.payload)
		if o := records[i].Open; o != nil {
			j.height = o.Height
		}
	}
	if len(j.payload) == 0 {
		return &Group{j: j, before: j.last, done: make(chan struct{})}, nil
	}
	g, err := j.begin()
	return g, j.store.fail(err)
}

// flush writes what was collected before the call is at its end.
func (j *Journal) flush() error {
	g, err := j.begin()
	if err != nil {
		return j.store.fail(err)
	}
	return g.Write()
}

// check asserts what recovery relies on.
func (j *Journal) check(r *JournalRecord) {
	if r.Open == nil {
		if len(r.Tx) > abi.MaxTxBytes {
			invariant.Broken("transaction of %d bytes reached the journal", len(r.Tx))
		}
		invariant.Hold(j.height > 0, "transaction journaled before a block was opened")
		return
	}
	invariant.Hold(r.Open.Height > j.height, "block %d opened in the journal after block %d", r.Open.Height, j.height)
	invariant.Hold(len(r.Open.Oracle) <= maxOracleBytes, "oracle snapshot of %d bytes reached the journal", len(r.Open.Oracle))
}

// begin makes a group of the collected records. It says how many groups before it
// are not durable, so that recovery knows which of them it proves.
func (j *Journal) begin() (*Group, error) {
	need := groupBytes(len(j.payload))
	if j.at+int64(need) > j.fileEnd {
		if err := j.settle(0); err != nil {
			return nil, err
		}
		if err := j.rotate(); err != nil {
			return nil, err
		}
	}
	if err := j.settle(MaxOverlap - 1); err != nil {
		return nil, err
	}
	g := &Group{j: j, before: j.last, number: j.next, file: j.file, at: j.at, done: make(chan struct{})}
	buf := &j.buffers[j.next%MaxOverlap]
	if cap(*buf) < need {
		*buf = vfs.Buffer(need)
	}
	g.sectors, j.prev = appendGroup((*buf)[:0], j.payload, j.prev, j.next, len(j.pending))
	j.pending, j.last = append(j.pending, g), g
	j.at, j.next, j.payload, j.begun = j.at+int64(need), j.next+1, j.payload[:0], j.height
	return g, nil
}

// settle forgets the groups that are durable, and waits until at most n are not.
func (j *Journal) settle(n int) error {
	for len(j.pending) > 0 {
		g := j.pending[0]
		if len(j.pending) <= n && !g.ended() {
			return nil
		}
		if err := g.wait(); err != nil {
			return err
		}
		j.pending = j.pending[1:]
	}
	return nil
}
