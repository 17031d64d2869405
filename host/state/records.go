package state

import (
	"encoding/binary"
	"sync/atomic"

	"github.com/kaizenchain/kaizen/host/invariant"
)

// records keeps keys and values outside the garbage collector's sight: byte
// chunks cut into slots of 16-byte units. A record is
//
//	key length u8 | value length u24 LE | key | value
//
// and its number is the unit it starts at. A slot, once handed out, keeps the
// size of its class. Released slots are handed out again from the next batch on,
// so that a reader which met one during a batch still finds it whole.
type records struct {
	chunks   atomic.Pointer[[][]byte]
	next     uint32               // the first unit never handed out
	free     [numClasses][]uint32 // slots by class
	released []uint32             // since the batch began
}

const (
	unitBytes    = 16
	chunkUnits   = 1 << 16 // 1 MiB
	recordHeader = 4
	cacheLine    = 64
	touchBytes   = 2 * cacheLine
	// maxRecord is the highest record number; the bit above tells a leaf from an
	// inner node. It bounds records to 32 GiB.
	maxRecord = 1<<31 - 1
)

// numClasses is enough for the largest record; a test says so.
const numClasses = 75

// classes are the slot sizes in units: every one up to 32, then steps of an
// eighth.
var classes = func() (c [numClasses]uint16) {
	for i := range c {
		if c[i] = uint16(i + 1); i >= 32 {
			c[i] = c[i-1] + c[i-1]/8
		}
	}
	return c
}()

// classOf is the smallest class for a record of this key and value.
func classOf(key, value int) int {
	units := uint16((recordHeader + key + value + unitBytes - 1) / unitBytes)
	if units <= 32 {
		return int(units) - 1
	}
	lo, hi := 32, numClasses-1
	for lo < hi {
		if mid := (lo + hi) / 2; classes[mid] < units {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo
}

// at returns the bytes from record r to the end of its chunk.
func (s *records) at(r uint32) []byte {
	return (*s.chunks.Load())[r/chunkUnits][r%chunkUnits*unitBytes:]
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

// touch reads the beginning of a record and, as far as most go, the lines after it.
// Any number will do.
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
	r := s.slot(classOf(len(key), len(value)))
	b := s.at(r)
	binary.LittleEndian.PutUint32(b, uint32(len(key))|uint32(len(value))<<8)
	copy(b[recordHeader:], key)
	copy(b[recordHeader+len(key):], value)
	return r
}

func (s *records) slot(class int) uint32 {
	if f := s.free[class]; len(f) > 0 {
		s.free[class] = f[:len(f)-1]
		return f[len(f)-1]
	}
	units := uint32(classes[class])
	if room := chunkUnits - s.next%chunkUnits; s.next == 0 || room == chunkUnits || room < units {
		s.addChunk()
	}
	r := s.next
	if r > maxRecord-units {
		invariant.Broken("state is full: %d units of %d bytes", r, unitBytes)
	}
	s.next += units
	return r
}

// addChunk makes room. Readers keep the old list, or find the new one whole.
func (s *records) addChunk() {
	var list [][]byte
	if old := s.chunks.Load(); old != nil {
		list = *old
	}
	s.next = max(1, uint32(len(list))*chunkUnits) // number 0 stands for no record
	list = append(list, make([]byte, chunkUnits*unitBytes))
	s.chunks.Store(&list)
}

// release gives a slot back, for use from the next batch on.
func (s *records) release(r uint32) { s.released = append(s.released, r) }

// recycle begins a batch.
func (s *records) recycle() {
	for _, r := range s.released {
		b := s.at(r)
		class := classOf(int(b[0]), valueLen(b))
		s.free[class] = append(s.free[class], r)
	}
	s.released = s.released[:0]
}
