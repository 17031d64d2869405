package fetch

import "slices"

// Status is how far a plan is.
type Status struct {
	// Target is what is being fetched, the full snapshot first; nil until one is
	// chosen and all its manifests are there.
	Target   []*Link
	Chosen   bool // a target is chosen
	Accepted bool
	Complete bool // every chunk is there
	Done     uint64
	Total    uint64 // bytes of files
	Chunks   uint64 // of Done
	// Stranded is whether nobody who can be asked offers what is missing.
	Stranded bool
}

// Status looks at the whole plan.
func (p *Plan) Status() Status {
	s := Status{Chosen: p.target != nil, Accepted: p.accepted, Complete: p.target != nil}
	known := true
	for _, l := range p.target {
		if l.Link == nil {
			known, s.Complete = false, false
			s.Total += l.offer.Bytes
			continue
		}
		s.Target = append(s.Target, l.Link)
		s.Total += l.Link.Bytes
		s.Done += l.bytes
		s.Chunks += uint64(l.done)
		s.Complete = s.Complete && l.whole()
	}
	if !known {
		s.Target = nil
	}
	s.Stranded = s.Chosen && !s.Complete && p.stranded()
	return s
}

// stranded reports whether something is missing that no source which can be asked
// offers.
func (p *Plan) stranded() bool {
	return slices.ContainsFunc(p.target, func(l *link) bool {
		return !l.whole() && !slices.ContainsFunc(p.sources, func(s source) bool { return s.has(l.offer.Hash) || s.state == ready && !s.listed })
	})
}

// SourceStatus is what came of a source.
type SourceStatus struct {
	Name    string
	Ready   bool
	Listed  bool // it said what it has, since it is ready
	Dropped bool
	Offers  int
	Err     error // why it was lost last, or dropped
}

// Sources says what came of each.
func (p *Plan) Sources() []SourceStatus {
	list := make([]SourceStatus, len(p.sources))
	for i := range p.sources {
		s := &p.sources[i]
		list[i] = SourceStatus{s.name, s.state == ready, s.state == ready && s.listed, s.state == dropped, len(s.offers), s.err}
	}
	return list
}

// MayCome reports whether a source that has not said what it has may still do so.
func (p *Plan) MayCome() bool {
	return slices.ContainsFunc(p.sources, func(s source) bool {
		return s.state == unknown || s.state == lost || s.state == ready && !s.listed
	})
}

// Dropped reports whether a source is never to be asked again.
func (p *Plan) Dropped(s int) bool { return p.sources[s].state == dropped }
