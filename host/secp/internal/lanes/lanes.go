package lanes

import "encoding/binary"

// Available says that this processor, and its operating system, have what the lanes
// need. Nothing else here may be called if not.
func Available() bool { return available }

// Verdict is what became of a job.
type Verdict uint8

const (
	// Invalid: r or s is not between 1 and n - 1, or no point has the abscissa r.
	Invalid Verdict = iota
	// Valid: Address is there.
	Valid
	// Unsure: a formula met one of its exceptions. That does not happen by chance, but
	// a signature can be made for it.
	Unsure
)

// Job is a signature to recover, and the answer.
type Job struct {
	Digest *[32]byte
	RS     *[64]byte // r ‖ s, big-endian
	Odd    bool      // the ordinate of the point whose abscissa is r

	Verdict Verdict
	Address [20]byte // the end of Keccak-256 of the key, if Valid
}

// groups is how many vectors of jobs share two inversions.
const groups = 8

// MaxJobs is how many signatures are recovered in one go; more are in several.
const MaxJobs = groups * Lanes

// Batch recovers signatures. The zero value is ready.
//
// It is larger than 32 KiB and begins with the vectors, so that the heap gives it
// pages of its own and no vector lies across two cache lines.
type Batch struct {
	x, y     [groups]number // of R, the point that was signed with
	square   [groups]number // x³ + 7
	points   [groups]point
	products [groups]number
	odd      [groups][Lanes]uint64 // what y shall be
	sum      [4][Lanes]uint64      // hashes
	found    [groups]uint64        // lanes in which there is such a y
	unsure   [groups]uint64        // lanes in which a formula did not apply
	m        multiplier
	norm     normalizer
	roots    pair
	h        number
	t        scratch

	digits [groups]digits
	lanes  [MaxJobs]lane
	live   int // lanes with a job
}

// lane is a job on its way.
type lane struct {
	job     *Job
	r, s    words
	inverse words // 2^256 / r
	product words // of r and those of the lanes before
}

// Recover gives every job its verdict.
func (b *Batch) Recover(jobs []Job) {
	for len(jobs) > 0 {
		n := min(len(jobs), MaxJobs)
		b.recover(jobs[:n])
		jobs = jobs[n:]
	}
	clear(b.lanes[:]) // the jobs are the caller's
}

func (b *Batch) recover(jobs []Job) {
	b.admit(jobs)
	if b.live == 0 {
		return
	}
	b.invertScalars()
	for i := range b.live {
		b.prepare(i)
	}
	// In lanes that are left over is what was there before. Nobody reads what becomes
	// of it, and lanes do not mix.
	used := (b.live + Lanes - 1) / Lanes
	for g := 0; g < used; g += 2 {
		b.root(g)
	}
	for g := 0; g < used; g += 2 {
		b.multiply(g, min(g+2, used))
	}
	b.norm.run(b.points[:used], b.products[:used])
	for g := range used {
		b.answer(g)
	}
}

// admit gives lanes to the jobs whose r and s are in range.
func (b *Batch) admit(jobs []Job) {
	b.live, b.unsure = 0, [groups]uint64{}
	for i := range jobs {
		j := &jobs[i]
		j.Verdict = Invalid
		l := &b.lanes[b.live]
		l.job, l.r, l.s = j, parse(j.RS[:32]), parse(j.RS[32:])
		if l.r.isScalar() && l.s.isScalar() {
			b.live++
		}
	}
}

// isScalar says that 1 <= w < n.
func (w *words) isScalar() bool { return !w.isZero() && w.less(&order) }

// invertScalars computes every 1/r with one inversion.
func (b *Batch) invertScalars() {
	lanes := b.lanes[:b.live]
	product := radix
	for i := range lanes {
		lanes[i].product = product
		product = montgomery(&lanes[i].r, &product)
	}
	// Each multiplication divides by 2^256, as if r were the Montgomery form of another
	// number r'. So product is the Montgomery form of the product of all r', rest
	// becomes its inverse in plain form, and l.inverse is the Montgomery form of 1/r.
	rest := inverse(&product)
	rest = montgomery(&rest, &radixSquared)
	for i := len(lanes) - 1; i >= 0; i-- {
		l := &lanes[i]
		l.inverse = montgomery(&rest, &l.product)
		rest = montgomery(&rest, &l.r)
	}
}

// prepare computes the factors of the key, Q = -z/r·G + s/r·R, and writes lane i.
func (b *Batch) prepare(i int) {
	l := &b.lanes[i]
	group, at := i/Lanes, i%Lanes
	z := parse(l.job.Digest[:])
	ofG := montgomery(&z, &l.inverse)
	ofG, _ = order.minus(&ofG) // n for 0, which is the same
	ofR := montgomery(&l.s, &l.inverse)
	if !b.digits[group].set(at, &ofG, &ofR) {
		b.unsure[group] |= 1 << at
	}
	b.x[group].set(at, &l.r)
	b.odd[group][at] = 0
	if l.job.Odd {
		b.odd[group][at] = 1
	}
}

// root finds the ordinates of groups g and g + 1. Where there is none, what is
// computed in the lane from here on means nothing.
func (b *Batch) root(g int) {
	for i := range b.roots {
		cube(&b.square[g+i], &b.x[g+i])
		b.roots[i] = b.square[g+i]
	}
	b.norm.chains.root(&b.roots)
	for i := range b.roots {
		b.y[g+i] = b.roots[i]
		b.found[g+i] = root(&b.y[g+i], &b.square[g+i], &b.odd[g+i], &b.t)
	}
}

// multiply computes the keys of groups from to to, one or two. A lane where Z is zero
// met an exception; it gets another Z, since all inverses of a lane are computed from
// one product.
func (b *Batch) multiply(from, to int) {
	b.m.run(b.x[from:to], b.y[from:to], b.digits[from:to], tableOfG())
	for g, p := range b.m.acc[:to-from] {
		zero := normal(&b.h, &p.z)
		b.unsure[from+g] |= zero
		for at := range Lanes {
			if zero>>at&1 == 1 {
				p.z.copyLane(at, &one)
			}
		}
		b.points[from+g] = p
	}
}

// answer hashes the keys of group g and gives its jobs their verdicts.
func (b *Batch) answer(g int) {
	p := &b.points[g]
	keccak(&b.sum, &p.x, &p.y)
	for at := range min(Lanes, b.live-g*Lanes) {
		j := b.lanes[g*Lanes+at].job
		switch {
		case b.found[g]>>at&1 == 0:
			j.Verdict = Invalid
		case b.unsure[g]>>at&1 == 1:
			j.Verdict = Unsure
		default:
			j.Verdict = Valid
			binary.LittleEndian.PutUint32(j.Address[:], uint32(b.sum[1][at]>>32))
			binary.LittleEndian.PutUint64(j.Address[4:], b.sum[2][at])
			binary.LittleEndian.PutUint64(j.Address[12:], b.sum[3][at])
		}
	}
}
