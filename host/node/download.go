package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/follow"
	"github.com/kaizenchain/kaizen/host/store/vfs"
	"github.com/kaizenchain/kaizen/host/wire"
	"github.com/kaizenchain/kaizen/snapshot"
	"github.com/kaizenchain/kaizen/snapshot/fetch"
)

// How long a download waits for what.
const (
	// settlePatience is how long a source may take to say what it has before the
	// others are chosen from.
	settlePatience = 15 * time.Second
	// strandedPatience is how long the only sources of something may be away before
	// another snapshot is looked for.
	strandedPatience = 30 * time.Second
	// stallPatience is how long a download goes on without getting anything. It is
	// progress that counts: one that is slow may take as long as it likes.
	stallPatience = 5 * time.Minute
	// busyPause is how long a source that is busy is left alone.
	busyPause = time.Second
)

// spareBytes is what has to stay free on the disk beside the files of a snapshot.
const spareBytes = 64 << 20

var (
	// ErrNoSnapshot is wrapped when no source has a snapshot that can be used.
	ErrNoSnapshot = errors.New("no snapshot to start from")
	// ErrNoSpace is wrapped when the disk has not enough room.
	ErrNoSpace = errors.New("not enough free space")
	// ErrFork is wrapped when the block of a snapshot, which the sequencer signed, is
	// not the one that the node to follow has, before the snapshot is fetched or after.
	ErrFork = errors.New("the node to follow does not have the block of the snapshot")
	// ErrFetching is wrapped when another process fetches into the same directory.
	ErrFetching = errors.New("snapshots are being fetched into this directory by another process")
)

// fetchLock is the file, in a directory of snapshots, that a download holds.
const fetchLock = "FETCH"

// download gets a snapshot, and what it stands on, from sources of which none is
// believed, into a directory of snapshots. What to do is fetch.Plan's to say; here
// is who does it: a goroutine for each source keeps a connection, fetch.Window more
// ask over it, and the one that calls run decides, opens and commits.
type download struct {
	genesis  *chain.Genesis
	dir      *snapshot.Dir
	sources  []string
	followed int // the source that blocks will come from; -1: none
	wish     fetch.Wish
	finish   func(links []*snapshot.Snapshot) error // checks a chain of snapshots that is whole, the state root in the end
	dial     func(ctx context.Context, address string) (*wire.Client, error)
	free     func(dir string) (uint64, error) // bytes
	progress Progress
	log      *slog.Logger

	lock io.Closer

	mu       sync.Mutex
	plan     *fetch.Plan
	clients  []*wire.Client // by source; nil: not connected
	named    []bool         // by source: it was dropped, and the log says so
	moved    chan struct{}  // closed and replaced whenever the plan changes
	gained   time.Time      // when something was got last
	failure  error          // of this machine
	refusals []error        // why snapshots could not be used

	disk     sync.Mutex // never held together with mu by those who ask
	incoming *snapshot.Incoming
	into     *fetch.Link // what incoming collects

	begun    time.Time
	fetching bool      // there was a snapshot to fetch
	stranded time.Time // since when; zero: not
	before   uint64    // bytes that were there before
}

// start takes the directory and finds what it holds.
func (d *download) start() error {
	disk := d.dir.FS
	if disk == nil {
		disk = vfs.OS{}
	}
	if err := disk.MkdirAll(d.dir.Path); err != nil {
		return err
	}
	lock, err := disk.Lock(filepath.Join(d.dir.Path, fetchLock), "kaizen")
	if held := (*vfs.LockedError)(nil); errors.As(err, &held) {
		return fmt.Errorf("%w: %s", ErrFetching, d.dir.Path)
	}
	if err != nil {
		return err
	}
	d.lock = lock
	d.plan, d.moved = fetch.New(d.sources, opener(d.genesis)), make(chan struct{})
	d.clients, d.named = make([]*wire.Client, len(d.sources)), make([]bool, len(d.sources))
	d.begun = time.Now()
	d.gained = d.begun
	return d.takeStock()
}

func (d *download) takeStock() error {
	parts, err := d.dir.Unfinished()
	if err != nil {
		return err
	}
	for _, m := range parts {
		d.plan.Keep(linkOf(m, m.Append(nil)), false)
	}
	list, err := d.dir.List()
	if err != nil {
		return err
	}
	for _, i := range list {
		if i.Err == nil && i.Snapshot.CheckChain(d.genesis) == nil {
			d.plan.Keep(linkOf(i.Snapshot.Manifest, i.Snapshot.Manifest.Append(nil)), true)
		}
	}
	return nil
}

