package node

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/kaizenchain/kaizen/host/hosttest/faultfs"
	"github.com/kaizenchain/kaizen/host/sequencer"
	"github.com/kaizenchain/kaizen/host/stf"
	"github.com/kaizenchain/kaizen/host/store"
	"github.com/kaizenchain/kaizen/host/store/vfs"
)

// gatedDisk keeps writes to the journal back until the test lets them go.
type gatedDisk struct {
	vfs.FS
	kept chan keptWrite // nil: none is
}

type keptWrite struct {
	sectors []byte
	start   chan struct{}
}

func (d *gatedDisk) OpenSync(name string) (vfs.File, error) {
	f, err := d.FS.OpenSync(name)
	return gatedFile{f, d}, err
}

type gatedFile struct {
	vfs.File
	disk *gatedDisk
}

func (f gatedFile) WriteAt(p []byte, at int64) (int, error) {
	if f.disk.kept != nil {
		start := make(chan struct{})
		f.disk.kept <- keptWrite{p, start}
		<-start
	}
	return f.File.WriteAt(p, at)
}

// groups are two that the journal loops write at once: each has a read, which is
// answered like a transaction, and a sealed block.
type groups struct {
	w     *Writer
	disk  *faultfs.FS
	reads [2]*read
	write [2]keptWrite
	loops *group
}

func newGroups(t *testing.T) *groups {
	disk := faultfs.New()
	gated := &gatedDisk{FS: disk}
	o := store.Options{FS: gated, JournalBytes: store.MinJournalBytes}
	must(t, store.Init("/data", testGenesis(), o))
	st, err := store.Open("/data", o)
	must(t, err)
	t.Cleanup(func() { st.Close() })
	g := &groups{disk: disk, loops: newGroup()}
	g.w = &Writer{recent: newRecent(), serve: &services{}, views: &views{ledger: &ledger{meters: newMeters()}},
		ready: make(chan decided, maxReady), sealed: make(chan closed, sequencer.MaxUncommitted+1)}
	g.w.journal, _, err = st.OpenJournal()
	must(t, err)
	gated.kept = make(chan keptWrite, store.MaxOverlap)
	g.w.journalLoops(g.loops)
	for i, record := range []sequencer.Record{{Open: &sequencer.OpenRecord{Height: 1}}, {Tx: []byte("a transaction")}} {
		g.reads[i] = &read{done: make(chan struct{})}
		g.w.ready <- decided{Ready: sequencer.Ready{Journal: []sequencer.Record{record}, Sealed: []*stf.Closed{{Height: uint64(i + 1)}}}, read: g.reads[i]}
		g.write[i] = <-gated.kept
	}
	return g
}

// answered are the groups that somebody was told of.
func (g *groups) answered() (which []bool) {
	for _, r := range g.reads {
		select {
		case <-r.done:
			which = append(which, true)
		default:
			which = append(which, false)
		}
	}
	return which
}

// TestAnswersInOrderOfGroups: the second group is on the disk first, and nobody hears
// of it, nor of the block sealed in it, before the first one is there too.
func TestAnswersInOrderOfGroups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroups(t)
		if !bytes.Contains(g.write[1].sectors, []byte("a transaction")) {
			t.Fatal("the second group was not begun second")
		}
		close(g.write[1].start)
		synctest.Wait()
		if a := g.answered(); a[0] || a[1] || len(g.w.sealed) > 0 {
			t.Fatalf("answered %v, %d blocks sealed before the first group was durable", a, len(g.w.sealed))
		}
		close(g.write[0].start)
		close(g.w.ready)
		must(t, g.loops.wait(nil))
		if a := g.answered(); !a[0] || !a[1] {
			t.Errorf("answered %v", a)
		}
		for want := uint64(1); want <= 2; want++ {
			if c := <-g.w.sealed; c.Closed == nil || c.Height != want {
				t.Fatalf("sealed %+v, want block %d", c, want)
			}
		}
		if c, open := <-g.w.sealed; open {
			t.Errorf("sealed %+v after the last block", c)
		}
	})
}

// TestAGroupWaitsForTheAnswersBefore: both groups are durable, and telling of the first
// takes long. The second waits for that.
func TestAGroupWaitsForTheAnswersBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroups(t)
		g.w.sealed = make(chan closed) // nobody takes the first group's block
		close(g.write[0].start)
		close(g.write[1].start)
		synctest.Wait()
		if a := g.answered(); !a[0] || a[1] {
			t.Errorf("answered %v while the first group's block is passed on", a)
		}
		close(g.w.ready)
		for want := uint64(1); want <= 2; want++ {
			if c := <-g.w.sealed; c.Closed == nil || c.Height != want {
				t.Errorf("sealed %+v, want block %d", c, want)
			}
		}
		must(t, g.loops.wait(nil))
	})
}

// TestNobodyHearsOfGroupsAfterAFailure: the first of two writes fails, the second one
// does not. Neither is answered, and the node ends.
func TestNobodyHearsOfGroupsAfterAFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroups(t)
		close(g.write[1].start)
		synctest.Wait()
		g.disk.FailAt(1, faultfs.Fail)
		close(g.write[0].start)
		if err := g.loops.wait(nil); !errors.Is(err, faultfs.ErrInjected) {
			t.Errorf("the loops ended with %v", err)
		}
		if a := g.answered(); a[0] || a[1] || len(g.w.sealed) > 0 {
			t.Errorf("answered %v, %d blocks sealed", a, len(g.w.sealed))
		}
		if context.Cause(g.loops.ctx) == nil {
			t.Error("the other loops were not told")
		}
	})
}
