package snapshot

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/state"
)

// MaxLinks bounds the snapshots that are restored one over the other: a full one
// and the incremental ones since.
const MaxLinks = 256

// Find returns the snapshot with an identity, [ErrNotFound] if there is none that
// is whole as far as the manifest tells.
func (d *Dir) Find(identity chain.Hash) (*Snapshot, error) {
	list, err := d.List()
	if err != nil {
		return nil, err
	}
	if s := find(list, identity); s != nil {
		return s, nil
	}
	return nil, fmt.Errorf("%w: identity %s in %s", ErrNotFound, identity, d.Path)
}

func find(list []Info, identity chain.Hash) *Snapshot {
	for _, i := range list {
		if i.Err == nil && i.Snapshot.Manifest.Identity() == identity {
			return i.Snapshot
		}
	}
	return nil
}

// Chain returns what restores the state of a snapshot: the full one first, then
// every incremental one up to s, all of them from the directory that s is in. A base
// that is not there is [ErrBase], in a *[DamageError] that names who needs it.
func (s *Snapshot) Chain() ([]*Snapshot, error) {
	if s.Manifest.Kind == Full {
		return []*Snapshot{s}, nil
	}
	list, err := (&Dir{Path: filepath.Dir(s.Path), FS: s.fs}).List()
	if err != nil {
		return nil, err
	}
	return chainIn(list, s)
}

func chainIn(list []Info, s *Snapshot) ([]*Snapshot, error) {
	links := []*Snapshot{s}
	for s.Manifest.Kind != Full {
		if len(links) == MaxLinks {
			return nil, s.damage(-1, refuse(ErrTooLarge, "a chain of more than %d snapshots", MaxLinks))
		}
		base := find(list, s.Manifest.Base.Identity)
		if base == nil {
			return nil, s.damage(-1, baseMissing(list, s))
		}
		links = append(links, base)
		s = base
	}
	slices.Reverse(links)
	return links, nil
}

// baseMissing says what is wrong with the base of s.
func baseMissing(list []Info, s *Snapshot) error {
	base := s.Manifest.Base
	for _, i := range list {
		if i.Height == base.Height && i.Err != nil {
			return refuse(ErrBase, "block %d %s: %v", base.Height, base.Identity, i.Err)
		}
	}
	return refuse(ErrBase, "block %d %s is not here", base.Height, base.Identity)
}

// Options are how a chain is checked. The zero value will do.
type Options struct {
	Run      state.Runner             // applies incremental snapshots
	Progress func(done, total uint64) // told now and then how many keys are checked; may be nil
}

// progressKeys is how many keys go by between two calls of Options.Progress.
const progressKeys = 1 << 14

// progress counts keys.
type progress struct {
	tell        func(done, total uint64)
	done, total uint64
}

func (o *Options) count(links []*Snapshot) *progress {
	p := &progress{tell: o.Progress}
	for _, s := range links {
		p.total += s.Manifest.Entries
	}
	return p
}

func (p *progress) step() {
	if p.done++; p.tell != nil && p.done%progressKeys == 0 {
		p.tell(p.done, p.total)
	}
}

// Restore builds the state of a chain of snapshots, as [Snapshot.Chain] gives it, and
// checks every byte of every link, that each continues the one before, and the
// state root after each against its own header: so the link that is wrong is the
// one that the error names.
//
// The headers are the snapshots' own claims: see [Manifest.CheckChain] and
// [Snapshot.CheckBlock].
func Restore(links []*Snapshot, o Options) (*state.Tree, *chain.Header, error) {
	return restore(links, o, func(*Snapshot) error { return nil })
}

// restore tells done of every link whose state root came out.
func restore(links []*Snapshot, o Options, done func(*Snapshot) error) (*state.Tree, *chain.Header, error) {
	if err := CheckLinks(links); err != nil {
		return nil, nil, err
	}
	p := o.count(links)
	tree, header, err := links[0].restore(p)
	if err == nil {
		err = done(links[0])
	}
	for _, s := range links[1:] {
		if err == nil {
			err = s.applyTo(tree, o.Run, p)
			header = &s.Manifest.Header
		}
		if err == nil {
			err = done(s)
		}
	}
	if err != nil {
		return nil, nil, err
	}
	return tree, header, nil
}