// opener reads manifests for a plan: a manifest is returned once it is one, beside
// what is wrong with it on this chain.
func opener(g *chain.Genesis) fetch.Opener {
	return func(b []byte) (*fetch.Link, error) {
		m, err := snapshot.DecodeManifest(b)
		if err != nil {
			return nil, err
		}
		return linkOf(m, b), m.CheckChain(g)
	}
}

func linkOf(m *snapshot.Manifest, b []byte) *fetch.Link {
	l := &fetch.Link{Offer: offerOf(m), Name: m.Name(), Manifest: b, Chunks: make([]fetch.Chunk, len(m.Chunks))}
	for i, c := range m.Chunks {
		l.Chunks[i] = fetch.Chunk{Bytes: c.Compressed, Hash: c.Transfer}
	}
	return l
}

// run returns when a snapshot and what it stands on are in the directory and right.
// What has arrived when it fails stays for the next run.
func (d *download) run(ctx context.Context) (links []*snapshot.Snapshot, err error) {
	if err := d.start(); err != nil {
		return nil, errors.Join(err, d.close())
	}
	asking, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	for s := range d.sources {
		wg.Go(func() { d.connect(asking, s) })
	}
	for links == nil && err == nil {
		links, err = d.step(ctx)
	}
	cancel()
	wg.Wait()
	return links, errors.Join(err, d.close())
}

func (d *download) close() error {
	var errs []error
	if d.incoming != nil {
		errs = append(errs, d.incoming.Close())
	}
	if d.lock != nil {
		errs = append(errs, d.lock.Close())
	}
	return errors.Join(errs...)
}

// update changes the plan, tells everybody, and names those who were caught.
func (d *download) update(change func(p *fetch.Plan)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	change(d.plan)
	for i, s := range d.plan.Sources() {
		if s.Dropped && !d.named[i] {
			d.named[i] = true
			d.log.Error("source is not asked any more", "source", s.Name, "error", s.Err)
		}
	}
	close(d.moved)
	d.moved = make(chan struct{})
}

// step does what is to be done next, or waits.
func (d *download) step(ctx context.Context) ([]*snapshot.Snapshot, error) {
	d.mu.Lock()
	st, settled, current, moved, failure := d.plan.Status(), d.plan.Settled(), d.plan.Current(), d.moved, d.failure
	d.mu.Unlock()
	switch {
	case failure != nil:
		return nil, failure
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case d.into != nil && (current == nil || current.Hash != d.into.Hash):
		return nil, d.commit()
	case st.Complete && st.Accepted:
		return d.check(st.Target)
	case st.Target != nil && !st.Accepted:
		d.judge(st.Target)
		return nil, nil
	case current != nil && d.into == nil:
		return nil, d.open(current, st)
	case !st.Chosen && (settled || time.Since(d.begun) >= settlePatience):
		if chosen, err := d.choose(); chosen || err != nil {
			return nil, err
		}
	}
	return nil, d.wait(ctx, &st, moved)
}

// choose looks for a snapshot among what is offered. While a source that was never
// reached may still come there is no hurry to find that there is none, and then
// nobody is told: nothing has changed.
func (d *download) choose() (chosen bool, err error) {
	d.mu.Lock()
	chosen = d.plan.Choose(d.wish)
	mayCome := d.plan.MayCome()
	d.mu.Unlock()
	if chosen {
		d.update(func(*fetch.Plan) {})
	}
	if chosen || mayCome && time.Now().Before(d.patience()) {
		return chosen, nil
	}
	return false, d.nothing()
}

// patience is until when to hope for a source that cannot be reached: long, if
// there was one before.
func (d *download) patience() time.Time {
	if d.fetching {
		d.mu.Lock()
		defer d.mu.Unlock()
		return d.gained.Add(stallPatience)
	}
	return d.begun.Add(settlePatience)
}

