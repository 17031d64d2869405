package fetch_test

import (
	"errors"
	"testing"

	"github.com/kaizenchain/kaizen/snapshot/fetch"
)

// FuzzPlan does to a plan whatever the bytes say, in any order and with answers to
// things that nobody asked. It never panics and never drops the one source that
// says nothing false; and when the disorder ends, that source brings the plan to its
// end.
func FuzzPlan(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{0, 0, 1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 6, 0, 7, 0, 8, 0, 9, 0, 10, 0, 11, 0})
	f.Add([]byte{1, 1, 0, 2, 1, 3, 4, 0, 1, 5, 1, 6, 0, 0, 1, 7, 2, 9, 1, 1, 8, 0, 3, 3})
	f.Fuzz(func(t *testing.T, script []byte) {
		full := newFile("200", 200, 5, nil)
		top := newFile("210", 210, 2, full)
		lie := newFile("300", 300, 3, nil)
		honest, other := &node{name: "honest", files: []*file{full, top}}, &node{name: "other", files: []*file{lie, full}}
		r := newRun(t, 1, honest, other)
		for len(script) >= 2 && len(script) < 2000 {
			r.disturb(script[0], script[1])
			script = script[2:]
		}
		r.settle()
		target, err := r.drive()
		if err != nil && !errors.Is(err, errNothing) {
			t.Fatal(err)
		}
		for _, s := range r.plan.Sources() {
			if s.Name == "honest" && s.Dropped {
				t.Fatalf("the honest source was dropped: %v", s.Err)
			}
		}
		if err == nil && len(target) == 0 {
			t.Fatal("complete with nothing")
		}
	})
}

// disturb does one thing to the plan.
func (r *run) disturb(what, which byte) {
	s := int(which) % len(r.nodes)
	switch what % 12 {
	case 0:
		r.plan.Up(s)
	case 1:
		r.plan.Lost(s, errors.New("gone"), which%4 > 1)
	case 2, 3, 4:
		if q, ok := r.plan.Next(s); ok {
			r.flight = append(r.flight, asked{s, q})
		}
	case 5, 6:
		if len(r.flight) > 0 {
			i := int(which) % len(r.flight)
			a := r.flight[i]
			r.flight = append(r.flight[:i:i], r.flight[i+1:]...)
			r.answer(a)
		}
	case 7:
		r.plan.Choose(fetch.Wish{Newest: which%2 == 0})
	case 8:
		r.plan.Accept()
	case 9:
		if l := r.plan.Current(); l != nil {
			r.open(l)
		}
	case 10:
		r.plan.Relist()
	case 11:
		if len(r.flight) > 0 && which%3 == 0 {
			a := r.flight[int(which)%len(r.flight)]
			r.plan.Busy(a.source, a.Request)
		}
	}
}

// settle ends the disorder: whoever was lost is back, and what is under way is
// answered.
func (r *run) settle() {
	for s := range r.nodes {
		r.plan.Lost(s, errors.New("gone"), false)
		r.plan.Up(s)
	}
	r.flight = nil
}
