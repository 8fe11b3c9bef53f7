package live

// Groups is how many stand.
func (l *Live) Groups() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.groups)
}
