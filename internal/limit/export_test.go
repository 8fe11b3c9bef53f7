package limit

// Len counts the buckets held.
func (m *Memory) Len() (n int) {
	for i := range m.shard {
		m.shard[i].mu.Lock()
		n += len(m.shard[i].full)
		m.shard[i].mu.Unlock()
	}
	return n
}
