package state

import (
	"encoding/binary"
	"math/bits"
	"sync/atomic"

	"github.com/kaizenchain/kaizen/host/invariant"
)

// records keeps keys and values outside the garbage collector's sight, in pages of
// 16-byte units. A record is
//
//	key length u8 | value length u24 LE | key | value
//
// and its number is the unit it starts at. A page is cut into slots of one class;
// a record that is too large for any has a page of its own. Released slots are
// handed out again from the next batch on, so that a reader which met one during a
// batch still finds it whole.
//
// Records that grow leave their old classes behind. So a page none of whose slots
// is taken may be cut for any class, and where free slots come to more than a
// share of the whole, [Tree.evacuate] empties the sparsest pages.
type records struct {
	pages atomic.Pointer[[][]byte] // by number, nil where there is none; all that readers look at
	page  []page                   // of the same numbers
	class [numClasses]class
	blank []uint32 // pages that are cut for no class
	gone  []uint32 // numbers without a page

	units    int // in blank pages and pages of slots, without those that are leaving
	free     int // of these, in no slot that is taken
	slack    int // units that may be free beside the share
	released []uint32
	churn    int // units that changes released since the batch began

	victim uint32 // the page that records are moved out of, 0 for none
}

// page is what the writer knows of a page.
type page struct {
	class int      // alone or blank if it has no slots
	taken int      // slots
	at    int      // where the list of its class has it; or full or leaving
	used  []uint64 // a bit for each slot that is taken, and for those beyond the last
}

// class is the pages that are cut into slots of one size, without those that are leaving.
type class struct {
	open  []uint32 // those with free slots; the last is filled first
	pages int
	taken int // slots
}

const (
	unitBytes    = 16
	pageUnits    = 1 << 12 // 64 KiB
	recordHeader = 4
	cacheLine    = 64
	touchBytes   = 2 * cacheLine
	// maxSlot is the largest slot, units: of the largest, eight fill a page.
	maxSlot = pageUnits / 8
	// maxRecord is the highest record number; the bit above tells a leaf from an
	// inner node. It bounds slots to 32 GiB, and records that are alone to half a
	// million.
	maxRecord = 1<<31 - 1

	alone   = -1 // in place of a class: of one large record
	blank   = -2 // none of its slots was taken
	full    = -1 // in place of where a page is listed: it has no free slots
	leaving = -2 // it is being emptied, and nothing is put there
)

// numClasses is how many there are; a test says so.
const numClasses = 48

// slotUnits are the slot sizes, in steps of about an eighth or, below that, of a
// unit; each is as large as it can be with as many in a page.
var slotUnits = func() (c [numClasses]int) {
	c[0] = 1
	for i := 1; i < numClasses; i++ {
		last := c[i-1]
		slots := pageUnits / (last + max(1, last/8))
		if pageUnits/slots > last+max(1, last/7) {
			slots++
		}
		c[i] = pageUnits / slots
	}
	return c
}()

// classes is the smallest class for a record, by its units.
var classes = func() (c [maxSlot + 1]uint8) {
	class := 0
	for units := range c {
		if units > slotUnits[class] {
			class++
		}
		c[units] = uint8(class)
	}
	return c
}()

// unitsFor is the least room for a record of this key and value.
func unitsFor(key, value int) int { return (recordHeader + key + value + unitBytes - 1) / unitBytes }

// room is the units that a record of this key and value is given. Small changes of
// a size stay in place also where a record is alone.
func room(key, value int) int {
	units := unitsFor(key, value)
	if units <= maxSlot {
		return slotUnits[classes[units]]
	}
	const step = maxSlot / 8
	return (units + step - 1) / step * step
}

// roomOf is the units that record r has: a value is only replaced in place by one that
// would be given as much.
func (s *records) roomOf(r uint32) int {
	b := s.at(r)
	return room(int(b[0]), valueLen(b))
}

func (s *records) init() {
	s.slack = numClasses * pageUnits
	s.page = make([]page, 1) // number 0 stands for no record
	s.pages.Store(new(make([][]byte, 1)))
}

// at returns the bytes from record r to the end of its page.
func (s *records) at(r uint32) []byte {
	return (*s.pages.Load())[r/pageUnits][r%pageUnits*unitBytes:]
}

func (s *records) key(r uint32) []byte {
	b := s.at(r)
	end := recordHeader + int(b[0])
	return b[recordHeader:end:end]
}

func (s *records) value(r uint32) []byte {
	b := s.at(r)
	start := recordHeader + int(b[0])
	end := start + valueLen(b)
	return b[start:end:end]
}

// both is the key and the value of record r.
func (s *records) both(r uint32) (key, value []byte) {
	b := s.at(r)
	middle := recordHeader + int(b[0])
	end := middle + valueLen(b)
	return b[recordHeader:middle:middle], b[middle:end:end]
}

// touch reads the beginning of a record and, as far as most go, the lines after it.
// Any number that the index has will do.
func (s *records) touch(r uint32) (sum byte) {
	if r == 0 || r == grave {
		return 0
	}
	b := s.at(r)
	b = b[:min(len(b), touchBytes)]
	for i := 0; i < len(b); i += cacheLine {
		sum += b[i]
	}
	return sum
}

func valueLen(b []byte) int { return int(b[1]) | int(b[2])<<8 | int(b[3])<<16 }

// setValue replaces the value in place. It leaves alone every byte that a reader
// of another key looks at.
func (s *records) setValue(r uint32, value []byte) {
	b := s.at(r)
	b[1], b[2], b[3] = byte(len(value)), byte(len(value)>>8), byte(len(value)>>16)
	copy(b[recordHeader+int(b[0]):], value)
}

