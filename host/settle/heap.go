package settle

// Places that an item can have in heaps. The two life heaps (not yet begun,
// watched until its end) exclude each other, and so do the two schedules.
const (
	slotLife = iota
	slotLower
	slotUpper
	slotSchedule
	slots
)

// heap is a binary heap of items that know their places in it, so that any of
// them can be taken out. Push, pop and remove cost O(log n).
type heap struct {
	slot  int
	less  func(a, b *item) bool
	items []*item
}

// top is the least item, nil if there is none.
func (h *heap) top() *item {
	if len(h.items) == 0 {
		return nil
	}
	return h.items[0]
}

func (h *heap) push(it *item) {
	h.items = append(h.items, it)
	h.up(len(h.items) - 1)
}

// remove takes an item out, wherever it is; one that is not in it is no mistake.
func (h *heap) remove(it *item) {
	i := int(it.slots[h.slot]) - 1
	if i < 0 {
		return
	}
	last := len(h.items) - 1
	moved := h.items[last]
	h.items[last] = nil
	h.items = h.items[:last]
	it.slots[h.slot] = 0
	if i == last {
		return
	}
	h.put(i, moved)
	h.down(i)
	h.up(int(moved.slots[h.slot]) - 1)
}

func (h *heap) put(i int, it *item) {
	h.items[i] = it
	it.slots[h.slot] = int32(i + 1)
}

func (h *heap) up(i int) {
	it := h.items[i]
	for i > 0 && h.less(it, h.items[(i-1)/2]) {
		h.put(i, h.items[(i-1)/2])
		i = (i - 1) / 2
	}
	h.put(i, it)
}

func (h *heap) down(i int) {
	it := h.items[i]
	for {
		child := 2*i + 1
		if child >= len(h.items) {
			break
		}
		if right := child + 1; right < len(h.items) && h.less(h.items[right], h.items[child]) {
			child = right
		}
		if !h.less(h.items[child], it) {
			break
		}
		h.put(i, h.items[child])
		i = child
	}
	h.put(i, it)
}

// each calls f with every item at i and below for which in holds; in must hold for
// an item whenever it holds for a greater one.
func (h *heap) each(i int, in func(*item) bool, f func(*item)) {
	if i >= len(h.items) || !in(h.items[i]) {
		return
	}
	f(h.items[i])
	h.each(2*i+1, in, f)
	h.each(2*i+2, in, f)
}