// nothing says why there is nothing, source by source.
func (d *download) nothing() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	var why []string
	kind, reached := ErrNoSnapshot, false
	for _, s := range d.plan.Sources() {
		reached = reached || s.Ready || s.Dropped
		switch {
		case s.Dropped:
			kind = fmt.Errorf("%w: %w", ErrVerification, ErrNoSnapshot)
			why = append(why, s.Err.Error())
		case s.Ready && !s.Listed:
			why = append(why, s.Name+" did not say what it has")
		case s.Ready && s.Offers == 0:
			why = append(why, s.Name+" has none")
		case s.Ready:
			why = append(why, fmt.Sprintf("%s has %d, none of use", s.Name, s.Offers))
		default:
			why = append(why, fmt.Sprintf("%s: %v", s.Name, s.Err))
		}
	}
	if !reached {
		kind = fmt.Errorf("%w: %w", ErrUnreachable, ErrNoSnapshot)
	}
	return errors.Join(append([]error{fmt.Errorf("%w: %s", kind, strings.Join(why, "; "))}, d.refusals...)...)
}

// wait returns when the plan has changed, or one of the patiences is over.
func (d *download) wait(ctx context.Context, st *fetch.Status, moved <-chan struct{}) error {
	now := time.Now()
	if !st.Stranded {
		d.stranded = time.Time{}
	} else if d.stranded.IsZero() {
		d.stranded = now
	}
	d.mu.Lock()
	until := d.gained.Add(stallPatience)
	d.mu.Unlock()
	switch {
	case st.Stranded:
		until = earlier(until, d.stranded.Add(strandedPatience))
	case !st.Chosen && now.Before(d.patience()):
		until = earlier(until, d.patience())
	}
	timer := time.NewTimer(until.Sub(now))
	defer timer.Stop()
	select {
	case <-moved:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
	}
	return d.patienceIsOver(st)
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

func (d *download) patienceIsOver(st *fetch.Status) error {
	d.mu.Lock()
	stalled := time.Since(d.gained) >= stallPatience
	d.mu.Unlock()
	switch {
	case stalled:
		return fmt.Errorf("%w: nothing arrived for %s; what did is kept: %w", ErrUnreachable, stallPatience, d.nothing())
	case st.Stranded && time.Since(d.stranded) >= strandedPatience:
		d.log.Warn("nobody who can be reached has the rest of the snapshot; looking for another")
		d.stranded = time.Time{}
		d.update((*fetch.Plan).Relist)
	}
	return nil
}

// judge looks at what was chosen before anything of it is fetched: blocks after it
// must be to be had, so the node to follow has to have the same block.
func (d *download) judge(target []*fetch.Link) {
	top := target[len(target)-1]
	err := d.onChain(top)
	d.update(func(p *fetch.Plan) {
		if err != nil {
			d.refusals = append(d.refusals, fmt.Errorf("snapshot %s: %w", top.Name, err))
			p.Refuse(top.Hash, err, false)
			return
		}
		p.Accept()
	})
	if err != nil {
		d.log.Warn("snapshot cannot be used", "snapshot", top.Name, "error", err)
		return
	}
	d.log.Info("fetching a snapshot", "snapshot", top.Name, "height", top.Block.Number, "links", len(target), "signed", top.Signed)
}

// onChain compares the snapshot's block with the one that the node to follow has,
// or, if that starts right after it, with its child's parent. A node that cannot
// be asked now is asked by the pass that follows.
func (d *download) onChain(top *fetch.Link) error {
	if d.followed < 0 {
		return nil
	}
	d.mu.Lock()
	client := d.clients[d.followed]
	d.mu.Unlock()
	if client == nil {
		return nil
	}
	h, err := client.BlockData(top.Block.Number)
	got := h.Hash()
	if errors.Is(err, follow.ErrNotAvailable) {
		h, err = client.BlockData(top.Block.Number + 1)
		got = h.Parent
	}
	switch {
	case errors.Is(err, follow.ErrNotAvailable):
		return fmt.Errorf("%w: it has neither block %d nor the next one", ErrFork, top.Block.Number)
	case err == nil && got != top.Block.Hash:
		return fmt.Errorf("%w: block %d is %s there, %s in the snapshot", ErrFork, top.Block.Number, got, top.Block.Hash)
	}
	return nil
}

// open makes room for a link and finds what of it is on the disk.
func (d *download) open(l *fetch.Link, st fetch.Status) error {
	d.disk.Lock()
	defer d.disk.Unlock()
	in, err := d.dir.Receive(l.Manifest)
	if err != nil {
		return err
	}
	missing := in.Missing()
	if err := d.room(l, missing, st.Target); err != nil {
		d.refusals = append(d.refusals, err)
		d.update(func(p *fetch.Plan) { p.Refuse(l.Hash, err, false) })
		return in.Close()
	}
	d.incoming, d.into, d.fetching = in, l, true
	d.update(func(p *fetch.Plan) { p.Open(l.Hash, missing) })
	d.tell(true)
	return nil
}

// room compares what is still to come with what is free.
func (d *download) room(l *fetch.Link, missing []int, target []*fetch.Link) error {
	need := uint64(spareBytes)
	for _, i := range missing {
		need += uint64(l.Chunks[i].Bytes)
	}
	for _, later := range target[slices.Index(target, l)+1:] {
		need += later.Bytes
	}
	free, err := d.free(d.dir.Path)
	if err != nil || free >= need {
		return err
	}
	return fmt.Errorf("%w: snapshot %s takes %d bytes more, %s has %d", ErrNoSpace, l.Name, need, d.dir.Path, free)
}

// commit ends the link that was open: whole, it appears in the directory; if it was
// given up, what has arrived stays until another is opened.
func (d *download) commit() error {
	d.disk.Lock()
	defer d.disk.Unlock()
	in, l := d.incoming, d.into
	d.incoming, d.into = nil, nil
	if len(in.Missing()) > 0 {
		return in.Close()
	}
	if _, err := in.Commit(); err != nil {
		return errors.Join(err, in.Close())
	}
	d.update(func(p *fetch.Plan) { p.Keep(l, true) })
	return nil
}

// tell shows the progress. opened is whether a link was opened just now: what was
// on the disk then was not fetched.
func (d *download) tell(opened bool) {
	d.mu.Lock()
	st := d.plan.Status()
	if opened && d.before == 0 {
		d.before = st.Done
	}
	d.mu.Unlock()
	d.progress(st.Done-min(d.before, st.Done), st.Total-min(d.before, st.Total), st.Chunks)
}

// check hands over what is whole. Damage of this disk is mended by fetching again; a
// snapshot that is not what its header says has been a lie.
func (d *download) check(target []*fetch.Link) ([]*snapshot.Snapshot, error) {
	links, err := d.find(target)
	if err == nil {
		err = d.finish(links)
	}
	var damage *snapshot.DamageError
	if err == nil || !errors.As(err, &damage) {
		return links, err
	}
	i := slices.IndexFunc(target, func(l *fetch.Link) bool { return filepath.Base(damage.Path) == l.Name })
	if i < 0 {
		return nil, err
	}
	if gone := d.dir.Remove(target[i].Name); gone != nil && !errors.Is(gone, snapshot.ErrNotFound) {
		return nil, errors.Join(err, gone)
	}
	d.update(func(p *fetch.Plan) {
		if damagedHere(err) {
			d.log.Warn("snapshot was damaged on this disk; fetching it again", "error", err)
			p.Discard(target[i].Hash)
			return
		}
		d.log.Error("snapshot is not what its header says", "error", err)
		d.refusals = append(d.refusals, err)
		p.Refuse(target[i].Hash, err, true)
	})
	return nil, nil
}

// damagedHere tells what happened to files after they were checked from what was
// wrong with them all along.
func damagedHere(err error) bool {
	for _, sign := range []error{snapshot.ErrTransferHash, snapshot.ErrFileSize, snapshot.ErrMissing, snapshot.ErrUnexpectedFile, snapshot.ErrName, snapshot.ErrNotSnapshot, snapshot.ErrManifestHash, snapshot.ErrNotFound} {
		if errors.Is(err, sign) {
			return true
		}
	}
	return false
}

// find opens the links in the directory.
func (d *download) find(target []*fetch.Link) ([]*snapshot.Snapshot, error) {
	var links []*snapshot.Snapshot
	for _, l := range target {
		s, err := snapshot.Open(d.dir.FS, filepath.Join(d.dir.Path, l.Name))
		if err != nil {
			return nil, err
		}
		links = append(links, s)
	}
	return links, nil
}

// connect keeps a connection to a source until ctx ends or the source is dropped.
func (d *download) connect(ctx context.Context, s int) {
	backoff := wire.Backoff{Min: backoffMin, Max: backoffMax}
	for ctx.Err() == nil && !d.dropped(s) {
		client, err := d.dial(ctx, d.sources[s])
		if err == nil {
			backoff.Reset()
			err = d.session(ctx, s, client)
		}
		if ctx.Err() != nil {
			return
		}
		d.log.Debug("source is gone", "source", d.sources[s], "error", err)
		d.update(func(p *fetch.Plan) {
			if isBreach(err) {
				p.Drop(s, err)
				return
			}
			p.Lost(s, err, errors.Is(err, wire.ErrSlow) || errors.Is(err, wire.ErrNoAnswer))
		})
		pause(ctx, backoff.Next())
	}
}

func (d *download) dropped(s int) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.plan.Dropped(s)
}

