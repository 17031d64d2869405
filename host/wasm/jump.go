package wasm

// Go's compiler cannot express its jumps in WebAssembly's structure. It puts a loop
// around a function, whose header goes to where a local says, and jumps by setting the
// local and going to the header:
//
//	loop
//	  block                        (the last target)
//	    …
//	    block                      (the first)
//	      local.get 0
//	      br_table …
//	    end
//	    …  i32.const 7  local.set 0  br (loop)
//
// The engine then keeps every local where the header expects it, twice for each
// jump. A jump forward can go to the end of its block at once: that block is still open.
// What is charged and looked at is the same, and the local is set as before.

// dispatch is a loop whose header does nothing but choose a block to leave.
type dispatch struct {
	local  uint32   // what it goes by
	blocks []int    // offsets at which they are opened, outermost first
	labels []uint32 // by the local's value; the last is that of all other values
}

// jump is a branch to the header of a dispatch with a constant in its local.
type jump struct {
	header, target uint32 // labels: of the loop, and of the block that the header would leave
	region         int    // the header's
}

// dispatcher reads what follows the type of a loop, nil if that is no dispatch.
func (s *scanner) dispatcher() *dispatch {
	r, d := s.r, &dispatch{}
	for r.left() > 1 && r.b[r.at] == opBlock && r.b[r.at+1] == blockEmpty {
		d.blocks = append(d.blocks, r.at)
		r.at += 2
	}
	if len(d.blocks) == 0 || r.u8() != opLocalGet {
		return nil
	}
	d.local = r.u32()
	if r.u8() != opBrTable {
		return nil
	}
	for range r.count("branch targets", MaxFunctionBytes) {
		d.labels = append(d.labels, r.u32())
	}
	d.labels = append(d.labels, r.u32())
	if r.err != nil {
		return nil
	}
	return d
}

// block is the offset of the block that the header leaves if its local is v; false if it
// goes elsewhere.
func (d *dispatch) block(v uint32) (at int, ok bool) {
	label := d.labels[min(uint64(v), uint64(len(d.labels)-1))]
	if uint64(label) >= uint64(len(d.blocks)) {
		return 0, false
	}
	return d.blocks[len(d.blocks)-1-int(label)], true
}

// jump notes the branch at an offset if the header that it goes to leaves a block which
// is still open.
func (s *scanner) jump(at int, label uint32) {
	if s.r.err != nil || s.dead || s.given.end != at {
		return
	}
	header := len(s.frames) - 1 - int(label)
	if s.frames[header].op != opLoop {
		return
	}
	l := &s.loops[s.frames[header].loop]
	if l.dispatch == nil || l.dispatch.local != s.given.local {
		return
	}
	block, ok := l.dispatch.block(uint32(s.given.val))
	for i := header + 1; ok && i < len(s.frames); i++ {
		if s.frames[i].at == block {
			s.edit(at, s.r.at-at, editJump, uint32(len(s.jumps)))
			s.jumps = append(s.jumps, jump{label, uint32(len(s.frames) - 1 - i), l.region})
			return
		}
	}
}
