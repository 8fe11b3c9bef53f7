package router

// node is a value's place in a heap. Its order is (key, id), so it is total and equal floors give equal answers.
type node[T any] struct {
	key int64
	id  ID
	pos int // index in the heap + 1; zero is outside
	val T
}

// in reports whether the node stands in its heap.
func (n *node[T]) in() bool { return n.pos != 0 }

// slotKey keeps the key beside the pointer: most comparisons need no second look into memory.
type slotKey[T any] struct {
	key int64
	n   *node[T]
}

func (s slotKey[T]) before(o slotKey[T]) bool {
	if s.key != o.key {
		return s.key < o.key
	}
	return s.n.id.Compare(o.n.id) < 0
}

// heap is a binary minimum heap whose nodes know their place, so any of them can be removed or moved.
type heap[T any] struct{ s []slotKey[T] }

func (h *heap[T]) len() int { return len(h.s) }

// top returns the smallest node, or nil.
func (h *heap[T]) top() *node[T] {
	if len(h.s) == 0 {
		return nil
	}
	return h.s[0].n
}

// set puts the node where its key and id say, whether it was inside or not.
func (h *heap[T]) set(n *node[T]) {
	if !n.in() {
		h.s = append(h.s, slotKey[T]{n.key, n})
		h.up(len(h.s) - 1)
		return
	}
	i := n.pos - 1
	h.s[i].key = n.key
	if !h.up(i) {
		h.down(i)
	}
}

// remove takes the node out, if it is inside.
func (h *heap[T]) remove(n *node[T]) {
	if !n.in() {
		return
	}
	i, last := n.pos-1, len(h.s)-1
	moved := h.s[last]
	h.s[last] = slotKey[T]{}
	h.s = h.s[:last]
	n.pos = 0
	if i == last {
		return
	}
	h.s[i] = moved
	if !h.up(i) {
		h.down(i)
	}
}

// up moves entry i towards the top and reports whether it moved. It sets the entry's place in any case.
func (h *heap[T]) up(i int) bool {
	e, from := h.s[i], i
	for i > 0 {
		p := (i - 1) / 2
		if !e.before(h.s[p]) {
			break
		}
		h.s[i] = h.s[p]
		h.s[i].n.pos = i + 1
		i = p
	}
	h.s[i] = e
	e.n.pos = i + 1
	return i != from
}

func (h *heap[T]) down(i int) {
	e := h.s[i]
	for {
		k := 2*i + 1
		if k >= len(h.s) {
			break
		}
		if k+1 < len(h.s) && h.s[k+1].before(h.s[k]) {
			k++
		}
		if !h.s[k].before(e) {
			break
		}
		h.s[i] = h.s[k]
		h.s[i].n.pos = i + 1
		i = k
	}
	h.s[i] = e
	e.n.pos = i + 1
}