// isBreach reports whether a source did what no honest one of this chain does.
func isBreach(err error) bool {
	for _, reason := range []error{wire.ErrMagic, wire.ErrFrameSize, wire.ErrUnknownType, wire.ErrMalformed, wire.ErrUnexpected, wire.ErrUnsolicited, wire.ErrWrongAnswer, wire.ErrProtocol, wire.ErrAddress} {
		if errors.Is(err, reason) {
			return true
		}
	}
	return otherChain(err)
}

// session asks over a connection until it ends, and returns why.
func (d *download) session(ctx context.Context, s int, client *wire.Client) error {
	d.update(func(p *fetch.Plan) {
		p.Up(s)
		d.clients[s] = client
	})
	stop := context.AfterFunc(ctx, func() { _ = client.Close() })
	var wg sync.WaitGroup
	for range fetch.Window {
		wg.Go(func() { d.ask(ctx, s, client) })
	}
	wg.Wait()
	stop()
	d.mu.Lock()
	d.clients[s] = nil
	d.mu.Unlock()
	err := client.Err()
	_ = client.Close() // its only error is that it was closed before
	return err
}

// ask puts one question after the other.
func (d *download) ask(ctx context.Context, s int, client *wire.Client) {
	for {
		r, moved, over := d.next(s)
		if over {
			_ = client.Close() // the source was dropped
			return
		}
		if r.Kind != 0 {
			d.put(ctx, s, r, client)
			if client.Err() != nil {
				return
			}
			continue
		}
		select {
		case <-moved:
		case <-client.Done():
			return
		}
	}
}

