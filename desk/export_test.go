package desk

// Overdue lets the time of every retired channel come now, which is minutes away.
func (d *Desk) Overdue() {
	d.open.mu.Lock()
	defer d.open.mu.Unlock()
	for t := range d.open.retired {
		t.Reset(0)
	}
}
