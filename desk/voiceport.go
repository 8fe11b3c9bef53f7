package desk

// Voice is the desk as telephony sees it.
type Voice struct{ d *Desk }

// Voice gives telephony its port.
func (d *Desk) Voice() *Voice { return &Voice{d} }