func (d *download) next(s int) (r fetch.Request, moved <-chan struct{}, over bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	r, _ = d.plan.Next(s)
	return r, d.moved, d.plan.Dropped(s)
}

// put asks and deals with the answer.
func (d *download) put(ctx context.Context, s int, r fetch.Request, client *wire.Client) {
	var offers []fetch.Offer
	var b []byte
	var err error
	switch r.Kind {
	case fetch.List:
		offers, err = client.Snapshots()
	case fetch.Manifest:
		b, err = client.Manifest(r.Hash)
	case fetch.File:
		b, err = client.Chunk(r.Hash, r.Index)
	}
	switch {
	case errors.Is(err, fetch.ErrBusy):
		pause(ctx, busyPause)
		d.update(func(p *fetch.Plan) { p.Busy(s, r) })
	case errors.Is(err, fetch.ErrNotAvailable), errors.Is(err, wire.ErrRemote):
		d.update(func(p *fetch.Plan) { _ = p.Missing(s, r) }) // who is caught is named by update
	case err != nil: // the connection has ended, and says so itself
	case r.Kind == fetch.List:
		d.update(func(p *fetch.Plan) { _ = p.Listed(s, r, offers) })
	case r.Kind == fetch.Manifest:
		d.update(func(p *fetch.Plan) {
			if got, err := p.Manifest(s, r, b); got != nil && err == nil {
				d.gained = time.Now()
			}
		})
	default:
		d.take(s, r, b)
	}
}

// take checks a chunk and writes it.
func (d *download) take(s int, r fetch.Request, b []byte) {
	keep := false
	d.update(func(p *fetch.Plan) { keep, _ = p.Chunk(s, r, b) })
	if !keep {
		return
	}
	if err := d.write(r, b); err != nil {
		d.update(func(*fetch.Plan) { d.failure = err })
		return
	}
	d.update(func(p *fetch.Plan) {
		p.Kept(r)
		d.gained = time.Now()
	})
	d.tell(false)
}

func (d *download) write(r fetch.Request, b []byte) error {
	d.disk.Lock()
	defer d.disk.Unlock()
	if d.into == nil || d.into.Hash != r.Hash {
		return nil // it was given up meanwhile
	}
	return d.incoming.Put(int(r.Index), b)
}
