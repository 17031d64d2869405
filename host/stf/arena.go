package stf

// arena hands out runs of values that are written once and kept by others: small
// ones side by side in large pieces, since an allocation for each would cost
// more than the run itself. A piece lives until the last run in it is dropped.
type arena[T any] struct {
	piece []T // up to its length handed out, or the open run
	start int // of the open run
}

// Bounds of a piece, elements. A session that needs little takes little.
const (
	firstPiece = 4
	maxPiece   = 256
)

// begin opens an empty run; what the last one held is handed out, or dropped
// with [arena.drop].
func (a *arena[T]) begin() { a.start = len(a.piece) }

// drop forgets the open run, which nobody else may know.
func (a *arena[T]) drop() {
	clear(a.piece[a.start:])
	a.piece = a.piece[:a.start]
}

// add appends to the open run.
func (a *arena[T]) add(v T) {
	if len(a.piece) == cap(a.piece) {
		a.replace(1, maxPiece)
	}
	a.piece = append(a.piece, v)
}

// run is the open run so far, nil if it is empty.
func (a *arena[T]) run() []T {
	if len(a.piece) == a.start {
		return nil
	}
	return a.piece[a.start:len(a.piece):len(a.piece)]
}

// count is the length of the open run.
func (a *arena[T]) count() int { return len(a.piece) - a.start }

// replace goes on in a new piece with room for n more, and takes the open run
// along.
func (a *arena[T]) replace(n, limit int) {
	open := a.piece[a.start:]
	size := max(firstPiece, min(limit, 2*cap(a.piece)), 2*len(open)+n)
	a.piece = append(make([]T, 0, size), open...)
	a.start = 0
}

// bytesArena is an arena for runs that are known at once.
type bytesArena struct{ arena[byte] }

// maxBytesPiece bounds a piece of bytes; what is larger than an eighth of it gets
// its own.
const maxBytesPiece = 32 << 10

// keep returns a copy of b, nil if it is empty.
func (a *bytesArena) keep(b []byte) []byte {
	if len(b) == 0 {
		return nil
	}
	if len(b) > maxBytesPiece/8 {
		return append(make([]byte, 0, len(b)), b...)
	}
	a.begin()
	if len(b) > cap(a.piece)-len(a.piece) {
		a.replace(len(b), maxBytesPiece)
	}
	a.piece = append(a.piece, b...)
	return a.piece[a.start:len(a.piece):len(a.piece)]
}