// add writes a new record.
func (s *records) add(key, value []byte) uint32 {
	r := s.take(unitsFor(len(key), len(value)), room(len(key), len(value)))
	b := s.at(r)
	binary.LittleEndian.PutUint32(b, uint32(len(key))|uint32(len(value))<<8)
	copy(b[recordHeader:], key)
	copy(b[recordHeader+len(key):], value)
	return r
}

// take returns where a record of so many units goes that is given room.
func (s *records) take(units, room int) uint32 {
	if units > maxSlot {
		n := s.newPage(room)
		s.page[n] = page{class: alone}
		return n * pageUnits
	}
	class := int(classes[units])
	c := &s.class[class]
	if len(c.open) == 0 {
		s.cut(class)
	}
	n := c.open[len(c.open)-1]
	p := &s.page[n]
	slot := p.takeFirst()
	if p.taken == slotsOf(class) {
		s.unlist(n)
	}
	c.taken++
	s.free -= room
	return n*pageUnits + uint32(slot*room)
}

// slotsOf is how many slots of a class a page has.
func slotsOf(class int) int { return pageUnits / slotUnits[class] }

// takeFirst takes the first free slot, of which there is one.
func (p *page) takeFirst() int {
	for i, word := range p.used {
		if word != ^uint64(0) {
			bit := bits.TrailingZeros64(^word)
			p.used[i] |= 1 << bit
			p.taken++
			return 64*i + bit
		}
	}
	invariant.Broken("a page with %d slots taken has none free", p.taken)
	return 0
}

// cut makes a page of slots.
func (s *records) cut(class int) {
	var n uint32
	if last := len(s.blank) - 1; last >= 0 {
		n, s.blank = s.blank[last], s.blank[:last]
	} else {
		n = s.newPage(pageUnits)
		s.units += pageUnits
		s.free += pageUnits
	}
	slots := slotsOf(class)
	p := page{class: class, at: full, used: make([]uint64, (slots+63)/64)}
	if over := slots % 64; over > 0 {
		p.used[len(p.used)-1] = ^uint64(0) << over
	}
	s.page[n] = p
	s.class[class].pages++
	s.list(n)
}

// newPage returns the number of a page with so many units. Readers keep the old
// list, or find the new one whole; none looks up a number that is being given out.
func (s *records) newPage(units int) uint32 {
	list := *s.pages.Load()
	b := make([]byte, units*unitBytes)
	if last := len(s.gone) - 1; last >= 0 {
		n := s.gone[last]
		s.gone = s.gone[:last]
		list[n] = b
		return n
	}
	n := len(list)
	if n > maxRecord/pageUnits {
		invariant.Broken("state is full: %d pages of %d bytes", n, pageUnits*unitBytes)
	}
	list = append(list, b)
	s.page = append(s.page, page{})
	s.pages.Store(&list)
	return uint32(n)
}

// dropPage leaves a page to the garbage collector.
func (s *records) dropPage(n uint32) {
	(*s.pages.Load())[n] = nil
	s.gone = append(s.gone, n)
}

// list puts a page among those with free slots.
func (s *records) list(n uint32) {
	p := &s.page[n]
	c := &s.class[p.class]
	p.at = len(c.open)
	c.open = append(c.open, n)
}

// unlist is the opposite of list.
func (s *records) unlist(n uint32) {
	p := &s.page[n]
	c := &s.class[p.class]
	last := c.open[len(c.open)-1]
	c.open[p.at], s.page[last].at = last, p.at
	c.open, p.at = c.open[:len(c.open)-1], full
}

// release gives back the slot of a record that a change has ended, for use from
// the next batch on.
func (s *records) release(r uint32) {
	s.churn += s.roomOf(r)
	s.rest(r)
}

func (s *records) rest(r uint32) { s.released = append(s.released, r) }

// recycle begins a batch. No reader remembers a slot that was released in the one
// before. It returns how many units changes released there.
func (s *records) recycle() (churn int) {
	for _, r := range s.released {
		s.giveBack(r)
	}
	if s.released = s.released[:0]; cap(s.released) > maxScratchOps {
		s.released = nil
	}
	churn, s.churn = s.churn, 0
	return churn
}

func (s *records) giveBack(r uint32) {
	n := r / pageUnits
	p := &s.page[n]
	if p.class == alone {
		s.dropPage(n)
		return
	}
	units := slotUnits[p.class]
	slot := int(r%pageUnits) / units
	p.used[slot/64] &^= 1 << (slot % 64)
	p.taken--
	if p.at != leaving {
		s.class[p.class].taken--
		s.free += units
	}
	switch {
	case p.taken == 0:
		s.wipe(n)
	case p.at == full:
		s.list(n)
	}
}

// wipe makes a page whose slots are all free one that may be cut for any class.
func (s *records) wipe(n uint32) {
	if s.page[n].at != leaving {
		s.leave(n)
	}
	if n == s.victim {
		s.victim = 0
	}
	s.page[n] = page{class: blank}
	s.blank = append(s.blank, n)
	s.units += pageUnits
	s.free += pageUnits
}

// leave takes a page out of its class: from now on it can only become blank.
func (s *records) leave(n uint32) {
	p := &s.page[n]
	if p.at != full {
		s.unlist(n)
	}
	c := &s.class[p.class]
	c.pages--
	c.taken -= p.taken
	s.units -= pageUnits
	s.free -= pageUnits - p.taken*slotUnits[p.class]
	p.at = leaving
}