// CheckLinks compares every link with the one before, by what the manifests say.
func CheckLinks(links []*Snapshot) error {
	if len(links) == 0 || len(links) > MaxLinks {
		return refuse(ErrTooLarge, "a chain of %d snapshots, want 1 to %d", len(links), MaxLinks)
	}
	if err := links[0].checkFull(); err != nil {
		return err
	}
	for i, s := range links[1:] {
		m, base := s.Manifest, links[i].Manifest
		switch {
		case m.Kind != Incremental || m.Base.Identity != base.Identity() || m.Base.Height != base.Header.Height:
			return s.damage(-1, refuse(ErrBase, "it continues block %d %s, it comes after block %d %s", m.Base.Height, m.Base.Identity, base.Header.Height, base.Identity()))
		case m.GenesisHash != base.GenesisHash || m.Header.ChainID != base.Header.ChainID:
			return s.damage(-1, refuse(ErrChain, "chain %d, genesis %s; its base has %d, %s", m.Header.ChainID, m.GenesisHash, base.Header.ChainID, base.GenesisHash))
		}
	}
	return nil
}

const (
	// applyKeys and applyBytes are how much of an incremental snapshot is put into
	// the tree at once.
	applyKeys  = 8192
	applyBytes = 4 << 20
)

// applyTo brings a tree from the base's block to this one's.
func (s *Snapshot) applyTo(tree *state.Tree, run state.Runner, p *progress) error {
	changes := make([]state.Change, 0, applyKeys)
	var arena []byte
	keep := func(b []byte) []byte {
		arena = append(arena, b...)
		return arena[len(arena)-len(b) : len(arena) : len(arena)]
	}
	flush := func() {
		tree.Commit(changes, run)
		changes, arena = changes[:0], arena[:0]
	}
	arena = make([]byte, 0, applyBytes)
	for e, err := range s.Entries() {
		if err != nil {
			return err
		}
		p.step()
		if len(changes) == applyKeys || len(arena)+maxEntryBytes > applyBytes {
			flush()
		}
		c := state.Change{Key: keep(e.Key()), Path: e.Path(), Delete: e.Deleted}
		if !e.Deleted {
			c.Value = keep(e.Value())
		}
		changes = append(changes, c)
	}
	flush()
	return s.checkRoot(tree.Root())
}

// VerifyChain is [Snapshot.Verify] for a snapshot and everything that it stands
// on. For an incremental one it builds the state in memory.
func VerifyChain(links []*Snapshot, o Options) error {
	if len(links) == 1 {
		return links[0].verify(o.count(links))
	}
	_, _, err := restore(links, o, (*Snapshot).checkFiles)
	return err
}

// VerifyAll verifies every snapshot of the directory and tells report of each,
// once, with what is wrong with it. What stands on one that is wrong is wrong too.
// A chain is restored once for all of its links.
func (d *Dir) VerifyAll(o Options, report func(Info, error)) error {
	list, err := d.List()
	if err != nil {
		return err
	}
	v := verification{list: list, opts: o, verdict: make(map[string]error)}
	for _, i := range list { // the highest first: a chain's end comes before its links
		if err := v.check(i); err != nil {
			return err
		}
		report(i, v.verdict[i.Path])
	}
	return nil
}

// verification is a run of [Dir.VerifyAll].
type verification struct {
	list    []Info
	opts    Options
	verdict map[string]error // by path; nil: right
}

// check verifies a snapshot and what it stands on, unless that was done. What it
// returns is this machine's failure.
func (v *verification) check(i Info) error {
	if _, known := v.verdict[i.Path]; known {
		return nil
	}
	if i.Err != nil {
		v.verdict[i.Path] = i.Err
		return nil
	}
	links, err := chainIn(v.list, i.Snapshot)
	if err == nil {
		err = v.checkLinks(links)
	}
	if err == nil {
		return nil
	}
	var bad *DamageError
	if !errors.As(err, &bad) {
		return err
	}
	if _, known := v.verdict[i.Path]; !known {
		v.verdict[i.Path] = err
	}
	return nil
}

// checkLinks verifies a chain; what comes after the wrong link has its error.
func (v *verification) checkLinks(links []*Snapshot) error {
	if len(links) == 1 {
		err := links[0].verify(v.opts.count(links))
		if err == nil {
			v.verdict[links[0].Path] = nil
		}
		return err
	}
	right := 0
	_, _, err := restore(links, v.opts, func(s *Snapshot) error {
		if err := s.checkFiles(); err != nil {
			return err
		}
		v.verdict[s.Path] = nil
		right++
		return nil
	})
	var bad *DamageError
	if err == nil || !errors.As(err, &bad) {
		return err
	}
	for n, s := range links[right:] {
		v.verdict[s.Path] = err
		if n > 0 {
			v.verdict[s.Path] = s.damage(-1, refuse(ErrBase, "it stands on one that is wrong: %v", err))
		}
	}
	return err
}
